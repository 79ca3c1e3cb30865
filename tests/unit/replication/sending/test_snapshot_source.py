"""Snapshot catch-up with real machines, Raft and gRPC: fresh and long absent regions, breaks, restarts, new epochs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from rstore_api import errors
from rstore_api.messages import history_of
from rstore_api.proto import rstore_pb2 as pb
from rstore_replica.replication.sending import snapshot_source
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

JUMP = 10**9


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_source, "CHUNK_ROWS", 10)


class Gate:
    """Snapshots are sent up to this key."""

    def __init__(self) -> None:
        self.key = b"\xff"

    def until(self, number: int) -> None:
        """Up to a key of :func:`fill`."""
        self.key = b"key-%04d" % number


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    made = Gate()
    next_chunk = snapshot_source.SnapshotSource.next_chunk

    def gated(source: snapshot_source.SnapshotSource) -> pb.SnapshotChunk | None:
        return next_chunk(source) if source._scanned < made.key else None

    monkeypatch.setattr(snapshot_source.SnapshotSource, "next_chunk", gated)
    return made


@pytest.fixture
def wires() -> Wires:
    return Wires()


@pytest.fixture
async def regions(tmp_path, wires) -> AsyncIterator[list[RealRegion]]:
    """Three regions of one store; nobody reaches "west"."""
    made = [RealRegion(name, tmp_path / name, wires, tenure_seconds=1.0) for name in ("east", "north", "west")]
    try:
        await bootstrap_all(made, "east")
        wires.cut.add(made[2].address)
        await wires.break_all()
        await eventually(lambda: made[0].lag("north").connected)
        yield made
    finally:
        for region in made:
            await region.stop()
        await wires.break_all()


async def fill(region: RealRegion, first: int, last: int, size: int = 20) -> None:
    """Puts keys ``first`` to ``last``, several at a time."""
    for start in range(first, last, 50):
        numbers = range(start, min(start + 50, last))
        await asyncio.gather(*[region.put(b"key-%04d" % number, b"v" * size) for number in numbers])


async def compact(region: RealRegion, revision: int = 0) -> None:
    """What a client's Compact does, and all that it makes removable is removed."""
    command = pb.Compaction(revision=revision or region.machine.revision)
    assert await region.group.propose(pb.LogEntry(compaction=command).SerializeToString(), timeout_seconds=5) is None
    while region.machine.compact_step(10_000):
        pass


async def all_equal(regions: list[RealRegion]) -> None:
    await eventually(lambda: same_everywhere(regions), seconds=20)
    assert len(await hashes(regions, regions[0].machine.revision)) == 1


async def test_a_fresh_region_gets_a_snapshot_and_then_what_was_written_meanwhile(regions, wires):
    east, _, west = regions
    await fill(east, 0, 300)
    await east.put(b"key-0000", b"twice")
    await compact(east)
    revisions: list[int] = []
    west.machine.subscribe(revisions.append)
    done = asyncio.Event()

    async def write_on() -> None:
        number = 0
        while not done.is_set():
            number += 1
            await east.put(b"during-%04d" % (number % 40), b"%d" % number)
            if number % 10 == 0:
                await compact(east)

    writing = asyncio.create_task(write_on())
    wires.cut.clear()
    await eventually(lambda: west.machine.revision > 302, seconds=20)
    done.set()
    await writing
    await all_equal(regions)
    assert revisions[0] >= 302, "nothing is visible before all of it is"
    assert west.machine.compact_revision >= 302
    await eventually(lambda: east.lag("west").lag_revisions == 0)
    assert east.lag("west").lag_seconds == 0
    assert not east.controller.status().transfers
    assert not west.controller.status().HasField("staged")


async def test_a_region_that_was_away_beyond_the_compaction_comes_back(regions, wires):
    east, _, west = regions
    wires.cut.clear()
    await fill(east, 0, 100)
    await all_equal(regions)
    await west.stop()
    await fill(east, 50, 250)
    await compact(east)
    old = west.address
    await west.start()
    assert west.address == old
    await all_equal(regions)
    assert west.machine.compact_revision == east.machine.compact_revision


async def test_a_lag_alone_never_needs_a_snapshot(regions, wires):
    """Clients that compact right up to the newest revision do not outrun a region that is connected."""
    east, north, _ = regions
    await east.put(b"key", b"first")
    await eventually(lambda: same_everywhere([east, north]))
    for number in range(60):
        await east.put(b"key", b"%d" % number)
        await compact(east)
    await eventually(lambda: same_everywhere([east, north]))
    assert north.machine._position.newest_generation == 0
    assert len(await hashes([east, north], east.machine.revision)) == 1


