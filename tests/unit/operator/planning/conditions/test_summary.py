"""What ``kubectl get`` shows in a line, and what versions of the software run."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from rstore_operator.facts.observed import Observed, Pod, RegionObserved, ReplicaStatus
from rstore_operator.planning.conditions.summary import feature_level, summary
from rstore_operator.resource.state import (
    AUTOMATIC,
    FORCED,
    PLANNED,
    Outcome,
    Receipt,
    RegionStatus,
    Summary,
)

US = RegionStatus("us", role="Primary", phase="Ready", replicas=3, ready_replicas=3)
EU = RegionStatus("eu", role="Secondary", phase="Ready", replicas=3, ready_replicas=2, lag_seconds=0.5, connected=True)


@pytest.mark.parametrize(
    ("regions", "expected"),
    [
        ((), Summary("0/0", "0/0", "-")),
        ((US,), Summary("1/1", "3/3", "-")),
        ((US, EU), Summary("2/2", "5/6", "500ms")),
        ((US, RegionStatus("eu", role="Secondary", phase="Lost", replicas=3)), Summary("1/2", "3/6", "unknown")),
        ((US, RegionStatus("eu", phase="Removing", replicas=3)), Summary("1/1", "3/3", "-")),
    ],
)
def test_the_summary(regions: tuple[RegionStatus, ...], expected: Summary) -> None:
    assert summary(regions, Observed(), (), Summary()) == expected


AT, LATER = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
MOVED = Receipt(from_region="us", to_region="eu", finished_at=AT, mode=PLANNED)


@pytest.mark.parametrize(
    ("newest", "since"),
    [
        (Receipt(from_region="eu", to_region="us", finished_at=LATER, mode=AUTOMATIC), LATER),
        (Receipt(outcome=Outcome.ABORTED, from_region="eu", to_region="us", finished_at=LATER, mode=PLANNED), AT),
        (Receipt(outcome=Outcome.ABORTED, from_region="eu", to_region="ap", finished_at=LATER, mode=FORCED), LATER),
        (Receipt(outcome=Outcome.ABORTED, from_region="eu", to_region="eu", finished_at=LATER, mode=FORCED), AT),
    ],
)
def test_the_primary_is_so_since_the_last_change_that_moved_it(newest: Receipt, since: datetime) -> None:
    assert summary((), Observed(), (MOVED, newest), Summary()).primary_since == since


def _observed(*replicas: tuple[str, int], silent: int = 0) -> Observed:
    pods = tuple(Pod(f"us-{number}", "us", "10.0.0.1", True) for number in range(len(replicas) + silent))
    answers = tuple(
        ReplicaStatus(
            f"us-{number}", "us", "s", False, "", 1, 1, 1, 1, False, False, version=version, feature_level=level
        )
        for number, (version, level) in enumerate(replicas)
    )
    return Observed(regions={"us": RegionObserved("us", pods, answers)})


def test_all_versions_that_run_are_named_and_the_last_ones_stay_while_nobody_answers() -> None:
    assert summary((), _observed(("0.2.0", 2), ("0.1.0", 1)), (), Summary()).version == "0.1.0, 0.2.0"
    assert summary((), _observed(silent=2), (), Summary(version="0.1.0")).version == "0.1.0"


def test_the_feature_level_is_that_which_all_know_once_all_have_answered() -> None:
    assert feature_level(_observed(("0.2.0", 2), ("0.1.0", 1)), 0) == 1
    assert feature_level(_observed(("0.2.0", 2), silent=1), 1) == 1
    assert feature_level(_observed(("0.2.0", 2), ("0.2.0", 3)), 1) == 2
    assert feature_level(Observed(), 2) == 2
