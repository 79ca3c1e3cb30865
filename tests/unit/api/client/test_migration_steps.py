"""Changes become transactions that are made once each, in order."""

from __future__ import annotations

import random

import pytest
from rstore_api.client.migration_steps import MARK, MAX_OPERATIONS, Point, steps
from rstore_api.proto import kv_pb2


def put(key: bytes, revision: int, value: bytes = b"v", lease: int = 0) -> kv_pb2.Event:
    return kv_pb2.Event(kv=kv_pb2.KeyValue(key=key, value=value, mod_revision=revision, lease=lease))


def deletion(key: bytes, revision: int) -> kv_pb2.Event:
    return kv_pb2.Event(type=kv_pb2.Event.DELETE, kv=kv_pb2.KeyValue(key=key, mod_revision=revision))


def split(events: list[kv_pb2.Event], before: Point) -> list[object]:
    return [(len(step.operations), step.after) for step in steps(events, before, frozenset())]


@pytest.mark.parametrize(
    ("events", "before", "expected"),
    [
        ([], Point(1), []),
        ([put(b"a", 2), put(b"b", 3)], Point(1), [(2, Point(3))]),
        ([put(b"a", 2), put(b"a", 3)], Point(1), [(1, Point(2)), (1, Point(3))]),  # two versions of one key
        ([put(b"a", 2), put(b"b", 3)], Point(2), [(1, Point(3))]),
        ([put(b"a", 2), put(b"b", 2), put(b"c", 3)], Point(1, 1), [(2, Point(3))]),
        (
            [put(b"%d" % number, 2) for number in range(MAX_OPERATIONS + 3)],
            Point(1),
            [(MAX_OPERATIONS, Point(1, MAX_OPERATIONS)), (3, Point(2))],
        ),
        (
            [put(b"a", 2), *(put(b"%d" % number, 3) for number in range(MAX_OPERATIONS))],
            Point(1),
            [(1, Point(2)), (MAX_OPERATIONS, Point(3))],
        ),
        ([put(b"a", 2, b"x" * (1 << 20)), put(b"b", 3)], Point(1), [(1, Point(2)), (1, Point(3))]),
    ],
)
def test_which_changes_are_made_together(events: list[kv_pb2.Event], before: Point, expected: list[object]) -> None:
    assert split(events, before) == expected


def test_a_lease_that_has_ended_is_left_out() -> None:
    (step,) = steps([put(b"a", 2, lease=7), put(b"b", 2, lease=8), deletion(b"c", 3)], Point(1), frozenset({7}))
    assert [operation.request_put.lease for operation in step.operations[:2]] == [0, 8]
    assert step.operations[2].request_delete_range.key == b"c"


def test_a_step_does_nothing_unless_the_mark_is_what_it_was() -> None:
    (step,) = steps([put(b"a", 2)], Point(1), frozenset())
    request = step.request(Point(1, 5))
    assert (request.compare[0].key, request.compare[0].value) == (MARK, b"1 5")
    assert (request.success[-1].request_put.key, request.success[-1].request_put.value) == (MARK, b"2 0")
    assert not request.failure


@pytest.mark.parametrize("point", [Point(0), Point(7, 126)])
def test_a_point_is_read_as_it_was_written(point: Point) -> None:
    assert Point.decode(point.encode()) == point


@pytest.mark.parametrize("value", [b"", b"1", b"a b", b"1 2 3"])
def test_a_value_that_is_no_point_is_refused(value: bytes) -> None:
    with pytest.raises(ValueError, match=r"unpack|literal"):
        Point.decode(value)


@pytest.mark.parametrize("seed", range(20))
def test_stopping_anywhere_makes_every_change_once_and_in_order(seed: int) -> None:
    draw = random.Random(seed)
    events: list[kv_pb2.Event] = []
    for revision in range(2, 60):
        keys = draw.sample(range(400), draw.choice([1, 1, 2, 5, 300]))
        events += [put(b"%03d" % key, revision) for key in sorted(keys)]
    made: list[tuple[bytes, int]] = []
    point = Point(1)
    while point.revision < 59:
        # What a watch from the next revision on shows, in pieces of whole revisions.
        rest = [event for event in events if event.kv.mod_revision > point.revision]
        for count, step in enumerate(steps(rest, point, frozenset())):
            made += [(operation.request_put.key, 0) for operation in step.operations]
            assert step.after != point
            point = step.after
            if count == draw.randrange(4):
                break
    assert [key for key, _ in made] == [event.kv.key for event in events]
