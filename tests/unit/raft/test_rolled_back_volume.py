"""A volume that is restored from a snapshot of the disk, with whole groups over gRPC."""

from __future__ import annotations

import shutil
from pathlib import Path

from rstore_replica.raft.types import VolumeRolledBackError
from unit.raft.cluster import Cluster, eventually


async def test_the_replica_is_recognised_and_filled_again_as_a_new_one(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, 3)
    await cluster.start()
    leader = await cluster.wait_leader()
    victim = next(name for name in cluster.groups if name != leader)
    await cluster.groups[leader].propose(b"before", timeout_seconds=5)
    await cluster.stop(victim)
    shutil.copytree(tmp_path / victim, tmp_path / "saved")
    await cluster.start(victim)
    for number in range(5):
        await cluster.groups[leader].propose(b"%d" % number, timeout_seconds=5)
    await eventually(lambda: len(cluster.machines[victim].values) == 6, "the replica follows")
    await cluster.stop(victim)
    shutil.rmtree(tmp_path / victim)
    shutil.copytree(tmp_path / "saved", tmp_path / victim)
    await cluster.start(victim)
    await eventually(lambda: victim in cluster.failures, "the volume is recognised")
    assert isinstance(cluster.failures.pop(victim), VolumeRolledBackError)
    await cluster.stop(victim)
    await cluster.start(victim)
    await eventually(lambda: cluster.groups[victim]._core.is_voter, "it counts again, under its new identity")
    await eventually(lambda: len(cluster.machines[victim].values) == 6, "it has everything")
    await cluster.stop()
    assert cluster.failures == {}
