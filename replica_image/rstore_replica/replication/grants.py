"""Asking another region's leader for a grant, over gRPC."""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from typing import Protocol

import grpc
import grpc.aio
from rstore_api.proto import rstore_pb2 as pb
from rstore_api.proto import rstore_pb2_grpc as rpc

from rstore_replica.raft.clock import Clock
from rstore_replica.replication.connection import Dialer
from rstore_replica.replication.ports import LinkBrokenError
from rstore_replica.replication.waiting import within


class GrantLink(Protocol):
    """Carries one question to one replica of another region."""

    async def ask(self, address: str, request: pb.GrantRequest, /, *, timeout_seconds: float) -> pb.GrantResponse:
        """The answer; raises LinkBrokenError when none came in time."""

    async def keep_only(self, addresses: Collection[str], /) -> None:
        """Closes the connections to all other addresses."""


class NoGrants:
    """Where no other region can be reached."""

    async def ask(self, address: str, request: pb.GrantRequest, *, timeout_seconds: float) -> pb.GrantResponse:  # noqa: ARG002 - see GrantLink
        """Raises LinkBrokenError."""
        raise LinkBrokenError(f"{address}: there is no way to ask for a grant")

    async def keep_only(self, addresses: Collection[str]) -> None:
        """Nothing to close."""


class GrpcGrants:
    """One channel per address, kept while it works; after a failure the name is resolved anew."""

    def __init__(self, dialer: Dialer, *, clock: Clock) -> None:
        self._dialer = dialer
        self._clock = clock
        self._channels: dict[str, grpc.aio.Channel] = {}

    async def ask(self, address: str, request: pb.GrantRequest, *, timeout_seconds: float) -> pb.GrantResponse:
        """See :class:`GrantLink`."""
        try:
            response = await within(self._clock, self._ask(address, request), timeout_seconds)
        except (grpc.aio.AioRpcError, grpc.aio.UsageError, OSError, TimeoutError) as error:
            await self._drop(address)
            raise LinkBrokenError(f"{address}: {error}") from error
        return response

    async def _ask(self, address: str, request: pb.GrantRequest) -> pb.GrantResponse:
        channel = self._channels.get(address)
        if channel is None:
            channel = await self._dialer.dial(address)
            if (other := self._channels.pop(address, None)) is not None:
                await other.close(None)
            self._channels[address] = channel
        stub = rpc.ReplicationStub(channel)  # type: ignore[no-untyped-call]
        response = await stub.Grant(request)
        assert isinstance(response, pb.GrantResponse)
        return response

    async def keep_only(self, addresses: Collection[str]) -> None:
        """See :class:`GrantLink`."""
        for address in [address for address in self._channels if address not in addresses]:
            await self._drop(address)

    async def _drop(self, address: str) -> None:
        channel = self._channels.pop(address, None)
        if channel is not None:
            with contextlib.suppress(grpc.RpcError, OSError):
                await channel.close(None)
