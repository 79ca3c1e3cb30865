"""The one place that touches PySyncObj 0.3.17: its election, log matching and commit state behind typed names.

PySyncObj is loaded as a private copy of its module per replica, so that its clock, its randomness and its journal can
be given to it without changing the module that others may import; in that copy, pickle is replaced by something that
refuses. It is never ticked, opens no socket, no pipe and no poller: :mod:`.core` drives it through the names below.
"""

from __future__ import annotations

import importlib.util
import random
from collections.abc import Iterable, Mapping
from types import ModuleType, SimpleNamespace
from typing import Any

from rstore_replica.raft.clock import Clock
from rstore_replica.raft.config import RaftConfig
from rstore_replica.raft.consensus.adapters import JournalAdapter, Message, Refused, TransportAdapter
from rstore_replica.raft.storage.journal import Journal
from rstore_replica.raft.types import RaftError, Role

VERSION = "0.3.17"

# What we rely on by name. A test compares these with the installed PySyncObj.
PRIVATE_ATTRIBUTES = (
    "raftState",
    "raftCurrentTerm",
    "votedForNodeId",
    "votesCount",
    "raftLeader",
    "raftElectionDeadline",
    "transferInProgress",
    "raftLog",
    "raftCommitIndex",
    "raftLastApplied",
    "raftNextIndex",
    "raftMatchIndex",
    "lastResponseTime",
    "connectedNodes",
    "otherNodes",
    "selfNode",
    "noopIDx",
)
PRIVATE_METHODS = (
    "getEntries",
    "deleteEntriesFrom",
    "getCurrentLogIndex",
    "getCurrentLogTerm",
    "sendAppendEntries",
    "doApplyCommand",
    "applyLogEntries",
    "tryLogCompaction",
    "onBecomeLeader",
    "setCurrentTerm",
    "setState",
    "onMessageReceived",
    "generateRaftTimeout",
    "sendNextNodeIdx",
)
MODULE_NAMES = (
    "SyncObj",
    "SyncObjConf",
    "Node",
    "createJournal",
    "createPoller",
    "monotonicTime",
    "random",
    "pickle",
    "PIPE_NOTIFIER_ENABLED",
    "time",
    "_RAFT_STATE",
)


def load_module(clock: Clock, rng: random.Random, journal: Journal) -> ModuleType:
    """A private copy of ``pysyncobj.syncobj`` that lives on this clock, randomness and journal."""
    spec = importlib.util.find_spec("pysyncobj.syncobj")
    if spec is None or spec.loader is None:
        raise RaftError("PySyncObj is not installed")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if getattr(module, "VERSION", None) != VERSION:
        raise RaftError(f"PySyncObj {VERSION} is required, installed is {getattr(module, 'VERSION', None)}")
    missing = [name for name in MODULE_NAMES if not hasattr(module, name)]
    missing += [name for name in PRIVATE_METHODS if not hasattr(module.SyncObj, f"_SyncObj__{name}")]
    if missing:
        raise RaftError(f"PySyncObj {VERSION} lacks {', '.join(missing)}")
    replacements: Mapping[str, object] = {
        "monotonicTime": clock.monotonic,
        "random": SimpleNamespace(random=rng.random),
        "createJournal": lambda _file=None: JournalAdapter(journal),
        "createPoller": lambda _kind: Refused("a poller"),
        "PIPE_NOTIFIER_ENABLED": False,
        "pickle": Refused("pickle"),
        "time": Refused("time"),
    }
    for name, value in replacements.items():
        setattr(module, name, value)
    return module


