"""Which address of a region to try next, and how long to wait before it."""

from __future__ import annotations

from collections.abc import Sequence

from rstore_replica.replication.ports import Random


class Backoff:
    """Exponential delays with jitter (each between half and all of its step), from ``low`` to ``high`` seconds."""

    def __init__(self, *, low_seconds: float, high_seconds: float, rng: Random) -> None:
        self._low = low_seconds
        self._high = high_seconds
        self._rng = rng
        self._step = low_seconds

    def next_seconds(self) -> float:
        """Returns the delay before the next attempt; at least ``low``, never above ``high``."""
        step, self._step = self._step, min(self._high, self._step * 2)
        return max(self._low, self._rng.uniform(step / 2, step))

    def reset(self) -> None:
        """Progress was made: start from the shortest delay again."""
        self._step = self._low


class AddressBook:
    """Goes round the addresses of one region, preferring the leader a replica named.

    A named leader is followed at once, but at most once per round: two replicas that name each other must not
    make a loop without a pause.
    """

    def __init__(self) -> None:
        self._hint = ""
        self._hint_used = False
        self._untried: list[str] = []

    def prefer(self, address: str) -> None:
        """Try ``address`` next: a replica named it as the leader, or it just worked."""
        self._hint = address

    def new_round(self, addresses: Sequence[str]) -> None:
        """Every one of ``addresses`` is to be tried once more."""
        self._untried = list(dict.fromkeys(addresses))
        self._hint_used = False

    def next_address(self) -> str | None:
        """Returns the address to try now, or None when the round is over and it is time to wait."""
        if self._hint and not self._hint_used:
            hint, self._hint, self._hint_used = self._hint, "", True
            if hint in self._untried:
                self._untried.remove(hint)
            return hint
        return self._untried.pop(0) if self._untried else None
