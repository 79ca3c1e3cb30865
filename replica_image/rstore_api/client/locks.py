"""Locks, and leadership by election, each held by a lease that the client keeps alive."""

from __future__ import annotations

import asyncio
import random
import sys
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from types import TracebackType
from typing import Protocol

from rstore_api.client.leases import Lease
from rstore_api.client.login import REFUSALS, Refusals, Streams, status_of
from rstore_api.dialling.endpoint import TEMPORARY, retry_delay_seconds
from rstore_api.dialling.stream import LinkBrokenError
from rstore_api.errors import (
    ElectionNoLeader,
    ElectionNotLeader,
    LeaseNotFound,
    NotSupported,
    OutcomeUnknown,
    PermissionDenied,
    StoreError,
    Unreachable,
)
from rstore_api.methods import CAMPAIGN, LEADER, LOCK, OBSERVE, PROCLAIM, Method, RequestT, ResponseT
from rstore_api.proto import kv_pb2
from rstore_api.proto.v3election_pb2 import (
    CampaignRequest,
    LeaderKey,
    LeaderRequest,
    ProclaimRequest,
)
from rstore_api.proto.v3lock_pb2 import LockRequest

ATTEMPT_SECONDS = 3_600.0
"""A call that waits is made anew after so long, at the latest; it keeps its place in the order by its lease."""
PROCLAIM_SECONDS = 5.0


class Call(Protocol):
    """Makes one call by any endpoint, as ``Client.call``."""

    def __call__(
        self, method: Method[RequestT, ResponseT], request: RequestT, *, timeout_seconds: float
    ) -> Awaitable[ResponseT]: ...


class Held(ABC):
    """Something that a lease holds from entering ``async with`` on.

    Leaving revokes the lease, which hands it on. It may be lost before: whoever acts on the strength of it asks
    :attr:`alive` before each step, or waits for :meth:`lost` beside its work, and has writes depend on :attr:`key`: it
    exists for as long as nobody else can hold this.
    """

    def __init__(self, call: Call, new_lease: Callable[[], Lease], rng: random.Random) -> None:
        self._call = call
        self._new_lease = new_lease
        self._rng = rng
        self.lease = new_lease()
        self.key = b""
        """The key that exists while this is held; known once it is."""

    @property
    def alive(self) -> bool:
        """Whether it is certainly held at this moment."""
        return bool(self.key) and self.lease.alive

    async def lost(self) -> None:
        """Returns when it is held no longer, or when the client can no longer know that it is."""
        await self.lease.lost()

    @abstractmethod
    async def _take(self) -> bytes:
        """Returns the key, once the lease holds this."""

    async def _enter(self) -> None:
        """Takes it, with another lease when the outcome is unknown: the replica that was asked may have noticed that
        nobody waits for its answer, and may be about to delete the key of the lease, whoever has that created again.
        """
        while True:
            await self.lease.__aenter__()
            try:
                self.key = await self._take()
            except OutcomeUnknown:
                await self.lease.__aexit__(*sys.exc_info())
                self.lease = self._new_lease()
            except BaseException:
                await self.lease.__aexit__(*sys.exc_info())
                raise
            else:
                return

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.lease.__aexit__(kind, error, trace)

    async def _wait_for(self, method: Method[RequestT, ResponseT], request: RequestT) -> ResponseT:
        """Returns the answer to a request that waits; made again by other endpoints, where the lease keeps its place,
        for as long as it lives. Raises LeaseNotFound when it does not, OutcomeUnknown when there is no answer, or what
        the store refuses the request with.
        """
        attempt = 0
        while True:
            asked = asyncio.ensure_future(self._call(method, request, timeout_seconds=ATTEMPT_SECONDS))
            lost = asyncio.ensure_future(self.lease.lost())
            try:
                await asyncio.wait({asked, lost}, return_when=asyncio.FIRST_COMPLETED)
                if not asked.done():
                    raise LeaseNotFound("the lease ended while it was waited")
                return await asked
            except TEMPORARY:
                attempt += 1
            finally:
                asked.cancel()
                lost.cancel()
                await asyncio.gather(asked, lost, return_exceptions=True)
            await asyncio.sleep(retry_delay_seconds(attempt, self._rng))
            if not self.lease.alive:
                raise LeaseNotFound("the lease ended while it was waited")


