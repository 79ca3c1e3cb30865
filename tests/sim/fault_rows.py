"""Faults one after the other, in several rows at a time: what both scopes share of how things go wrong."""

from __future__ import annotations

import asyncio
import contextvars
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

Fault = Callable[[], Awaitable[None]]
"""Makes something go wrong, waits, and undoes it."""
Kinds = list[tuple[float, Fault]]
"""With how often each comes, in proportion to the others."""

_ONLY: contextvars.ContextVar[tuple[str, ...]] = contextvars.ContextVar("sim_only_faults", default=())


@contextmanager
def only_faults(names: tuple[str, ...]) -> Iterator[None]:
    """In the runs meanwhile, only these kinds of faults happen."""
    token = _ONLY.set(names)
    try:
        yield
    finally:
        _ONLY.reset(token)


def only_kinds() -> tuple[str, ...]:
    """Those, empty when there are all."""
    return _ONLY.get()


def name_of(fault: Fault) -> str:
    """Of its kind."""
    return fault.__name__.removeprefix("_")


class FaultRows:
    """Draws from ``kinds``; ``happened`` counts them by name."""

    def __init__(self, kinds: Kinds, rng: random.Random, *, pause_seconds: float) -> None:
        if only := only_kinds():
            named = {name_of(fault): (weight, fault) for weight, fault in kinds}
            kinds = [named[name] for name in only]
        self._weights = [weight for weight, _ in kinds]
        self._faults = [fault for _, fault in kinds]
        self._rng = rng
        self._pause_seconds = pause_seconds
        self.happened: Counter[str] = Counter()

    async def run(self, seconds: float, concurrent: int) -> None:
        """Runs ``concurrent`` rows for ``seconds``; raises what one of them raised."""
        rows = [asyncio.ensure_future(self._row()) for _ in range(concurrent)]
        await asyncio.sleep(seconds)
        for row in rows:
            row.cancel()
        for error in await asyncio.gather(*rows, return_exceptions=True):
            if isinstance(error, Exception):
                raise error

    async def _row(self) -> None:
        while True:
            await asyncio.sleep(self._rng.uniform(0.0, self._pause_seconds))
            fault = self._rng.choices(self._faults, self._weights)[0]
            self.happened[name_of(fault)] += 1
            await fault()


def some_kinds(kinds: Kinds, rng: random.Random) -> Kinds:
    """A few kinds by themselves meet states that all kinds together hide from each other.

    Groce et al., "Swarm Testing" (2012).
    """
    if only_kinds():
        return kinds
    return rng.sample(kinds, rng.randint(1, 5)) if rng.random() < 0.7 else kinds
