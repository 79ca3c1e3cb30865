"""Random faults while regions write, stream and change roles: no revision ever means two things, nothing is lost."""

from __future__ import annotations

import asyncio
import random

import pytest
from rstore_api import errors
from rstore_api.proto import rstore_pb2 as pb
from unit.replication.fakes.regions import STORE, FakeRegion, bootstrap, converged, eventually, topology


class Witness:
    """Sees every revision that any region applies."""

    def __init__(self, regions: list[FakeRegion]) -> None:
        self.meaning: dict[int, bytes] = {}
        self.violations: list[str] = []
        self._seen = {region.name: 1 for region in regions}
        for region in regions:
            region.machine.subscribe(lambda revision, region=region: self._saw(region, revision))

    def _saw(self, region: FakeRegion, revision: int) -> None:
        for number in range(self._seen[region.name] + 1, revision + 1):
            value = region.machine.values[number]
            if self.meaning.setdefault(number, value) != value:
                self.violations.append(f"revision {number} is {value!r} in {region.name}")
        self._seen[region.name] = revision


@pytest.mark.parametrize("seed", range(6))
async def test_no_revision_means_two_things_and_nothing_acknowledged_is_lost(make_region, network, seed):
    chance = random.Random(seed)
    knobs = {"max_batch_bytes": 60, "window_bytes": 400, "silence_seconds": 0.5, "stall_seconds": 0.5}
    regions = [make_region(name, replicas=2, **knobs) for name in ("east", "north", "west")]
    await bootstrap(regions, "east")
    witness = Witness(regions)
    for region in regions:
        await region.replication.start()
    primary, epoch = 0, 1
    acknowledged: dict[int, bytes] = {}
    done = asyncio.Event()

    async def writer(name: int) -> None:
        for number in range(10_000):
            if done.is_set():
                return
            value = b"%d-%d" % (name, number)
            for region in regions:
                try:
                    (answer,) = await region.write(value)
                except errors.StoreError:
                    continue
                if not isinstance(answer, errors.StoreError):
                    acknowledged[answer.header.revision] = value
                    break
            await asyncio.sleep(chance.uniform(0, 0.004))

    def fault() -> None:
        region = chance.choice(regions)
        match chance.randrange(6):
            case 0:
                network.break_all()
            case 1:
                network.delay_seconds = chance.choice([0.0, 0.0, 0.003, 0.02])
            case 2:
                region.group.commit_seconds = chance.choice([0.0, 0.0, 0.005, 0.02])
            case 3:
                region.group.lead(chance.choice([None, region.group.names[1]]))
            case 4:
                region.group.fail_next = errors.OutcomeUnknown()
            case 5:
                network.down ^= {region.addresses[0]}

    def heal() -> None:
        network.down.clear()
        for region in regions:
            region.group.lead(region.group.names[0])
            region.group.fail_next = None

    async def move() -> None:
        nonlocal primary, epoch
        heal()
        epoch += 1
        source, target = regions[primary], chance.choice(regions)
        demoted = await source.controller.demote(pb.DemoteRequest(store_id=STORE, epoch=epoch))
        await eventually(lambda: target.machine.revision >= demoted.final_revision)
        shape = topology(regions, target.name, epoch=epoch)
        await target.controller.promote(
            pb.PromoteRequest(store_id=STORE, epoch=epoch, min_revision=demoted.final_revision, topology=shape)
        )
        primary = regions.index(target)
        # Some hear of it, others only through the stream.
        for region in regions:
            if chance.random() < 0.5:
                await region.controller.set_topology(pb.SetTopologyRequest(store_id=STORE, topology=shape))

    writers = [asyncio.create_task(writer(name)) for name in range(3)]
    for _ in range(4):
        for _ in range(12):
            fault()
            await asyncio.sleep(chance.uniform(0, 0.02))
        await move()
    done.set()
    await asyncio.gather(*writers)
    heal()
    await eventually(lambda: converged(regions), what="convergence after the faults")
    assert not witness.violations
    assert len(acknowledged) > 20
    for revision, value in acknowledged.items():
        assert regions[0].machine.values[revision] == value
