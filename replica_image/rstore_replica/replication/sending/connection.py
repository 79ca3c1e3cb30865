"""Streams between regions over gRPC."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any, Protocol

import grpc.aio
from rstore_api.dialling.channels import close, first_connected
from rstore_api.errors import StoreError
from rstore_api.proto import rstore_pb2 as pb

from rstore_replica.raft.clock import Clock
from rstore_replica.replication.ports import LinkBrokenError
from rstore_replica.replication.waiting import sleep, within

_STREAM = "/rstore.v1.Replication/Stream"


class Dialer(Protocol):
    """Makes gRPC channels with this replica's certificate."""

    async def dial(self, address: str, /) -> grpc.aio.Channel:
        """A fresh channel to ``host:port``, the name resolved now; the caller closes it. Raises Unreachable."""


def _describe(error: BaseException) -> str:
    if isinstance(error, grpc.aio.AioRpcError):
        return f"{error.code().name}: {error.details() or 'no details'}"
    return str(error) or type(error).__name__


class GrpcConnection:
    """One call of ``Replication.Stream`` on a channel of its own. See ``ports.StreamConnection``."""

    def __init__(self, channel: grpc.aio.Channel, call: Any) -> None:
        self._channel = channel
        self._call = call

    async def send(self, request: pb.StreamRequest) -> None:
        """Hands one message to gRPC, waiting for its flow control; raises LinkBrokenError."""
        try:
            await self._call.write(request)
        except grpc.aio.AioRpcError as error:
            raise LinkBrokenError(_describe(error)) from error
        except (grpc.aio.UsageError, asyncio.InvalidStateError) as error:
            raise LinkBrokenError("the stream has ended") from error

    async def receive(self) -> pb.StreamResponse | None:
        """The next message, None at the orderly end; raises LinkBrokenError."""
        try:
            response = await self._call.read()
        except grpc.aio.AioRpcError as error:
            raise LinkBrokenError(_describe(error)) from error
        except (grpc.aio.UsageError, asyncio.InvalidStateError) as error:
            raise LinkBrokenError("the stream has ended") from error
        return response if isinstance(response, pb.StreamResponse) else None

    async def close(self) -> None:
        """Cancels the call and closes the channel."""
        self._call.cancel()
        await close(self._channel)


DIALS = 5
"""How often an address is dialled while none of the dials has come to a connection or to an error."""


class GrpcConnector:
    """Opens streams through a :class:`Dialer`; a fresh channel, and so a fresh look-up of the name, for each dial.

    A dial that hangs, for the name led to where nobody is any more, is not waited for: the next one runs beside it.
    """

    def __init__(self, dialer: Dialer, *, clock: Clock, connect_seconds: float) -> None:
        self._dialer = dialer
        self._clock = clock
        self._connect_seconds = connect_seconds

    async def connect(self, address: str) -> GrpcConnection:
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
        try:
            stream = channel.stream_stream(
                _STREAM,
                request_serializer=pb.StreamRequest.SerializeToString,
                response_deserializer=pb.StreamResponse.FromString,
            )
            return GrpcConnection(channel, stream())  # type: ignore[call-arg] # the stubs want an iterator
        except grpc.aio.UsageError as error:
            raise LinkBrokenError(f"{address}: the channel was closed") from error
