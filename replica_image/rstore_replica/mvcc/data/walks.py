"""Bounds of the time that a walk through a range takes, by the keys that it passes over.

A range passes over keys that do not exist at its revision: those that were deleted, until compaction removes them, and
those that were created later. How many there are is bounded by nothing, and how many of them are left differs from
replica to replica, so that they must not decide what is answered. They decide only when a walk pauses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

SLICE_KEYS = 8192
"""Passed over in 5 to 20 ms."""

Found = tuple[bytes, bytes]
"""A key that exists, and its index entry."""
OnPass = Callable[[bytes], None]
"""Is called with each key that a scan passes over, and may raise."""
Scan = Callable[[bytes, OnPass], Iterator[Found]]
"""Yields what exists from a key on."""


class SliceEndedError(Exception):
    """As many keys as a slice may have were passed over."""

    def __init__(self, next_key: bytes) -> None:
        super().__init__(next_key)
        self.next_key = next_key
        """Where the walk goes on."""


class Passes:
    """Counts the keys that are passed over; an ``OnPass``, which raises SliceEndedError with the last one."""

    def __init__(self, at_most: int) -> None:
        self._left = at_most

    def __call__(self, key: bytes) -> None:
        """Counts one key."""
        self._left -= 1
        if self._left <= 0:
            raise SliceEndedError(behind(key))


def behind(key: bytes) -> bytes:
    """Returns the first key after this one."""
    return key + b"\0"


@dataclass
class _Walk:
    """One range: what was found, and where to go on; None where all was seen."""

    next_key: bytes | None
    found: list[Found] = field(default_factory=list)


class Walks:
    """The walks of one entry of the log, which is applied again from its start after each slice of them.

    Nothing of the entry is kept in between but how far its walks are. It is carried out the same way each time, so that
    the n-th walk of a slice is the n-th of the slice before, and begins with what that one has found.
    """

    def __init__(self, slice_keys: int = SLICE_KEYS) -> None:
        self._slice_keys = slice_keys
        self._index = 0
        self.clear()

    def clear(self) -> None:
        """Forgets how far the walks are."""
        self._walks: list[_Walk] = []
        self._number = 0
        self._passes = Passes(self._slice_keys)

    def begin(self, index: int) -> None:
        """Begins a slice of the entry with this index."""
        if index != self._index or not self._walks:
            self._index = index
            self.clear()
        elif self._number:
            self._number = 0
            self._passes = Passes(self._slice_keys)

    def walk(self, start: bytes, scan: Scan) -> Iterator[Found]:
        """Yields what ``scan`` finds from ``start`` on. The iterator raises SliceEndedError where the slice ends."""
        number = self._number
        self._number += 1
        if number == len(self._walks):
            self._walks.append(_Walk(start))
        return self._go(self._walks[number], scan)

    def _go(self, walk: _Walk, scan: Scan) -> Iterator[Found]:
        yield from walk.found
        if walk.next_key is None:
            return
        try:
            for found in scan(walk.next_key, self._passes):
                walk.found.append(found)
                walk.next_key = behind(found[0])
                yield found
        except SliceEndedError as ended:
            walk.next_key = ended.next_key
            raise
        walk.next_key = None


def pacing(pace: Callable[[], None], keys: int = SLICE_KEYS) -> OnPass:
    """Returns an ``OnPass`` that calls ``pace`` each time that so many keys were passed over."""
    passed = 0

    def on_pass(_key: bytes) -> None:
        nonlocal passed
        passed += 1
        if passed == keys:
            passed = 0
            pace()

    return on_pass
