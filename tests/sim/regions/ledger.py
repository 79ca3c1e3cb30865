"""Sees every entry that any replica applies and every answer that it gives, in all regions, and says at once what must
not be: an epoch or a revision that means two things, a gap, two regions that acknowledge (I1, I2, I3).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rstore_api import rows
from rstore_api.domain.epochs import BASE_REVISION, EpochStart, after_jumps, epoch_at, parent_of
from rstore_api.errors import Compacted
from rstore_api.proto import rpc_pb2 as rpc
from rstore_api.proto import rstore_pb2
from rstore_replica.api.identity import member_id
from rstore_replica.api.services.kv import EncodedRange
from rstore_replica.mvcc.machine import Machine
from sim.oracle import in_words, is_whole
from sim.regions.fleet import Fleet
from sim.regions.lease_ledger import LeaseLedger
from sim.world import World

if TYPE_CHECKING:
    from sim.regions.host import Host

Content = tuple[tuple[bytes, bytes | None], ...]
"""Keys and values that a revision has put, None: deleted."""


@dataclass(frozen=True)
class Written:
    """A revision."""

    epoch: int
    region: str
    content: Content
    leases: Content = ()
    """Ids and terms of leases that it has granted or checkpointed, None: ended."""
    at_seconds: float = 0.0
    """On the world's clock, when it was made."""


@dataclass(frozen=True)
class Acknowledged:
    """An answer that promised something."""

    at_seconds: float
    region: str
    replica: str
    epoch: int
    revision: int
    changed: bool


