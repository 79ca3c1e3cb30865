"""Locks and elections over a real state machine and its watches: waiting, giving up, faults, bounds."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
from rstore_api.errors import (
    ElectionNotLeader,
    LeaseNotFound,
    LockSessionExpired,
    NoPrimary,
    PermissionDenied,
    ShuttingDown,
    StoreError,
    TooManyRequests,
)
from rstore_api.proto import rpc_pb2 as rpc
from rstore_api.proto.rstore_pb2 import Compaction, WriteBatch, WriteRequest
from rstore_api.proto.v3election_pb2 import CampaignRequest, LeaderRequest, LeaderResponse, ProclaimRequest
from rstore_api.proto.v3lock_pb2 import LockRequest, UnlockRequest
from rstore_replica.api.access.callers import CLIENT, Caller
from rstore_replica.api.access.grants import FULL, Grant
from rstore_replica.api.locks import candidates as candidates_module
from rstore_replica.api.locks.candidates import Candidates
from rstore_replica.api.routing.router import CallInfo
from rstore_replica.api.services.election import ElectionService
from rstore_replica.api.services.lock import LockService
from rstore_replica.api.watch.pump import Pump
from unit.api.client_servers import until
from unit.api.services.test_watch import ShowsAll
from unit.mvcc.replicas import Replica

READER = Grant.of(["n/"], writes=False)


class KeyValues:
    """The requests of candidates, carried out at once."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self.refusals: list[StoreError] = []
        self.reads = 0

    def write(self, **request: Any) -> Any:
        batch = WriteBatch(epoch=self._replica.machine.state.epoch, requests=[WriteRequest(**request)])
        answer = self._replica.apply(lease_write=batch)[0]
        if isinstance(answer, StoreError):
            raise answer
        return answer

    async def range(self, request: rpc.RangeRequest, _call: CallInfo) -> rpc.RangeResponse:
        self.reads += 1
        if self.refusals:
            raise self.refusals.pop()
        response = self._replica.machine.range(request)
        response.header.revision = self._replica.machine.revision
        return response

    async def txn(self, request: rpc.TxnRequest, _call: CallInfo) -> rpc.TxnResponse:
        return cast(rpc.TxnResponse, self.write(txn=request))

    async def delete(self, request: rpc.DeleteRangeRequest, _call: CallInfo) -> rpc.DeleteRangeResponse:
        return cast(rpc.DeleteRangeResponse, self.write(delete_range=request))


class World:
    """The services, and the task that shows them what happens."""

    def __init__(self, path: Path) -> None:
        self.replica = Replica(path)
        self.key_values = KeyValues(self.replica)
        self.pump = Pump(self.replica.machine, ShowsAll(self.replica))
        self.refused: list[str] = []
        self.granted = 1_000
        self.candidates = Candidates(
            key_values=cast(Any, self.key_values),
            grant=self._grant,
            pump=self.pump,
            rng=random.Random(1),
            on_refusal=self.refused.append,
            max_waiting=3,
            max_waiting_of_client=2,
        )
        calls = cast(Any, None)
        self.locks = LockService(calls=calls, candidates=self.candidates)
        self.elections = ElectionService(calls=calls, candidates=self.candidates)
        self.tasks: list[asyncio.Task[Any]] = [asyncio.create_task(self.pump.run())]
        for lease in range(1, 6):
            self.grant(lease)

    def grant(self, lease: int, seconds: int = 60) -> None:
        self.key_values.write(lease_grant=rpc.LeaseGrantRequest(ID=lease, TTL=seconds))

    def revoke(self, lease: int) -> None:
        self.key_values.write(lease_revoke=rpc.LeaseRevokeRequest(ID=lease))

    async def _grant(self, request: rpc.LeaseGrantRequest, _call: CallInfo) -> rpc.LeaseGrantResponse:
        self.granted += 1
        self.grant(self.granted, request.TTL)
        return rpc.LeaseGrantResponse(ID=self.granted, TTL=request.TTL)

    def lock(self, lease: int, *, client: str = "c", seconds: float = 60.0) -> asyncio.Task[Any]:
        task = asyncio.create_task(self.locks.lock(LockRequest(name=b"n", lease=lease), info(client, seconds)))
        self.tasks.append(task)
        return task

    async def waiting(self, lease: int, **options: Any) -> asyncio.Task[Any]:
        task = self.lock(lease, **options)
        before = self.candidates.waiting
        await until(lambda: self.candidates.waiting > before or task.done())
        return task

    def campaign(self, lease: int, value: bytes = b"") -> asyncio.Task[Any]:
        request = CampaignRequest(name=b"n", lease=lease, value=value)
        task = asyncio.create_task(self.elections.campaign(request, info()))
        self.tasks.append(task)
        return task

    @property
    def keys(self) -> list[bytes]:
        return [item.key for item in self.replica.range().kvs]

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.replica.machine.close()


