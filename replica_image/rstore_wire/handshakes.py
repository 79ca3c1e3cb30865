"""Which handshakes are under way, and which of them makes room for a new one."""

from __future__ import annotations

import ipaddress
import random
from collections import Counter
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class Handshakes(Generic[T]):
    """Unfinished handshakes by the address that they come from, at most ``limit``.

    A new one is always taken. One of a stranger goes for it, as long as there is any: the oldest of the address that
    has most of them, or any one where all come from different addresses. So a caller that opens connections and says
    nothing pushes out its own; one that is known is not reached by strangers, however many they are, and a new one
    gets in with its luck, which is worse the more strangers there are.
    """

    def __init__(self, limit: int, rng: random.Random | None = None) -> None:
        self._limit = limit
        self._rng = rng or random.Random()
        self._known: dict[T, str] = {}
        self._strangers: dict[T, str] = {}

    def __len__(self) -> int:
        return len(self._known) + len(self._strangers)

    def __iter__(self) -> Iterator[T]:
        return iter((*self._known, *self._strangers))

    def add(self, handshake: T, address: str, *, known: bool = False) -> T | None:
        """Takes a new handshake; returns the one that is to be given up for it, which is forgotten.

        ``known``: whether a caller from there has been welcome before.
        """
        given_up = self._give_up() if len(self) >= self._limit else None
        (self._known if known else self._strangers)[handshake] = source_of(address)
        return given_up

    def discard(self, handshake: T) -> None:
        """Forgets a handshake that has ended."""
        self._known.pop(handshake, None)
        self._strangers.pop(handshake, None)

    def _give_up(self) -> T:
        sources = self._strangers or self._known
        ((busiest, count),) = Counter(sources.values()).most_common(1)
        if count > 1:
            given_up = next(each for each, source in sources.items() if source == busiest)
        else:
            given_up = self._rng.choice(tuple(sources))
        del sources[given_up]
        return given_up


def source_of(address: str) -> str:
    """Returns what stands for one caller: an IPv4 address, or the /64 of an IPv6 one, all of which a host may use."""
    if ":" not in address:
        return address
    return str(ipaddress.IPv6Network((address.partition("%")[0], 64), strict=False).network_address)
