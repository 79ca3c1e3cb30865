"""Random steps on a real etcd and on a store; ``make steps`` does many more of them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from etcd.random_steps import Run, fewer
from etcd.servers import Server
from etcd.steps import EndWatch, Step, random_steps

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


def test_steps_that_fail_are_made_fewer() -> None:
    steps: list[Step] = [EndWatch(number) for number in range(50)]

    def fails(some: Sequence[Step]) -> str:
        places = [step.place for step in some if isinstance(step, EndWatch)]
        return "both are there" if 7 in places and 31 in places else ""

    assert fewer(steps, fails, seconds=10) == [EndWatch(7), EndWatch(31)]
