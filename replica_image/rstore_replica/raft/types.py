"""The values that a Raft group shares with the layers above, and what it asks of its state machine."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol

import msgspec

COMMAND = b"\x00"
"""First byte of a log entry for the state machine; the group's own begin with :data:`NO_OP` or :data:`CONFIG`."""
NO_OP = b"\x01"
"""First byte of the entry with which a leader begins its term."""
CONFIG = b"\x04"
"""First byte of an entry that names the members, see :mod:`.membership`."""


class Role(Enum):
    """What a replica is in its group at the moment."""

    LEADER = "leader"
    FOLLOWER = "follower"
    CANDIDATE = "candidate"


@dataclass(frozen=True)
class Member:
    """One replica of the group. ``address`` is ``host:port`` of its peer port; the name is resolved at each dial."""

    name: str
    address: str


class GroupStatus(msgspec.Struct, frozen=True):
    """A replica's view of its group at one moment. Two replicas may for a while both believe they lead."""

    name: str
    role: Role
    leader: str | None
    term: int
    commit_index: int
    applied_index: int
    last_index: int
    members: tuple[Member, ...]
    """As the log names them, with those that do not count yet."""
    leader_since: float | None
    """Clock reading when this replica became leader; None when it is not."""
    not_ready_reason: str = ""
    """Why this replica cannot take part at the moment (for instance: it is receiving a checkpoint); "" when it can."""
    learners: tuple[str, ...] = ()
    """Members that have no vote and are not counted: they have not caught up yet."""
    leaving: tuple[str, ...] = ()
    """Members that have announced that they were asked to stop, and this replica if it was."""
    released: bool = False
    """Whether the leader has announced that no replica need stay for what it has acknowledged."""
    feature_level: int = 1
    """The least that its members have reported; 1 for those that have reported nothing to this replica."""
    joining: bool = False
    """Whether this replica belongs to no group yet; ``members`` are then those with which it would begin one."""


class StateMachine(Protocol):
    """What the log is applied to. All calls but :meth:`checkpoint`, :meth:`sync` and :meth:`restore` come
    on the event loop."""

    @property
    def applied_index(self) -> int:
        """Index of the last entry applied, kept together with the data; 0 when empty."""

    def apply(self, index: int, term: int, entry: bytes) -> object:
        """Applies one entry: deterministic, errors are returned; does nothing at or below ``applied_index``.

        A large one is applied by several calls: the last of them raises ``applied_index``, and returns the result.
        """

    def checkpoint(self, directory: Path) -> None:
        """Writes a consistent copy into ``directory``; runs in a thread while entries are being applied.

        Syncs its files by the descriptors that wrote them, so that what is read back afterwards is what was meant.
        """

    def sync(self) -> None:
        """Makes the live state durable, in a thread; when that raises, it may no longer be what was applied."""

    def restore(self, directory: Path) -> None:
        """Replaces the live state by a checkpoint's; runs in a thread, nothing is applied meanwhile."""


class RaftError(RuntimeError):
    """The group cannot go on without risking data; the process must stop. The message names the cause."""


class VolumeRolledBackError(RaftError):
    """This replica has forgotten what it promised. It has taken a new identity, under which it is filled again."""


HOW_TO_RESEED = (
    "what this replica holds cannot be trusted: delete all that is in its volume, or its PersistentVolumeClaim and its "
    "pod; it then comes back empty and is filled from the other replicas by itself"
)


class JournalDamaged(RaftError):  # noqa: N818
    """A journal or checkpoint file holds something else than what was written to it."""
