"""What a command of the log came to."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from rstore_replica.mvcc.data.leases import Lease
from rstore_replica.mvcc.data.store import Position
from rstore_replica.mvcc.state import RegionState


class Outcome(msgspec.Struct, frozen=True):
    """The answer, and position and region state after the command; ``leases`` are those that were granted, and None for
    one that is gone.
    """

    answer: object
    position: Position
    state: RegionState
    finished: bool = True
    """False: the command was applied in part, which nobody sees, and is to be applied again."""
    leases: Mapping[int, Lease | None] = {}
