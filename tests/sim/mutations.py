"""Mistakes one could make in the replica's code, each put in for the time of a run: the simulator must notice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from rstore_api.proto import raft_pb2 as pb
from rstore_replica.mvcc.data import hidden
from rstore_replica.mvcc.machine import Machine
from rstore_replica.process.live_data import LiveData
from rstore_replica.raft.checkpoints.store import CheckpointStore
from rstore_replica.raft.consensus import core, follower, syncobj
from rstore_replica.raft.consensus.elections import Elections
from rstore_replica.raft.consensus.leader import LeaderLog
from rstore_replica.raft.membership import Membership
from rstore_replica.raft.standing import Standings
from rstore_replica.raft.storage import durability, room
from rstore_replica.raft.storage.boot import RunningMarker
from rstore_replica.raft.storage.journal import Journal
from sim.fault_rows import only_faults


@contextmanager
def _replaced(owner: Any, name: str, make: Callable[[Any], Any]) -> Iterator[None]:
    """``owner.name`` is what ``make`` makes of it."""
    original = owner.__dict__[name]
    setattr(owner, name, make(original))
    try:
        yield
    finally:
        setattr(owner, name, original)


def ack_before_fsync(_original: Any) -> Any:
    """A follower acknowledges, and a replica votes, before what that promises is on its disk."""

    def hold(self: Any, release: Callable[[], object]) -> None:
        release()

    return hold


def skip_the_term_check(original: Any) -> Any:
    """Answers count though they were given to a question of an earlier term."""

    def receive(self: Any, peer: str, envelope: pb.RaftEnvelope) -> None:
        if envelope.WhichOneof("body") in ("append_reply", "vote_reply", "round_reply"):
            envelope.term = max(envelope.term, self.term)
        original(self, peer, envelope)

    return receive


def truncate_on_match(_original: Any) -> Any:
    """A follower takes away what follows the previous entry, also where it is what the leader sends."""

    def without_known(journal: Journal, commit: int, term: int, request: pb.RaftAppend) -> Any:
        previous = request.prev_index
        entries = [(entry.command, previous + 1 + i, entry.term) for i, entry in enumerate(request.entries)]
        message: dict[str, Any] = {"type": "append_entries", "term": term, "entries": entries}
        message.update(
            prevLogIdx=previous, prevLogTerm=request.prev_term, commit_index=max(commit, request.commit_index)
        )
        return message, None

    return without_known


def apply_twice(original: Any) -> Any:
    """An entry that the state machine already holds is applied again."""

    def apply(self: Machine, index: int, term: int, entry: bytes) -> object:
        if index <= self.applied_index:
            self._position = msgspec.structs.replace(self._position, applied_index=index - 1)
        return original(self, index, term, entry)

    return apply


def vote_twice(original: Any) -> Any:
    """A replica gives its vote to whoever asks."""

    def receive(self: Any, peer: str, message: dict[str, Any]) -> Any:
        if message["type"] == "request_vote":
            self._set("votedForNodeId", None)
        return original(self, peer, message)

    return receive


def commit_of_old_terms(original: Any) -> Any:
    """A leader commits what a majority holds, though the entry is of an earlier term."""

    class AllOfThisTerm:
        def __init__(self, journal: Journal, term: int) -> None:
            self._journal, self._term = journal, term

        def term_at(self, _index: int) -> int:
            return self._term

        def __getattr__(self, name: str) -> Any:
            return getattr(self._journal, name)

    def advance_commit(self: Any) -> None:
        journal = self._journal
        self._journal = AllOfThisTerm(journal, self._engine.term)
        try:
            original(self)
        finally:
            self._journal = journal

    return advance_commit


class _Bag(list):  # type: ignore[type-arg]
    """Takes for a set, and counts what is added twice as two."""

    add = list.append

    def __contains__(self, _item: object) -> bool:
        return False


def votes_counted_twice(original: Any) -> Any:
    """A vote that the network delivers twice counts as two."""

    def campaign(self: Any, membership: Membership, now: float) -> None:
        original(self, membership, now)
        self._votes = _Bag(self._votes)

    return campaign


def count_before_fsync(original: Any) -> Any:
    """The leader counts itself for what is not yet on its disk."""

    class AllDurable:
        def __init__(self, journal: Journal) -> None:
            self._journal = journal
            self.durable_index = journal.last_index

        def __getattr__(self, name: str) -> Any:
            return getattr(self._journal, name)

    def advance_commit(self: Any) -> None:
        journal = self._journal
        self._journal = AllDurable(journal)
        try:
            original(self)
        finally:
            self._journal = journal

    return advance_commit


def stale_reads(_original: Any) -> Any:
    """A read point is given without asking whether this replica still leads."""

    def round_confirmed(self: Any, number: int) -> bool:
        return True

    return round_confirmed


def trust_unsynced_journal(original: Any) -> Any:
    """After a crash of the process, what it had written but not synced counts as durable."""
    return _recovering_with(original, lambda _file: None)


def trust_the_page_cache(original: Any) -> Any:
    """What is read at an opening counts as durable after a sync, which succeeds also after one that failed."""
    return _recovering_with(original, lambda file: file.sync())


def _recovering_with(original: Any, rewrite: Callable[[Any], None]) -> Any:
    """Files of a journal that is opened have ``rewrite`` in the place of theirs."""

    def recover(self: Journal) -> None:
        open_file = self._open
        self._open = lambda path: _File(open_file(path), rewrite)
        try:
            original(self)
        finally:
            self._open = open_file
            for segment in self._segments:
                segment.file = getattr(segment.file, "real", segment.file)

    return recover


class _File:
    def __init__(self, real: Any, rewrite: Callable[[Any], None]) -> None:
        self.real = real
        self._rewrite = rewrite

    def rewrite(self, _offset: int, _data: bytes) -> None:
        self._rewrite(self.real)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


def keep_live_data(_original: Any) -> Any:
    """A process whose disk has failed leaves its live data to the next one."""

    def distrust(self: Any) -> None:
        """Nothing."""

    return distrust


def trust_what_was_written(_original: Any) -> Any:
    """After a process that was killed its live data is used without a look at whether it could be written."""

    def problem(self: LiveData) -> str:
        return "" if self._marker.trusted() else "the machine stopped or the replica failed"

    return problem


class _Uncut:
    """A file of which nothing is cut off."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def truncate(self, _size: int) -> None:
        """Nothing."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def half_an_entry_stays(original: Any) -> Any:
    """What of an entry fitted on a full disk is left there, and the next one is written after it."""

    def append(self: Any, data: bytes) -> None:
        file = self._file
        self._file = _Uncut(file)
        try:
            original(self, data)
        finally:
            self._file = file

    return append


def half_is_a_majority(_original: Any) -> Any:
    """Of an even number of voters, half decides."""
    return property(lambda self: (len(self.voters) + 1) // 2)


def emptied_is_who_it_was(original: Any) -> Any:
    """A replica whose volume was emptied votes and acknowledges on, though it has forgotten what it said."""

    def init(self: Journal, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **{**kwargs, "new_identity": 0})

    return init


def install_before_sync(original: Any) -> Any:
    """A checkpoint from the leader takes the place of the log before its files are durable."""

    def publish(self: Any, unfinished: Path, index: int, term: int) -> Path:
        if unfinished.name != "incoming":
            made: Path = original(self, unfinished, index, term)
            return made
        target: Path = self._directory / f"{index:020d}-{term}"
        self._discard(target)
        self._disk.rename(unfinished, target)
        self._disk.sync_directory(self._directory)
        return target

    return publish


def forget_promises(_original: Any) -> Any:
    """A replica whose volume was rolled back counts as the one that it was."""

    def contradiction(self: Any, start: Any) -> None:
        return None

    return contradiction


def show_a_part(_original: Any) -> Any:
    """What has been deleted of a range is gone for readers before the rest is."""

    def hide(_store: Any, _transaction: Any) -> None:
        """Nothing."""

    return hide


@dataclass(frozen=True)
class Mutation:
    """Where, what, how it is replaced; under which kinds of faults, and within how many seeds, it must be caught."""

    owner: Any
    attribute: str
    make: Callable[[Any], Any]
    faults: tuple[str, ...]
    within_seeds: int


MUTATIONS = {
    "ack-before-fsync": Mutation(durability.Syncer, "hold", ack_before_fsync, ("power_off", "die_after_sending"), 10),
    "count-before-fsync": Mutation(
        LeaderLog, "advance_commit", count_before_fsync, ("slow_disks", "die_after_sending", "power_off"), 20
    ),
    "skip-the-term-check": Mutation(core.RaftCore, "receive", skip_the_term_check, ("old_votes",), 60),
    "truncate-on-match": Mutation(follower, "without_known", truncate_on_match, ("weather", "power_off", "kill"), 30),
    "apply-twice": Mutation(Machine, "apply", apply_twice, ("kill", "power_off"), 150),
    "vote-twice": Mutation(syncobj.Engine, "receive", vote_twice, ("old_votes", "slow_election"), 60),
    "commit-of-old-terms": Mutation(LeaderLog, "advance_commit", commit_of_old_terms, ("cut_at_election",), 40),
    "votes-counted-twice": Mutation(Elections, "campaign", votes_counted_twice, ("cut_at_election",), 40),
    "stale-reads": Mutation(LeaderLog, "round_confirmed", stale_reads, ("deposed_unawares",), 20),
    "trust-unsynced-journal": Mutation(Journal, "_recover", trust_unsynced_journal, ("kill_unsynced", "power_off"), 30),
    "trust-the-page-cache": Mutation(Journal, "_recover", trust_the_page_cache, ("sync_fails",), 5),
    "keep-live-data": Mutation(RunningMarker, "distrust", keep_live_data, ("sync_fails",), 15),
    "trust-what-was-written": Mutation(LiveData, "_problem", trust_what_was_written, ("write_back_fails",), 15),
    "forget-promises": Mutation(Standings, "contradiction", forget_promises, ("rolled_back_volume",), 20),
    "half-an-entry-stays": Mutation(room._RoomyFile, "append", half_an_entry_stays, ("full_disks", "kill"), 20),
    "half-is-a-majority": Mutation(Membership, "majority", half_is_a_majority, ("resize", "cut"), 10),
    "emptied-is-who-it-was": Mutation(Journal, "__init__", emptied_is_who_it_was, ("emptied_volume",), 40),
    "show-a-part": Mutation(hidden, "hide", show_a_part, ("kill",), 10),
    "install-before-sync": Mutation(CheckpointStore, "publish", install_before_sync, ("death_in_installation",), 40),
}


@contextmanager
def mutated(name: str) -> Iterator[None]:
    """The replica's code has this mistake meanwhile, and what goes wrong is of the kinds that should show it."""
    mutation = MUTATIONS[name]
    with only_faults(mutation.faults), _replaced(mutation.owner, mutation.attribute, mutation.make):
        yield
