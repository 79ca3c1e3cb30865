"""How often each of many stores is looked at."""

from __future__ import annotations

from rstore_operator.planner.pace import PLANNED_ANEW_SECONDS, SPACING_SECONDS, Pace

STORE = ("default", "orders")


def crowded(count: int) -> Pace:
    pace = Pace()
    for number in range(count):
        pace.wait_seconds(("default", f"store-{number}"), 0.2, 2.0)
    return pace


def test_a_few_stores_are_looked_at_as_often_as_they_need() -> None:
    assert crowded(5).wait_seconds(STORE, 0.2, 2.0) == 0.2


def test_of_many_each_waits_longer_but_not_longer_than_at_rest() -> None:
    assert crowded(49).wait_seconds(STORE, 0.2, 2.0) == 50 * SPACING_SECONDS
    assert crowded(500).wait_seconds(STORE, 0.2, 2.0) == 2.0


def test_a_change_of_primary_and_the_grants_of_the_witness_are_not_put_off() -> None:
    pace = crowded(500)
    assert pace.wait_seconds(STORE, 0.02, 0.0) == 0.02
    assert pace.wait_seconds(STORE, 0.2, 0.75) == 0.75
    assert pace.wait_seconds(STORE, 0.75, 0.75) == 0.75


def test_stores_that_come_to_rest_or_are_gone_do_not_count() -> None:
    pace = crowded(500)
    for number in range(0, 500, 2):
        pace.wait_seconds(("default", f"store-{number}"), 2.0, 2.0)
    for number in range(1, 500, 2):
        pace.forget(("default", f"store-{number}"))
    assert pace.wait_seconds(STORE, 0.2, 2.0) == 0.2


def test_plans_of_many_stores_at_rest_stand_longer() -> None:
    pace = Pace()
    assert pace.stands_seconds(30.0) == 30.0
    for number in range(500):
        pace.wait_seconds(("default", f"store-{number}"), 2.0, 2.0)
    assert pace.stands_seconds(30.0) == 500 * PLANNED_ANEW_SECONDS
    for number in range(400):
        pace.wait_seconds(("default", f"store-{number}"), 0.2, 2.0)
    for number in range(400, 500):
        pace.forget(("default", f"store-{number}"))
    assert pace.stands_seconds(30.0) == 30.0, "only those at rest count"
