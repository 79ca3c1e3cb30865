"""``.status`` as JSON, both ways."""

from __future__ import annotations

import contextlib
import copy
import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rstore_api.domain.kubernetes import FAILOVER_TO
from rstore_operator.resource.significance import due
from rstore_operator.resource.state import Step, StoreStatus
from rstore_operator.resource.state_json import UnreadableIntentError, merge_patch, status_from_json, status_to_json
from unit.operator.world import World


def switching() -> dict:
    world = World()
    world.settle()
    world.annotations[FAILOVER_TO] = "eu-west"
    world.step()
    return world.status


STATUS = switching()


def test_what_is_written_is_read_back() -> None:
    status = status_from_json(STATUS)
    assert status.failover is not None
    assert status.failover.step is Step.DEMOTING
    assert status_to_json(status) == STATUS


ODD = [None, True, 0, -1, 1 << 70, 10**400, 1.5, float("inf"), float("nan"), "", "²", "9999-12-31T23:59:59Z"]
ODD += ["0001-01-01T00:00:00+09:00", [], [1], {}, {"a": 1}, ["x"], [[]], [{}]]


def _spoil(node: Any, rng: random.Random) -> Any:
    """The same with something odd at a place drawn at random."""
    if not isinstance(node, dict | list) or not node or rng.random() < 0.3:
        return copy.deepcopy(rng.choice(ODD))
    where = rng.choice(list(node)) if isinstance(node, dict) else rng.randrange(len(node))
    node[where] = _spoil(node[where], rng)
    return node


@given(seed=st.integers(0, 1 << 32), times=st.integers(1, 3))
@settings(max_examples=600)
def test_an_odd_value_anywhere_is_read_as_unknown_or_refused_as_what_is_under_way(seed: int, times: int) -> None:
    rng, raw = random.Random(seed), copy.deepcopy(STATUS)
    for _ in range(times):
        raw = _spoil(raw, rng)
    status = None
    with contextlib.suppress(UnreadableIntentError):
        status = status_from_json(raw)
    json.dumps(status_to_json(status or StoreStatus()), allow_nan=False)
    hash(status)


def test_an_empty_status_is_a_new_store() -> None:
    assert status_from_json(None) == status_from_json({}) == StoreStatus()


@pytest.mark.parametrize(
    "change",
    [
        {"step": "Dancing"},
        {"epoch": None},
        {"mode": "Guess"},
        {"startedAt": "yesterday"},
        {"from": None, "epoch": "x"},
    ],
)
def test_an_intent_that_cannot_be_read_is_never_taken_for_none(change: dict) -> None:
    broken = copy.deepcopy(STATUS)
    broken["failover"] |= change
    with pytest.raises(ValueError, match=r"status\.failover"):
        status_from_json(broken)


JSON = st.recursive(
    st.integers() | st.text(max_size=3) | st.booleans(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1, max_size=2), inner, max_size=4)
    ),
    max_leaves=10,
)
OBJECT = st.dictionaries(st.text("abc", min_size=1, max_size=2), JSON, max_size=4)


def apply_merge_patch(target: object, patch: object) -> object:
    """RFC 7396, section 2."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = apply_merge_patch(result.get(key), value)
    return result


@settings(max_examples=200)
@given(OBJECT, OBJECT)
def test_the_merge_patch_makes_one_of_the_other(old: dict, new: dict) -> None:
    patch = merge_patch(old, new)
    assert apply_merge_patch(old, patch) == new
    assert (patch == {}) == (old == new)


def test_numbers_alone_are_written_rarely_and_an_idle_store_never() -> None:
    status = status_from_json(STATUS)
    from msgspec.structs import replace

    moved = replace(status, regions=tuple(replace(region, revision=99, lag_seconds=0.2) for region in status.regions))
    assert not due(status, status, 1000)
    assert not due(status, moved, 1)
    assert due(status, moved, 6)
    assert due(status, replace(status, epoch=9), 0)
