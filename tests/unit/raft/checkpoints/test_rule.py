"""How much the log grows between checkpoints: filling a database copies it a bounded number of times over."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rstore_replica.raft import RaftConfig
from rstore_replica.raft.checkpoints.rule import MOST_TIMES, Growth, growth_needed

MEBIBYTE, GIBIBYTE = 1 << 20, 1 << 30
CONFIG = RaftConfig()


@pytest.mark.parametrize(
    ("last_checkpoint_bytes", "needed"),
    [
        (0, Growth(10_000, 64 * MEBIBYTE)),
        (256 * MEBIBYTE, Growth(10_000, 64 * MEBIBYTE)),
        (GIBIBYTE, Growth(40_000, 256 * MEBIBYTE)),
        (4 * GIBIBYTE, Growth(160_000, GIBIBYTE)),
        (100 * GIBIBYTE, Growth(160_000, GIBIBYTE)),
    ],
)
def test_the_larger_the_checkpoint_the_longer_the_log_before_the_next(
    last_checkpoint_bytes: int, needed: Growth
) -> None:
    assert growth_needed(last_checkpoint_bytes, CONFIG) == needed


@given(st.integers(0, 1 << 40), st.integers(0, 1 << 40))
def test_the_growth_never_falls_with_the_size_and_is_bounded(one: int, other: int) -> None:
    small, large = (growth_needed(size, CONFIG) for size in sorted((one, other)))
    assert small.entries <= large.entries <= MOST_TIMES * CONFIG.checkpoint_entries
    assert small.size_bytes <= large.size_bytes <= MOST_TIMES * CONFIG.checkpoint_bytes
    assert Growth(0, 1 << 50).reaches(large) is False, "nothing was applied since"
    assert large.reaches(large)
    assert not Growth(small.entries - 1, small.size_bytes - 1).reaches(large)


def copied(size_bytes: int, entry_bytes: int, needed_after: Callable[[int], Growth]) -> float:
    """How many times over a database is copied while it is filled, entry by entry."""
    size = total = 0
    needed, growth = needed_after(0), Growth(0, 0)
    while size < size_bytes:
        size += 100 * entry_bytes
        growth = Growth(growth.entries + 100, growth.size_bytes + 100 * entry_bytes)
        if growth.reaches(needed):
            total += size
            needed, growth = needed_after(size), Growth(0, 0)
    return total / size


def test_filling_a_database_copies_it_a_few_times_and_not_ever_more_often() -> None:
    def ours(size_bytes: int, entry_bytes: int = 65536) -> float:
        return copied(size_bytes, entry_bytes, lambda last: growth_needed(last, CONFIG))

    def fixed(size_bytes: int, entry_bytes: int = 65536) -> float:
        return copied(size_bytes, entry_bytes, lambda _last: growth_needed(0, CONFIG))

    assert ours(GIBIBYTE) < 6 < fixed(GIBIBYTE)
    assert ours(4 * GIBIBYTE) < 6 < 25 < fixed(4 * GIBIBYTE)
    assert ours(8 * GIBIBYTE) < 8 < 50 < fixed(8 * GIBIBYTE)
    assert ours(8 * GIBIBYTE, entry_bytes=2048) < fixed(8 * GIBIBYTE, entry_bytes=2048) / 10