async def staged(region: RealRegion, rows: int) -> None:
    """Waits until the region has committed so many rows of a snapshot."""
    await eventually(lambda: region.machine.staged is not None and region.machine.staged.rows >= rows, seconds=20)


def sent_to(source: RealRegion) -> list[int]:
    """How many rows of each snapshot it knows to be committed."""
    return [transfer.rows for transfer in source.controller.status().transfers]


@pytest.mark.parametrize("who", ["link", "sender", "receiver"])
async def test_a_transfer_that_breaks_goes_on_where_it_stopped(regions, wires, who, gate):
    east, north, west = regions
    await fill(east, 0, 200)
    await eventually(lambda: same_everywhere([east, north]))
    await compact(east)
    revision = east.machine.revision
    gate.until(0)
    wires.cut.clear()
    for rows in (50, 100, 150):
        gate.until(rows)
        await staged(west, rows)
        await eventually(lambda: sent_to(east) == [west.controller.status().staged.rows])
        shown = west.controller.status().staged
        assert (shown.revision, history_of(shown.history)) == (revision, east.machine.state.history)
        (transfer,) = east.controller.status().transfers
        assert (transfer.region, transfer.revision, transfer.size_bytes) == ("west", revision, shown.size_bytes)
        if who == "link":
            await wires.break_all()
        else:
            restarted = east if who == "sender" else west
            await restarted.stop()
            await restarted.start()
        assert west.machine.staged is not None
        assert rows <= west.machine.staged.rows <= rows + 10
        assert west.machine.revision == 1
    gate.until(9999)
    await all_equal(regions)
    assert west.machine._position.newest_generation == 1, "it was begun once"
    assert west.machine.compact_revision == revision


async def test_what_the_new_sender_cannot_read_any_more_is_begun_anew(regions, wires, gate):
    east, north, west = regions
    await fill(east, 0, 100)
    await eventually(lambda: same_everywhere([east, north]))
    await compact(east)
    gate.until(50)
    wires.cut.clear()
    for _ in range(2):
        await staged(west, 50)
        await east.stop()
        wires.cut.add(west.address)
        await east.start()
        await east.put(b"key-0001", b"again")
        await eventually(lambda: same_everywhere([east, north]), seconds=20)
        await compact(east)
        await eventually(lambda: east.machine._position.swept_revision == east.machine.revision)
        wires.cut.clear()
        await eventually(lambda: west.machine.staged.revision == east.machine.revision)
    gate.until(9999)
    await all_equal(regions)
    assert west.machine._position.newest_generation == 4, "generations 1, 2 and 4: 3 would be in the place of 0"


async def test_an_epoch_that_begins_during_a_transfer_goes_on_with_it(regions, wires, gate):
    east, north, west = regions
    await fill(east, 0, 200)
    await compact(east)
    revision = east.machine.revision
    # Had its successor not compacted as well, it would send the rows instead.
    await eventually(lambda: same_everywhere([east, north]) and north.machine.compact_revision == revision)
    gate.until(50)
    wires.cut.clear()
    await staged(west, 50)
    await switch_over(regions, east, north, 2)
    gate.until(9999)
    last = await north.put(b"key-0000", b"of the second epoch")
    await all_equal(regions)
    assert west.machine.compact_revision == revision, "the snapshot of the first epoch was completed by its successor"
    assert west.machine._position.newest_generation == 1
    assert west.contents()[b"key-0000"] == (b"of the second epoch", 2, last)


async def fail_over(regions: list[RealRegion], target: RealRegion, epoch: int) -> None:
    """By hand: the target is promoted with a jump, and whoever is not cut off is told."""
    shape = topology_of(regions, target.name, epoch=epoch)
    await target.controller.fence(pb.FenceRequest(store_id=STORE, epoch=epoch))
    request = pb.PromoteRequest(store_id=STORE, epoch=epoch, topology=shape, revision_jump=JUMP)
    await target.controller.promote(request)


