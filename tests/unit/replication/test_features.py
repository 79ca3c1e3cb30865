"""A command is proposed once every replica of every region has reported that it knows its level."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from rstore_api.domain.topology import RegionTopology, Topology
from rstore_api.errors import FeatureNotActive
from rstore_replica.mvcc.state import RegionState
from rstore_replica.replication.features import Features, active_level

REGIONS = ("ap", "eu", "us")
TOPOLOGY = Topology(1, 1, "us", tuple(RegionTopology(name, ()) for name in REGIONS))


def state(region: str = "us", *, feature_level: int = 1, alone: bool = False) -> RegionState:
    topology = None if alone else TOPOLOGY
    return RegionState(region, "s", 1, 1, region == "us", topology=topology, feature_level=feature_level)


@pytest.mark.parametrize(
    ("region", "own_level", "reported", "active"),
    [
        ("us", 2, {}, 1),
        ("us", 2, {"eu": 2}, 1),
        ("us", 2, {"eu": 2, "ap": 1}, 1),
        ("us", 2, {"eu": 2, "ap": 3}, 2),
        ("us", 3, {"eu": 2, "ap": 3}, 2),
        ("us", 1, {"eu": 2, "ap": 2}, 1),
        ("eu", 2, {}, 1),
        ("eu", 2, {"us": 1, "ap": 2}, 1),
        ("eu", 2, {"us": 2}, 2),
        ("eu", 1, {"us": 2}, 1),
    ],
)
def test_the_least_of_all_regions_is_active(region: str, own_level: int, reported: dict[str, int], active: int) -> None:
    assert active_level(state(region), region, own_level, reported) == active


def test_a_region_without_others_uses_its_own_level() -> None:
    assert active_level(state(alone=True), "us", 2, {}) == 2


def test_a_level_that_was_applied_needs_no_reports() -> None:
    assert active_level(state(feature_level=2), "us", 1, {}) == 2


def test_a_command_is_refused_until_the_last_region_has_reported() -> None:
    features = Features(region="us", machine=SimpleNamespace(state=state()), required_level=len)  # type: ignore[arg-type]
    features.report("eu", 2)
    features.report("ap", 0)  # a version that has no levels
    features.admit(b"1", 2)
    with pytest.raises(FeatureNotActive, match="needs feature level 2; only level 1 is known to all"):
        features.admit(b"22", 2)
    features.report("ap", 2)
    features.admit(b"22", 2)
    with pytest.raises(FeatureNotActive):
        features.admit(b"22", 1)
    features.report("ap", 1)  # went back to an earlier version before anything was applied
    with pytest.raises(FeatureNotActive):
        features.admit(b"22", 2)


def test_only_regions_of_the_topology_are_remembered() -> None:
    machine = SimpleNamespace(state=state())
    features = Features(region="us", machine=machine, required_level=len)  # type: ignore[arg-type]
    for number in range(100):
        features.report(f"stranger-{number}", 2)
    features.report("eu", 2)
    features.report("ap", 2)
    assert features._reported == {"eu": 2, "ap": 2}
    machine.state = RegionState("us", "s", 1, 1, True, topology=Topology(1, 2, "us", TOPOLOGY.regions[1:]))
    features.report("eu", 3)
    assert features._reported == {"eu": 3}, "ap has left the store"
