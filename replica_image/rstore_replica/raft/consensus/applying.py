"""Hands what is committed to the state machine."""

from __future__ import annotations

from functools import partial

from rstore_replica.raft.clock import Clock
from rstore_replica.raft.config import RaftConfig
from rstore_replica.raft.consensus.core import RaftCore
from rstore_replica.raft.consensus.proposals import Proposals
from rstore_replica.raft.storage.journal import Journal
from rstore_replica.raft.storage.room import Room
from rstore_replica.raft.storage.segments import Entry
from rstore_replica.raft.types import COMMAND, CONFIG, NO_OP, RaftError, StateMachine


class Applier:
    """Applies entries in order and gives each result to the caller that proposed the entry."""

    def __init__(
        self,
        journal: Journal,
        machine: StateMachine,
        proposals: Proposals,
        clock: Clock,
        config: RaftConfig,
        room: Room,
    ) -> None:
        self._journal = journal
        self._machine = machine
        self._proposals = proposals
        self._clock = clock
        self._config = config
        self._room = room

    def run(self, core: RaftCore) -> bool:
        """Applies what is committed and durable here, for no longer than a slice of time; True when there is more.

        A large entry may take several calls, one step in each. One for which the disk has no room is tried again later,
        by one of the next calls.
        """
        journal = self._journal
        end = min(core.commit_index, journal.durable_index)
        until = self._clock.monotonic() + self._config.apply_slice_seconds
        while core.last_applied < end and self._room.may_apply:
            entry = journal.entry(core.last_applied + 1)
            result = self._room.apply(partial(apply_entry, self._machine, entry))
            if not self._room.applied:
                return False
            if entry.command[:1] == COMMAND and self._machine.applied_index < entry.index:
                return True
            core.note_applied(entry.index)
            self._proposals.applied(entry.index, entry.term, result)
            if self._clock.monotonic() > until:
                return True
        return False


def apply_entry(machine: StateMachine, entry: Entry) -> object:
    """Returns what the machine made of the entry; None for one of the group's own. Raises :class:`RaftError` for an
    entry of a kind that is never written.
    """
    kind = entry.command[:1]
    if kind == COMMAND:
        return machine.apply(entry.index, entry.term, entry.command[1:])
    if kind not in (NO_OP, CONFIG):
        raise RaftError(f"the log holds an entry of unknown kind {kind!r}")
    return None
