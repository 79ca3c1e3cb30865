"""Whose turn it is to roll: of the stores that an operator looks after, a few at a time.

1. Stores wait in the order in which they asked. Those that are half-way when an operator starts come before the others.
2. A store that is blocked gives its turn back, and so does one that gets no further for a while, whatever it waits for;
   the latter goes to the end of the queue.
3. What failed in one store is not tried in the next: while a roll to an image is blocked because its container does not
   start or get ready, no other store begins or goes on with a roll to that image. What else blocks a store, such as no
   room on the nodes, holds up nobody but itself.
"""

from __future__ import annotations

from dataclasses import dataclass

SETTLE_SECONDS = 3.0
"""For this long after the first store has asked nobody gets a turn: one that is half-way may not have asked yet."""
PATIENCE_SECONDS = 120.0
"""How long a store keeps its turn without getting any further."""
SILENT_SECONDS = 60.0
"""A store that has reported nothing for this long is forgotten: it was deleted while this operator did not act."""
DEFAULT_LIMIT = 1

Store = tuple[str, str]
"""Namespace and name."""


@dataclass(frozen=True)
class Claim:
    """What a store reports of its roll. ``image`` is the one that its roll brings, "" where it changes no image;
    ``progress`` changes with each step; ``image_fails``: the roll is blocked by a container of that image."""

    wanted: bool = False
    begun: bool = False
    blocked: bool = False
    image_fails: bool = False
    image: str = ""
    progress: tuple[str, int] = ("", 0)


NO_CLAIM = Claim()


@dataclass(frozen=True)
class Turn:
    """Whether a store may take its next step; ``why`` says why not."""

    granted: bool
    why: str = ""


FREE = Turn(granted=True)


@dataclass
class _Place:
    claim: Claim
    rank: int
    asked_at: float
    moved_at: float
    reported_at: float
    holds: bool = False


class Turns:
    """The queue of one operator process. Times are seconds of one monotonic clock."""

    def __init__(self, limit: int = DEFAULT_LIMIT, *, settle_seconds: float = SETTLE_SECONDS) -> None:
        self._limit = limit
        self._settle_seconds = settle_seconds
        self._places: dict[Store, _Place] = {}
        self._first_at: float | None = None

    def report(self, store: Store, claim: Claim, now: float) -> None:
        """The store has looked at its pods. One that wants no roll leaves the queue."""
        place = self._places.get(store)
        if not claim.wanted:
            self._places.pop(store, None)
        elif place is None:
            self._places[store] = _Place(claim, 0 if claim.begun else 1, now, now, now)
            self._first_at = now if self._first_at is None else self._first_at
        else:
            if claim.progress != place.claim.progress:
                place.moved_at = now
            place.claim, place.reported_at = claim, now

    def forget(self, store: Store) -> None:
        """The store is gone."""
        self._places.pop(store, None)

    def turn_of(self, store: Store, now: float) -> Turn:
        """Return whether the store may take its next step now."""
        self._take_back(now)
        if self._first_at is not None and now - self._first_at >= self._settle_seconds:
            self._hand_out(now)
        place = self._places.get(store)
        if place is not None and place.holds:
            return FREE
        failing = self._failing(store)
        if place is not None and place.claim.image in failing:
            return Turn(False, f"the roll of {_shown(failing[place.claim.image])} to the same image is blocked")
        others = sorted(_shown(other) for other, one in self._places.items() if one.holds)
        return Turn(False, f"its turn comes after that of {', '.join(others)}" if others else "its turn comes soon")

    def _take_back(self, now: float) -> None:
        self._places = {s: place for s, place in self._places.items() if now - place.reported_at < SILENT_SECONDS}
        for store, place in self._places.items():
            if not place.holds:
                continue
            if now - place.moved_at >= PATIENCE_SECONDS:
                place.rank, place.asked_at, place.holds = 1, now, False
            elif place.claim.blocked or place.claim.image in self._failing(store):
                place.holds = False

    def _hand_out(self, now: float) -> None:
        free = self._limit - sum(place.holds for place in self._places.values())
        for store, place in sorted(self._places.items(), key=lambda item: (item[1].rank, item[1].asked_at, item[0])):
            if free <= 0:
                return
            if place.holds or place.claim.blocked or place.claim.image in self._failing(store):
                continue
            place.holds, place.moved_at = True, now
            free -= 1

    def _failing(self, store: Store) -> dict[str, Store]:
        """The images with which rolls of other stores are blocked."""
        return {
            place.claim.image: other
            for other, place in self._places.items()
            if other != store and place.claim.blocked and place.claim.image_fails and place.claim.image
        }


def _shown(store: Store) -> str:
    return "/".join(store)
