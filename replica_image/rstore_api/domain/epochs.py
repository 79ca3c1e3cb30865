"""A store's epochs, and the revisions that a history of epochs leaves out.

An epoch that a failover began starts far above its parent's last revision, so that what was in a diverged tail is never
numbered again. Those revisions do not exist, so they count for no distance: neither for lag, nor for retention, nor for
what a failover loses.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

BASE_REVISION = 1
"""The revision of a store that holds nothing, as in etcd; every history agrees on it."""
REVISION_JUMP = 10**9
"""How far above its parent's last revision an epoch begins at least after a failover."""


class EpochStart(NamedTuple):
    """An epoch, the first revision that belongs to it, and the region that was its primary.

    ``parent_revision`` is the last revision that this primary held before; 0 stands for ``first_revision - 1``. It is
    a tuple because it is made and compared for each batch of rows, and stored as an array.
    """

    epoch: int
    first_revision: int
    region: str = ""
    parent_revision: int = 0


History = tuple[EpochStart, ...]
"""Oldest epoch first."""


def epoch_of(history: Sequence[EpochStart]) -> int:
    """The newest epoch that a history knows, 0 when it is empty."""
    return history[-1].epoch if history else 0


def epoch_at(history: Iterable[EpochStart], revision: int) -> int:
    """The epoch that ``revision`` belongs to; 0 when it is below all of them."""
    owner = 0
    for start in history:
        if start.first_revision <= revision:
            owner = start.epoch
    return owner


def parent_of(start: EpochStart) -> int:
    """The last revision before the epoch that its primary held."""
    return start.parent_revision or start.first_revision - 1


def after_jumps(history: Iterable[EpochStart], revision: int) -> int:
    """Where a region that holds ``revision`` stands once it has taken the jumps that begin right there."""
    for start in history:
        if parent_of(start) == revision:
            revision = start.first_revision - 1
    return revision


def is_left_out(history: Iterable[EpochStart], revision: int) -> bool:
    """Whether no answer of this history was ever of that revision: it is inside a jump, or was lost in it.

    Where an epoch begins after a jump, the store stands right below its first revision, and says so to clients.
    """
    return any(parent_of(start) < revision < start.first_revision - 1 for start in history)


def existing(history: Iterable[EpochStart], revision: int) -> int:
    """The revision itself, or, where it is left out, the last one below it that is not."""
    for start in reversed(list(history)):
        if parent_of(start) < revision < start.first_revision - 1:
            revision = parent_of(start)
    return revision


def settled(history: Iterable[EpochStart], revision: int) -> int:
    """The last revision that exists at or below ``revision``."""
    for start in reversed(list(history)):
        if parent_of(start) < revision < start.first_revision:
            revision = parent_of(start)
    return revision


def count_at(history: Iterable[EpochStart], revision: int) -> int:
    """How many revisions there are up to ``revision``."""
    left_out = 0
    for start in history:
        parent = parent_of(start)
        if parent < revision:
            left_out += min(revision, start.first_revision - 1) - parent
    return revision - left_out


def revision_at(history: Iterable[EpochStart], count: int) -> int:
    """The revision up to which there are ``count``: the lowest, so never one that was left out."""
    revision = count
    for start in history:
        parent = parent_of(start)
        if parent < revision:
            revision += start.first_revision - 1 - parent
    return revision