@dataclass
class Ledger:
    """Of the whole store."""

    world: World
    fleet: Fleet = field(default_factory=Fleet)
    revisions: dict[int, Written] = field(default_factory=dict)
    starts: dict[int, EpochStart] = field(default_factory=dict)
    acks: list[Acknowledged] = field(default_factory=list)
    needed_regions: int = 0
    """How many other regions must hold what is acknowledged."""
    held_by: dict[int, set[str]] = field(default_factory=dict)
    """Regions that have committed a revision at some time."""
    leases: LeaseLedger = field(init=False)
    compacted: set[int] = field(default_factory=set)
    """Revisions whose rows may be gone where they were written, if there are later ones of the same keys."""
    rewinds: int = 0
    snapshots: int = 0
    applied: int = 0
    _log: dict[tuple[str, int, int], tuple[int, bytes]] = field(default_factory=dict)
    _answers: dict[tuple[str, int, int], str] = field(default_factory=dict)
    _primaries: dict[int, str] = field(default_factory=dict)
    _acknowledging: dict[int, str] = field(default_factory=dict)
    _newest_epoch: int = 0

    def __post_init__(self) -> None:
        self.leases = LeaseLedger(self.world)

    def violated(self, what: str) -> None:
        """Something that must never be."""
        self.world.violated(what)

    # ------------------------------------------------------------------ applying

    def on_apply(self, host: Host, machine: Machine, index: int, term: int, entry: bytes) -> object:
        """Has the machine apply the entry, and holds what it does against everything known."""
        fresh = index > machine.applied_index
        revision, state, compaction = machine.revision, machine.state, machine.compact_revision
        answer = type(machine).apply(machine, index, term, entry)
        if not fresh:
            return answer
        if machine.applied_index < index:
            if (machine.revision, machine.state, answer) != (revision, state, None) or not is_whole(machine):
                self.violated(f"{host.name} shows a part of entry {index}")
            return answer
        self.applied += 1
        self._check_log(host, index, term, entry, answer)
        kind = rstore_pb2.LogEntry.FromString(entry).WhichOneof("command") or "empty"
        if kind in ("write", "lease_write", "long_key_write", "rows", "empty"):
            self.world.trace.add(f"{host.name} applies {index} {kind}: revision {machine.revision}")
        else:
            now = machine.state
            self.world.trace.add(
                f"{host.name} applies {index} {kind}: epoch {now.epoch} promised {now.promised_epoch} "
                f"{'primary' if now.primary else 'secondary'} revision {machine.revision}"
            )
        if machine.state is not state:
            self._check_epochs(host, machine)
        if machine.revision > revision:
            self._check_revisions(host, machine, revision, kind)
        elif machine.revision < revision:
            self.rewinds += 1
            self.world.trace.add(f"{host.name} has left its tail: {revision} to {machine.revision}")
        if machine.compact_revision > compaction:
            self.compacted |= {found for found in self.chain(machine.revision) if found <= machine.compact_revision}
        return answer

    def _check_log(self, host: Host, index: int, term: int, entry: bytes, answer: object) -> None:
        """The region's log means the same on all its replicas, and was durable on most of them when it was applied."""
        key = (host.region, host.life, index)
        known = self._log.get(key)
        said = in_words(answer)
        if known is None:
            hosts = self.fleet.machines[host.region]
            holding = {other.name for other in hosts if other.holds_durably(index, term)}
            again = self._log.get((host.region, host.life - 1, index)) == (term, entry)  # before volumes went back
            if not again and not any(
                2 * len(holding & voters) > len(voters) for voters in {other.voters for other in hosts}
            ):
                self.violated(f"I1: {host.name} applies entry {index}, durable on {sorted(holding) or 'no disk'} only")
            self._log[key] = (term, entry)
            self._answers[key] = said
        elif known != (term, entry):
            self.violated(f"entry {index} of {host.region} means two things, {host.name} applies the second")
        elif said != self._answers[key]:
            self.violated(f"{host.name} answers entry {index} with {said}, another said {self._answers[key]}")

    def _check_epochs(self, host: Host, machine: Machine) -> None:
        state = machine.state
        for start in state.history:
            known = self.starts.setdefault(start.epoch, start)
            if known != start:
                self.violated(
                    f"I3: epoch {start.epoch} means two things: {host.name} has it from {start.region} at "
                    f"{start.first_revision}, it began in {known.region} at {known.first_revision}"
                )
        if state.primary:
            other = self._primaries.setdefault(state.epoch, host.region)
            if other != host.region:
                self.violated(f"I2: {host.region} and {other} both are primary of epoch {state.epoch}")

    def _check_revisions(self, host: Host, machine: Machine, before: int, kind: str) -> None:
        history = machine.state.history
        if kind == "snapshot":  # what is there need not begin where the region stood, nor in the same epoch
            self._check_snapshot(host, machine)
            return
        try:
            made = contents_after(machine, before)
        except Compacted:
            self._check_snapshot(host, machine)
            return
        position = before
        for revision, content, leases in made:
            if revision not in (position + 1, after_jumps(history, position) + 1):
                self.violated(f"I3: {host.name} holds revision {revision} right after {position}")
            position = revision
            self._check_revision(host, revision, epoch_at(history, revision), content, leases, kind)
        if machine.revision not in (position, after_jumps(history, position)):
            self.violated(f"I3: {host.name} is at {machine.revision}, but holds nothing after {position}")

    def _check_snapshot(self, host: Host, machine: Machine) -> None:
        """It brought what is there at its revision, and not how that came about."""
        self.snapshots += 1
        self.world.trace.add(f"{host.name} has taken a snapshot of {machine.revision}")
        for revision in self.chain(machine.revision):
            self.held_by[revision].add(host.region)
        held, wanted = all_of(machine), self.states().get(machine.revision)
        if held != wanted:
            self.violated(f"I8: {host.name} has from a snapshot {held} at {machine.revision}, not {wanted}")

    def _check_revision(
        self, host: Host, revision: int, epoch: int, content: Content, leases: Content, kind: str
    ) -> None:
        known = self.revisions.get(revision)
        if known is None:
            if kind not in ("write", "lease_write", "long_key_write", "deletion"):
                self.violated(f"I3: {host.name} holds revision {revision}, which no primary has made")
            self.revisions[revision] = Written(epoch, host.region, content, leases, self.world.trace.time())
            self.held_by[revision] = set()
        elif (known.epoch, known.content, known.leases) != (epoch, content, leases):
            self.violated(
                f"I3: revision {revision} means two things: {content} {leases} of epoch {epoch} in {host.name}, "
                f"{known.content} {known.leases} of epoch {known.epoch} in {known.region}"
            )
        self.held_by[revision].add(host.region)

    # ------------------------------------------------------------------ answers

    def on_answer(self, host: Host, path: str, request: Any, response: Any) -> None:
        """A replica has answered a call; those that it handed on are somebody else's answers."""
        self.leases.on_answer(host, path, request, response)
        if not path.startswith("/etcdserverpb.KV/"):
            return
        if isinstance(response, EncodedRange):
            response = rpc.RangeResponse.FromString(response.data)
        assert host.replica is not None
        own_id = member_id(host.replica.machine.state.store_id, host.region, host.name)
        if response.header.member_id != own_id or getattr(request, "serializable", False):
            return
        revision = response.header.revision
        changed = _changed(response)
        epoch = host.replica.machine.state.epoch
        if changed:
            written = self.revisions.get(revision)
            if written is None:
                self.violated(f"{host.name} acknowledges revision {revision}, which it has not made")
                return
            epoch = written.epoch
            others = self.held_by[revision] - {host.region}
            if len(others) < self.needed_regions:
                self.violated(f"I1: {host.name} acknowledges revision {revision}, which only {sorted(others)} have")
        self._acknowledge(host, epoch, revision, changed)

    def _acknowledge(self, host: Host, epoch: int, revision: int, changed: bool) -> None:
        now = self.world.trace.time()
        self.acks.append(Acknowledged(now, host.region, host.name, epoch, revision, changed))
        other = self._acknowledging.setdefault(epoch, host.region)
        if other != host.region:
            self.violated(f"I2: {host.region} and {other} both acknowledge in epoch {epoch}")
        if epoch < self._newest_epoch:
            self.violated(
                f"I2: {host.name} acknowledges in epoch {epoch} after {self._acknowledging[self._newest_epoch]} has in "
                f"epoch {self._newest_epoch}"
            )
        self._newest_epoch = max(self._newest_epoch, epoch)
        self.check_tenures()

    def check_tenures(self) -> None:
        """No two regions may acknowledge at this very moment, whatever they know of each other."""
        held: dict[int, str] = {}
        for host in self.fleet.all_hosts():
            if not host.leads or host.replica is None:
                continue
            state = host.replica.machine.state
            if state.writable and host.replica.replication.tenure.held(state.epoch):
                held[state.epoch] = host.name
        newest = max(held, default=0)
        if len(held) > 1 and self.starts[newest].parent_revision:
            self.violated(f"I2: the tenure is held in several epochs at once: {dict(sorted(held.items()))}")

    # ------------------------------------------------------------------ what there is

    def parent(self, revision: int) -> int:
        """The revision before, in its chain of epochs."""
        start = self.starts[self.revisions[revision].epoch]
        return parent_of(start) if revision == start.first_revision else revision - 1

    def states(self) -> dict[int, dict[bytes, bytes]]:
        """Keys and values at every revision that was ever made, each after those before it in its own chain."""
        found: dict[int, dict[bytes, bytes]] = {BASE_REVISION: {}}
        jumps = sorted(self.starts.values(), key=lambda start: start.epoch)
        for revision in sorted({*self.revisions, *(start.first_revision - 1 for start in jumps)}):
            if revision in self.revisions:
                state = dict(found.get(self.parent(revision), {}))
                for key, value in self.revisions[revision].content:
                    if value is None:
                        state.pop(key, None)
                    else:
                        state[key] = value
                found[revision] = state
            elif revision not in found:
                parent = next(parent_of(start) for start in jumps if start.first_revision - 1 == revision)
                found[revision] = found.get(parent, {})
        return found

    def writes(self) -> dict[int, list[tuple[bytes, bytes]]]:
        """What was put at each revision."""
        return {
            revision: [(key, value) for key, value in written.content if value is not None]
            for revision, written in self.revisions.items()
        }

    def shown(self, revision: int) -> int:
        """The last revision up to this one, in its chain, that has events."""
        return max((found for found in self.chain(revision) if self.revisions[found].content), default=BASE_REVISION)

    def chain(self, revision: int) -> set[int]:
        """All revisions up to this one, in its chain of epochs."""
        found: set[int] = set()
        while revision > BASE_REVISION:
            if revision in self.revisions:
                found.add(revision)
                revision = self.parent(revision)
            else:
                # Right below the start of an epoch that has no revision yet.
                revision = next(
                    parent_of(start) for start in self.starts.values() if start.first_revision - 1 == revision
                )
        return found


