"""Asking another region's leader for a grant, over gRPC."""

from __future__ import annotations

from collections.abc import Collection, Coroutine, Iterator
from functools import partial
from typing import Any, Protocol

import grpc.aio
from rstore_api.dialling.channels import close
from rstore_api.dialling.endpoint import Connection
from rstore_api.dialling.pool import Pool
from rstore_api.dialling.race import first_success
from rstore_api.dialling.stream import LinkBrokenError
from rstore_api.domain.limits import MAX_REGIONS, MAX_REPLICAS
from rstore_api.errors import StoreError
from rstore_api.methods import GRANT
from rstore_api.proto import rstore_pb2 as pb

from rstore_replica.raft.clock import Clock
from rstore_replica.replication.sending.connection import Dialer
from rstore_replica.replication.waiting import sleep, within

MAX_CHANNELS = 4
"""To one address, while none of them answers; then the oldest is given up for a new one."""
MAX_ADDRESSES = MAX_REGIONS * MAX_REPLICAS
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
        """Returns the answer; raises LinkBrokenError when none came in time."""

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
        """Returns how long a question waits for this channel alone."""
        if self.answer_seconds is None:
            return timeout_seconds * FIRST_PATIENCE
        return max(timeout_seconds * LEAST_PATIENCE, self.answer_seconds * SLOWER)

    async def ask(self, request: pb.GrantRequest, clock: Clock) -> pb.GrantResponse:
        """One question over this channel. Raises StoreError."""
        asked_at = clock.monotonic()
        response = await self.call(GRANT, request, timeout_seconds=None)
        self.answer_seconds = clock.monotonic() - asked_at
        return response


class _Race:
    """The channels to one address, one as long as it answers, shared by all questions.

    Where no answer comes for a while, the name is resolved and dialled anew, and the question asked over the new
    channel, too: the pod behind the old one may be gone without a word. The old one is kept meanwhile, since connecting
    takes several round trips and may take longer than one question has. Whichever answers stays, alone.
    """

    def __init__(self, address: str, dialer: Dialer, clock: Clock) -> None:
        self._address = address
        self._dialer = dialer
        self._clock = clock
        self._channels: list[_Shared] = []

    async def ask(self, request: pb.GrantRequest, timeout_seconds: float) -> pb.GrantResponse:
        """One question, over as many channels as it takes. Raises StoreError."""
        tried = list(self._channels)
        return await first_success(
            self._attempts(tried, request),
            every_seconds=tried[-1].patience_seconds(timeout_seconds) if tried else timeout_seconds * FIRST_PATIENCE,
            go_on=False,
            discard=_nothing,
            sleep=partial(sleep, self._clock),
        )

    async def close(self) -> None:
        """Closes the channels once the questions over them are answered."""
        channels, self._channels = self._channels, []
        for shared in channels:
            await shared.retire()

    def _attempts(
        self, tried: list[_Shared], request: pb.GrantRequest
    ) -> Iterator[Coroutine[Any, Any, pb.GrantResponse]]:
        """Over all channels that there are; then over new ones, of which those count that other questions opened."""
        if tried:
            yield self._over_all(list(tried), request)
        for _ in range(MAX_DIALS):
            yield self._over_new(tried, request)

    async def _over_all(self, channels: list[_Shared], request: pb.GrantRequest) -> pb.GrantResponse:
        return await first_success(
            (self._over(shared, request) for shared in channels),
            every_seconds=0.0,
            go_on=True,
            discard=_nothing,
            sleep=partial(sleep, self._clock),
        )

    async def _over_new(self, tried: list[_Shared], request: pb.GrantRequest) -> pb.GrantResponse:
        shared = self._opened(tried) or await self._dial(tried)
        tried.append(shared)
        return await self._over(shared, request)

    def _opened(self, tried: list[_Shared]) -> _Shared | None:
        return next((shared for shared in self._channels if shared not in tried), None)

    async def _over(self, shared: _Shared, request: pb.GrantRequest) -> pb.GrantResponse:
        try:
            response = await shared.ask(request, self._clock)
        except StoreError:
            await self._give_up(shared)
            raise
        if shared in self._channels:
            others, self._channels = [other for other in self._channels if other is not shared], [shared]
            for other in others:
                await other.retire()
        return response

    async def _dial(self, tried: list[_Shared]) -> _Shared:
        """Returns a channel to the address: the one that another question has opened meanwhile, if there is one."""
        channel = await self._dialer.dial(self._address)
        if (opened := self._opened(tried)) is not None:
            await close(channel)
            return opened
        shared = _Shared(channel)
        self._channels.append(shared)
        if len(self._channels) > MAX_CHANNELS:
            await self._give_up(self._channels[0])
        return shared

    async def _give_up(self, shared: _Shared) -> None:
        if shared in self._channels:
            self._channels.remove(shared)
        await shared.retire()


class GrpcGrants:
    """Asks over channels that all questions to an address share."""

    def __init__(self, dialer: Dialer, *, clock: Clock) -> None:
        self._clock = clock
        self._races: Pool[str, _Race] = Pool(lambda address: _Race(address, dialer, clock), limit=MAX_ADDRESSES)

    async def ask(self, address: str, request: pb.GrantRequest, *, timeout_seconds: float) -> pb.GrantResponse:
        """See :class:`GrantLink`."""
        try:
            async with self._races.use(address) as race:
                return await within(self._clock, race.ask(request, timeout_seconds), timeout_seconds)
        except (TimeoutError, StoreError) as error:
            raise LinkBrokenError(f"{address}: {error}") from error

    async def keep_only(self, addresses: Collection[str]) -> None:
        """See :class:`GrantLink`."""
        await self._races.retire(lambda address: address not in addresses)


async def _nothing(_response: pb.GrantResponse) -> None:
    """An answer that came beside another one."""
