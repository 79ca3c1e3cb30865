"""When an operator renews, takes, waits for or gives up its Lease: state and time in, move out."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rstore_operator.leadership.rules import (
    DEADLINE_SECONDS,
    DURATION_SECONDS,
    RENEW_SECONDS,
    RETRY_SECONDS,
    Move,
    Record,
    Standing,
    acts,
    decide,
    has_failed,
    has_stopped,
    next_record,
    was_read,
    was_written,
)

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
MINE = Record("me", "7", NOW, NOW, 3)
THEIRS = Record("them", "7", NOW, NOW, 3)
FRESH = Standing("me")
HOLDER = was_written(FRESH, MINE, 100.0)
CANDIDATE = was_read(FRESH, THEIRS, 100.0)
WITHOUT = was_read(FRESH, None, 100.0)

HALF_WAY = 100 + RENEW_SECONDS / 2


@pytest.mark.parametrize(
    ("standing", "seconds", "move"),
    [
        # a candidate
        (FRESH, 0.0, Move.READ),
        (WITHOUT, 100.0, Move.CREATE),
        (CANDIDATE, 100.0, Move.WAIT),
        (CANDIDATE, 100 + RETRY_SECONDS, Move.READ),
        (was_read(CANDIDATE, THEIRS, 103.9), 104.0, Move.ACQUIRE),
        (was_read(CANDIDATE, replace(THEIRS, version="8"), 103.9), 104.0, Move.WAIT),
        (was_read(CANDIDATE, replace(THEIRS, version="8"), 103.9), 107.9, Move.ACQUIRE),
        (was_read(CANDIDATE, replace(THEIRS, holder="", version="8"), 100.5), 100.5, Move.ACQUIRE),
        (was_read(FRESH, replace(THEIRS, duration_seconds=15), 100.0), 114.9, Move.READ),
        (was_read(FRESH, replace(THEIRS, duration_seconds=15), 100.0), 115.0, Move.ACQUIRE),
        (has_failed(was_read(CANDIDATE, THEIRS, 103.9), 104.0), 104.1, Move.WAIT),
        (has_failed(was_read(CANDIDATE, THEIRS, 103.9), 104.0), 104.5, Move.READ),
        # a Lease that is deleted while its holder may still act
        (was_read(CANDIDATE, None, 100.5), 100.6, Move.WAIT),
        (was_read(was_read(CANDIDATE, None, 100.5), None, 104.4), 104.5, Move.CREATE),
        # the holder
        (HOLDER, HALF_WAY, Move.WAIT),
        (HOLDER, 100 + RENEW_SECONDS, Move.RENEW),
        (has_failed(HOLDER, 101.5), 101.6, Move.WAIT),
        (has_failed(HOLDER, 101.5), 102.0, Move.READ),
        (was_read(has_failed(HOLDER, 101.5), MINE, 102.0), 102.0, Move.RENEW),
        (was_read(has_failed(HOLDER, 101.5), None, 102.0), 102.0, Move.CREATE),
        (was_read(has_failed(HOLDER, 101.5), THEIRS, 102.0), 102.0, Move.STOP),
        (HOLDER, 100 + DEADLINE_SECONDS, Move.STOP),
        (has_failed(HOLDER, 102.9), 103.0, Move.STOP),
        # one that has stopped takes up its own Lease at once when it can be reached
        (has_stopped(HOLDER, 103.0), 103.1, Move.WAIT),
        (has_stopped(HOLDER, 103.0), 103.5, Move.READ),
        (was_read(has_stopped(HOLDER, 103.0), MINE, 103.5), 103.5, Move.ACQUIRE),
        (was_read(has_stopped(HOLDER, 103.0), THEIRS, 103.5), 103.6, Move.WAIT),
    ],
)
def test_moves(standing: Standing, seconds: float, move: Move) -> None:
    decided, wait_seconds = decide(standing, seconds)
    assert decided is move
    assert (wait_seconds > 0) == (move is Move.WAIT)


def test_a_wait_ends_when_the_lease_is_free_or_a_request_is_due() -> None:
    assert decide(CANDIDATE, 100.0) == (Move.WAIT, RETRY_SECONDS)
    late = was_read(CANDIDATE, THEIRS, 103.8)
    assert decide(late, 103.9) == (Move.WAIT, pytest.approx(0.1))
    assert decide(has_failed(HOLDER, 102.8), 102.9) == (Move.WAIT, pytest.approx(0.1)), "not beyond the deadline"


def test_the_holder_acts_until_its_deadline_and_not_at_it() -> None:
    assert acts(HOLDER, 100 + DEADLINE_SECONDS - 0.001)
    assert not acts(HOLDER, 100 + DEADLINE_SECONDS)
    assert not acts(has_stopped(HOLDER, 101.0), 101.0)
    assert not acts(CANDIDATE, 100.0)


def test_what_is_written_counts_changes_of_the_holder() -> None:
    later = NOW + timedelta(seconds=9)
    assert next_record(FRESH, NOW) == Record("me", "", NOW, NOW, 0)
    assert next_record(HOLDER, later) == Record("me", "7", later, NOW, 3)
    assert next_record(CANDIDATE, later) == Record("me", "7", later, later, 4)


@given(
    sent=st.floats(0, 10),
    takes=st.floats(0, 2),
    seen_late=st.floats(0, 100),
    skew=st.floats(-1e6, 1e6),
)
def test_the_holder_has_stopped_before_a_candidate_begins(
    sent: float, takes: float, seen_late: float, skew: float
) -> None:
    """Whatever their clocks show: ``skew`` is that of the candidate's, and nothing about the API's speed is assumed."""
    holder = was_written(FRESH, MINE, sent)
    candidate = was_read(Standing("other"), MINE, sent + takes + seen_late + skew)
    begins = candidate.changed_at + DURATION_SECONDS - skew
    assert decide(candidate, candidate.changed_at + DURATION_SECONDS - 0.01)[0] is not Move.ACQUIRE
    assert not acts(holder, begins)
