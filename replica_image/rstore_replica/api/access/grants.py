"""What a caller may do: which keys it may read, and whether it may change them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

KeyRange = tuple[bytes, bytes | None]
"""From the first key up to the second, which is not in it; None: up to the last key there is."""
TO_THE_END = b"\0"
"""As ``range_end``: up to the last key there is."""


def prefix_range(prefix: bytes) -> KeyRange:
    """Returns the keys that begin with the prefix."""
    stem = prefix.rstrip(b"\xff")
    return (prefix, stem[:-1] + bytes([stem[-1] + 1]) if stem else None)


def merged(ranges: Iterable[KeyRange]) -> tuple[KeyRange, ...]:
    """Returns the same keys as ranges in order that neither overlap nor touch."""
    joined: list[KeyRange] = []
    for low, high in sorted(ranges, key=lambda each: each[0]):
        if joined:
            before_low, before_high = joined[-1]
            if before_high is None:
                break
            if low <= before_high:
                joined[-1] = (before_low, None if high is None else max(before_high, high))
                continue
        joined.append((low, high))
    return tuple(joined)


def asked(key: bytes, range_end: bytes) -> KeyRange:
    """Returns the keys that a request is about which names these; at least ``key``."""
    if range_end == TO_THE_END:
        return key, None
    return key, max(range_end, key + b"\0")


def covered(ranges: Sequence[KeyRange], low: bytes, high: bytes | None) -> bool:
    """Returns whether ranges as :func:`merged` returns them have every key from ``low`` up to ``high``."""
    at = bisect_right(ranges, low, key=lambda each: each[0]) - 1
    if at < 0:
        return False
    end = ranges[at][1]
    return end is None or (high is not None and high <= end)


@dataclass(frozen=True)
class Grant:
    """What one caller may do. Compare with :data:`FULL` by identity: nearly every caller has that one."""

    keys: tuple[KeyRange, ...]
    """In order, not touching each other."""
    writes: bool

    @classmethod
    def of(cls, prefixes: Iterable[str], *, writes: bool) -> Grant:
        """Returns the grant for keys that begin with one of the prefixes, every key where there is none."""
        ranges = merged(prefix_range(prefix.encode()) for prefix in prefixes)
        return FULL if writes and not ranges else cls(ranges or EVERY_KEY, writes)

    @property
    def every_key(self) -> bool:
        """Whether it is for all keys there are and could be."""
        return self.keys == EVERY_KEY

    def reads(self, key: bytes, range_end: bytes) -> bool:
        """Whether the caller may read these keys, as in a RangeRequest."""
        return covered(self.keys, *asked(key, range_end))

    def changes(self, key: bytes, range_end: bytes) -> bool:
        """Whether the caller may change these keys, as in a DeleteRangeRequest."""
        return self.writes and self.reads(key, range_end)

    def covers(self, other: Grant) -> bool:
        """Whether this grant allows whatever the other one does."""
        return (self.writes or not other.writes) and all(covered(self.keys, *each) for each in other.keys)


EVERY_KEY: tuple[KeyRange, ...] = ((b"", None),)
FULL = Grant(EVERY_KEY, writes=True)
"""May do everything."""
