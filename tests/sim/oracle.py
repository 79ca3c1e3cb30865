"""Sees every entry applied and every leader elected, on all replicas, and says at once what must not be.

The log that was committed is run through the model of the store, which shares no code with it: that gives the answers
and states that every replica must have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from rstore_api import rows
from rstore_api.errors import StoreError
from rstore_api.proto import rstore_pb2
from rstore_api.proto.rpc_pb2 import RangeRequest
from rstore_replica.mvcc.machine import Machine
from rstore_replica.raft.storage.journal import Journal
from sim.model import Model, Refused


@dataclass(frozen=True)
class DurableLog:
    """What of a replica's log would be left by a loss of power."""

    first_index: int
    terms: tuple[int, ...]
    """Of the entries from ``first_index`` on."""

    def holds(self, index: int, term: int) -> bool:
        """Whether the entry is in it, or is stood for by its checkpoint."""
        if index < self.first_index:
            return True
        at = index - self.first_index
        return at < len(self.terms) and self.terms[at] == term


class Log(Protocol):
    """A machine whose disk holds a log."""

    @property
    def name(self) -> str:
        """The replica's."""

    @property
    def voters(self) -> tuple[str, ...]:
        """Who counts in the group, as this log has it at its end."""

    def holds_durably(self, index: int, term: int) -> bool:
        """Whether a loss of power would leave this entry."""


def is_durable(journal: Journal, synced: Mapping[Path, int], index: int, term: int) -> bool:
    """By the bytes of each file that are on the disk, not by what the journal believes."""
    first = journal.first_index
    if index < first:
        return True
    if index > journal.last_index:
        return False
    end = journal.end_of(index)
    if end is None:
        return True  # the placeholder of a checkpoint
    path, offset = end
    return journal.term_at(index) == term and synced.get(path, 0) >= offset


def durable_log(journal: Journal, synced: Mapping[Path, int]) -> DurableLog:
    """Of a process that ends now."""
    terms: list[int] = []
    for index in range(journal.first_index, journal.last_index + 1):
        term = journal.term_at(index) or 0
        if not is_durable(journal, synced, index, term):
            break
        terms.append(term)
    return DurableLog(journal.first_index, tuple(terms))


