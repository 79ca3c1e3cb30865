"""Several stores: order, the limit, and which failures hold up others."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rstore_operator.planning.rollout.turns import (
    NO_CLAIM,
    PATIENCE_SECONDS,
    SETTLE_SECONDS,
    SILENT_SECONDS,
    Claim,
    Store,
    Turns,
)

WANTS = Claim(wanted=True, image="replica:2")
RESOURCES = Claim(wanted=True)
A, B, C = ("default", "a"), ("default", "b"), ("default", "c")
LATER = SETTLE_SECONDS


def asked(turns: Turns, claims: dict[Store, Claim], now: float = 0.0) -> None:
    for store, claim in claims.items():
        turns.report(store, claim, now)


def holders(turns: Turns, now: float) -> set[Store]:
    return {store for store in (A, B, C) if turns.turn_of(store, now).granted}


@pytest.mark.parametrize(("limit", "expected"), [(1, {C}), (2, {C, A}), (3, {A, B, C})])
def test_stores_roll_in_the_order_in_which_they_asked(limit: int, expected: set[Store]) -> None:
    turns = Turns(limit)
    asked(turns, {C: WANTS})
    asked(turns, {A: WANTS}, 1.0)
    asked(turns, {B: WANTS}, 2.0)
    assert holders(turns, 2.5) == set()
    assert holders(turns, LATER) == expected


def test_one_that_is_half_way_when_the_operator_starts_comes_first() -> None:
    turns = Turns()
    asked(turns, {A: WANTS, B: replace(WANTS, begun=True)})
    assert holders(turns, LATER) == {B}


def test_one_that_is_done_or_gone_makes_room_and_asks_anew_at_the_end() -> None:
    turns = Turns()
    asked(turns, {A: WANTS, B: WANTS, C: WANTS})
    assert holders(turns, LATER) == {A}
    assert "default/a" in turns.turn_of(B, LATER).why
    turns.report(A, NO_CLAIM, LATER)
    turns.report(A, WANTS, LATER)
    assert holders(turns, LATER) == {B}
    turns.forget(B)
    assert holders(turns, LATER) == {C}
    turns.forget(C)
    assert holders(turns, LATER) == {A}


def test_one_that_gets_no_further_goes_to_the_end_of_the_queue() -> None:
    turns, began, held = Turns(), LATER, []
    asked(turns, {A: WANTS, B: WANTS})
    while began <= LATER + 3 * PATIENCE_SECONDS:
        further = replace(WANTS, progress=("u2", 0)) if began >= LATER + 60 else WANTS
        asked(turns, {A: further, B: WANTS}, began)
        held.append((began - LATER, holders(turns, began)))
        began += 20.0
    assert [when for when, stores in held if stores == {A}] == [*range(0, 180, 20), *range(300, 361, 20)]
    assert [when for when, stores in held if stores == {B}] == [*range(180, 300, 20)]


def test_a_wrong_image_is_not_tried_in_the_next_store() -> None:
    turns = Turns()
    asked(turns, {A: WANTS, B: WANTS, C: RESOURCES})
    assert holders(turns, LATER) == {A}
    turns.report(A, replace(WANTS, blocked=True, image_fails=True), LATER)
    assert holders(turns, LATER) == {C}, "a roll that changes no image, or to another one, goes on"
    assert "default/a to the same image is blocked" in turns.turn_of(B, LATER).why
    turns.report(C, NO_CLAIM, LATER)
    assert holders(turns, LATER) == set()
    turns.report(A, replace(WANTS, image="replica:3"), LATER)
    assert holders(turns, LATER) == {A}, "corrected"


def test_rolls_that_have_begun_stop_as_well() -> None:
    turns = Turns(2)
    asked(turns, {A: WANTS, B: WANTS})
    assert holders(turns, LATER) == {A, B}
    turns.report(A, replace(WANTS, blocked=True, image_fails=True), LATER)
    assert holders(turns, LATER) == set()


def test_one_that_reports_no_more_is_forgotten() -> None:
    turns = Turns()
    asked(turns, {A: WANTS, B: WANTS})
    assert holders(turns, LATER) == {A}
    turns.report(B, WANTS, LATER + SILENT_SECONDS - 1)
    assert holders(turns, LATER + SILENT_SECONDS - 1) == {B}


def test_what_fails_in_one_store_alone_stops_no_other() -> None:
    turns = Turns()
    asked(turns, {A: WANTS, B: WANTS})
    assert holders(turns, LATER) == {A}
    turns.report(A, replace(WANTS, blocked=True), LATER)
    assert holders(turns, LATER) == {B}
    turns.report(A, WANTS, LATER)
    assert holders(turns, LATER) == {B}
    turns.report(B, NO_CLAIM, LATER)
    assert holders(turns, LATER) == {A}
