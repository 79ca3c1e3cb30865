"""Regions rejoin with tails of their own: long ones, several failovers in a row, full disks. Machines, Raft and gRPC
are real."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from rstore_api.errors import NoLeader, NoSpace, StoreError
from rstore_api.proto import rstore_pb2 as pb
from rstore_replica.mvcc.tails.file import read_rows
from unit.replication.fakes.regions import eventually
from unit.replication.real_regions import (
    STORE,
    RealRegion,
    Wires,
    bootstrap_all,
    hashes,
    same_everywhere,
    topology_of,
)

JUMP = 10**9


class Regions:
    """Three regions, each with wires of its own, and who is primary."""

    def __init__(self, directory: Path, **knobs: float) -> None:
        self.wires = {name: Wires() for name in ("east", "west", "asia")}
        self.all = [RealRegion(name, directory / name, wires, **knobs) for name, wires in self.wires.items()]
        self.directory = directory
        self.east, self.west, self.asia = self.all
        self.primary = self.east
        self.epoch = 1

    def addresses(self) -> set[str]:
        return {region.address for region in self.all}

    async def cut(self, *regions: RealRegion) -> None:
        """These reach nobody, and nobody reaches them."""
        for region in self.all:
            wires = self.wires[region.name]
            wires.cut = self.addresses() if region in regions else {other.address for other in regions}
            await wires.break_all()

    async def fail_over(self, target: RealRegion) -> None:
        """What the operator does, with those that can be reached."""
        self.epoch += 1
        shape = topology_of(self.all, target.name, epoch=self.epoch)
        request = pb.PromoteRequest(store_id=STORE, epoch=self.epoch, topology=shape, revision_jump=JUMP)
        await target.controller.promote(request)
        self.primary = target

    async def tell_everybody(self) -> None:
        shape = topology_of(self.all, self.primary.name, epoch=self.epoch)
        for region in self.all:
            await region.controller.set_topology(pb.SetTopologyRequest(store_id=STORE, topology=shape))

    async def converged(self) -> None:
        await eventually(lambda: same_everywhere(self.all), seconds=30)
        assert len(await hashes(self.all, self.primary.machine.revision)) == 1

    def quarantined(self, region: RealRegion) -> list[tuple[bytes, bytes]]:
        found = []
        for tail in region.machine.quarantined:
            found += [(row.key, row.value) for row in read_rows(region.machine.quarantine.path(tail.file))]
        return found


@asynccontextmanager
async def three_regions(directory: Path, **knobs: float) -> AsyncIterator[Regions]:
    regions = Regions(directory, **knobs)
    try:
        await bootstrap_all(regions.all, "east")
        yield regions
    finally:
        for region in regions.all:
            await region.stop()
        for wires in regions.wires.values():
            await wires.break_all()


async def test_every_region_comes_back_with_a_tail_and_one_is_two_epochs_behind(tmp_path: Path) -> None:
    async with three_regions(tmp_path, rewind_step_rows=3) as regions:
        east, west, asia = regions.all
        await east.put(b"shared", b"1")
        await eventually(lambda: same_everywhere(regions.all))
        await regions.cut(east)
        lost = {east: [(b"e%d" % number, b"east") for number in range(10)]}
        for key, value in lost[east]:
            await east.put(key, value)

        await regions.fail_over(west)
        await asia.controller.set_topology(
            pb.SetTopologyRequest(store_id=STORE, topology=topology_of(regions.all, "west", epoch=2))
        )
        revision = await west.put(b"kept", b"2")
        await eventually(lambda: asia.machine.revision == revision)
        await regions.cut(east, west)
        lost[west] = [(b"w%d" % number, b"west") for number in range(7)]
        for key, value in lost[west]:
            await west.put(key, value)

        await regions.fail_over(asia)
        await asia.put(b"kept too", b"3")
        await regions.cut()
        await regions.tell_everybody()
        await regions.converged()
        assert regions.quarantined(east) == lost[east]
        assert regions.quarantined(west) == lost[west]
        assert [tail.header.replaced_by_epoch for tail in east.machine.quarantined] == [3]

        await regions.cut(asia)
        lost[asia] = [(b"a%d" % number, b"asia") for number in range(4)]
        for key, value in lost[asia]:
            await asia.put(key, value)
        await regions.fail_over(east)
        await east.put(b"last", b"4")
        await regions.cut()
        await regions.tell_everybody()
        await regions.converged()
        for region, rows in lost.items():
            assert regions.quarantined(region) == rows
        assert set(east.contents()) == {b"shared", b"kept", b"kept too", b"last"}


async def test_a_long_tail_waits_for_room_and_says_so(tmp_path: Path) -> None:
    async with three_regions(tmp_path, rewind_step_rows=5, backoff_max_seconds=0.2) as regions:
        east, west, _ = regions.all
        await east.put(b"shared", b"1")
        await eventually(lambda: same_everywhere(regions.all))
        await regions.cut(east)
        for number in range(60):
            await east.put(b"lost", b"%d" % number)
        steps = 0

        def room_for_three_steps() -> StoreError | None:
            nonlocal steps
            steps += 1
            return NoSpace("the disk has no room") if steps > 3 else None

        east.machine.refusal_of_export = room_for_three_steps  # type: ignore[method-assign]
        await regions.fail_over(west)
        await west.put(b"kept", b"2")
        await regions.cut()
        await regions.tell_everybody()
        await eventually(lambda: (lag := west.lag("east")) is not None and "the disk has no room" in lag.last_error)
        status = east.controller.status()
        assert (status.leaving.phase, 0 < status.leaving.exported_rows < 60) == ("Exporting", True)
        assert not status.quarantined
        assert east.contents()[b"lost"][0] == b"59", "the old data is served, all of it"

        del east.machine.refusal_of_export
        await regions.converged()
        assert len(regions.quarantined(east)) == 60
        assert not east.controller.status().HasField("leaving")
        assert b"lost" not in east.contents()


async def test_a_region_whose_source_is_lost_while_it_undoes_can_become_primary(tmp_path: Path) -> None:
    async with three_regions(tmp_path, rewind_step_rows=5, backoff_max_seconds=0.2) as regions:
        east, west, asia = regions.all
        await east.put(b"shared", b"1")
        await eventually(lambda: same_everywhere(regions.all))
        await regions.cut(east)
        for number in range(60):
            await east.put(b"lost", b"%d" % number)
        await regions.fail_over(west)

        propose = east.group.propose

        async def until_it_undoes(entry: bytes, *, timeout_seconds: float) -> object:
            leaving = east.machine.state.leaving
            if leaving is not None and leaving.phase == "Undoing":
                raise NoLeader
            return await propose(entry, timeout_seconds=timeout_seconds)

        east.group.propose = until_it_undoes  # type: ignore[method-assign]
        await regions.cut()
        await regions.tell_everybody()
        await eventually(lambda: (held := east.machine.state.leaving) is not None and held.phase == "Undoing")
        assert set(east.contents()) == {b"shared"}
        await regions.cut(west)
        east.group.propose = propose  # type: ignore[method-assign]
        await regions.fail_over(east)
        assert east.machine.state.leaving is None
        assert set(east.contents()) == {b"shared"}
        await east.put(b"kept", b"3")
        await regions.cut()
        await regions.tell_everybody()
        await regions.converged()
        assert len(regions.quarantined(east)) == 60
        assert set(asia.contents()) == {b"shared", b"kept"}
