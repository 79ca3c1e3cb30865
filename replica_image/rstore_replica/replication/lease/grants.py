"""Asking another region's leader for a grant, over gRPC."""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from typing import Protocol

import grpc
import grpc.aio
from rstore_api.proto import rstore_pb2 as pb

from rstore_replica.raft.clock import Clock
from rstore_replica.replication.lease.rules import ROUNDS_PER_LEASE
from rstore_replica.replication.ports import LinkBrokenError
from rstore_replica.replication.sending.connection import Dialer
from rstore_replica.replication.waiting import within

_GRANT = "/rstore.v1.Replication/Grant"


MAX_UNANSWERED = ROUNDS_PER_LEASE
"""A channel over which so many questions in a row were not answered in time is given up."""


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


class _Shared:
    """A channel and how many questions are on their way over it; once retired it is closed with the last of them."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self.users = 0
        self.retired = False
        self.unanswered = 0
        """Questions in a row that nobody answered in time."""

    async def close_if_unused(self) -> None:
        if self.retired and self.users == 0:
            with contextlib.suppress(grpc.RpcError, OSError):
                await self.channel.close(None)


class GrpcGrants:
    """One channel per address, kept while it works; after a failure the name is resolved anew.

    Questions to one address share its channel. One that fails has the next one dial, and leaves the others alone.
    """

    def __init__(self, dialer: Dialer, *, clock: Clock) -> None:
        self._dialer = dialer
        self._clock = clock
        self._channels: dict[str, _Shared] = {}

    async def ask(self, address: str, request: pb.GrantRequest, *, timeout_seconds: float) -> pb.GrantResponse:
        """See :class:`GrantLink`."""
        try:
            return await within(self._clock, self._ask(address, request), timeout_seconds)
        except TimeoutError as error:
            await self._late(address)
            raise LinkBrokenError(f"{address}: {error}") from error
        except (grpc.aio.AioRpcError, grpc.aio.UsageError, OSError) as error:
            await self._retire(address)
            raise LinkBrokenError(f"{address}: {error}") from error

    async def _ask(self, address: str, request: pb.GrantRequest) -> pb.GrantResponse:
        shared = self._channels.get(address)
        if shared is None:
            shared = await self._dial(address)
        shared.users += 1
        try:
            # By path, not by the generated stub; see ``GrpcConnector.connect``.
            grant = shared.channel.unary_unary(
                _GRANT,
                request_serializer=pb.GrantRequest.SerializeToString,
                response_deserializer=pb.GrantResponse.FromString,
            )
            response = await grant(request)
        finally:
            shared.users -= 1
            await shared.close_if_unused()
        assert isinstance(response, pb.GrantResponse)
        shared.unanswered = 0
        return response

    async def _late(self, address: str) -> None:
        """Connecting takes several round trips, so more time than one question has; then it is as good as broken."""
        shared = self._channels.get(address)
        if shared is not None:
            shared.unanswered += 1
            if shared.unanswered >= MAX_UNANSWERED:
                await self._retire(address)

    async def _dial(self, address: str) -> _Shared:
        """A channel to the address: the one that another question has opened meanwhile, if there is one."""
        channel = await self._dialer.dial(address)
        if (found := self._channels.get(address)) is not None:
            await channel.close(None)
            return found
        self._channels[address] = _Shared(channel)
        return self._channels[address]

    async def keep_only(self, addresses: Collection[str]) -> None:
        """See :class:`GrantLink`."""
        for address in [address for address in self._channels if address not in addresses]:
            await self._retire(address)

    async def _retire(self, address: str) -> None:
        shared = self._channels.pop(address, None)
        if shared is not None:
            shared.retired = True
            await shared.close_if_unused()
