"""SemiSync between regions in memory: what waits, what gives up, what a change of rule or leader does to what waits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from rstore_api import errors
from rstore_api.proto import rpc_pb2
from rstore_api.proto import rstore_pb2 as pb
from rstore_replica.api.batcher import Batcher, BatchLimits
from unit.replication.fakes.network import FakeNetwork
from unit.replication.fakes.regions import STORE, FakeRegion, bootstrap, eventually, topology
from unit.replication.tenure.test_keeper import Grants

TENURE_SECONDS = 0.9


class Store:
    """Regions of one store, with clients of the first one."""

    def __init__(self, network: FakeNetwork, grants: Grants, regions: list[FakeRegion]) -> None:
        self.network = network
        self.grants = grants
        self.regions = regions
        self.primary, *self.others = regions
        self.version = 1
        self.acknowledging = self.primary.replication.acknowledging
        self.tenure = self.primary.replication.tenure
        self.batcher = Batcher(
            group=self.primary.group,
            gate=self.primary.controller.write_gate,
            write_limits=lambda _bytes: pb.WriteLimits(),
            limits=BatchLimits(max_waiting_requests=64),
            tenure_held=self.tenure.held,
            settle=self.acknowledging.settle,
        )

    async def rule(self, regions: int, *, timeout_ms: int = 60_000, degrade: bool = False) -> None:
        self.version += 1
        shape = topology(self.regions, self.primary.name, version=self.version)
        if regions:
            rule = pb.SyncRule(min_in_sync_regions=regions, timeout_ms=timeout_ms, degrade=degrade)
            shape.sync.CopyFrom(rule)
        await self.primary.controller.set_topology(pb.SetTopologyRequest(store_id=STORE, topology=shape))

    def put(self, value: bytes) -> asyncio.Task[rpc_pb2.PutResponse]:
        request = pb.WriteRequest(put=rpc_pb2.PutRequest(key=b"k", value=value))
        deadline = asyncio.get_running_loop().time() + 60
        return asyncio.create_task(self.batcher.submit(request, rpc_pb2.PutResponse, deadline=deadline))

    def cut_streams(self, *regions: FakeRegion) -> None:
        """The streams to these break and do not come back; grants go on."""
        self.network.down |= {address for region in regions for address in region.addresses}
        self.network.break_all()

    def let_streams(self) -> None:
        self.network.down.clear()

    async def committed(self, count: int) -> None:
        """So many writes are committed in the primary region."""
        await eventually(lambda: len(self.primary.machine.values) >= count)


@pytest.fixture
async def make_store(make_region, network: FakeNetwork) -> Callable[..., Awaitable[Store]]:
    grants = Grants()

    async def make(**knobs: object) -> Store:
        names = ["east", "west", "asia"]
        made = [make_region(name, tenure_seconds=TENURE_SECONDS, grants=grants, **knobs) for name in names]
        for region in made:
            grants.regions[region.addresses[0]] = region
            await region.replication.start()
        await bootstrap(made, names[0])
        store = Store(network, grants, made)
        await eventually(lambda: store.tenure.held(1))
        return store

    return make


async def test_an_acknowledgement_waits_for_other_regions_while_writes_go_on(make_store) -> None:
    store = await make_store()
    await store.rule(1)
    assert (await store.put(b"0")).header.revision == 2
    assert any(other.machine.revision >= 2 for other in store.others)
    store.cut_streams(*store.others)
    writes = [store.put(b"%d" % number) for number in range(1, 4)]
    await store.committed(4)
    later = [store.put(b"%d" % number) for number in range(4, 7)]
    await store.committed(7)
    assert not any(write.done() for write in [*writes, *later]), "proposed and committed, not acknowledged"
    status = store.primary.controller.status().sync
    assert (status.min_in_sync_regions, status.in_sync_revision, status.in_sync) == (1, 2, True)
    assert status.waiting >= 2
    store.let_streams()
    answers = await asyncio.gather(*writes, *later)
    assert [answer.header.revision for answer in answers] == list(range(3, 9))
    assert max(other.machine.revision for other in store.others) == 8


async def test_two_regions_are_waited_for_when_two_are_wanted(make_store) -> None:
    store = await make_store()
    await store.rule(2)
    await store.put(b"0")
    assert all(other.machine.revision == 2 for other in store.others)
    store.cut_streams(store.others[0])
    write = store.put(b"1")
    await eventually(lambda: store.others[1].machine.revision == 3)
    assert not write.done()
    store.let_streams()
    await write


async def test_too_late_is_outcome_unknown_and_status_says_since_when(make_store) -> None:
    store = await make_store()
    await store.rule(1, timeout_ms=100)
    await store.put(b"0")
    await eventually(lambda: store.tenure.status().in_sync_regions == 1)
    store.cut_streams(*store.others)
    for number in range(2):
        with pytest.raises(errors.OutcomeUnknown, match=r"1 other regions have not confirmed it within 0\.1 s"):
            await store.put(b"%d" % number)
    status = store.primary.controller.status().sync
    assert not status.in_sync
    assert not status.degraded
    assert store.tenure.status().in_sync_regions == 1, "what was acknowledged is in another region, still"
    store.let_streams()
    await eventually(lambda: store.primary.controller.status().sync.in_sync)
    await store.put(b"again")


async def test_the_queue_of_what_waits_is_bounded(make_store) -> None:
    store = await make_store()
    await store.rule(1)
    store.cut_streams(*store.others)
    writes = [store.put(b"%d" % number) for number in range(64)]
    await store.committed(64)
    with pytest.raises(errors.TooManyRequests):
        await store.put(b"one too many")
    store.let_streams()
    await asyncio.gather(*writes)
    await store.put(b"room again")


async def test_degrading_tells_the_voters_before_it_acknowledges(make_store) -> None:
    store = await make_store()
    await store.rule(1, timeout_ms=150, degrade=True)
    await store.put(b"0")
    await eventually(lambda: store.tenure.promised == 1, what="the voters are told that one region has everything")
    store.cut_streams(*store.others)
    for other in store.others:
        store.grants.cut.add(other.addresses[0])
    with pytest.raises(errors.OutcomeUnknown, match="not confirmed"):
        await store.put(b"nobody can be told")
    store.grants.cut.clear()
    await store.put(b"now")
    assert store.tenure.promised == 0
    assert {other.replication.voter.guarantee()[1] for other in store.others} >= {0}
    status = store.primary.controller.status().sync
    assert status.degraded
    assert not status.in_sync
    loop = asyncio.get_running_loop()
    before = loop.time()
    for number in range(5):
        await store.put(b"%d" % number)
    assert loop.time() - before < 0.15 * 5, "nothing waits any more"
    store.let_streams()
    await eventually(lambda: not store.primary.controller.status().sync.degraded)
    await eventually(lambda: store.tenure.promised == 1)
    assert store.primary.controller.status().sync.in_sync


async def test_a_rule_that_becomes_async_lets_go_what_waits_once_the_voters_know(make_store) -> None:
    store = await make_store()
    await store.rule(1)
    await store.put(b"0")
    await eventually(lambda: store.tenure.promised == 1)
    store.cut_streams(*store.others)
    write = store.put(b"1")
    await store.committed(2)
    await store.rule(0)
    await write
    assert store.tenure.promised == 0
    assert not store.primary.controller.status().HasField("sync")


async def test_a_rule_that_becomes_semi_sync_counts_for_what_is_acknowledged_from_then_on(make_store) -> None:
    store = await make_store()
    store.cut_streams(*store.others)
    await store.put(b"async")
    await store.rule(1)
    write = store.put(b"semi-sync")
    await store.committed(2)
    await asyncio.sleep(TENURE_SECONDS)  # several rounds of the tenure
    assert not write.done()
    assert store.tenure.status().in_sync_regions == 0, "the first write is in no other region"
    store.let_streams()
    await write
    await eventually(lambda: store.tenure.promised == 1)


async def test_one_that_loses_the_leadership_answers_nothing_that_was_not_confirmed(make_store) -> None:
    store = await make_store()
    await store.rule(1)
    await store.put(b"0")
    store.cut_streams(*store.others)
    write = store.put(b"1")
    await store.committed(2)
    store.primary.group.lead(None)
    with pytest.raises(errors.OutcomeUnknown, match="leads the primary region no more"):
        await write


async def test_a_demotion_lets_what_is_in_flight_be_confirmed(make_store) -> None:
    store = await make_store()
    await store.rule(1)
    await store.put(b"0")
    store.cut_streams(*store.others)
    write = store.put(b"1")
    await store.committed(2)
    answer = await store.primary.controller.demote(pb.DemoteRequest(store_id=STORE, epoch=2))
    assert answer.final_revision == 3
    store.let_streams()
    assert (await write).header.revision == 3


async def test_stopping_answers_what_waits(make_store) -> None:
    store = await make_store()
    await store.rule(1)
    store.cut_streams(*store.others)
    write = store.put(b"1")
    await store.committed(1)
    await store.primary.replication.stop()
    with pytest.raises(errors.OutcomeUnknown, match="stopping"):
        await write


# ---------------------------------------------------------------------------------------------- reads
async def test_a_read_shows_the_newest_that_other_regions_hold_and_does_not_wait(make_store) -> None:
    store = await make_store()
    assert await store.acknowledging.read_point(1, 0, 1.0) is None, "in Async it is the newest"
    await store.rule(1)
    await store.put(b"0")
    assert await store.acknowledging.read_point(1, 0, 1.0) is None
    store.cut_streams(*store.others)
    write = store.put(b"1")
    await store.committed(2)
    assert await store.acknowledging.read_point(1, 0, 1.0) == 2, "what failed over to another region could be lost"
    with pytest.raises(errors.NoPrimary):
        await store.acknowledging.read_point(1, 3, 0.05)
    store.let_streams()
    await write
    assert await store.acknowledging.read_point(1, 3, 5.0) is None


async def test_a_read_sees_all_that_was_acknowledged_before_the_rule_was_semi_sync(make_store) -> None:
    store = await make_store()
    store.cut_streams(*store.others)
    await store.put(b"async")
    await store.rule(1)
    reading = asyncio.create_task(store.acknowledging.read_point(1, 0, 10.0))
    done, _ = await asyncio.wait({reading}, timeout=0.2)
    assert not done
    store.let_streams()
    assert await reading is None


# ---------------------------------------------------------------------------------------------- latency
async def test_a_lonely_write_does_not_wait_for_its_batch_to_fill(make_store) -> None:
    store = await make_store(batch_interval_seconds=5.0)
    await store.rule(1)
    await eventually(lambda: all(found.connected for found in store.primary.replication.progress()))
    for number in range(3):
        await asyncio.wait_for(store.put(b"%d" % number), 2.5)