@dataclass
class Oracle:
    """Of one region. ``violated`` is called with words."""

    hosts: Sequence[Log]
    violated: Callable[[str], None]
    committed: dict[int, tuple[int, bytes]] = field(default_factory=dict)
    committed_in: dict[int, int] = field(default_factory=dict)
    answers: dict[int, str] = field(default_factory=dict)
    revisions: dict[int, int] = field(default_factory=dict)
    leaders: dict[int, str] = field(default_factory=dict)
    writes: dict[int, list[tuple[bytes, bytes]]] = field(default_factory=dict)
    newest: int = 0
    compact_revision: int = 0
    model: Model = field(default_factory=Model)
    applied: int = 0

    @property
    def states(self) -> dict[int, dict[bytes, bytes]]:
        """Keys and values at every revision."""
        return {
            revision: {key: item.value for key, item in items.items()} for revision, items in self.model.items.items()
        }

    # ------------------------------------------------------------------ applying

    def on_apply(self, who: str, index: int, term: int, entry: bytes, machine: Machine, now_in: int) -> object:
        """Has the machine apply the entry, and holds what it does against everything known.

        ``now_in`` is the replica's present term: the entry was committed in this one or an earlier one.
        """
        before = (machine.applied_index, machine.revision)
        answer = machine.apply(index, term, entry)
        self.applied += 1
        committed = self.committed.get(index)
        if committed is None:
            if index < self.newest:
                self.violated(f"{who} applies entry {index}, which nobody applied when it was committed")
                return answer
            self._commit(who, index, term, entry)
            self.committed_in[index] = now_in
        elif committed != (term, entry):
            self.violated(f"entry {index} means two things: {who} applies it with term {term}, others {committed[0]}")
            return answer
        if index <= before[0]:
            if (machine.applied_index, machine.revision) != before or answer is not None:
                self.violated(f"{who} applied entry {index} again: it was at {before[0]}")
            return answer
        if machine.applied_index < index:
            if machine.revision != before[1] or answer is not None or not is_whole(machine):
                self.violated(f"{who} shows a part of entry {index}")
            return answer
        words = in_words(answer)
        if words != self.answers[index]:
            self.violated(f"{who} answers entry {index} with {words}, it should be {self.answers[index]}")
        if machine.revision != self.revisions[index]:
            self.violated(
                f"{who} is at revision {machine.revision} after entry {index}, others at {self.revisions[index]}"
            )
        return answer

    def _commit(self, who: str, index: int, term: int, entry: bytes) -> None:
        """An entry is applied for the first time anywhere, so it must be safe from a loss of power everywhere."""
        holding = {host.name for host in self.hosts if host.holds_durably(index, term)}
        if not any(2 * len(holding & set(voters)) > len(voters) for voters in {host.voters for host in self.hosts}):
            self.violated(f"{who} applies entry {index} of term {term}, durable on {sorted(holding) or 'no disk'} only")
        self.committed[index] = (term, entry)
        self.newest = index
        self.answers[index] = in_words(self._expected(rstore_pb2.LogEntry.FromString(entry)))
        self.revisions[index] = self.model.revision

    def _expected(self, entry: rstore_pb2.LogEntry) -> object:
        kind = entry.WhichOneof("command")
        if kind == "compaction":
            revision = entry.compaction.revision
            if revision <= self.compact_revision:
                return "compacted"
            if revision > self.model.revision:
                return "future-revision"
            self.compact_revision = revision
        if kind == "deletion":
            return [self._expected_one(entry.deletion.request)]
        if kind not in ("write", "long_key_write"):
            return None
        return [self._expected_one(request) for request in getattr(entry, kind).requests]

    def _expected_one(self, request: rstore_pb2.WriteRequest) -> object:
        before = self.model.revision
        try:
            if request.HasField("put"):
                answer: object = self.model.put(request.put)
                puts = [request.put]
            elif request.HasField("delete_range"):
                answer, puts = self.model.delete_range(request.delete_range), []
            else:
                done = self.model.txn(request.txn)
                answer = done
                steps = request.txn.success if done.succeeded else request.txn.failure
                puts = [step.request_put for step in steps if step.HasField("request_put")]
        except Refused as refusal:
            return refusal.code
        if self.model.revision > before:
            self.writes[self.model.revision] = [(put.key, put.value) for put in puts]
        return answer

    # ------------------------------------------------------------------ elections

    def on_leader(self, name: str, term: int, journal: Journal) -> None:
        """A replica leads: alone in its term, with all that was committed in earlier terms (leader completeness)."""
        other = self.leaders.setdefault(term, name)
        if other != name:
            self.violated(f"{other} and {name} both lead term {term}")
        for index in sorted(self.committed, reverse=True):
            if index < journal.first_index:
                break
            if self.committed_in[index] < term and journal.term_at(index) != self.committed[index][0]:
                held = journal.term_at(index)
                self.violated(
                    f"{name} leads term {term} with {f'term {held} at' if held else 'a log that ends before'} entry "
                    f"{index}, which was committed with term {self.committed[index][0]}"
                )
                break

    # ------------------------------------------------------------------ logs

    def compare_logs(self, journals: list[tuple[str, Journal]]) -> None:
        """Two logs that agree in an entry agree in all before it (Raft's log matching)."""
        for position, (name, mine) in enumerate(journals):
            for other, theirs in journals[position + 1 :]:
                first = max(mine.first_index, theirs.first_index)
                agreed = False
                for index in range(min(mine.last_index, theirs.last_index), first - 1, -1):
                    same = mine.term_at(index) == theirs.term_at(index)
                    if agreed and not same:
                        self.violated(f"the logs of {name} and {other} differ at {index} and agree after it")
                        return
                    agreed = agreed or same


def is_whole(machine: Machine) -> bool:
    """Whether a reader of the newest sees the machine's revision, and nothing above."""
    everything = machine.range(RangeRequest(key=b"\0", range_end=b"\0", count_only=True))
    held = machine.snapshot_after(b"", machine.revision, max_bytes=1 << 28, max_rows=1 << 24)
    found = rows.unpack_batch(held.packed, in_order=False) if held.packed else []
    return everything.count == sum(row.kind == rows.KEY for row, _ in found)


def in_words(answer: object) -> str:
    """An answer in words that are the same for the machine's and the model's."""
    if isinstance(answer, StoreError):
        return answer.code
    if isinstance(answer, list):
        return "[" + ", ".join(in_words(item) for item in answer) + "]"
    if answer is None or isinstance(answer, str):
        return str(answer)
    return " ".join(str(answer).split()) if hasattr(answer, "DESCRIPTOR") else repr(answer)


def agree(values: Iterable[object]) -> bool:
    """Whether all are equal."""
    return len(set(values)) <= 1
