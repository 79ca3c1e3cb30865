"""What an operator process remembers: state in, state out, one table for each rule."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from rstore_operator.facts.memory import Memory, Moment, acted, planned, remember
from rstore_operator.facts.observed import FenceAnswer, Observed, Pod, Progress, RegionObserved, ReplicaStatus, Tenure
from rstore_operator.resource.state import (
    PLANNED,
    FailoverIntent,
    RegionStatus,
    Step,
    StoreStatus,
    Trigger,
    WitnessTenure,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
EMPTY = Memory()


def at(seconds: float) -> Moment:
    return Moment(START + timedelta(seconds=seconds), seconds)


def leader(region: str, *, store_id: str = "s", term: int = 1, epoch: int = 1, **more: object) -> ReplicaStatus:
    name = f"orders-{region}-0"
    primary = bool(more.pop("primary", False))
    return ReplicaStatus(name, region, store_id, True, name, term, 7, epoch, epoch, primary, primary, **more)


def seen(*replicas: ReplicaStatus, silent: tuple[str, ...] = (), **more: object) -> Observed:
    regions = {name: RegionObserved(name, (Pod(f"orders-{name}-0", name, "", ready=True),)) for name in silent}
    regions |= {replica.region: RegionObserved(replica.region, (), (replica,)) for replica in replicas}
    return Observed(regions=regions, **more)


def look(memory: Memory, observed: Observed, seconds: float, status: StoreStatus | None = None) -> Memory:
    return remember(memory, "orders", observed, status or StoreStatus(), at(seconds))


def intent(epoch: int) -> StoreStatus:
    failover = FailoverIntent(
        trigger=Trigger.ANNOTATION,
        from_region="a",
        to_region="b",
        from_epoch=epoch - 1,
        epoch=epoch,
        step=Step.DEMOTING,
        started_at=START,
        mode=PLANNED,
    )
    return StoreStatus(store_id="s", failover=failover)


# ------------------------------------------------------------------------------------------ regions that are silent
AFTER_A_LEADER = look(EMPTY, seen(leader("a")), 10)


@pytest.mark.parametrize(
    ("before", "observed", "status", "silent_at"),
    [
        (EMPTY, seen(leader("a")), StoreStatus(), {}),
        (EMPTY, seen(silent=("a",)), StoreStatus(), {"a": 20}),
        (AFTER_A_LEADER, seen(silent=("a",)), StoreStatus(), {"a": 20}),
        # The last leader was first asked 1.5 s ago what it has not answered.
        (AFTER_A_LEADER, seen(silent=("a",), unanswered_seconds={"orders-a-0": 1.5}), StoreStatus(), {"a": 18.5}),
        (AFTER_A_LEADER, seen(silent=("a",), unanswered_seconds={"orders-a-1": 1.5}), StoreStatus(), {"a": 20}),
        (replace(EMPTY, silent_at={"a": 3}), seen(silent=("a",)), StoreStatus(), {"a": 3}),
        (replace(EMPTY, silent_at={"a": 3}), seen(leader("a")), StoreStatus(), {}),
        # A region without pods counts once the status shows that it was there.
        (EMPTY, seen(), StoreStatus(regions=(RegionStatus("a"),)), {}),
        (EMPTY, seen(), StoreStatus(regions=(RegionStatus("a", revision=5),)), {"a": 20}),
        # A primary region that has come back without its data is as good as gone; a secondary one is not.
        (EMPTY, seen(leader("a", store_id="")), StoreStatus(store_id="s", primary_region="a"), {"a": 20}),
        # Of the primary region there is nothing at all.
        (EMPTY, seen(leader("a", store_id="")), StoreStatus(store_id="s", primary_region="b"), {"b": 20}),
        (EMPTY, seen(leader("a", store_id="")), StoreStatus(primary_region="a"), {}),
    ],
)
def test_since_when_regions_are_silent(
    before: Memory, observed: Observed, status: StoreStatus, silent_at: dict[str, float]
) -> None:
    after = look(before, observed, 20, status)
    assert after.silent_at == silent_at
    assert after.silent_since == {name: START + timedelta(seconds=seconds) for name, seconds in silent_at.items()}


# ------------------------------------------------------------------------------------------ newest answers of leaders
FULL, EMPTIED, RENEWED = leader("a"), leader("a", store_id="", term=2), leader("a", term=3)


@pytest.mark.parametrize(
    ("answers", "last"),
    [
        ((FULL,), FULL),
        ((FULL, None), FULL),
        ((FULL, RENEWED), RENEWED),
        ((FULL, EMPTIED), FULL),  # what it held then is what a failover may lose
        ((FULL, EMPTIED, RENEWED), RENEWED),
        ((EMPTIED,), EMPTIED),
        ((EMPTIED, FULL), FULL),
    ],
)
def test_which_answer_of_a_leader_is_kept(answers: tuple[ReplicaStatus | None, ...], last: ReplicaStatus) -> None:
    memory = EMPTY
    for seconds, answer in enumerate(answers):
        memory = look(memory, seen(answer) if answer is not None else seen(silent=("a",)), seconds)
    assert memory.last_leaders == {"a": last}


# ------------------------------------------------------------------------------------------ tenure and streams
HELD, LACKED = Tenure(True, 1, 3000), Tenure(False, 1, 3000)


@pytest.mark.parametrize(
    ("first", "second", "seconds"),
    [
        (leader("a", primary=True, tenure=LACKED), leader("a", primary=True, tenure=LACKED), {"a": 5}),
        (leader("a", primary=True, tenure=HELD), leader("a", primary=True, tenure=LACKED), {"a": 0}),
        (leader("a", primary=True, tenure=LACKED), leader("a", primary=True, tenure=HELD), {}),
        (leader("a", primary=True, tenure=LACKED), leader("a", primary=True, tenure=LACKED, term=2), {"a": 0}),
        (leader("a", primary=True, tenure=LACKED), leader("a", primary=True, tenure=LACKED, epoch=2), {"a": 0}),
        (leader("a", tenure=LACKED), leader("a", tenure=LACKED), {}),
        (leader("a", primary=True), leader("a", primary=True), {}),
    ],
)
def test_for_how_long_a_primary_has_been_without_its_tenure(
    first: ReplicaStatus, second: ReplicaStatus, seconds: dict[str, float]
) -> None:
    assert look(look(EMPTY, seen(first), 10), seen(second), 15).without_tenure_seconds == seconds


def source(epoch: int, *connected: str) -> ReplicaStatus:
    return leader(
        "a", primary=True, epoch=epoch, progress=tuple(Progress(name, True, 7, 0, 0, 0.0) for name in connected)
    )


@pytest.mark.parametrize(
    ("first", "second", "seconds"),
    [
        ((source(1), leader("b")), (source(1), leader("b")), {"b": 5}),
        ((source(1, "b"), leader("b")), (source(1), leader("b")), {"b": 0}),
        ((source(1), leader("b")), (source(1, "b"), leader("b")), {}),
        ((source(1), leader("b")), (source(2), leader("b")), {"b": 0}),  # a new primary begins anew
        ((source(1), leader("b")), (source(1),), {}),  # it does not answer: it is silent, not unconnected
        ((source(1), leader("b", store_id="")), (source(1), leader("b", store_id="")), {}),
        ((source(1), leader("b")), (leader("b"),), {}),  # nobody can say
    ],
)
def test_for_how_long_a_region_has_received_nothing(
    first: tuple[ReplicaStatus, ...], second: tuple[ReplicaStatus, ...], seconds: dict[str, float]
) -> None:
    assert look(look(EMPTY, seen(*first), 10), seen(*second), 15).without_stream_seconds == seconds


# ------------------------------------------------------------------------------------------ changes of primary
FENCED = FenceAnswer("b", 4, 3, 7, 12.0)
STOPPED = (4, START)
CHANGING = replace(EMPTY, fences={"b": FENCED}, intent_seen_at=(4, 2.0), stop_sent=STOPPED)


@pytest.mark.parametrize(
    ("before", "status", "fences", "intent_seen_at", "stop_sent"),
    [
        (EMPTY, intent(4), {}, (4, 9), None),
        (CHANGING, intent(4), {"b": FENCED}, (4, 2.0), STOPPED),
        (CHANGING, intent(5), {}, (5, 9), None),
        (CHANGING, StoreStatus(), {}, None, None),
    ],
)
def test_what_belongs_to_one_change_of_primary(
    before: Memory, status: StoreStatus, fences: object, intent_seen_at: object, stop_sent: object
) -> None:
    after = look(before, seen(), 9, status)
    assert (after.fences, after.intent_seen_at, after.stop_sent) == (fences, intent_seen_at, stop_sent)


SHORT, LONG = WitnessTenure(1000, 1000, 1), WitnessTenure(3000, 3000, 2)


@pytest.mark.parametrize(
    ("before", "recorded", "seen_at"),
    [((SHORT, 2.0), SHORT, 2.0), ((SHORT, 2.0), LONG, 9.0), ((LONG, 2.0), WitnessTenure(3000, 3000, 4), 9.0)],
)
def test_when_the_record_of_the_witness_was_first_seen(
    before: tuple[WitnessTenure, float], recorded: WitnessTenure, seen_at: float
) -> None:
    memory = replace(EMPTY, witness_tenure_seen_at=before)
    after = look(memory, seen(), 9, StoreStatus(witness_tenure=recorded))
    assert after.witness_tenure_seen_at == (recorded, seen_at)


@pytest.mark.parametrize(
    ("observed", "status", "unrecorded_at"),
    [
        (seen(leader("a")), StoreStatus(), 9),
        (seen(leader("a")), StoreStatus(store_id="s"), 2),
        (seen(leader("a", store_id="")), StoreStatus(), 2),
        (seen(), StoreStatus(), 2),
    ],
)
def test_when_a_store_was_last_seen_without_a_record(
    observed: Observed, status: StoreStatus, unrecorded_at: float
) -> None:
    assert look(replace(EMPTY, unrecorded_at=2), observed, 9, status).unrecorded_at == unrecorded_at


# ------------------------------------------------------------------------------------------ plans and actions
WRONG = (("Invalid", "too large"),)


@pytest.mark.parametrize(
    ("problems", "compared_at", "closely", "known"),
    [
        (None, 0.0, (), None),
        ((), 95.0, (), ()),
        (WRONG, 95.0, (), WRONG),
        (WRONG, 70.0, (), None),  # 30 s are over
        (None, 0.0, ("a",), ()),  # no time for it
        (WRONG, 0.0, ("a",), WRONG),
    ],
)
def test_when_objects_need_not_be_compared(
    problems: tuple[tuple[str, str], ...] | None, compared_at: float, closely: tuple[str, ...], known: object
) -> None:
    memory = replace(
        EMPTY, moment=at(100), problems=problems, compared_at=compared_at, watch_closely=frozenset(closely)
    )
    assert memory.known_problems == known
    after = planned(memory, problems=(), behind=frozenset({"a"}), watch_closely=frozenset())
    assert after.compared_at == (100 if known is None else compared_at)
    assert (after.problems, after.behind, after.watch_closely) == ((), {"a"}, frozenset())


def test_what_was_done_is_added_and_failures_are_the_newest() -> None:
    before = replace(CHANGING, failures=("b refuses",))
    again, other = replace(FENCED, revision=9), replace(FENCED, region="c")
    after = acted(before, [again, other], [])
    assert (after.fences, after.failures) == ({"b": again, "c": other}, ())
    assert before.fences == {"b": FENCED}, "a memory does not change"


@pytest.mark.parametrize("jump_seconds", [-3600, 3600])
def test_a_wall_clock_that_is_set_changes_no_duration(jump_seconds: float) -> None:
    memory = look(EMPTY, seen(silent=("a",)), 10)
    now = START + timedelta(seconds=jump_seconds)
    after = remember(memory, "orders", seen(silent=("a",)), StoreStatus(), Moment(now, 12.5))
    assert (now - after.silent_since["a"]).total_seconds() == 2.5