def info(client: str = "c", seconds: float = 60.0, grant: Grant = FULL) -> CallInfo:
    deadline = asyncio.get_running_loop().time() + seconds
    return CallInfo(deadline=deadline, forwarded=False, client=client, grant=grant)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path / "data")
    yield world
    await world.close()


async def test_a_release_wakes_only_who_is_next(world: World) -> None:
    assert (await world.lock(1)).key == b"n/1"
    second, third = await world.waiting(2), await world.waiting(3)
    before = world.key_values.reads
    await world.locks.unlock(UnlockRequest(key=b"n/1"), info())
    assert (await second).key == b"n/2"
    assert not third.done()
    assert world.key_values.reads == before + 2
    world.revoke(2)
    assert (await third).key == b"n/3"
    assert world.candidates.waiting == 0


async def test_nobody_is_woken_by_an_older_one_that_gives_up(world: World) -> None:
    await world.lock(1)
    second, third = await world.waiting(2), await world.waiting(3)
    second.cancel()
    await until(lambda: b"n/2" not in world.keys)
    await until(lambda: world.candidates.waiting == 1)
    assert not third.done()
    world.revoke(1)
    assert (await third).key == b"n/3"


async def test_a_lease_is_granted_where_none_is_given(world: World) -> None:
    assert (await world.lock(0)).key == b"n/%x" % 1_001
    with pytest.raises(LeaseNotFound):
        await world.lock(77)
    [lease] = [lease for lease in world.replica.machine.leases(None, 100)[0] if lease.id == 1_001]
    assert lease.ttl_seconds == 60


async def test_a_lock_whose_key_is_gone_or_another_is_not_held(world: World) -> None:
    await world.lock(1)
    gone, another = await world.waiting(2), await world.waiting(3)
    world.revoke(2)
    await world.locks.unlock(UnlockRequest(key=b"n/3"), info())
    world.key_values.write(put=rpc.PutRequest(key=b"n/3", lease=3))
    world.revoke(1)
    for task in (gone, another):
        with pytest.raises(LockSessionExpired):
            await task


async def test_what_is_waited_for_may_be_deleted_in_revisions_that_are_gone(world: World) -> None:
    await world.lock(1)
    waiting = await world.waiting(2)
    await until(lambda: world.pump.hub.watching)
    world.tasks[0].cancel()
    await asyncio.gather(world.tasks[0], return_exceptions=True)
    world.revoke(1)
    world.replica.put(b"other", b"1")
    world.replica.apply(compaction=Compaction(revision=world.replica.machine.revision))
    world.tasks.append(asyncio.create_task(world.pump.run()))
    assert (await waiting).key == b"n/2"
    assert world.key_values.reads == 3


async def test_waiting_outlasts_a_change_of_primary(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidates_module, "MAX_PAUSE_SECONDS", 0.001)
    await world.lock(1)
    world.key_values.refusals = [NoPrimary() for _ in range(5)]
    waiting = await world.waiting(2)
    await until(lambda: not world.key_values.refusals)
    world.revoke(1)
    assert (await waiting).key == b"n/2"


