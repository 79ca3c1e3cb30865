"""What PySyncObj is given in the place of its journal, its network and the modules it must not use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rstore_replica.raft.storage.journal import Journal
from rstore_replica.raft.types import RaftError

Message = dict[str, Any]
"""A message as PySyncObj has it, inside this process only."""


class Refused:
    """Stands where PySyncObj would reach for something it must not use here."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __getattr__(self, name: str) -> Any:
        raise RaftError(f"PySyncObj tried to use {self._what}.{name}")


class JournalAdapter:
    """:class:`Journal` under the names PySyncObj calls."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def add(self, command: bytes, idx: int, term: int) -> None:
        self._journal.append(idx, term, command)

    def __len__(self) -> int:
        return self._journal.last_index - self._journal.first_index + 1

    def __getitem__(self, position: int) -> tuple[bytes, int, int]:
        first, last = self._journal.first_index, self._journal.last_index
        entry = self._journal.entry(first + position if position >= 0 else last + 1 + position)
        return entry.command, entry.index, entry.term

    def clear(self) -> None:
        raise RaftError("PySyncObj tried to clear the journal")

    def deleteEntriesTo(self, entryTo: int) -> None:  # noqa: N803
        raise RaftError(f"PySyncObj tried to compact the journal by {entryTo}")

    def setRaftCommitIndex(self, raftCommitIndex: int) -> None:  # noqa: N803
        self._journal.set_commit(raftCommitIndex)

    def getRaftCommitIndex(self) -> int:
        return self._journal.commit_index

    def setCurrentTerm(self, term: int, votedForNodeId: str | None) -> None:  # noqa: N803
        self._journal.set_state(term, votedForNodeId)

    def getCurrentTerm(self) -> int:
        return self._journal.current_term

    def getVotedForNodeId(self) -> str | None:
        return self._journal.voted_for

    def onOneSecondTimer(self) -> None:
        """Nothing: the journal writes what it is given."""

    def _destroy(self) -> None:
        """Nothing: the journal's owner closes it."""


class TransportAdapter:
    """What PySyncObj takes for its network: collects each message, gives the message callback away."""

    ready = True

    def __init__(self) -> None:
        self._outgoing: list[Message] = []
        self.receive: Callable[[Any, Message], None] | None = None

    def send(self, _node: Any, message: Message) -> bool:
        self._outgoing.append(message)
        return True

    def take(self) -> list[Message]:
        """Returns what was sent since the last call."""
        taken, self._outgoing = self._outgoing, []
        return taken

    def setOnMessageReceivedCallback(self, callback: Callable[[Any, Message], None]) -> None:
        self.receive = callback

    def setOnNodeConnectedCallback(self, callback: Any) -> None:
        """Not used: the engine keeps the set of connected peers."""

    setOnNodeDisconnectedCallback = setOnNodeConnectedCallback  # noqa: N815
    setOnReadonlyNodeConnectedCallback = setOnNodeConnectedCallback  # noqa: N815
    setOnReadonlyNodeDisconnectedCallback = setOnNodeConnectedCallback  # noqa: N815

    def setOnUtilityMessageCallback(self, message: str, callback: Any) -> None:
        """Not used: there are no unauthenticated admin messages here."""

    def destroy(self) -> None:
        """Nothing to close."""
