"""Compares what a tail did to each key with what the store has now.

The region that left the tail and the store have the same history up to the fork. A key that has not been written since
then has a revision at or below it.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass
from enum import StrEnum

from rstore_api.proto.kv_pb2 import KeyValue
from rstore_api.proto.rstore_pb2 import QuarantinedRow


class Verdict(StrEnum):
    """How the tail's last change of a key compares with the store's present value."""

    SAME = "same"
    """The store has what the tail has."""
    UNCHANGED = "unchanged"
    """The key has not been written since the fork: the store has the value from before the tail."""
    ABSENT = "absent"
    """The key was created in the tail, and the store has no such key."""
    CHANGED = "changed"
    """The key was written since the fork, by the history that the store has."""
    DELETED = "deleted"
    """The key was deleted since the fork, by the history that the store has."""


CONFLICTS = frozenset({Verdict.CHANGED, Verdict.DELETED})
"""Putting the tail's value back would undo a later write."""


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
        """Returns whether ``row`` is this change."""
        return (row.revision, row.sub) == (self.revision, self.sub)


@dataclass(frozen=True)
class Selection:
    """Which keys are selected; without keys and prefixes, all are."""

    keys: frozenset[bytes] = frozenset()
    prefixes: tuple[bytes, ...] = ()

    @classmethod
    def of(cls, keys: Iterable[str] | None, prefixes: Iterable[str] | None) -> Selection:
        """Returns the selection that the options describe."""
        return cls(frozenset(key.encode() for key in keys or ()), tuple(prefix.encode() for prefix in prefixes or ()))

    def __contains__(self, key: bytes) -> bool:
        if not self.keys and not self.prefixes:
            return True
        return key in self.keys or key.startswith(self.prefixes)

    def missing_from(self, present: Container[bytes]) -> list[bytes]:
        """Returns the keys that were named and are not in ``present``."""
        return sorted(key for key in self.keys if key not in present)


def verdict(change: KeyChange, value: bytes, present: KeyValue | None, fork_revision: int) -> Verdict:
    """Compares the tail's last ``value`` of a key with what the store has now."""
    if present is None:
        if change.deletion:
            return Verdict.SAME
        return Verdict.DELETED if change.existed else Verdict.ABSENT
    if not change.deletion and present.value == value:
        return Verdict.SAME
    return Verdict.UNCHANGED if change.existed and present.mod_revision <= fork_revision else Verdict.CHANGED
