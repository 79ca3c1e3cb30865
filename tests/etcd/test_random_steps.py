"""Random steps on a real etcd and on a store; ``make steps`` does many more of them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from etcd.random_steps import Run, fewer
from etcd.servers import Server
from etcd.steps import KEYS, EndWatch, Step, random_steps
from etcd.watched import Expectation
from rstore_api.proto.kv_pb2 import Event, KeyValue

SEED, STEPS = 20, 2_000


@pytest.mark.timeout(900)
def test_random_steps_are_answered_as_by_etcd(servers: tuple[Server, Server]) -> None:
    run = Run(*servers)
    try:
        run.all(random_steps(SEED, STEPS))
    finally:
        run.close()


def test_a_seed_determines_the_steps() -> None:
    assert list(random_steps(1, 200)) == list(random_steps(1, 200))
    assert list(random_steps(1, 200)) != list(random_steps(2, 200))


@pytest.mark.parametrize(("count", "most_at_once"), [(50, 50), (10_000, 256)])
def test_steps_that_fail_are_made_fewer_the_last_ones_first(count: int, most_at_once: int) -> None:
    steps: list[Step] = [EndWatch(number) for number in range(count)]
    wanted = count - 45, count - 20
    asked: list[int] = []

    def fails(some: Sequence[Step]) -> str:
        asked.append(len(some))
        places = [step.place for step in some if isinstance(step, EndWatch)]
        return "both are there" if set(wanted) <= set(places) else ""

    assert fewer(steps, fails, seconds=10) == [EndWatch(place) for place in wanted]
    assert max(asked) <= most_at_once


@pytest.mark.parametrize("count", [2, 8, 1000])
def test_what_is_counted_of_a_watch_does_not_depend_on_when_that_happens(count: int) -> None:
    """Events that were looked at are dropped, so that memory does not grow with the steps."""
    events = [Event(kv=KeyValue(key=KEYS[at % 3], mod_revision=at // 2)) for at in range(1000)]
    expectation = Expectation(KEYS[0], b"", frozenset(), first_revision=100)
    for start in range(0, len(events), count):
        expectation.look_at(events[max(0, start - 20) : start + count])
    assert expectation.count == sum(event.kv.key == KEYS[0] for event in events[200:])
