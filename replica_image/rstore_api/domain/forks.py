"""Chains of epochs, and the last revision that two of them share.

A chain is an epoch history [(epoch, first revision, region), …] and the last revision held. An epoch's *end* in a
chain is the parent revision of the next epoch's start, or the last revision held if it is the newest. The fork point of
two chains is, for the newest epoch both know, the smaller of its two ends: up to there both hold the same (I3).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rstore_api.domain.epochs import BASE_REVISION, EpochStart, History, epoch_of, parent_of


@dataclass(frozen=True)
class Chain:
    """A history, oldest epoch first, and the last revision held.

    The newest epoch may start above ``revision``: nothing was written in it yet. Raises ValueError when epochs do not
    grow, starts go back, or anything starts at or below the base revision.
    """

    history: History
    revision: int

    def __post_init__(self) -> None:
        if self.revision < BASE_REVISION:
            raise ValueError(f"revision {self.revision} is below {BASE_REVISION}")
        for older, newer in zip(self.history, self.history[1:], strict=False):
            if newer.epoch <= older.epoch:
                raise ValueError(f"epoch {newer.epoch} does not follow epoch {older.epoch}")
            if newer.first_revision < older.first_revision:
                raise ValueError(f"epoch {newer.epoch} starts before epoch {older.epoch}")
            if not older.first_revision - 1 <= parent_of(newer) < newer.first_revision:
                raise ValueError(f"epoch {newer.epoch} follows revision {parent_of(newer)}")
        if self.history and self.history[0].first_revision <= BASE_REVISION:
            raise ValueError(f"the first epoch starts at {self.history[0].first_revision}")

    @staticmethod
    def of(history: Iterable[EpochStart], revision: int) -> Chain:
        """Returns the chain of a region that holds ``revision``; raises ValueError as the constructor does."""
        return Chain(tuple(history), max(revision, BASE_REVISION))

    @property
    def epoch(self) -> int:
        """The newest epoch, 0 when there is none."""
        return epoch_of(self.history)

    def end_of(self, position: int) -> int:
        """Returns the last revision of the epoch at ``position`` in the history, as far as this chain holds it."""
        if position + 1 < len(self.history):
            return min(self.revision, parent_of(self.history[position + 1]))
        return self.revision


def fork_revision(one: Chain, other: Chain) -> int:
    """Returns the last revision both chains share. Both histories must not contradict each other."""
    positions = {start.epoch: position for position, start in enumerate(one.history)}
    for position in range(len(other.history) - 1, -1, -1):
        epoch = other.history[position].epoch
        if epoch in positions:
            return min(one.end_of(positions[epoch]), other.end_of(position))
    return BASE_REVISION