def all_of(machine: Machine) -> dict[bytes, bytes]:
    """Keys and values that it holds now."""
    return {item.key: item.value for item in machine.range(rpc.RangeRequest(key=b"\0", range_end=b"\0")).kvs}


def contents_after(machine: Machine, revision: int) -> list[tuple[int, Content, Content]]:
    """What each revision after ``revision`` has changed, in order, up to the next epoch. Raises Compacted."""
    found: list[tuple[int, Content, Content]] = []
    while True:
        batch = machine.rows_after(revision, max_bytes=1 << 28, max_rows=1 << 24)
        if batch.deleted is not None:
            at = batch.last_revision
            part = machine.changes(
                (at, 0), at, lambda key: ([key], False), max_rows=1 << 24, max_bytes=1 << 28, max_previous_bytes=0
            )
            found.append((at, tuple((change.row.key, None) for _, change in part.changes), ()))
        found += contents(batch.packed)
        if not batch.count:
            return found
        revision = batch.last_revision


def contents(packed: bytes) -> list[tuple[int, Content, Content]]:
    """What each revision of a batch has changed, in order: keys, and leases."""
    found: dict[int, tuple[list[tuple[bytes, bytes | None]], list[tuple[bytes, bytes | None]]]] = {}
    for row, _ in rows.unpack_batch(packed):
        changes = found.setdefault(row.revision, ([], []))
        changes[row.kind != rows.KEY].append((row.key, None if row.deletion else row.value))
    return [(revision, tuple(keys), tuple(leases)) for revision, (keys, leases) in found.items()]


def _changed(response: Any) -> bool:
    if isinstance(response, rpc.PutResponse):
        return True
    if isinstance(response, rpc.DeleteRangeResponse):
        return response.deleted > 0
    return isinstance(response, rpc.TxnResponse) and response.succeeded
