"""What status shows of a region: what was seen of it in, its role, phase and message out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from rstore_operator.facts.observed import Pod, Progress, RegionObserved, ReplicaStatus, Staged
from rstore_operator.facts.truth import Truth
from rstore_operator.planning.conditions.lacking_pods import NOT_STARTED, Lacking
from rstore_operator.planning.conditions.regions_status import region_status, round_lag
from rstore_operator.resource.state import RegionStatus

TRUTH = Truth(frozenset({"s"}), "us", 1, 1, 1)
UNFORMED = Truth(frozenset(), "", 0, 0, 0)
LEADER = ReplicaStatus("eu-0", "eu", "s", True, "eu-0", 4, 20, 1, 1, False, False)
LAG = Progress("eu", True, 18, 2, 100, 0.5)
LACKING = Lacking(NOT_STARTED, "eu-2: its volume is not bound", lasts=True)


def region(ready: int = 3, leader: ReplicaStatus | None = LEADER, name: str = "eu", pods: int = 3) -> RegionObserved:
    seen = tuple(Pod(f"{name}-{i}", name, "10.0.0.1", i < ready) for i in range(pods))
    return RegionObserved(name, seen, (replace(leader, region=name),) if leader else ())


def was(phase: str, **more: Any) -> RegionStatus:
    return RegionStatus("eu", phase=phase, replicas=3, revision=9, acked_revision=8, **more)


AWAY = region(0, None)
FOLLOWER = region(0, replace(LEADER, is_leader=False))
FRESH = replace(LEADER, store_id="")
STAGED = replace(LEADER, staged=Staged(7, 12_345))
ROWS: list[tuple[RegionObserved, RegionStatus, Progress | None, Truth, bool, Lacking | None, tuple[str, str, str]]] = [
    (region(), was("Ready"), LAG, TRUTH, False, None, ("Secondary", "Ready", "")),
    (region(), was("Creating"), LAG, TRUTH, False, None, ("Secondary", "Ready", "")),
    (region(2), was("Ready"), LAG, TRUTH, False, None, ("Secondary", "Degraded", "")),
    (region(2), was("Creating"), LAG, TRUTH, False, None, ("Secondary", "Creating", "")),
    (region(), was("Ready"), None, UNFORMED, False, None, ("Unknown", "Ready", "")),
    (region(leader=FRESH), was("Pending"), None, UNFORMED, False, None, ("Unknown", "Creating", "")),
    (region(), was("Ready"), replace(LAG, connected=False, last_error="refused"), TRUTH, False, None,
     ("Secondary", "Ready", "refused")),
    (region(leader=STAGED), was("Ready"), LAG, TRUTH, False, None,
     ("Secondary", "CatchingUp", "receives a snapshot of revision 7, 12,000 rows so far")),
    (region(leader=replace(LEADER, leaving="leaves a tail")), was("Ready"), LAG, TRUTH, False, None,
     ("Secondary", "Ready", "leaves a tail")),
    (region(name="us"), was("Ready"), None, TRUTH, False, None, ("Primary", "Ready", "")),
    (AWAY, was("Ready"), None, TRUTH, True, None, ("Secondary", "Degraded", "no replica answers")),
    (AWAY, was("Ready"), None, TRUTH, False, None, ("Secondary", "Lost", "no replica answers")),
    (AWAY, was("Lost"), None, TRUTH, True, None, ("Secondary", "Lost", "no replica answers")),
    (AWAY, was("Ready"), None, TRUTH, False, LACKING, ("Secondary", "Lost", LACKING.text)),
    (FOLLOWER, was("Ready"), None, TRUTH, False, None, ("Secondary", "Lost", "no replica leads")),
    (AWAY, was("Pending"), None, UNFORMED, False, None, ("Unknown", "Creating", "no replica answers")),
    (region(0, None, pods=0), was("Pending"), None, UNFORMED, False, None, ("Unknown", "Pending", "there are no pods")),
]  # fmt: skip


@pytest.mark.parametrize(("seen", "before", "lag", "truth", "electing", "lacking", "expected"), ROWS)
def test_a_region(
    seen: RegionObserved,
    before: RegionStatus,
    lag: Progress | None,
    truth: Truth,
    electing: bool,
    lacking: Lacking | None,
    expected: tuple[str, str, str],
) -> None:
    status = region_status(seen, before, 3, lag, truth, electing, lacking)
    assert (status.role, status.phase, status.message) == expected
    assert status.ready_replicas == seen.ready_pods
    if seen.leader is None:
        assert (status.revision, status.connected) == (9, False), "what was known last stays"
    elif lag is not None:
        assert (status.revision, status.lag_revisions, status.connected) == (20, 2, lag.connected)


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.0004, 0.0), (0.12345, 0.123), (9.87, 9.9), (59.96, 60.0), (123.4, 123.0)]
)
def test_a_lag_has_fewer_digits_the_larger_it_is(seconds: float, shown: float) -> None:
    assert round_lag(seconds) == shown
