"""What a failover would lose, in revisions that exist."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from msgspec import structs
from rstore_api.domain.epochs import REVISION_JUMP, EpochStart, History
from rstore_operator.facts.memory import Memory
from rstore_operator.facts.observed import FenceAnswer, Observed, ReplicaStatus
from rstore_operator.failover.loss_gate import corrected, expected_loss, loss_refusal
from rstore_operator.failover.planned import overtaken_receipt
from rstore_operator.failover.scene import Rules
from rstore_operator.failover.voting import electorate
from rstore_operator.resource.state import (
    AUTOMATIC,
    FORCED,
    PLANNED,
    FailoverIntent,
    Outcome,
    QuarantinedTail,
    Receipt,
    RegionStatus,
    Step,
    Trigger,
)

FIRST = EpochStart(1, 2, "east")
PLANNED_SECOND = EpochStart(2, 101, "east")
SECOND = EpochStart(2, REVISION_JUMP + 101, "east", 100)


@pytest.mark.parametrize(
    ("history", "last_known", "held", "lost"),
    [
        ((FIRST, PLANNED_SECOND), 120, 100, 20),
        ((FIRST, PLANNED_SECOND), 100, 100, 0),
        ((FIRST, SECOND), REVISION_JUMP + 100, 100, 0),  # the old primary began its epoch and wrote nothing
        ((FIRST, SECOND), REVISION_JUMP + 107, 100, 7),
        ((FIRST, SECOND), REVISION_JUMP + 107, REVISION_JUMP + 100, 7),
        ((FIRST, PLANNED_SECOND), REVISION_JUMP + 3, REVISION_JUMP - 4, 7),  # so many were really written
        ((FIRST,), REVISION_JUMP + 107, 100, None),  # where the second epoch began is not known
        ((FIRST, SECOND), 0, 100, None),
    ],
)
@pytest.mark.parametrize("source", ["target", "primary"])
def test_revisions_that_were_left_out_are_not_lost(
    history: History, last_known: int, held: int, lost: int | None, source: str
) -> None:
    at_target = history if source == "target" else (FIRST,)
    target = FenceAnswer("west", epoch=3, data_epoch=1, revision=held, clear_at_seconds=0.0, history=at_target)
    leader = ReplicaStatus("e-0", "east", "s", True, "e-0", 1, last_known, 2, 2, True, True, history=history)
    memory = Memory(last_leaders={"east": leader} if source == "primary" else {})
    rules, voters = Rules({}, 3000), electorate(Observed(), Memory(), ("east", "west"))
    loss = expected_loss("east", 2, last_known, target, [target], memory, voters, rules, final=False)
    assert loss.revisions == lost


def _receipt(epoch: int, kept: int, says: int, from_region: str = "west", to_region: str = "east") -> Receipt:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    cause, outcome = Trigger.PRIMARY_LOST, Outcome.SUCCEEDED
    return Receipt(cause, outcome, from_region, to_region, epoch, at, at, (), kept, 1.0, says, mode=AUTOMATIC)


def _line(*starts: tuple[int, int]) -> History:
    """Epochs, each with the last revision of the epoch before that it kept."""
    return tuple(EpochStart(epoch, parent + REVISION_JUMP, "", parent) for epoch, parent in starts)


@pytest.mark.parametrize(
    ("line", "counted"),
    [
        (_line((1, 1), (2, 16), (3, 18)), 9),  # epoch 2 left it out, whose receipt is gone
        (_line((1, 1), (2, 16), (3, REVISION_JUMP + 20)), 9),
        (_line((1, 1), (3, 16)), 4),
        ((), 9),  # not known at the moment
    ],
)
def test_a_tail_counts_for_the_failover_that_left_it_behind(line: History, counted: int) -> None:
    """Not for a later one out of the same region: that had lost its tail to another before it was primary."""
    tail = QuarantinedTail(1, 17, 20, 4, 100, "1-17-20.wal", 3, 4, fork_revision=16)
    [found] = corrected((_receipt(3, 16, 9),), (RegionStatus("west", quarantined=(tail,)),), line)
    assert found.revisions_lost == counted


def test_a_tail_counts_whichever_region_has_it() -> None:
    """A failover that was begun before it was known that another region had become primary names the one before."""
    tail = QuarantinedTail(2, 18, 18, 2, 100, "2-18-18.wal", 4, 1, fork_revision=17)
    regions = (RegionStatus("west", quarantined=(tail,)), RegionStatus("south", quarantined=(tail,)))
    [found] = corrected((_receipt(4, 17, 0, from_region="north"),), regions, _line((1, 1), (4, 17)))
    assert found.revisions_lost == 1


def test_a_part_of_a_tail_in_another_region_does_not_lower_the_count() -> None:
    part = QuarantinedTail(1, 11, 12, 2, 100, "1-11-12.wal", 2, fork_revision=10)
    whole = QuarantinedTail(1, 11, 13, 3, 150, "1-11-13.wal", 2, fork_revision=10)
    receipt, line = _receipt(2, 10, 5), _line((1, 1), (2, 10))
    [found] = corrected((receipt,), (RegionStatus("south", quarantined=(part,)),), line)
    assert found.revisions_lost == 5
    regions = (RegionStatus("west", quarantined=(whole,)), RegionStatus("south", quarantined=(part,)))
    [found] = corrected((receipt,), regions, line)
    assert found.revisions_lost == 3


def test_a_tail_counts_for_no_failover_that_kept_it() -> None:
    tail = QuarantinedTail(1, 11, 13, 3, 100, "1-11-13.wal", 3, fork_revision=10)
    kept, left = _receipt(2, 13, 0), _receipt(3, 10, 0, from_region="east", to_region="south")
    regions, line = (RegionStatus("west", quarantined=(tail,)),), _line((1, 1), (3, 10))
    assert [found.revisions_lost for found in corrected((kept, left), regions, line)] == [0, 3]


def test_a_tail_counts_for_the_failover_to_a_region_of_another_line() -> None:
    """Its last revision has a greater number than the tail's, and comes after a fork before the tail."""
    tail = QuarantinedTail(3, 5, 5, 1, 238, "3-5-5.wal", 4, 1, fork_revision=4)
    away, back = _receipt(3, 5, 0, "east", "west"), _receipt(4, REVISION_JUMP + 4, 0)
    regions, line = (RegionStatus("west", quarantined=(tail,)),), _line((1, 1), (2, 4), (4, REVISION_JUMP + 4))
    assert [found.revisions_lost for found in corrected((away, back), regions, line)] == [0, 1]


