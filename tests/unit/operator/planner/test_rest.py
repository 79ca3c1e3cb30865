"""A plan that stands: what ends it, and that planning anew meanwhile would change nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest
from rstore_api.domain.kubernetes import FAILOVER_TO, PAUSED
from rstore_operator.facts.memory import Memory, Moment, looked_again
from rstore_operator.facts.observed import Observed, ReplicaStatus
from rstore_operator.planner.plan import Plan
from rstore_operator.planner.rest import STANDS_SECONDS, Rest, is_as_before, look_again, may_stand, rest_after
from rstore_operator.planning.rollout.turns import NO_CLAIM
from rstore_operator.resource.significance import NUMBERS_EVERY_SECONDS, without_numbers
from rstore_operator.resource.state import StoreStatus
from rstore_operator.resource.state_json import status_from_json
from unit.operator.lossy_world import LossyWorld, running
from unit.operator.test_random_walk import Walk
from unit.operator.world import Remembers

WALKS = max(10, int(os.environ.get("RSTORE_WALKS", "200")) // 20)
SKIPPED = 5
"""Of a walk, on average, at least so many plans could be left out: a third of the walks is of stores with a witness."""


class Rests:
    """Watches the plans of a world: those that could be left out must ask for nothing. With ``leaves_out`` they are
    left out."""

    def __init__(self, world: LossyWorld, *, leaves_out: bool) -> None:
        self._world = world
        self._leaves_out = leaves_out
        self._decide, self._record, self._do = world.decide, world.record, world.do
        self._rests: dict[int, tuple[Rest, Memory, object]] = {}
        self.skipped = 0
        self.trace: list[tuple[object, ...]] = []
        """What was written and done, and when."""
        world.decide = self.decide  # type: ignore[method-assign]
        world.record = self.record  # type: ignore[method-assign]
        world.do = self.do  # type: ignore[method-assign]

    def decide(self, operator: Remembers | None = None) -> Plan:
        """Plans, or finds that the last plan stands."""
        world, remembers = self._world, operator or self._world
        before, version = status_from_json(world.status), self._version()
        rest, memory, at_version = self._rests.pop(id(remembers), (None, None, None))
        if rest is not None and memory is remembers.memory and at_version == version:
            rest = look_again(rest, answers(world, rest), world.seconds)
            if rest is not None:
                self.skipped += 1
                return self._left_out(rest, remembers, before, version)
        decided = self._decide(operator)
        if decided.stands:
            memory = remembers.memory = replace(decided.memory, recorded_at=world.seconds)
            rest = rest_after(before, decided.status, world.observed(), memory)
            if rest is not None:
                self._rests[id(remembers)] = (rest, memory, version)
        return decided

    def _left_out(self, rest: Rest, remembers: Remembers, before: StoreStatus, version: object) -> Plan:
        """The plan that a process acts by which does not plan, or, for comparison, one that is made."""
        world = self._world
        moment, regions = Moment(world.now, world.seconds), Observed(regions=rest.regions)
        memory = looked_again(remembers.memory, regions, moment)
        if self._leaves_out:
            world.ids += 1
            nothing: dict[str, Any] = {"actions": (), "notices": (), "answers": (), "commit_first": False}
            waits = {"requeue_seconds": 0.0, "requeue_at_most_seconds": 0.0}
            decided = Plan(status=before, memory=memory, stands=True, **nothing, **waits)
        else:
            decided = self._decide(None if remembers is world else remembers)  # type: ignore[arg-type]
            assert asks_for_nothing(decided, rest), (decided, rest)
            assert without_numbers(before) == without_numbers(decided.status)
            memory = decided.memory
        remembers.memory = memory
        self._rests[id(remembers)] = (rest, memory, version)
        return decided

    def record(self, decided: Plan, version: int) -> bool:
        """Numbers alone are not written, so that both walks write the same."""
        before = status_from_json(self._world.status)
        if without_numbers(before) == without_numbers(decided.status):
            decided = replace(decided, status=before)
        recorded = self._record(decided, version)
        if recorded and without_numbers(before) != without_numbers(decided.status):
            self.trace.append((self._world.seconds, without_numbers(status_from_json(self._world.status))))
        return recorded

    def do(self, action: object, operator: Remembers | None = None) -> None:
        """Each action is traced; certificates differ, since each has a key of its own."""
        what = {name: getattr(action, name, None) for name in ("key", "region", "epoch", "name", "values")}
        self.trace.append((self._world.seconds, type(action), *what.values()))
        self._do(action, operator)

    def _version(self) -> object:
        """All that the watches and the read of the object show."""
        world = self._world
        pods = [(region.name, region.pods) for _, region in sorted(world.observed().regions.items())]
        children = sorted((key, id(body)) for key, body in world.children.items())
        return world.version, world.generation, dict(world.annotations), pods, children, str(world.spec)


def asks_for_nothing(decided: Plan, rest: Rest) -> bool:
    """Whether a plan does, records and reports nothing that ``rest`` did not."""
    same_status = without_numbers(decided.status) == without_numbers(rest.status)
    return same_status and not decided.actions and not decided.answers and decided.claim == NO_CLAIM


def _walked(seed: int, *, leaves_out: bool) -> Rests:
    walk = Walk(seed)
    rests = Rests(walk.world, leaves_out=leaves_out)
    try:
        walk.go()
        walk.rest()
        for _ in range(30):
            walk.world.step(seconds=0.5)
        walk.check()
    except Exception as error:
        raise AssertionError(f"walk {seed}: {type(error).__name__}: {error}") from error
    return rests


def test_what_is_written_and_done_is_the_same_whether_plans_that_stand_are_made_or_left_out() -> None:
    skipped = 0
    for seed in range(WALKS):
        made, left_out = _walked(seed, leaves_out=False), _walked(seed, leaves_out=True)
        for one, other in zip(made.trace, left_out.trace, strict=False):
            assert one == other, f"walk {seed}"
        assert len(made.trace) == len(left_out.trace), f"walk {seed}"
        assert made.skipped == left_out.skipped, f"walk {seed}"
        skipped += left_out.skipped
    assert skipped >= SKIPPED * WALKS


def steady() -> LossyWorld:
    world = running([("us-east", 3), ("eu-west", 1), ("ap-south", 1)], failback="Automatic")
    world.step()
    return world


def resting(world: LossyWorld) -> Rest | None:
    before, decided = status_from_json(world.status), world.decide()
    memory = replace(decided.memory, recorded_at=world.seconds)
    return rest_after(before, decided.status, world.observed(), memory) if decided.stands else None


def answers(world: LossyWorld, rest: Rest) -> dict[str, ReplicaStatus]:
    """The answers of a look: only that of the replica that ``rest`` asks is new."""
    last = {replica.name: replica for region in rest.regions.values() for replica in region.replicas}
    return last | {replica.name: replica for replica in world.observed().replicas() if replica.name == rest.asked}


def test_a_steady_store_rests_for_a_while() -> None:
    world = steady()
    rest = resting(world)
    assert rest is not None
    assert look_again(rest, answers(world, rest), world.seconds + STANDS_SECONDS - 0.1) is not None
    assert look_again(rest, answers(world, rest), world.seconds + STANDS_SECONDS) is None


def test_only_the_primary_is_asked_at_rest() -> None:
    rest = resting(steady())
    assert rest is not None
    assert [pod.name for pod in rest.pods if rest.asks(pod)] == ["orders-us-east-0"]


def test_numbers_end_it_once_they_may_be_written_though_they_move_no_more() -> None:
    world = steady()
    rest = resting(world)
    assert rest is not None
    assert world.write()
    began = world.seconds
    rest = look_again(rest, answers(world, rest), began + 0.1)
    assert rest is not None
    rest = look_again(rest, answers(world, rest), began + NUMBERS_EVERY_SECONDS - 0.1)
    assert rest is not None
    assert look_again(rest, answers(world, rest), began + NUMBERS_EVERY_SECONDS) is None


def _silent(world: LossyWorld) -> None:
    world.regions["eu-west"].up = False


def _cut(world: LossyWorld) -> None:
    world.regions["ap-south"].linked = False


def _without_tenure(world: LossyWorld) -> None:
    del world.tenures.held["us-east"]


def _leader_moves(world: LossyWorld) -> None:
    world.regions["us-east"].leading = 1


def _promised(world: LossyWorld) -> None:
    world.regions["ap-south"].promised += 1


def _ending(world: LossyWorld) -> None:
    world.regions["us-east"].ending_seconds = 0.0


@pytest.mark.parametrize("change", [_silent, _cut, _without_tenure, _leader_moves, _ending])
def test_what_may_need_a_decision_ends_it(change: Callable[[LossyWorld], None]) -> None:
    world = steady()
    rest = resting(world)
    assert rest is not None
    change(world)
    assert look_again(rest, answers(world, rest), world.seconds) is None


def _asked(world: LossyWorld) -> None:
    world.annotations[FAILOVER_TO] = "eu-west"


def _paused(world: LossyWorld) -> None:
    world.annotations[PAUSED] = "true"


def _unready(world: LossyWorld) -> None:
    world.regions["us-east"].unready = 1


def _elsewhere(world: LossyWorld) -> None:
    world.spec = {**world.spec, "primaryRegion": "eu-west"}


def _invalid(world: LossyWorld) -> None:
    world.spec = {**world.spec, "primaryRegion": "mars"}


def test_a_store_whose_primary_somebody_has_moved_rests_there() -> None:
    world = steady()
    world.annotations[FAILOVER_TO] = "eu-west"
    for _ in range(100):
        world.step()
    assert world.status["primaryRegion"] == "eu-west"
    assert resting(world) is not None
    world.status["history"][-1]["mode"] = "Automatic"
    assert resting(world) is None, "it goes back by itself"


@pytest.mark.parametrize(
    "change", [_silent, _cut, _without_tenure, _promised, _ending, _asked, _paused, _unready, _elsewhere, _invalid]
)
def test_nothing_rests_while_something_waits(change: Callable[[LossyWorld], None]) -> None:
    world = steady()
    change(world)
    assert resting(world) is None


def test_a_store_of_two_regions_whose_witness_grants_does_not_rest() -> None:
    world = running([("us-east", 1), ("eu-west", 1)])
    world.step()
    assert resting(world) is None


def test_a_field_that_is_new_in_an_answer_counts() -> None:
    """Only numbers on purpose are left out: each other field of an answer ends the rest."""
    status = next(one for one in steady().observed().replicas() if one.primary)
    moving = {"revision", "commit_index", "applied_index", "compact_revision"}
    for name in (one.name for one in fields(status)):
        value = getattr(status, name)
        if isinstance(value, bool):
            other: object = not value
        elif isinstance(value, int | float):
            other = value + 1
        elif isinstance(value, str):
            other = value + "x"
        else:
            continue
        assert is_as_before(status, replace(status, **{name: other})) is (name in moving), name


STAY = {"tenure_seen_at", "lacking_at", "intent_seen_at", "witness_tenure_seen_at", "unrecorded_at"}
"""Times that a process remembers and by which nothing is decided about a steady store: when something was last seen as
it should be, or of changes of primary."""
HOUSEKEEPING = {"compared_at", "recorded_at"}


def test_a_time_that_is_new_in_what_is_remembered_counts() -> None:
    """As soon as a plan waits for time to pass, it does not stand, but for times that are named here."""
    world = steady()
    decided = world.decide()
    assert decided.stands
    status, memory = decided.status, decided.memory
    times = {field.name for field in fields(Memory) if field.name.endswith("_at")}
    assert times > STAY | HOUSEKEEPING
    assert may_stand(memory, world.observed(), status)
    for name in times - STAY - HOUSEKEEPING:
        assert not may_stand(replace(memory, **{name: {"eu-west": 1.0}}), world.observed(), status), name
