"""Streams between regions over gRPC."""

from __future__ import annotations

from functools import partial
from typing import Protocol

import grpc.aio
from rstore_api.dialling.channels import first_connected
from rstore_api.dialling.stream import LinkBrokenError, StreamCall
from rstore_api.errors import StoreError
from rstore_api.methods import STREAM
from rstore_api.proto import rstore_pb2 as pb

from rstore_replica.raft.clock import Clock
from rstore_replica.replication.waiting import sleep, within

DIALS = 5
"""How often an address is dialled while none of the dials has come to a connection or to an error."""


class Dialer(Protocol):
    """Makes gRPC channels with this replica's certificate."""

    async def dial(self, address: str, /) -> grpc.aio.Channel:
        """Returns a fresh channel to ``host:port``, the name resolved now; the caller closes it. Raises Unreachable."""


class GrpcConnector:
    """Opens streams through a :class:`Dialer`; a fresh channel, and so a fresh look-up of the name, for each dial.

    A dial that hangs, for the name led to where nobody is any more, is not waited for: the next one runs beside it.
    """

    def __init__(self, dialer: Dialer, *, clock: Clock, connect_seconds: float) -> None:
        self._dialer = dialer
        self._clock = clock
        self._connect_seconds = connect_seconds

    async def connect(self, address: str) -> StreamCall[pb.StreamRequest, pb.StreamResponse]:
        """A fresh stream to ``host:port``; raises LinkBrokenError when it is not there within ``connect_seconds``."""
        race = first_connected(
            lambda: self._dialer.dial(address),
            dials=DIALS,
            timeout_seconds=self._connect_seconds,
            sleep=partial(sleep, self._clock),
        )
        try:
            channel = await within(self._clock, race, self._connect_seconds)
        except TimeoutError as error:
            raise LinkBrokenError(f"{address}: no connection within {self._connect_seconds:g} s") from error
        except StoreError as error:
            raise LinkBrokenError(f"{address}: {error}") from error
        return StreamCall(channel, STREAM)
