"""An unplanned failover with real machines, Raft and gRPC: tenure, fence, wait, jump, quarantine, rejoin."""

from __future__ import annotations

import asyncio
from pathlib import Path

from rstore_api.proto import rstore_pb2 as pb
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

TENURE = 1.0
JUMP = 10**9


async def test_the_old_primary_loses_its_tenure_and_comes_back_without_its_tail(tmp_path: Path) -> None:
    wires, outside = Wires(), Wires()
    east = RealRegion("east", tmp_path / "east", wires, tenure_seconds=TENURE)
    west, asia = (RealRegion(name, tmp_path / name, outside, tenure_seconds=TENURE) for name in ("west", "asia"))
    regions = [east, west, asia]
    try:
        await bootstrap_all(regions, "east")
        await eventually(lambda: east.replication is not None and east.replication.tenure.held(1))
        shared = await east.put(b"k", b"shared")
        await eventually(lambda: west.machine.revision == asia.machine.revision == shared)

        # The primary region reaches nobody any more, and writes on for a while.
        wires.cut = {west.address, asia.address}
        await wires.break_all()
        last = [await east.put(b"k", b"lost"), await east.put(b"l", b"lost")][-1]
        fenced = [await region.controller.fence(pb.FenceRequest(store_id=STORE, epoch=2)) for region in (west, asia)]
        assert [answer.revision for answer in fenced] == [shared, shared]
        await asyncio.sleep(max(answer.remaining_grant_ms for answer in fenced) / 1000)
        assert not east.replication.tenure.held(1)

        shape = topology_of(regions, "west", epoch=2)
        request = pb.PromoteRequest(store_id=STORE, epoch=2, min_revision=shared, topology=shape, revision_jump=JUMP)
        promoted = await west.controller.promote(request)
        assert promoted.first_revision == shared + JUMP + 1
        assert await west.controller.promote(request) == promoted
        await asia.controller.set_topology(pb.SetTopologyRequest(store_id=STORE, topology=shape))
        await eventually(lambda: west.replication.tenure.held(2))
        revision = await west.put(b"m", b"new")
        await eventually(lambda: asia.machine.revision == revision)

        await eventually(lambda: same_everywhere(regions))
        assert len(await hashes(regions, revision)) == 1
        assert east.contents()[b"k"][0] == b"shared"
        assert b"l" not in east.contents()
        (tail,) = east.controller.status().quarantined
        assert (tail.epoch, tail.first_revision, tail.last_revision, tail.count) == (1, shared + 1, last, 2)
        assert tail.replaced_by_epoch == 2
        assert not west.controller.status().quarantined
        await eventually(lambda: (found := west.lag("east")) is not None and found.lag_revisions == 0)
    finally:
        for region in regions:
            await region.stop()
        await wires.break_all()
        await outside.break_all()
