"""Asking another region's leader for a grant, over gRPC."""

from __future__ import annotations

from collections.abc import Collection, Coroutine, Iterator
from functools import partial
from typing import Any, Protocol

import grpc.aio
from rstore_api.dialling.channels import close
from rstore_api.dialling.endpoint import Connection
from rstore_api.dialling.race import first_success
from rstore_api.errors import StoreError
from rstore_api.methods import GRANT
from rstore_api.proto import rstore_pb2 as pb

from rstore_replica.raft.clock import Clock
from rstore_replica.replication.ports import LinkBrokenError
from rstore_replica.replication.sending.connection import Dialer
from rstore_replica.replication.waiting import sleep, within

MAX_CHANNELS = 4
"""To one address, while none of them answers; then the oldest is given up for a new one."""
MAX_DIALS = 2
"""That one question makes."""
FIRST_PATIENCE, LEAST_PATIENCE = 0.5, 0.25
"""Of the time of a question: how long a channel that has never answered, and any channel, may take before another is
opened beside it."""
SLOWER = 3.0
"""A channel that takes so many times as long as for its last answer has probably lost its other end."""


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


class _Shared(Connection):
    """A connection that questions share, and how fast it is."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        super().__init__(channel)
        self.answer_seconds: float | None = None
        """How long the last answer took; None before the first."""

    def patience_seconds(self, timeout_seconds: float) -> float:
        """How long a question waits for this channel alone."""
        if self.answer_seconds is None:
            return timeout_seconds * FIRST_PATIENCE
        return max(timeout_seconds * LEAST_PATIENCE, self.answer_seconds * SLOWER)

    async def ask(self, request: pb.GrantRequest, clock: Clock) -> pb.GrantResponse:
        """One question over this channel. Raises StoreError."""
        asked_at = clock.monotonic()
        response = await self.call(GRANT, request, timeout_seconds=None)
        self.answer_seconds = clock.monotonic() - asked_at
        return response


class GrpcGrants:
    """Channels to each address, one as long as it answers, shared by all questions.

    Where no answer comes for a while, the name is resolved and dialled anew, and the question asked over the new
    channel, too: the pod behind the old one may be gone without a word. The old one is kept meanwhile, since connecting
    takes several round trips and may take longer than one question has. Whichever answers stays, alone.
    """

    def __init__(self, dialer: Dialer, *, clock: Clock) -> None:
        self._dialer = dialer
        self._clock = clock
        self._channels: dict[str, list[_Shared]] = {}

    async def ask(self, address: str, request: pb.GrantRequest, *, timeout_seconds: float) -> pb.GrantResponse:
        """See :class:`GrantLink`."""
        try:
            return await within(self._clock, self._ask(address, request, timeout_seconds), timeout_seconds)
        except (TimeoutError, StoreError) as error:
            raise LinkBrokenError(f"{address}: {error}") from error

    async def _ask(self, address: str, request: pb.GrantRequest, timeout_seconds: float) -> pb.GrantResponse:
        known = list(self._channels.get(address, ()))
        patience_seconds = known[-1].patience_seconds(timeout_seconds) if known else timeout_seconds * FIRST_PATIENCE
        return await first_success(
            self._attempts(address, known, request),
            every_seconds=patience_seconds,
            go_on=False,
            discard=_nothing,
            sleep=partial(sleep, self._clock),
        )

    def _attempts(
        self, address: str, known: list[_Shared], request: pb.GrantRequest
    ) -> Iterator[Coroutine[Any, Any, pb.GrantResponse]]:
        """Over all channels that there are; then over new ones, of which those count that other questions opened."""
        if known:
            yield self._over_all(address, known, request)
        tried = list(known)
        for _ in range(MAX_DIALS):
            yield self._over_new(address, tried, request)

    async def _over_all(self, address: str, known: list[_Shared], request: pb.GrantRequest) -> pb.GrantResponse:
        return await first_success(
            (self._over(address, shared, request) for shared in known),
            every_seconds=0.0,
            go_on=True,
            discard=_nothing,
            sleep=partial(sleep, self._clock),
        )

    async def _over_new(self, address: str, tried: list[_Shared], request: pb.GrantRequest) -> pb.GrantResponse:
        shared = self._opened(address, tried) or await self._dial(address, tried)
        tried.append(shared)
        return await self._over(address, shared, request)

    def _opened(self, address: str, tried: list[_Shared]) -> _Shared | None:
        return next((shared for shared in self._channels.get(address, ()) if shared not in tried), None)

    async def _over(self, address: str, shared: _Shared, request: pb.GrantRequest) -> pb.GrantResponse:
        try:
            response = await shared.ask(request, self._clock)
        except StoreError:
            await self._give_up(address, shared)
            raise
        channels = self._channels.get(address, [])
        if shared in channels:
            self._channels[address] = [shared]
            for other in channels:
                if other is not shared:
                    await other.retire()
        return response

    async def _dial(self, address: str, tried: list[_Shared]) -> _Shared:
        """A channel to the address: the one that another question has opened meanwhile, if there is one."""
        channel = await self._dialer.dial(address)
        if (opened := self._opened(address, tried)) is not None:
            await close(channel)
            return opened
        shared = _Shared(channel)
        channels = self._channels.setdefault(address, [])
        channels.append(shared)
        if len(channels) > MAX_CHANNELS:
            await self._give_up(address, channels[0])
        return shared

    async def keep_only(self, addresses: Collection[str]) -> None:
        """See :class:`GrantLink`."""
        for address in [address for address in self._channels if address not in addresses]:
            for shared in self._channels.pop(address):
                await shared.retire()

    async def _give_up(self, address: str, shared: _Shared) -> None:
        channels = self._channels.get(address, [])
        if shared in channels:
            channels.remove(shared)
            if not channels:
                del self._channels[address]
        await shared.retire()


async def _nothing(_response: pb.GrantResponse) -> None:
    """An answer that came beside another one."""