class Lock(Held):
    """A lock of a name, which one lease holds at a time; those that wait get it in the order in which they came."""

    def __init__(self, call: Call, new_lease: Callable[[], Lease], rng: random.Random, name: bytes) -> None:
        """See ``Client.lock``."""
        super().__init__(call, new_lease, rng)
        self._name = name

    async def __aenter__(self) -> Lock:
        await self._enter()
        return self

    async def _take(self) -> bytes:
        return (await self._wait_for(LOCK, LockRequest(name=self._name, lease=self.lease.id))).key


class Leadership(Held):
    """The leadership of an election, which one lease has at a time."""

    def __init__(
        self, call: Call, new_lease: Callable[[], Lease], rng: random.Random, name: bytes, value: bytes
    ) -> None:
        """See :meth:`Election.campaign`."""
        super().__init__(call, new_lease, rng)
        self._name = name
        self._value = value
        self._leader = LeaderKey()

    async def __aenter__(self) -> Leadership:
        await self._enter()
        return self

    async def _take(self) -> bytes:
        request = CampaignRequest(name=self._name, lease=self.lease.id, value=self._value)
        self._leader = (await self._wait_for(CAMPAIGN, request)).leader
        return self._leader.key

    async def proclaim(self, value: bytes | str, *, timeout_seconds: float = PROCLAIM_SECONDS) -> None:
        """Gives the leader another value, which observers are shown. Raises ElectionNotLeader."""
        if not self.alive:
            raise ElectionNotLeader
        data = value.encode() if isinstance(value, str) else value
        request = ProclaimRequest(leader=self._leader, value=data)
        await self._call(PROCLAIM, request, timeout_seconds=timeout_seconds)


class Election:
    """One election: who campaigns, who leads."""

    def __init__(
        self,
        call: Call,
        endpoints: Sequence[Streams],
        lease: Callable[[int], Lease],
        rng: random.Random,
        name: bytes,
    ) -> None:
        """``lease`` returns a lease to enter, by its time to live. See ``Client.election``."""
        self._call = call
        self._endpoints = endpoints
        self._lease = lease
        self._rng = rng
        self._name = name

    def campaign(self, value: bytes | str = b"", *, ttl_seconds: int = 10) -> Leadership:
        """Returns a leadership for ``async with``, which is entered once this client leads."""
        data = value.encode() if isinstance(value, str) else value
        return Leadership(self._call, lambda: self._lease(ttl_seconds), self._rng, self._name, data)

    async def leader(self, *, timeout_seconds: float = PROCLAIM_SECONDS) -> kv_pb2.KeyValue | None:
        """Returns the key of who leads, with the value that it proclaims; None when nobody does."""
        try:
            response = await self._call(LEADER, LeaderRequest(name=self._name), timeout_seconds=timeout_seconds)
        except ElectionNoLeader:
            return None
        return response.kv

    async def observe(self) -> AsyncGenerator[kv_pb2.KeyValue, None]:
        """Yields who leads, each other leader and each value that is proclaimed from then on, for ever. Of those that
        follow each other fast, some may be left out. Raises PermissionDenied, UserEmpty, InvalidAuthToken, AuthFailed
        or NotSupported.
        """
        last: tuple[int, int] = (0, 0)
        attempt, refusals = 0, Refusals()
        while True:
            endpoint = self._endpoints[attempt % len(self._endpoints)]
            try:
                stream = await endpoint.open_stream(OBSERVE)
                try:
                    await stream.send(LeaderRequest(name=self._name))
                    await stream.done_sending()
                    while (response := await stream.receive()) is not None:
                        attempt -= attempt // len(self._endpoints) * len(self._endpoints)
                        refusals.clear()
                        shown = response.kv.create_revision, response.kv.mod_revision
                        if shown != last:
                            last = shown
                            yield response.kv
                finally:
                    await stream.close()
            except LinkBrokenError as error:
                failure = status_of(error)
                if isinstance(failure, NotSupported | PermissionDenied):
                    raise failure from error
                if isinstance(failure, REFUSALS):
                    refusals.note(failure, endpoint)
            except StoreError as error:
                if not isinstance(error, Unreachable):
                    raise
            attempt += 1
            rounds, within_round = divmod(attempt, len(self._endpoints))
            if within_round == 0:
                await asyncio.sleep(retry_delay_seconds(rounds, self._rng))
