"""Several replicas' rules in one thread on a virtual clock.

The network loses, delays, repeats and reorders; disks forget what was not synced; replicas are killed; all by a seed.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from rstore_api.proto import raft_pb2 as pb
from rstore_replica.raft import Member, RaftConfig
from rstore_replica.raft.core import RaftCore
from rstore_replica.raft.journal import Journal
from rstore_replica.raft.membership import Membership, initial
from rstore_replica.raft.membership import Replica as MemberReplica
from unit.raft.crash_disk import CrashDisk

CONFIG = RaftConfig(append_batch_entries=3, append_window_messages=4, append_batch_bytes=400)


class VirtualClock:
    """Reads the world's time, at this replica's own rate."""

    def __init__(self, world: World, rate: float) -> None:
        self.world = world
        self.rate = rate

    def monotonic(self) -> float:
        return self.world.now * self.rate

    def call_later(self, delay_seconds: float, callback: Callable[[], None]) -> None:
        raise AssertionError("the rules set no timers")


@dataclass
class Replica:
    """One replica; ``core`` is None while it is down."""

    name: str
    root: Path
    disk: CrashDisk
    clock: VirtualClock
    session: int = 0
    core: RaftCore | None = None
    journal: Journal | None = None
    applied: list[tuple[int, int, bytes]] = field(default_factory=list)
    held: list[tuple[int, str, pb.RaftEnvelope]] = field(default_factory=list)
    syncing: bool = False
    questions: list[tuple[int, int, int, int]] = field(default_factory=list)  # term, round, read index, must hold


class World:
    """Runs replicas and checks, at every step, what must always hold."""

    def __init__(self, root: Path, size: int, seed: int, *, first: int | None = None) -> None:
        """``first`` of the replicas begin the group, by default all; only with ``first`` do they have to form it."""
        self.rng = random.Random(seed)
        self.now = 100.0
        self.loss = 0.0
        self.delay = 0.01
        self.sync_delay = 0.02
        self.sync_hold = False
        self.cut: set[tuple[str, str]] = set()
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self.order = itertools.count()
        self.leaders: dict[int, str] = {}
        self.committed: dict[int, tuple[int, bytes]] = {}
        self.acknowledged: dict[int, tuple[int, bytes]] = {}
        self.barriers = 0
        names = [f"n{i}" for i in range(size)]
        self.replicas = {
            name: Replica(name, root / name, CrashDisk(), VirtualClock(self, self.rng.uniform(0.99, 1.01)))
            for name in names
        }
        self.forming = first is not None
        self.configured = set(names[: first or size])
        """Whom a replica without data is told of when it starts."""
        for name in names:
            self.start(name)

    # ------------------------------------------------------------------ replicas

    def start(self, name: str) -> None:
        replica = self.replicas[name]
        replica.session += 1
        identity = self.rng.getrandbits(63) | 1 if self.forming else 0
        journal = Journal(replica.root, replica.disk, segment_bytes=5000, cache_bytes=1000, new_identity=identity)
        replica.journal, replica.held, replica.syncing, replica.questions = journal, [], False, []
        replica.core = RaftCore(
            name=name,
            peers=tuple(other for other in self.replicas if other != name),
            journal=journal,
            clock=replica.clock,  # type: ignore[arg-type]
            rng=random.Random(self.rng.random()),
            config=CONFIG,
            send=lambda peer, envelope, hold: self.send(replica, peer, envelope, hold),
            apply_entry=lambda command: command,
            snapshot_wanted=lambda _peer: None,
            initial=initial(tuple(Member(member, f"{member}:1") for member in sorted(self.configured))),
        )
        applied = replica.applied[-1][0] if replica.applied else 1
        replica.core.engine.last_applied = applied
        replica.core.engine.commit_index = max(applied, journal.commit_index)
        for other in self.replicas.values():
            if other.core is not None and other is not replica:
                other.core.link_changed(name, True, new_session=True)
                replica.core.link_changed(other.name, True, new_session=True)
        replica.core.elect_alone()
        self.at(0.01, lambda session=replica.session: self.tick(replica, session))

    def empty(self, name: str) -> None:
        """The replica loses its volume while it is down."""
        replica = self.replicas[name]
        assert replica.core is None
        replica.disk.remove(replica.root)
        replica.disk.files = []
        replica.applied = []

    def kill(self, name: str, *, power: bool) -> None:
        """The process ends; with ``power`` the machine too: what was not synced, and the state machine, are gone."""
        replica = self.replicas[name]
        assert replica.journal is not None
        replica.journal.close()
        replica.core = replica.journal = None
        if power:
            replica.disk.crash(self.rng)
            replica.applied = []
        for other in self.replicas.values():
            if other.core is not None:
                other.core.link_changed(name, False, new_session=False)

    # ------------------------------------------------------------------ events

    def at(self, delay: float, action: Callable[[], None]) -> None:
        heapq.heappush(self.events, (self.now + delay, next(self.order), action))

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        end = self.now + seconds
        while self.events and self.events[0][0] <= end:
            self.now, _, action = heapq.heappop(self.events)
            action()
            if until():
                return True
        self.now = max(self.now, end)
        return until()

    def tick(self, replica: Replica, session: int) -> None:
        if replica.core is None or replica.session != session:
            return
        replica.core.tick()
        self.settle(replica)
        self.at(self.rng.uniform(0.005, 0.03), lambda: self.tick(replica, session))

    def settle(self, replica: Replica) -> None:
        """What the shell does after each event: apply, sync, answer; and the checks."""
        core, journal = replica.core, replica.journal
        assert core is not None
        assert journal is not None
        if core.is_leader:
            assert self.leaders.setdefault(core.engine.term, replica.name) == replica.name, "two leaders in a term"
        end = min(core.engine.commit_index, journal.durable_index)
        while core.engine.last_applied < end:
            entry = journal.entry(core.engine.last_applied + 1)
            said = (entry.term, entry.command)
            assert self.committed.setdefault(entry.index, said) == said, f"entry {entry.index} means two things"
            replica.applied.append((entry.index, entry.term, entry.command))
            core.engine.last_applied = entry.index
            if core.is_leader and entry.term == core.engine.term:
                self.acknowledged[entry.index] = said
        self._answer_questions(replica, core)
        if journal.dirty and not replica.syncing:
            replica.syncing = True
            pending, session = journal.take_sync(), replica.session
            self.at(
                self.rng.uniform(0.0, self.sync_delay),
                lambda: self.synced(replica, session, pending.work, pending.done),
            )

    def synced(self, replica: Replica, session: int, work: Callable[[], None], done: Callable[[], None]) -> None:
        if replica.core is None or replica.session != session:
            return
        if self.sync_hold:
            self.at(0.05, lambda: self.synced(replica, session, work, done))
            return
        assert replica.journal is not None
        work()
        done()
        replica.syncing = False
        ready = [item for item in replica.held if item[0] <= replica.journal.synced_position]
        replica.held = [item for item in replica.held if item[0] > replica.journal.synced_position]
        for _, peer, envelope in ready:
            self.transmit(replica, peer, envelope)
        replica.core.tick()
        self.settle(replica)

    # ------------------------------------------------------------------ network

    def send(self, replica: Replica, peer: str, envelope: pb.RaftEnvelope, hold: bool) -> None:
        assert replica.journal is not None
        if hold and replica.journal.dirty:
            replica.held.append((replica.journal.position, peer, envelope))
        else:
            self.transmit(replica, peer, envelope)

    def transmit(self, sender: Replica, peer: str, envelope: pb.RaftEnvelope) -> None:
        envelope.from_session, envelope.to_session = sender.session, self.replicas[peer].session
        if (sender.name, peer) in self.cut or self.rng.random() < self.loss:
            return
        data = envelope.SerializeToString()
        for _ in range(2 if self.rng.random() < self.loss else 1):
            self.at(self.rng.uniform(0.0, self.delay), lambda: self.deliver(sender.name, peer, data))

    def deliver(self, sender: str, name: str, data: bytes) -> None:
        replica = self.replicas[name]
        envelope = pb.RaftEnvelope.FromString(data)
        if replica.core is None or envelope.to_session != replica.session:
            return
        if envelope.from_session != self.replicas[sender].session:
            return
        replica.core.receive(sender, envelope)
        replica.core.tick()
        self.settle(replica)

    # ------------------------------------------------------------------ what clients do

    def leader(self) -> Replica | None:
        leading = [r for r in self.replicas.values() if r.core is not None and r.core.is_leader]
        return max(leading, key=lambda r: r.core.engine.term, default=None)  # type: ignore[union-attr]

    def propose(self, command: bytes) -> bool:
        """At any replica that believes it leads, not only the one that does."""
        leading = [r for r in self.replicas.values() if r.core is not None and r.core.is_leader]
        if not leading:
            return False
        replica = self.rng.choice(leading)
        assert replica.core is not None
        replica.core.propose(command)
        replica.core.tick()
        self.settle(replica)
        return True

    def change(self, make: Callable[[Membership], Membership | None]) -> bool:
        """A change of members at the leader, if it may be made now; ``make`` may think better of it."""
        leader = self.leader()
        if leader is None or leader.core is None or not leader.core.changes.possible:
            return False
        after = make(leader.core.membership)
        if after is None or not leader.core.changes.in_touch(after, leader.clock.monotonic()):
            return False
        leader.core.changes.propose(after)
        return True

    def take_in(self, name: str) -> bool:
        """As a learner; the rest follows by itself."""
        self.configured.add(name)
        leader = self.leader()
        identity = leader.core.changes.identity_of(name) if leader is not None and leader.core is not None else None
        if identity is None:
            if leader is not None and leader.core is not None:
                leader.core.emit(name, pb.RaftEnvelope(presence=pb.RaftPresence()))
            return False
        learner = MemberReplica(name, f"{name}:1", identity, learner=True)
        return self.change(lambda before: None if before.get(name) else before.with_replica(learner))

    def take_out(self, name: str) -> bool:
        """Not the leader itself."""
        leader = self.leader()
        if leader is None or leader.name == name:
            return False
        return self.change(lambda before: before.without(name) if before.get(name) else None)

    def ask(self) -> None:
        """A linearizable read at any replica that believes it leads."""
        leading = [
            r for r in self.replicas.values() if r.core is not None and r.core.is_leader and r.core.committed_in_term
        ]
        if leading:
            replica = self.rng.choice(leading)
            core = replica.core
            assert core is not None
            newest = max(self.acknowledged, default=1)
            replica.questions.append((core.engine.term, core.log.begin_round(), core.engine.commit_index, newest))
            core.tick()

    def _answer_questions(self, replica: Replica, core: RaftCore) -> None:
        for question in list(replica.questions):
            term, number, read_index, must_hold = question
            if not core.is_leader or core.engine.term != term:
                replica.questions.remove(question)
            elif core.log.round_confirmed(number) and core.engine.last_applied >= read_index:
                assert core.engine.last_applied >= must_hold, "a read point misses what had been acknowledged"
                replica.questions.remove(question)
                self.barriers += 1
