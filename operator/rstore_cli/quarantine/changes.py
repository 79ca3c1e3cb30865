"""What a tail did to each key, beside what the store has now.

What the region that left the tail shared with the store ends at the fork. A key that nobody has written since then
still has a revision at or below it.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass
from enum import StrEnum

from rstore_api.proto.kv_pb2 import KeyValue
from rstore_api.proto.rstore_pb2 import QuarantinedRow


class Verdict(StrEnum):
    """The tail's last word on a key beside the store's."""

    SAME = "same"
    """The store has what the tail has."""
    UNCHANGED = "unchanged"
    """Nobody has written the key since the fork: the store has what was before the tail."""
    ABSENT = "absent"
    """The key came into being in the tail, and the store has no such key."""
    CHANGED = "changed"
    """The key was written since the fork, by the history that the store has."""
    DELETED = "deleted"
    """The key was deleted since the fork, by the history that the store has."""


CONFLICTS = frozenset({Verdict.CHANGED, Verdict.DELETED})
"""Where putting the tail's value back would undo somebody's later write."""


@dataclass(frozen=True)
class KeyChange:
    """The last row of a key in a tail, without its value."""

    revision: int
    sub: int
    deletion: bool
    existed: bool
    """Whether the key was there before the tail."""
    rows: int = 1

    def is_of(self, row: QuarantinedRow) -> bool:
        """Whether this is the very row."""
        return (row.revision, row.sub) == (self.revision, self.sub)


@dataclass(frozen=True)
class Selection:
    """Which keys are meant; neither keys nor prefixes mean all."""

    keys: frozenset[bytes] = frozenset()
    prefixes: tuple[bytes, ...] = ()

    @classmethod
    def of(cls, keys: Iterable[str] | None, prefixes: Iterable[str] | None) -> Selection:
        """As given at the command line."""
        return cls(frozenset(key.encode() for key in keys or ()), tuple(prefix.encode() for prefix in prefixes or ()))

    def __contains__(self, key: bytes) -> bool:
        if not self.keys and not self.prefixes:
            return True
        return key in self.keys or key.startswith(self.prefixes)

    def missing_from(self, found: Container[bytes]) -> list[bytes]:
        """Single keys that were named and are not among those found."""
        return sorted(key for key in self.keys if key not in found)


def verdict(change: KeyChange, value: bytes, present: KeyValue | None, fork_revision: int) -> Verdict:
    """The tail's last ``value`` of a key beside what the store has now."""
    if present is None:
        if change.deletion:
            return Verdict.SAME
        return Verdict.DELETED if change.existed else Verdict.ABSENT
    if not change.deletion and present.value == value:
        return Verdict.SAME
    return Verdict.UNCHANGED if change.existed and present.mod_revision <= fork_revision else Verdict.CHANGED