class Engine:
    """PySyncObj's state and its message handling, typed. Everything that decides *when* is in :mod:`.core`."""

    def __init__(
        self,
        *,
        name: str,
        journal: Journal,
        clock: Clock,
        rng: random.Random,
        config: RaftConfig,
    ) -> None:
        """Loads PySyncObj for the replica ``name``. Raises :class:`RaftError` when it is not the release required."""
        module = load_module(clock, rng, journal)
        self._journal = journal
        self._states = module._RAFT_STATE
        self._transport = TransportAdapter()
        conf = module.SyncObjConf(
            autoTick=False,
            appendEntriesUseBatch=False,
            useFork=False,
            dynamicMembershipChange=False,
            raftMinTimeout=config.election_timeout_min_seconds,
            raftMaxTimeout=config.election_timeout_max_seconds,
            connectionTimeout=config.election_timeout_max_seconds * 2,
            appendEntriesPeriod=config.heartbeat_seconds,
            leaderFallbackTimeout=config.leader_fallback_seconds,
            appendEntriesBatchSizeBytes=2 * config.max_entry_bytes,
        )
        kind = _safe_class(module.SyncObj, journal)
        self._node_kind = _node_class(module.Node)
        self._nodes: dict[str, Any] = {}
        self._clock = clock
        self._raft: Any = kind(module.Node(name), set(), conf=conf, transport=self._transport)
        missing = [attribute for attribute in PRIVATE_ATTRIBUTES if not hasattr(self._raft, f"_SyncObj__{attribute}")]
        if missing or self._transport.receive is None:
            raise RaftError(f"PySyncObj {VERSION} lacks {', '.join(missing) or 'the message callback'}")
        # Looked at several times for each message, so not by name; PySyncObj never puts others in their place.
        self._next_index: dict[Any, int] = self._get("raftNextIndex")
        self._match_index: dict[Any, int] = self._get("raftMatchIndex")
        self._last_response: dict[Any, float] = self._get("lastResponseTime")
        self._roles = {
            self._states.FOLLOWER: Role.FOLLOWER,
            self._states.CANDIDATE: Role.CANDIDATE,
            self._states.LEADER: Role.LEADER,
        }

    def _get(self, name: str) -> Any:
        return getattr(self._raft, "_SyncObj__" + name)

    def _set(self, name: str, value: Any) -> None:
        setattr(self._raft, "_SyncObj__" + name, value)

    def _node(self, peer: str) -> Any:
        """PySyncObj's object for a replica, be it a member or not."""
        if peer not in self._nodes:
            self._nodes[peer] = self._node_kind(peer)
        return self._nodes[peer]

    def set_peers(self, peers: Iterable[str]) -> None:
        """The other members from now on. The state of those that stay is kept."""
        wanted = {self._node(peer) for peer in peers}
        present = self._get("otherNodes")
        for node in present - wanted:
            for table in (self._next_index, self._match_index, self._last_response):
                table.pop(node, None)
        self._set("otherNodes", wanted)
        for node in wanted - present:
            self._begin_peer(node)

    def forget_peer(self, peer: str) -> None:
        """Leader: nothing that the peer has answered counts any more."""
        self._begin_peer(self._node(peer))

    def _begin_peer(self, node: Any) -> None:
        self._next_index[node] = self._journal.last_index + 1
        self._match_index[node] = 0
        self._last_response[node] = self._clock.monotonic()

    @property
    def role(self) -> Role:
        """What this replica is at the moment."""
        return self._roles[self._raft._SyncObj__raftState]

    @property
    def term(self) -> int:
        """The current term."""
        return int(self._raft._SyncObj__raftCurrentTerm)

    @property
    def leader(self) -> str | None:
        """Name of the leader of the current term, if known."""
        node = self._raft._SyncObj__raftLeader
        return None if node is None else str(node.id)

    @property
    def commit_index(self) -> int:
        """Highest index known to be committed."""
        return int(self._raft._SyncObj__raftCommitIndex)

    @commit_index.setter
    def commit_index(self, index: int) -> None:
        self._set("raftCommitIndex", index)
        self._journal.set_commit(index)

    @property
    def last_applied(self) -> int:
        """Highest index applied."""
        return int(self._raft._SyncObj__raftLastApplied)

    @last_applied.setter
    def last_applied(self, index: int) -> None:
        self._set("raftLastApplied", index)

    @property
    def no_op_index(self) -> int:
        """Index of the no-op with which this replica began its last term as leader."""
        return int(self._raft._SyncObj__noopIDx or 0)

    @property
    def election_deadline(self) -> float:
        """Clock reading after which this replica looks for a new leader."""
        return float(self._raft._SyncObj__raftElectionDeadline)

    @property
    def transfer_in_progress(self) -> bool:
        """Whether the leader has asked this replica to take over and it has not yet campaigned."""
        return bool(self._get("transferInProgress"))

    def restart_election_timer(self, now: float) -> None:
        """A new random deadline from ``now`` on."""
        self._set("raftElectionDeadline", now + self._get("generateRaftTimeout")())

    def next_index(self, peer: str) -> int:
        """Leader: the next entry to send to the peer."""
        return self._next_index[self._nodes[peer]]

    def set_next_index(self, peer: str, index: int) -> None:
        """Leader: see :meth:`next_index`."""
        self._next_index[self._nodes[peer]] = index

    def match_index(self, peer: str) -> int:
        """Leader: the peer holds the log up to here, durably."""
        return self._match_index[self._nodes[peer]]

    def set_match_index(self, peer: str, index: int) -> None:
        """Leader: see :meth:`match_index`."""
        self._match_index[self._nodes[peer]] = index

    def last_response(self, peer: str) -> float:
        """Leader: clock reading of the peer's last sign of life in this term."""
        return self._last_response[self._nodes[peer]]

    def note_response(self, peer: str, now: float) -> None:
        """Leader: the peer answered something of this term."""
        self._last_response[self._nodes[peer]] = now

    def receive(self, peer: str, message: Message) -> list[Message]:
        """Gives a message, already checked by :mod:`.core`, to PySyncObj; returns what it answers to the peer."""
        assert self._transport.receive is not None
        self._transport.receive(self._node(peer), message)
        return self._transport.take()

    def step_down(self, term: int) -> None:
        """Follows from now on, without a leader; enters ``term`` when it is higher."""
        if term > self.term:
            self._get("setCurrentTerm")(term, None)
        self._set("raftLeader", None)
        self._get("setState")(self._states.FOLLOWER)

    def forget_leader(self) -> None:
        """The leader has sent nothing for an election timeout."""
        self._set("raftLeader", None)

    def begin_candidacy(self, name: str, now: float) -> None:
        """Uses up a term and votes for itself; the requests for the others' votes are the caller's to send."""
        self.restart_election_timer(now)
        self._set("transferInProgress", False)
        self._set("raftLeader", None)
        self._get("setState")(self._states.CANDIDATE)
        self._get("setCurrentTerm")(self.term + 1, name)
        self._set("votesCount", 1)

    def become_leader(self) -> None:
        """Leads the current term and begins it with a no-op, which the caller sends."""
        self._get("onBecomeLeader")()


