"""Three regions from the real parts: data flows, links break, regions stop, the primary moves under load."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter

import pytest
from rstore_api import errors
from rstore_api.proto import rstore_pb2 as pb
from unit.replication.fakes.regions import STORE, eventually
from unit.replication.real_regions import (
    RealRegion,
    Wires,
    bootstrap_all,
    hashes,
    same_everywhere,
    switch_over,
    topology_of,
)


@pytest.fixture
def wires() -> Wires:
    return Wires()


@pytest.fixture
async def regions(tmp_path, wires):
    made = [RealRegion(name, tmp_path / name, wires) for name in ("east", "north", "west")]
    try:
        await bootstrap_all(made, "east")
        yield made
    finally:
        for region in made:
            await region.stop()
        await wires.break_all()


async def test_rows_flow_and_hashes_agree_at_every_revision(regions):
    east, *_ = regions
    for number in range(40):
        await east.put(b"key-%d" % (number % 7), b"%d" % number)
    await eventually(lambda: same_everywhere(regions))
    assert regions[1].contents() == regions[2].contents() == east.contents()
    for revision in (2, 20, 41):
        assert len(await hashes(regions, revision)) == 1
    assert (await hashes(regions, 20)) != (await hashes(regions, 41))
    await eventually(lambda: all(east.lag(name).lag_revisions == 0 for name in ("north", "west")))
    assert east.lag("north").connected
    assert east.lag("north").lag_seconds == 0.0


async def test_broken_connections_are_made_again_and_nothing_is_lost_or_doubled(regions, wires):
    east, *_ = regions
    for number in range(30):
        await asyncio.gather(*[east.put(b"a-%d" % index, b"%d" % number) for index in range(5)])
        if number % 6 == 3:
            await wires.break_all()
    await eventually(lambda: same_everywhere(regions))
    assert len(await hashes(regions, east.machine.revision)) == 1
    assert east.machine.revision == 151


async def test_a_region_that_was_stopped_catches_up_from_its_own_state(regions):
    east, north, west = regions
    await east.put(b"before", b"1")
    await eventually(lambda: same_everywhere(regions))
    await north.stop()
    for number in range(200):
        await east.put(b"key-%d" % number, b"x" * 2000)
    await eventually(lambda: same_everywhere([east, west]))
    await eventually(lambda: not east.lag("north").connected)
    assert east.lag("north").lag_revisions == 200
    assert east.lag("north").lag_bytes > 200 * 1000
    assert east.lag("north").lag_seconds > 0
    await north.start()
    await eventually(lambda: same_everywhere(regions), seconds=20)
    assert len(await hashes(regions, east.machine.revision)) == 1


async def test_a_source_that_was_restarted_streams_on(regions):
    east, *_ = regions
    await east.put(b"one", b"1")
    await east.stop()
    await east.start()
    await east.put(b"two", b"2")
    await eventually(lambda: same_everywhere(regions), seconds=20)
    assert regions[2].contents() == east.contents()


async def test_the_primary_moves_under_load_and_no_write_is_lost_or_doubled(regions):
    acknowledged: dict[bytes, int] = {}
    unknown: set[bytes] = set()
    stop = asyncio.Event()
    names = itertools.count()

    async def writer() -> None:
        """Puts one new key after the other into whichever region takes it."""
        while not stop.is_set():
            key = b"key-%06d" % next(names)
            for region in itertools.cycle(regions):
                try:
                    acknowledged[key] = await region.put(key, key)
                    break
                except (errors.NoPrimary, errors.NotPrimary):
                    await asyncio.sleep(0.001)
                except errors.OutcomeUnknown:
                    unknown.add(key)
                    break

    writers = [asyncio.create_task(writer()) for _ in range(8)]
    finals = []
    for epoch, (source, target) in enumerate([(0, 1), (1, 2), (2, 0)], start=2):
        count = len(acknowledged)
        await eventually(lambda count=count: len(acknowledged) > count + 100)
        finals.append(await switch_over(regions, regions[source], regions[target], epoch))
    count = len(acknowledged)
    await eventually(lambda: len(acknowledged) > count + 100)
    stop.set()
    await asyncio.gather(*writers)
    await eventually(lambda: same_everywhere(regions), seconds=20)

    newest = regions[0].machine.revision
    assert len(await hashes(regions, newest)) == 1
    for region in regions:
        contents = region.contents()
        for key, revision in acknowledged.items():
            assert contents[key] == (key, 1, revision), "written exactly once, where it was acknowledged"
        assert set(contents) <= set(acknowledged) | unknown
    assert max(Counter(acknowledged.values()).values()) == 1
    starts = [start.first_revision for start in regions[1].machine.state.history]
    assert starts == [2, *[final + 1 for final in finals]]
    assert [start.region for start in regions[1].machine.state.history] == ["east", "north", "west", "east"]


async def test_demotion_stands_while_nobody_follows_and_the_old_primary_can_take_over_again(regions, wires):
    east, north, west = regions
    wires.cut |= {north.address}
    await wires.break_all()
    await east.put(b"key", b"value")
    demotion = pb.DemoteRequest(store_id=STORE, epoch=2)
    demoted = await east.controller.demote(demotion)
    assert await east.controller.demote(demotion) == demoted
    request = pb.PromoteRequest(
        store_id=STORE, epoch=2, min_revision=demoted.final_revision, topology=topology_of(regions, "north", epoch=2)
    )
    with pytest.raises(errors.Behind):
        await north.controller.promote(request)
    with pytest.raises(errors.NoPrimary):
        await east.put(b"key", b"later")
    again = pb.PromoteRequest(
        store_id=STORE, epoch=2, min_revision=demoted.final_revision, topology=topology_of(regions, "east", epoch=2)
    )
    await east.controller.promote(again)
    await east.put(b"key", b"later")
    wires.cut.clear()
    await eventually(lambda: same_everywhere(regions), seconds=20)
    assert west.machine.state.epoch == north.machine.state.epoch == 2


async def test_an_old_primary_that_hears_nothing_is_brought_in_line_by_the_stream(regions):
    east, north, west = regions
    await east.put(b"one", b"1")
    demoted = await east.controller.demote(pb.DemoteRequest(store_id=STORE, epoch=2))
    await eventually(lambda: north.machine.revision >= demoted.final_revision)
    shape = topology_of(regions, "north", epoch=2)
    await north.controller.promote(
        pb.PromoteRequest(store_id=STORE, epoch=2, min_revision=demoted.final_revision, topology=shape)
    )
    # Nobody tells the others of the new topology: only the stream does.
    await north.put(b"two", b"2")
    await eventually(lambda: same_everywhere(regions))
    assert not east.machine.state.primary
    assert not east.controller.write_gate.open
    await eventually(lambda: east.replication.sender.targets == ())
    assert west.contents() == east.contents() == north.contents()


async def test_the_stream_keeps_up_while_compaction_goes_on(regions):
    east, *_ = regions
    for number in range(60):
        await east.put(b"key", b"%d" % number)
        if number % 20 == 19:
            await eventually(lambda: same_everywhere(regions))
            entry = pb.LogEntry(compaction=pb.Compaction(revision=east.machine.revision))
            await east.group.propose(entry.SerializeToString(), timeout_seconds=5)
    await eventually(lambda: same_everywhere(regions))
    assert len(await hashes(regions, east.machine.revision)) == 1


async def test_an_idle_region_hears_of_a_compaction_and_so_does_one_that_was_stopped(regions):
    east, north, west = regions
    for number in range(10):
        await east.put(b"key", b"%d" % number)
    await eventually(lambda: same_everywhere(regions))
    await west.stop()
    entry = pb.LogEntry(compaction=pb.Compaction(revision=east.machine.revision - 2))
    assert await east.group.propose(entry.SerializeToString(), timeout_seconds=10) is None
    await eventually(lambda: north.machine.compact_revision == east.machine.compact_revision)
    index = north.machine.applied_index
    await west.start()
    await eventually(lambda: west.machine.compact_revision == east.machine.compact_revision)
    assert north.machine.applied_index == index, "told once, and not again with every look"
