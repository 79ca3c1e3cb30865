"""PURE. Revisions that a history of epochs leaves out.

An epoch that a failover began starts far above its parent's last revision, so that what was in a diverged tail is never
numbered again. Those revisions do not exist, so they count for no distance: neither for lag, nor for retention.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol


class StartView(Protocol):
    """The start of an epoch, as a message or a record."""

    @property
    def first_revision(self) -> int: ...
    @property
    def parent_revision(self) -> int: ...


def parent_of(start: StartView) -> int:
    """The last revision before the epoch that its primary held."""
    return start.parent_revision or start.first_revision - 1


def after_jumps(history: Iterable[StartView], revision: int) -> int:
    """Where a region that holds ``revision`` stands once it has taken the jumps that begin right there."""
    for start in history:
        if parent_of(start) == revision:
            revision = start.first_revision - 1
    return revision


def is_left_out(history: Iterable[StartView], revision: int) -> bool:
    """Whether no answer of this history was ever of that revision: it is inside a jump, or was lost in it.

    Where an epoch begins after a jump, the store stands right below its first revision, and says so to clients.
    """
    return any(parent_of(start) < revision < start.first_revision - 1 for start in history)


def existing(history: Iterable[StartView], revision: int) -> int:
    """The revision itself, or, where it is left out, the last one below it that is not."""
    for start in reversed(list(history)):
        if parent_of(start) < revision < start.first_revision - 1:
            revision = parent_of(start)
    return revision


def settled(history: Iterable[StartView], revision: int) -> int:
    """The last revision that exists at or below ``revision``."""
    for start in reversed(list(history)):
        if parent_of(start) < revision < start.first_revision:
            revision = parent_of(start)
    return revision


def count_at(history: Iterable[StartView], revision: int) -> int:
    """How many revisions there are up to ``revision``."""
    left_out = 0
    for start in history:
        parent = parent_of(start)
        if parent < revision:
            left_out += min(revision, start.first_revision - 1) - parent
    return revision - left_out


def revision_at(history: Iterable[StartView], count: int) -> int:
    """The revision up to which there are ``count``: the lowest, so never one that was left out."""
    revision = count
    for start in history:
        parent = parent_of(start)
        if parent < revision:
            revision += start.first_revision - 1 - parent
    return revision