@pytest.mark.parametrize(
    ("kept", "counted"),
    [(10, [3, 1]), (12, [1, 1]), (13, [0, 3])],
    ids=["all of the tail", "a part of the tail", "nothing of the tail"],
)
def test_a_tail_counts_for_a_failover_whose_epoch_was_left_too(kept: int, counted: list[int]) -> None:
    """South was left for west, which was left for east, which had not heard of west's epoch (seed 4585 of regions)."""
    tail = QuarantinedTail(1, 11, 13, 3, 100, "1-11-13.wal", 3, 3, fork_revision=10)
    own = QuarantinedTail(2, REVISION_JUMP + 11, REVISION_JUMP + 11, 1, 50, "2.wal", 3, 1, fork_revision=10)
    first, second = _receipt(2, kept, 0, "south", "west"), _receipt(3, 10, 0, "west", "east")
    regions = (RegionStatus("south", quarantined=(tail,)), RegionStatus("west", quarantined=(own,)))
    receipts = corrected((first, second), regions, _line((1, 1), (3, 10)))
    assert [receipt.revisions_lost for receipt in receipts] == counted


@pytest.mark.parametrize(
    ("target", "known", "certain", "lost"),
    [
        ("south", 0, True, 0),  # it was that primary itself
        ("west", 0, False, None),
        ("east", 0, False, None),  # the one that the failover leaves does not have it either
        ("west", 2 * REVISION_JUMP + 25, False, 5),
    ],
)
def test_what_a_primary_of_an_attempt_before_acknowledged_counts(
    target: str, known: int, certain: bool, lost: int | None
) -> None:
    """A failover out of epoch 2 made south primary of epoch 3, which was lost at once (seed 3760 of regions)."""
    line = (FIRST, SECOND, EpochStart(3, 2 * REVISION_JUMP + 11, "south", REVISION_JUMP + 110))
    chosen = FenceAnswer(target, 4, data_epoch=3, revision=2 * REVISION_JUMP + 20, clear_at_seconds=0.0, history=line)
    other = FenceAnswer("north", 4, data_epoch=2, revision=REVISION_JUMP + 110, clear_at_seconds=0.0, history=line[:2])
    leader = ReplicaStatus("s-0", "south", "s", True, "s-0", 1, known, 3, 3, True, True, history=line)
    memory = Memory(last_leaders={"south": leader} if known else {})
    rules = Rules({}, 3000, max_data_loss_bytes=0, semi_sync=True)
    voters = electorate(Observed(), Memory(), ("east", "north", "south", "west"))
    loss = expected_loss("east", 2, REVISION_JUMP + 110, chosen, [chosen, other], memory, voters, rules, final=True)
    assert (loss.certain, loss.revisions) == (certain, lost)
    refusal = loss_refusal(loss, target, "east", 2, rules)
    assert ("bring south back" in refusal) is not certain
    assert loss_refusal(loss, target, "east", 2, rules, absent={"south"}), "nobody knows that nothing of it runs"


