"""A region that has no group yet may begin with fewer replicas; one that has, or may have, does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from rstore_operator.facts.observed import Claim, Observed, Pod, RegionObserved, ReplicaStatus
from rstore_operator.planning.scaling.beginning import has_not_begun
from rstore_operator.planning.scaling.steps import plan_scaling

NAMES = ("s-eu-0", "s-eu-1", "s-eu-2")
CREATED, EARLIER, LATER = "2026-11-30T11:08:30Z", "2026-11-30T11:08:29Z", "2026-11-30T11:08:31Z"


def answer(name: str, **changes: Any) -> ReplicaStatus:
    """A replica that waits for the others, to begin a group with them."""
    one = ReplicaStatus(name, "eu", "", False, "", 0, 1, 0, 0, False, False, members=NAMES, joining=True)
    return replace(one, **changes)


def pod(name: str, **changes: Any) -> Pod:
    return replace(Pod(name, "eu", "10.0.0.1", ready=False, node="n"), **changes)


def claim(name: str, **changes: Any) -> Claim:
    return replace(Claim(f"data-{name}", "1Gi", "1Gi", bound=True, created_at=LATER), **changes)


RUNS, WAITS = pod(NAMES[0]), tuple(pod(name, node="", ip="") for name in NAMES[1:])
BEGUN = {"joining": False, "term": 1}


def seen(pods: tuple[Pod, ...], *answers: ReplicaStatus, claims: tuple[Claim, ...] = ()) -> Observed:
    return Observed(regions={"eu": RegionObserved("eu", pods, answers)}, claims={one.name: one for one in claims})


@pytest.mark.parametrize(
    ("observed", "expected"),
    [
        (seen((RUNS, *WAITS), answer(NAMES[0])), True),
        (seen(WAITS), True),  # a quota refuses the first
        (seen((RUNS, *WAITS), answer(NAMES[0]), claims=(claim(NAMES[1], bound=False, created_at=EARLIER),)), True),
        (seen((RUNS, *WAITS), answer(NAMES[0]), claims=(claim(NAMES[1]),)), True),
        (seen((RUNS, *WAITS), answer(NAMES[0]), claims=(claim(NAMES[1], created_at=CREATED),)), True),
        (seen((RUNS, *WAITS), answer(NAMES[0]), claims=(claim(NAMES[1], created_at=EARLIER),)), False),
        (seen(WAITS, claims=(claim(NAMES[0], created_at=EARLIER),)), False),
        (seen((RUNS, *WAITS)), False),  # it may know of a group, and is silent
        (seen((RUNS, *WAITS), answer(NAMES[0], **BEGUN)), False),
        (seen((RUNS, *WAITS), answer(NAMES[0], store_id="id")), False),
        (seen((RUNS, *WAITS), answer(NAMES[0], promised_epoch=2)), False),
        (seen(tuple(pod(name) for name in NAMES), *(answer(name) for name in NAMES)), False),  # is about to begin
        (seen((RUNS, *WAITS, pod("s-eu-3")), answer(NAMES[0])), False),
    ],
)
def test_a_region_has_no_group_where_one_of_its_first_replicas_never_ran(observed: Observed, expected: bool) -> None:
    assert has_not_begun("s", "eu", 3, observed, CREATED) is expected


def test_volumes_of_unknown_age_may_be_of_an_earlier_life() -> None:
    assert not has_not_begun("s", "eu", 3, seen((RUNS, *WAITS), answer(NAMES[0]), claims=(claim(NAMES[1]),)), "")


@pytest.mark.parametrize(("wanted", "pods"), [(1, 1), (2, 1), (3, 3), (5, 3)])
def test_it_begins_with_one_where_it_is_to_have_fewer(wanted: int, pods: int) -> None:
    region = seen((RUNS, *WAITS), answer(NAMES[0])).region("eu")
    assert plan_scaling("s-eu", wanted, 3, region, begins=True).pods == pods
    assert plan_scaling("s-eu", wanted, 3, region).pods == 3


def test_what_a_replica_outside_of_a_group_would_begin_with_is_no_group() -> None:
    region = seen((RUNS,), answer(NAMES[0])).region("eu")
    assert plan_scaling("s-eu", 1, 1, region).pods == 1
    begun = seen((RUNS,), answer(NAMES[0], **BEGUN)).region("eu")
    assert plan_scaling("s-eu", 1, 1, begun).pods == 3
