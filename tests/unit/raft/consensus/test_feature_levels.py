"""What a replica knows of the others' versions, and that nothing is proposed which one of them may not know."""

from __future__ import annotations

from pathlib import Path

import pytest
from rstore_api.errors import FeatureNotActive
from unit.raft.cluster import Cluster, eventually


def _admit(entry: bytes, level: int) -> None:
    if entry.startswith(b"new") and level < 2:
        raise FeatureNotActive


async def test_a_new_kind_is_proposed_once_every_replica_has_reported_its_level(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, 3)
    cluster.feature_levels = {"n0": 2, "n1": 2}
    cluster.admit = _admit
    await cluster.start()
    try:
        leader = await cluster.wait_leader()
        await cluster.groups[leader].propose(b"old", timeout_seconds=5)
        assert cluster.groups[leader].status().feature_level == 1
        with pytest.raises(FeatureNotActive):
            await cluster.groups[leader].propose(b"new", timeout_seconds=5)

        await cluster.stop("n2")
        leader = await cluster.wait_leader(other_than="n2")
        with pytest.raises(FeatureNotActive):  # it may come back as it was
            await cluster.groups[leader].propose(b"new", timeout_seconds=5)

        cluster.feature_levels["n2"] = 3
        await cluster.start("n2")
        await eventually(lambda: cluster.groups[leader].status().feature_level == 2, "the report of the last replica")
        await cluster.groups[leader].propose(b"new", timeout_seconds=5)
        await eventually(lambda: cluster.machines["n2"].values[-1:] == [b"new"], "the entry everywhere")

        other = next(name for name in ("n0", "n1") if name != leader)
        await cluster.stop(other)
        cluster.feature_levels[other] = 1
        await cluster.start(other)
        await eventually(lambda: cluster.groups[leader].status().feature_level == 1, "an earlier version is noticed")
    finally:
        await cluster.stop()
    assert not cluster.failures