async def test_a_call_ends_at_its_deadline_and_its_candidate_is_withdrawn(world: World) -> None:
    await world.lock(1)
    world.key_values.refusals = [NoPrimary() for _ in range(1000)]
    with pytest.raises(NoPrimary):
        await world.lock(2, seconds=0.3)
    world.key_values.refusals = []
    await until(lambda: b"n/2" not in world.keys)


async def test_who_waits_on_a_replica_that_stops_keeps_its_place(world: World) -> None:
    await world.lock(1)
    waiting = await world.waiting(2)
    world.candidates.close()
    with pytest.raises(ShuttingDown):
        await waiting
    assert b"n/2" in world.keys
    with pytest.raises(ShuttingDown):
        await world.lock(3)
    assert world.keys == [b"n/1", b"n/2", b"n/3"]


async def test_waiting_calls_are_bounded_of_one_client_and_of_all(world: World) -> None:
    await world.lock(1)
    first, second = await world.waiting(2), await world.waiting(3)
    with pytest.raises(TooManyRequests):
        await world.lock(4)
    third = await world.waiting(4, client="d")
    with pytest.raises(TooManyRequests):
        await world.lock(5, client="e")
    assert world.refused == ["locks", "locks"]
    await until(lambda: b"n/5" not in world.keys)
    assert not any(task.done() for task in (first, second, third))
    assert world.candidates.waiting == 3


async def test_a_campaign_that_ended_while_it_waited_has_not_won(world: World) -> None:
    await world.campaign(1)
    waiting = world.campaign(2)
    await until(lambda: world.candidates.waiting == 1)
    world.revoke(2)
    world.revoke(1)
    with pytest.raises(ElectionNotLeader):
        await waiting


async def test_a_candidate_that_campaigns_again_has_its_new_value(world: World) -> None:
    await world.campaign(1, b"a")
    await world.campaign(1, b"b")
    leader = await world.elections.leader(LeaderRequest(name=b"n"), info())
    assert (leader.kv.value, leader.kv.version) == (b"b", 2)


class Observer:
    """The stream of a client that observes an election."""

    def __init__(self, grant: Grant = FULL) -> None:
        self.caller = Caller(frozenset({CLIENT}), grant=grant)
        self.values: list[bytes] = []
        self.aborted = ""

    def time_remaining(self) -> float | None:
        return None

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return ()

    def peer(self) -> str:
        return "ipv4:10.0.0.1:1"

    async def write(self, response: LeaderResponse) -> None:
        self.values.append(response.kv.value)

    async def abort(self, code: Any, details: str = "", _trailing: Any = ()) -> None:
        self.aborted = details


async def test_an_observer_is_shown_each_leader_and_what_it_proclaims(world: World) -> None:
    observer = Observer(READER)
    observing = asyncio.create_task(world.elections.observe(LeaderRequest(name=b"n"), observer))
    world.tasks.append(observing)
    await until(lambda: world.pump.hub.watching)
    key = (await world.campaign(1, b"a")).leader
    await until(lambda: observer.values == [b"a"])
    for value in (b"b", b"c"):
        await world.elections.proclaim(ProclaimRequest(leader=key, value=value), info())
    await until(lambda: observer.values == [b"a", b"b", b"c"])
    world.replica.promise(2)
    world.replica.promote(2)
    next_one = world.campaign(2, b"d")
    world.revoke(1)
    await next_one
    await until(lambda: observer.values[-1] == b"d")
    world.candidates.close()
    await observing
    assert observer.aborted == ShuttingDown.text
    assert world.candidates.waiting == 0
    assert not world.pump.hub.watching


async def test_nobody_observes_an_election_whose_keys_it_may_not_read(world: World) -> None:
    observer = Observer(Grant.of(["m/"], writes=True))
    await world.elections.observe(LeaderRequest(name=b"n"), observer)
    assert observer.aborted == PermissionDenied.text