def _node_class(base: Any) -> Any:
    """PySyncObj's nodes compare by their names, in Python; here there is one object for each name."""

    class ReplicaNode(base):  # type: ignore[misc]
        __eq__ = object.__eq__
        __ne__ = object.__ne__
        __hash__ = object.__hash__

    return ReplicaNode


def _safe_class(base: Any, journal: Journal) -> Any:
    """A subclass of PySyncObj's class in which what is not safe is replaced."""

    class SafeSyncObj(base):  # type: ignore[misc]
        def _SyncObj__getCurrentLogIndex(self) -> int:
            return journal.last_index

        def _SyncObj__getCurrentLogTerm(self) -> int:
            return journal.last_term

        def _SyncObj__getEntries(
            self,
            fromIDx: int | None,  # noqa: N803
            count: int | None = None,
            maxSizeBytes: int | None = None,  # noqa: N803
        ) -> list[tuple[bytes, int, int]]:
            # Never the rest of the log at once: PySyncObj looks at no more than whether there is a second one.
            if fromIDx is None or fromIDx < journal.first_index:
                return []
            entries = journal.entries(fromIDx, max_count=count or 2, max_bytes=maxSizeBytes or 1 << 30)
            return [(entry.command, entry.index, entry.term) for entry in entries]

        def _SyncObj__deleteEntriesFrom(self, fromIDx: int) -> None:  # noqa: N803
            try:
                journal.truncate_from(fromIDx)
            except ValueError as error:
                raise RaftError(f"the leader's log contradicts committed entries: {error}") from error

        def _SyncObj__sendAppendEntries(self) -> None:
            """Nothing: :class:`.leader.LeaderLog` sends entries."""

        def _SyncObj__doApplyCommand(self, _command: bytes) -> object:
            raise RaftError("PySyncObj tried to apply an entry by itself")

        def _SyncObj__applyLogEntries(self) -> bool:
            raise RaftError("PySyncObj tried to apply entries by itself")

        def _SyncObj__tryLogCompaction(self) -> None:
            raise RaftError("PySyncObj tried to compact the log by itself")

        def _onTick(self, timeToWait: float = 0.0) -> None:  # noqa: N803
            raise RaftError(f"PySyncObj was ticked (waiting {timeToWait} s)")

    return SafeSyncObj
