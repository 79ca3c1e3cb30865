"""Which handshakes are under way, and which of them makes room for a new one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class Handshakes(Generic[T]):
    """Unfinished handshakes by the address that they come from, at most ``limit``.

    A new one is always taken: the oldest of the address that has most of them goes. A caller that opens connections and
    says nothing pushes out its own; one whose handshake ends in time is not reached by it.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._addresses: dict[T, str] = {}

    def __len__(self) -> int:
        return len(self._addresses)

    def __iter__(self) -> Iterator[T]:
        return iter(tuple(self._addresses))

    def add(self, handshake: T, address: str) -> T | None:
        """Takes a new handshake; returns the one that is to be given up for it, which is forgotten."""
        given_up = None
        if len(self._addresses) >= self._limit:
            ((busiest, _),) = Counter(self._addresses.values()).most_common(1)
            given_up = next(each for each, its_address in self._addresses.items() if its_address == busiest)
            del self._addresses[given_up]
        self._addresses[handshake] = address
        return given_up

    def discard(self, handshake: T) -> None:
        """Forgets a handshake that has ended."""
        self._addresses.pop(handshake, None)