def test_a_primary_of_an_attempt_before_that_nobody_can_name_may_have_acknowledged_something() -> None:
    chosen = FenceAnswer("west", 4, data_epoch=3, revision=20, clear_at_seconds=0.0)
    rules, voters = Rules({}, 3000, max_data_loss_bytes=0), electorate(Observed(), Memory(), ("east", "south", "west"))
    loss = expected_loss("west", 2, 20, chosen, [chosen], Memory(), voters, rules, final=True)
    assert "bring the primary of epoch 3 back" in loss_refusal(loss, "west", "west", 2, rules)


def test_a_switchover_leaves_nothing_behind() -> None:
    tail = QuarantinedTail(1, 11, 13, 3, 100, "1-11-13.wal", 2, fork_revision=10)
    receipt = structs.replace(_receipt(2, 10, 0), mode=PLANNED)
    regions = (RegionStatus("west", quarantined=(tail,)),)
    assert corrected((receipt,), regions, _line((1, 1), (2, 10))) == (receipt,)


def test_what_was_never_acknowledged_is_counted_apart() -> None:
    """In SemiSync, a failover that kept all that was acknowledged lost nothing, whatever the old primary alone had."""
    tail = QuarantinedTail(1, 11, 13, 3, 100, "1-11-13.wal", 2, fork_revision=10)
    receipt = structs.replace(_receipt(2, 10, 0), acknowledged_kept=True)
    [found] = corrected((receipt,), (RegionStatus("west", quarantined=(tail,)),), _line((1, 1), (2, 10)))
    assert (found.revisions_lost, found.revisions_unacknowledged) == (0, 3)


@pytest.mark.parametrize("epoch", [3, 4])
def test_a_failover_that_is_resumed_after_it_ended_counts_what_it_lost(epoch: int) -> None:
    """An older status was restored, in which it was under way; the operator did not reach the new primary at first."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    intent = FailoverIntent(
        trigger=Trigger.ANNOTATION, from_region="west", to_region="west", asked_for="east", from_epoch=2, epoch=3,
        step=Step.PROMOTING, started_at=at, final_revision=2 * REVISION_JUMP + 20, aborted=True, mode=FORCED,
    )  # fmt: skip
    line = (FIRST, EpochStart(2, 17, "west"), EpochStart(3, 2 * REVISION_JUMP, "east", 110))
    line += (EpochStart(4, 2 * REVISION_JUMP + 30, "west"),) if epoch == 4 else ()
    place = line[-1].region
    primary = ReplicaStatus(f"{place}-0", place, "s", True, f"{place}-0", 1, 0, epoch, epoch, True, True, history=line)
    receipt = overtaken_receipt(intent, primary, at)
    assert (receipt.to_region, receipt.final_revision, receipt.outcome) == ("east", 110, Outcome.SUCCEEDED)
    tail = QuarantinedTail(2, 111, 116, 7, 2985, "2-111-116.wal", 3, revisions=6, fork_revision=110)
    [corrected_receipt] = corrected((receipt,), (RegionStatus("west", quarantined=(tail,)),), line)
    assert corrected_receipt.revisions_lost == 6


@pytest.mark.parametrize("region", ["", "west"], ids=["not known", "the one that was left"])
def test_an_overtaken_failover_whose_epoch_is_not_known_to_have_begun_elsewhere_is_aborted(region: str) -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    intent = FailoverIntent(
        trigger=Trigger.ANNOTATION, from_region="west", to_region="south", from_epoch=2, epoch=3, step=Step.PROMOTING,
        started_at=at, final_revision=120, mode=FORCED,
    )  # fmt: skip
    line = (FIRST, EpochStart(3, REVISION_JUMP, region, 110), EpochStart(4, 2 * REVISION_JUMP, "east", 115))
    primary = ReplicaStatus("east-0", "east", "s", True, "east-0", 1, 0, 4, 4, True, True, history=line)
    receipt = overtaken_receipt(intent, primary, at)
    assert (receipt.to_region, receipt.final_revision, receipt.outcome) == ("south", 120, Outcome.ABORTED)
