"""The write gap in a receipt."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace
from rstore_api.domain.kubernetes import FAILOVER_MODE, FAILOVER_TO
from rstore_operator.facts.memory import Memory
from rstore_operator.facts.observed import Observed, RegionObserved, ReplicaStatus, Tenure
from rstore_operator.failover.planned import TENURE_PATIENCE_SECONDS, is_over, receipt_of, with_writes_resumed
from rstore_operator.resource.state import PLANNED, FailoverIntent, Step, StepTime, Trigger
from unit.operator.lossy_world import LossyWorld, running

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(("promoted_after", "gap"), [(1.5, 1.5), (-0.7, 0.0)])
def test_the_gap_is_never_below_zero_though_operators_disagree_about_the_time(
    promoted_after: float, gap: float
) -> None:
    promoted_at = START + timedelta(seconds=promoted_after)
    assert receipt_of(_repointing(promoted_at), promoted_at).write_gap_seconds == gap


def _repointing(promoted_at: datetime) -> FailoverIntent:
    return FailoverIntent(
        mode=PLANNED,
        trigger=Trigger.ANNOTATION,
        from_region="east",
        to_region="west",
        from_epoch=1,
        epoch=2,
        step=Step.REPOINTING,
        started_at=START,
        steps=(StepTime(Step.REPOINTING, promoted_at),),
        promoted="west",
    )


def _observed(tenure: Tenure | None, *, epoch: int = 2, writable: bool = True) -> Observed:
    leader = ReplicaStatus("west-0", "west", "store", True, "west-0", 1, 9, epoch, epoch, True, writable, tenure=tenure)
    return Observed(regions={"west": RegionObserved("west", (), (leader,))})


HELD, NOT_HELD = Tenure(True, 0, 3000), Tenure(False, 0, 3000)


def test_the_gap_ends_when_the_new_primary_holds_its_tenure_and_not_when_it_is_promoted() -> None:
    """One second until the promotion; it asks other regions in vain for two more."""
    promoted_at = START + timedelta(seconds=1)
    intent = _repointing(promoted_at)
    for seconds in (1, 2):
        now = START + timedelta(seconds=seconds)
        intent = with_writes_resumed(intent, _observed(NOT_HELD), now)
        assert not is_over(intent, now)
    for seconds in (3, 4):
        intent = with_writes_resumed(intent, _observed(HELD), START + timedelta(seconds=seconds))
    assert is_over(intent, START + timedelta(seconds=4))
    assert receipt_of(intent, START + timedelta(seconds=4)).write_gap_seconds == 3.0


def test_the_gap_ended_while_no_operator_looked() -> None:
    """The operator that promoted was killed; the next one looks 20 s later."""
    now = START + timedelta(seconds=20)
    held = Tenure(True, 0, 3000, held_ms=18_500)
    intent = with_writes_resumed(_repointing(now), _observed(held), now)
    assert receipt_of(intent, now).write_gap_seconds == 1.5


def test_where_no_tenure_is_needed_it_ends_with_the_promotion() -> None:
    intent = with_writes_resumed(_repointing(START), _observed(None), START + timedelta(seconds=0.5))
    assert receipt_of(intent, START + timedelta(seconds=9)).write_gap_seconds == 0.5


@pytest.mark.parametrize("observed", [Observed(), _observed(HELD, epoch=1), _observed(HELD, writable=False)])
def test_only_the_tenure_of_the_new_epoch_counts(observed: Observed) -> None:
    assert with_writes_resumed(_repointing(START), observed, START).resumed_at is None


def test_a_primary_that_gets_no_tenure_does_not_hold_up_the_next_change_for_ever() -> None:
    intent, late = _repointing(START), START + timedelta(seconds=TENURE_PATIENCE_SECONDS)
    assert is_over(intent, late)
    assert receipt_of(intent, late).write_gap_seconds == TENURE_PATIENCE_SECONDS
    assert not is_over(replace(intent, step=Step.PROMOTING), late)


# ---------------------------------------------------------------------------------------------- since when
def _failed_over(world: LossyWorld) -> float:
    """How many seconds after this moment a write is acknowledged again."""
    began = world.seconds
    while not world.status.get("history"):
        world.run(0.1)
    assert world.write()
    return world.seconds - began


@pytest.mark.parametrize("away_seconds", [0.0, 3.0, 8.0])
def test_the_gap_counts_from_the_last_grant_also_when_the_operator_was_away(away_seconds: float) -> None:
    world = running()
    world.run(5)
    world.kill("us-east")
    world.now += timedelta(seconds=away_seconds)
    world.memory = Memory()
    gap = away_seconds + _failed_over(world)
    assert world.status["history"][-1]["writeGapSeconds"] == pytest.approx(gap, abs=1.5)


def test_an_operator_that_alone_did_not_see_the_primary_does_not_count_that_time() -> None:
    world = running(policy="Manual")
    world.regions["us-east"].up = False
    world.run(20)
    assert not world.status.get("failover"), "the other regions still grant it its tenure"
    world.annotations |= {FAILOVER_TO: "eu-west", FAILOVER_MODE: "forced"}
    gap = _failed_over(world)
    assert world.status["history"][-1]["writeGapSeconds"] == pytest.approx(gap, abs=1.5)


def test_a_tenure_that_only_the_witness_renewed_ends_when_the_primary_was_last_seen_to_hold_it() -> None:
    """The other region has granted nothing for a long time."""
    world = running([("us-east", 1), ("eu-west", 1)])
    world.cut.add("us-east")
    world.run(30)
    assert world.write()
    world.cut.clear()
    world.kill("us-east")
    gap = _failed_over(world)
    assert world.status["history"][-1]["writeGapSeconds"] == pytest.approx(gap, abs=1.5)