@pytest.mark.parametrize("compacts", ["the old primary", "the new primary", "both"])
async def test_a_tail_above_a_compacted_fork_goes_to_quarantine_and_a_snapshot_follows(regions, wires, compacts):
    east, north, west = regions
    await fill(east, 0, 100)
    await eventually(lambda: same_everywhere([east, north]))
    fork = east.machine.revision
    wires.cut |= {region.address for region in regions}
    await wires.break_all()
    for number in range(30):
        await east.put(b"tail-%02d" % (number % 20), b"lost %d" % number)
    last = east.machine.revision
    if compacts != "the new primary":
        await compact(east)
    await fail_over(regions, north, 2)
    await fill(north, 0, 60)
    if compacts != "the old primary":
        await compact(north)
    wires.cut = {west.address}
    await eventually(lambda: same_everywhere([east, north]), seconds=20)
    assert len(await hashes([east, north], north.machine.revision)) == 1
    assert b"tail-01" not in east.contents()
    (tail,) = east.controller.status().quarantined
    assert (tail.first_revision, tail.last_revision, tail.fork_revision) == (fork + 1, last, fork)
    assert tail.count == (30 if compacts == "the new primary" else 20), "what compaction had left"
    assert east.machine.state.leaving is None


async def test_what_another_chain_staged_is_never_gone_on_with(regions, wires, gate):
    """The old primary sent a part of its own tail as a snapshot; in the new history that revision does not exist."""
    east, north, west = regions
    gate.until(50)
    await fill(east, 0, 100)
    await eventually(lambda: same_everywhere([east, north]))
    await compact(north)
    wires.cut.add(north.address)
    await wires.break_all()
    await fill(east, 0, 100, size=7)
    await compact(east)
    wires.cut = {north.address}
    await staged(west, 50)
    wires.cut |= {west.address}
    await wires.break_all()
    assert west.machine.revision == 1
    await fail_over(regions, north, 2)
    await north.put(b"key-0099", b"new")
    await compact(north)
    gate.until(9999)
    wires.cut.clear()
    await all_equal(regions)
    assert {value for value, _, _ in west.contents().values()} == {b"v" * 20, b"new"}


async def test_a_region_without_room_takes_nothing_and_goes_on_when_there_is_some(regions, wires, gate, monkeypatch):
    east, _, west = regions
    await fill(east, 0, 100)
    await compact(east)
    gate.until(50)
    wires.cut.clear()
    await staged(west, 50)
    with monkeypatch.context() as disk:
        disk.setattr(west.machine, "refusal_of_staging", lambda: errors.NoSpace("no room for a snapshot"))
        gate.until(9999)
        await eventually(lambda: "no room for a snapshot" in east.lag("west").last_error)
        assert west.machine.staged.rows < 70
        assert west.machine.revision == 1
    await all_equal(regions)


async def test_memory_is_bounded_by_the_window_on_both_sides(tmp_path, wires, monkeypatch):
    """The receiving region commits slowly; the store is many windows large, and some rows are larger than a chunk."""
    window, chunk, large = 16_000, 2_000, 5_000
    knobs = {"window_bytes": window, "max_batch_bytes": chunk}
    east, west = (RealRegion(name, tmp_path / name, wires, **knobs) for name in ("east", "west"))
    sent, proposed, proposing, full = [], [], 0, asyncio.Event()
    next_chunk = snapshot_source.SnapshotSource.next_chunk

    def counted(source: snapshot_source.SnapshotSource) -> pb.SnapshotChunk | None:
        found = next_chunk(source)
        sent.append(source.window.unacked_bytes)
        if source.window.full:
            full.set()
        return found

    monkeypatch.setattr(snapshot_source.SnapshotSource, "next_chunk", counted)
    try:
        await bootstrap_all([east, west], "east")
        wires.cut.add(west.address)
        await wires.break_all()
        await fill(east, 0, 500, size=100)
        for number in range(0, 500, 100):
            await east.put(b"key-%04d" % number, b"v" * large)
        await compact(east)
        propose = west.group.propose

        async def slowly(entry: bytes, *, timeout_seconds: float) -> object:
            nonlocal proposing
            proposing += len(entry)
            proposed.append(proposing)
            try:
                await asyncio.wait_for(full.wait(), 30)  # nothing is committed before the source has to wait
                await asyncio.sleep(0.005)
                return await propose(entry, timeout_seconds=timeout_seconds)
            finally:
                proposing -= len(entry)

        monkeypatch.setattr(west.group, "propose", slowly)
        wires.cut.clear()
        await all_equal([east, west])
        assert sum(len(value) for value, _, _ in west.contents().values()) > 4 * window
    finally:
        for region in (east, west):
            await region.stop()
        await wires.break_all()
    assert window < max(sent) <= window + chunk + large
    assert chunk < max(proposed) <= window + chunk + large
