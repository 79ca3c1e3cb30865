"""The check of clients' histories finds what it is for."""

from __future__ import annotations

import pytest
from sim.history import Operation, Outcome, check

K = b"k"
STATES = {1: {}, 2: {K: b"a"}, 3: {K: b"b"}, 4: {}}
WRITES = {2: [(K, b"a")], 3: [(K, b"b")], 4: []}


def put(
    number: int, value: bytes, at: tuple[float, float], revision: int, outcome: Outcome = Outcome.DONE
) -> Operation:
    done = outcome is Outcome.DONE
    return Operation(number, "put", True, ((K, value),), at[0], at[1], outcome, revision, done)


def get(number: int, value: bytes | None, at: tuple[float, float], revision: int) -> Operation:
    return Operation(number, "get", False, (), at[0], at[1], Outcome.DONE, revision, seen=((K, value),))


def delete(number: int, at: tuple[float, float], revision: int) -> Operation:
    return Operation(number, "delete", True, (), at[0], at[1], Outcome.DONE, revision, True, gone=(K,))


GOOD = [
    put(1, b"a", (0, 1), 2),
    get(2, b"a", (1.5, 2), 2),
    put(3, b"b", (1.2, float("inf")), 0, Outcome.UNKNOWN),
    get(4, b"b", (3, 4), 3),
    delete(5, (4.5, 5), 4),
    put(6, b"never", (2, 3), 0, Outcome.NOTHING),
    put(7, b"lost on the way", (2, float("inf")), 0, Outcome.UNKNOWN),
]


def test_a_history_that_one_order_explains_passes() -> None:
    assert check(GOOD, STATES, WRITES) is None


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (get(9, b"a", (4.2, 4.4), 2), "had ended before it began"),  # stale: revision 3 had been read
        (get(9, b"a", (3, 4), 3), "read b'k' = b'a', at revision 3 it is b'b'"),
        (get(9, None, (0, 9), 7), "does not exist"),
        (put(9, b"c", (5, 6), 5), "lost"),
        (put(9, b"c", (5, 6), 4), "lost"),
        (put(9, b"b", (0, 1), 0, Outcome.NOTHING), "refused, and yet it happened"),
        (put(9, b"b", (4.2, float("inf")), 0, Outcome.UNKNOWN), "was made by operation 3 and by 9"),
        (delete(9, (2, 3), 3), "did not delete it"),
    ],
)
def test_a_history_that_no_order_explains_is_reported(wrong: Operation, words: str) -> None:
    assert words in str(check([*GOOD, wrong], STATES, WRITES))


def test_a_write_that_took_effect_before_it_was_asked_for_is_reported() -> None:
    late = put(3, b"b", (4.2, float("inf")), 0, Outcome.UNKNOWN)
    assert "had ended before it began" in str(check([*GOOD[:2], late, GOOD[3]], STATES, WRITES))


def test_a_write_that_happened_twice_is_reported() -> None:
    assert "twice" in str(check(GOOD, {**STATES, 5: {K: b"b"}}, {**WRITES, 5: [(K, b"b")]}))
