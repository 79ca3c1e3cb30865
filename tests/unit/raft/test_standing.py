"""What a replica's process that begins tells about what an earlier one has promised."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rstore_replica.raft.membership import Membership, Replica
from rstore_replica.raft.standing import Standing, Standings

EARLIER, LATER = 11, 12


def standing(process: int, term: int, index: int = 0, voted_for: str = "", *, identity: int = 0) -> Standing:
    return Standing("n1", identity, process, term, index, voted_for)


@pytest.mark.parametrize(
    ("start", "forgotten"),
    [
        (standing(LATER, 3, 10, "n0"), False),
        (standing(LATER, 3, 12, "n0"), False),
        (standing(LATER, 3, 9, "n0"), True),
        (standing(LATER, 2, 99, "n0"), True),
        (standing(LATER, 3, 10), True),
        (standing(LATER, 3, 10, "n2"), True),
        (standing(LATER, 4, 5), False),  # a leader of a later term may have taken away what was not committed
        (standing(EARLIER, 3, 4), False),  # it has promised that since it began
        (standing(LATER, 1, 1, identity=7), False),  # another replica of that name
    ],
)
def test_a_start_is_held_against_what_was_promised(start: Standing, forgotten: bool) -> None:
    standings = Standings([standing(EARLIER, 3, 10, "n0")])
    assert (standings.contradiction(start) is not None) == forgotten


def test_the_highest_promise_stays_whatever_the_order_in_which_they_arrive() -> None:
    standings = Standings()
    for promise in (standing(1, 2, 40), standing(1, 3, 7), standing(1, 2, 50), standing(1, 3, 5, "n2")):
        standings.note(promise)
    members = Membership((Replica("n1", ""), Replica("n2", "")))
    assert standings.of(members) == [standing(1, 3, 7, "n2")]
    version = standings.version
    standings.note(standing(1, 3, 6))
    assert standings.version == version
    assert standings.of(Membership((Replica("n1", "", identity=5),))) == []


@given(
    promises=st.lists(st.tuples(st.integers(1, 5), st.integers(0, 20)), max_size=12),
    kept=st.integers(0, 12),
)
def test_a_replica_that_forgot_nothing_is_never_suspected(promises: list[tuple[int, int]], kept: int) -> None:
    """Promises of one process in the order of its terms; any others of them may be known than the newest."""
    promises = sorted(promises)
    standings = Standings()
    for term, index in promises[:kept]:
        standings.note(standing(EARLIER, term, index))
    term, index = promises[-1] if promises else (0, 1)
    assert standings.contradiction(standing(LATER, term, index)) is None
