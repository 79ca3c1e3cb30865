"""Hands what is committed to the state machine."""

from __future__ import annotations

from functools import partial

from rstore_replica.raft.clock import Clock
from rstore_replica.raft.config import RaftConfig
from rstore_replica.raft.consensus.proposals import Proposals
from rstore_replica.raft.consensus.syncobj import Engine
from rstore_replica.raft.storage.journal import Journal
from rstore_replica.raft.storage.room import Room
from rstore_replica.raft.types import StateMachine


class Applier:
    """Applies entries in order and tells who proposed them."""

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
        self._applying = (0, 0)

    def apply_command(self, command: bytes) -> object:
        """What the engine calls for an entry that is the machine's."""
        index, term = self._applying
        return self._machine.apply(index, term, command)

    def run(self, engine: Engine) -> bool:
        """Applies what is committed and durable here, for no longer than a slice of time; True when there is more.

        An entry for which the disk has no room is tried again later, by one of the next calls.
        """
        journal = self._journal
        end = min(engine.commit_index, journal.durable_index)
        until = self._clock.monotonic() + self._config.apply_slice_seconds
        while engine.last_applied < end and self._room.may_apply:
            entry = journal.entry(engine.last_applied + 1)
            self._applying = (entry.index, entry.term)
            result = self._room.apply(partial(engine.apply_command, entry.command))
            if not self._room.applied:
                return False
            engine.last_applied = entry.index
            self._proposals.applied(entry.index, entry.term, result)
            if self._clock.monotonic() > until:
                return True
        return False
