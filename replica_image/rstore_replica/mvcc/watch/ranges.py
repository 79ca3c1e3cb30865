"""Ranges of keys, and an index that says which of many ranges hold a key."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)

MIN_RECENT = 64
"""So many ranges may be looked through one by one before the tree is built anew."""


class Span(NamedTuple):
    """The keys from ``start`` on and below ``end``; None: to the last key."""

    start: bytes
    end: bytes | None

    @property
    def is_key(self) -> bool:
        """Whether it is one key."""
        return self.end == self.start + b"\0"

    def holds(self, key: bytes) -> bool:
        """Whether ``key`` is in it."""
        return self.start <= key and (self.end is None or key < self.end)


class Group(Generic[T]):
    """All members that are interested in the same span."""

    __slots__ = ("_sorted", "members", "span")

    def __init__(self, span: Span) -> None:
        self.span = span
        self.members: dict[T, None] = {}
        self._sorted: dict[Any, list[T]] | None = None

    def sorted_by(self, key: Callable[[T], K]) -> Mapping[K, list[T]]:
        """Returns the members by their key, always with the same function; sorted again only when they have changed."""
        if self._sorted is None:
            self._sorted = {}
            for member in self.members:
                self._sorted.setdefault(key(member), []).append(member)
        return self._sorted

    def add(self, member: T) -> None:
        """Adds a member."""
        self.members[member] = None
        self._sorted = None

    def discard(self, member: T) -> None:
        """Removes a member."""
        del self.members[member]
        self._sorted = None


class RangeIndex(Generic[T]):
    """Members by span. To find the groups that hold a key costs one look-up, and a walk down a tree of the ranges.

    The tree is an array in the order of the starts, each node with the largest end below it (an augmented interval
    tree, Cormen et al., "Introduction to Algorithms", section 14.3). New ranges are kept aside until they are worth a
    new tree, so that adding a range costs little on average.
    """

    def __init__(self) -> None:
        self._keys: dict[bytes, Group[T]] = {}
        self._ranges: dict[Span, Group[T]] = {}
        self._recent: list[Group[T]] = []
        self._tree: list[Group[T]] = []
        self._starts: list[bytes] = []
        self._largest_ends: list[bytes | None] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[T]:
        for groups in (self._keys, self._ranges):
            for group in groups.values():
                yield from group.members

    def add(self, span: Span, member: T) -> None:
        """Adds a member, which is in no span of this index yet."""
        if span.is_key:
            group = self._keys.get(span.start)
            if group is None:
                group = self._keys[span.start] = Group(span)
        else:
            group = self._ranges.get(span)
            if group is None:
                group = self._ranges[span] = Group(span)
                self._recent.append(group)
                if len(self._recent) > max(MIN_RECENT, len(self._tree) // 64):
                    self._build()
        group.add(member)
        self._count += 1

    def discard(self, span: Span, member: T) -> None:
        """Removes a member; does nothing when it is not there."""
        group = self._keys.get(span.start) if span.is_key else self._ranges.get(span)
        if group is None or member not in group.members:
            return
        group.discard(member)
        self._count -= 1
        if group.members:
            return
        if span.is_key:
            del self._keys[span.start]
        else:
            del self._ranges[span]
            if len(self._tree) + len(self._recent) > 2 * len(self._ranges) + MIN_RECENT:
                self._build()

    def match(self, key: bytes) -> list[Group[T]]:
        """Returns the groups whose span holds ``key``."""
        exact = self._keys.get(key)
        matching = [exact] if exact is not None else []
        if self._ranges:
            for group in self._recent:
                start, end = group.span
                if start <= key and (end is None or key < end) and group.members:
                    matching.append(group)
            if self._tree:
                self._search(key, matching)
        return matching

    def _build(self) -> None:
        self._recent = []
        self._tree = sorted(self._ranges.values(), key=lambda group: group.span.start)
        self._starts = [group.span.start for group in self._tree]
        self._largest_ends = [b""] * len(self._tree)
        nodes = list(_nodes(len(self._tree)))
        for low, middle, high in reversed(nodes):  # those below come first
            ends = [self._tree[middle].span.end]
            ends += [
                self._largest_ends[(first + last) // 2]
                for first, last in ((low, middle), (middle + 1, high))
                if first < last
            ]
            self._largest_ends[middle] = None if None in ends else max(end for end in ends if end is not None)

    def _search(self, key: bytes, matching: list[Group[T]]) -> None:
        """Adds the groups in the tree that hold ``key``: none from the first on that starts above it."""
        parts = [(0, len(self._tree))]
        end_of_starts = bisect_right(self._starts, key)
        while parts:
            low, high = parts.pop()
            if low >= min(high, end_of_starts):
                continue
            middle = (low + high) // 2
            largest = self._largest_ends[middle]
            if largest is not None and largest <= key:
                continue
            group = self._tree[middle]
            if middle < end_of_starts and group.members and (group.span.end is None or key < group.span.end):
                matching.append(group)
            parts.append((low, middle))
            parts.append((middle + 1, high))


def _nodes(count: int) -> Iterator[tuple[int, int, int]]:
    """The nodes of a balanced tree over an array, each before those below it: first, own and end position."""
    parts = [(0, count)]
    while parts:
        low, high = parts.pop()
        if low < high:
            middle = (low + high) // 2
            yield low, middle, high
            parts.append((low, middle))
            parts.append((middle + 1, high))
