"""Which volumes have to be replaced, as the scheduler reports it."""

from __future__ import annotations

import pytest
from rstore_operator.planning.moving import is_away_from_volume

SELECTOR = "2 node(s) didn't match Pod's node affinity/selector"
VOLUME, NEWER = "1 node(s) had volume node affinity conflict", "1 node(s) didn't match PersistentVolume's node affinity"
END = ". preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."


@pytest.mark.parametrize(
    ("reasons", "away"),
    [
        (f"{SELECTOR}, {VOLUME}{END}", True),
        (f"{SELECTOR}, {NEWER}{END}", True),
        (f"{VOLUME}.", True),
        (VOLUME, True),
        (f"{SELECTOR}{END}", False),
        (f"{VOLUME}, 1 node(s) were unschedulable{END}", False),
        (f"{VOLUME}, 1 node(s) had untolerated taint {{node.kubernetes.io/not-ready: }}{END}", False),
        (f"{VOLUME}, 1 Insufficient cpu{END}", False),
        ("pod has unbound immediate PersistentVolumeClaims.", False),
    ],
)
def test_only_a_placement_that_excludes_the_volume_counts(reasons: str, away: bool) -> None:
    assert is_away_from_volume(f"Unschedulable: 0/3 nodes are available: {reasons}") is away


def test_other_problems_of_a_pod_do_not_count() -> None:
    assert not is_away_from_volume("")
    assert not is_away_from_volume(f"ImagePullBackOff: {VOLUME}")
