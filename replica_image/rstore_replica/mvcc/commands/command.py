"""One kind of command of the log, and what it is applied to."""

from __future__ import annotations

from collections.abc import Callable
from enum import Flag, auto
from typing import Any

import msgspec
from rstore_api.proto.rstore_pb2 import WriteLimits

from rstore_replica.mvcc.data.outcome import Outcome
from rstore_replica.mvcc.data.store import Position, Store, Transaction
from rstore_replica.mvcc.data.walks import Walks
from rstore_replica.mvcc.state import RegionState
from rstore_replica.mvcc.tails.quarantine import Quarantine


class Mutates(Flag):
    """What a kind of command may change."""

    NOTHING = 0
    DATA = auto()
    """Rows and the position: revisions are added, compacted, undone or replaced."""
    REGION = auto()
    """The region's state: epochs, role, topology, tails."""


class Place(msgspec.Struct, frozen=True):
    """Where a command is applied: one transaction over the data, and what was before it."""

    store: Store
    transaction: Transaction
    position: Position
    region: RegionState
    index: int
    """Of the entry in the log."""
    default_limits: WriteLimits
    """They count only for write batches that name none."""
    quarantine: Quarantine
    """Takes the tails that are left."""

    deletion_step_keys: int
    """How many keys one step of a deletion goes through."""
    walks: Walks
    """Bound the time that ranges in a write take: by SliceEndedError, after which the command is applied again."""

    def unchanged(self, answer: object) -> Outcome:
        """Returns the outcome of a command that is refused, or has nothing to do."""
        return Outcome(answer, self.position, self.region)

    def unfinished(self) -> Outcome:
        """Returns the outcome of a step after which the command has to be applied again, for the next one."""
        return Outcome(None, self.position, self.region, finished=False)


class Command(msgspec.Struct, frozen=True):
    """A kind of command. ``kind`` is its field in ``LogEntry``; ``apply`` and ``describe`` take what the field holds.

    ``level`` is the feature level of the first version that knows the kind: see ``replication/features.py``.
    """

    kind: str
    mutates: Mutates
    apply: Callable[[Place, Any], Outcome]
    describe: Callable[[Any], str]
    level: int = 1
