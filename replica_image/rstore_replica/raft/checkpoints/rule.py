"""By how much the log grows before the next checkpoint is made.

A checkpoint is a copy of all data: what it costs grows with the data, and what it saves does not. Were one made each
time the log has grown by the same, filling a database would write bytes quadratic in its size. So the log may grow by a
part of what the last checkpoint took. The price is paid at a start: what came after the checkpoint is read again, and
after a loss of power applied again. So that this stays a matter of seconds, the growth has a bound.
"""

from __future__ import annotations

from typing import NamedTuple

from rstore_replica.raft.config import RaftConfig

PART_OF_CHECKPOINT = 4
"""The log may grow by the size of the last checkpoint divided by this."""
MOST_TIMES = 16
"""It never grows by more than this many times what is configured."""


class Growth(NamedTuple):
    """Of the log since a checkpoint: entries that are applied, and bytes that are written."""

    entries: int
    size_bytes: int

    def reaches(self, needed: Growth) -> bool:
        """Whether it is time for the next checkpoint. Never without an applied entry since."""
        return self.entries >= needed.entries or (self.size_bytes >= needed.size_bytes and self.entries > 0)


def growth_at_last(needed: Growth, config: RaftConfig) -> int:
    """Bytes of growth after which a checkpoint is made without any further wait."""
    return max(MOST_TIMES * config.checkpoint_bytes, 2 * needed.size_bytes)


def growth_needed(last_checkpoint_bytes: int, config: RaftConfig) -> Growth:
    """After a checkpoint of that size (0: there is none) the next one is made when the log has grown by this."""
    part = last_checkpoint_bytes / (PART_OF_CHECKPOINT * config.checkpoint_bytes)
    times = min(max(1.0, part), MOST_TIMES)
    return Growth(int(config.checkpoint_entries * times), int(config.checkpoint_bytes * times))
