"""Which ranges hold a key: against looking through all of them."""

from __future__ import annotations

import random

import pytest
from rstore_replica.mvcc.watch.ranges import RangeIndex, Span


def random_span(rng: random.Random) -> Span:
    start = bytes(rng.choices(b"abc\xff", k=rng.randint(1, 3)))
    if rng.random() < 0.4:
        return Span(start, start + b"\0")
    return Span(
        start, rng.choice([None, *(start + bytes(rng.choices(b"abc\xff", k=2)) for _ in range(4)), b"\xff\xff"])
    )


@pytest.mark.parametrize("seed", range(20))
def test_a_key_is_matched_by_the_spans_that_hold_it(seed: int) -> None:
    rng = random.Random(seed)
    index: RangeIndex[int] = RangeIndex()
    spans: dict[int, Span] = {}
    for number in range(rng.choice([10, 200, 1000])):
        if spans and rng.random() < 0.3:
            member = rng.choice(list(spans))
            index.discard(spans.pop(member), member)
            index.discard(Span(b"never", None), member)
        else:
            spans[number] = random_span(rng)
            index.add(spans[number], number)
        if rng.random() < 0.2:
            key = bytes(rng.choices(b"abc\xff", k=rng.randint(1, 4)))
            found = [member for group in index.match(key) for member in group.members]
            assert sorted(found) == sorted(member for member, span in spans.items() if span.holds(key))
    assert len(index) == len(spans)
    assert sorted(index) == sorted(spans)


def test_ten_thousand_nested_ranges_cost_little_for_a_key_outside() -> None:
    index: RangeIndex[int] = RangeIndex()
    for number in range(10_000):
        index.add(Span(b"k%06d" % number, b"k%06d" % (20_000 - number)), number)
    looked_at = 0

    class Counted(bytes):
        def __lt__(self, other: object) -> bool:
            nonlocal looked_at
            looked_at += 1
            return bytes.__lt__(self, other)  # type: ignore[operator]

    assert index.match(Counted(b"k030000")) == []
    assert looked_at < 500
