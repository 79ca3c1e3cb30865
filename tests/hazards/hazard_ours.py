"""The product's rules, journal and durability, with time, network and disk in the test's hand."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from hazards.hazard_clock import HandClock
from rstore_api.proto import raft_pb2 as pb
from rstore_replica.raft import RaftConfig
from rstore_replica.raft.consensus.core import RaftCore
from rstore_replica.raft.membership import Membership, Replica
from rstore_replica.raft.storage.journal import Journal
from unit.raft.storage.crash_disk import CrashDisk

Accept = Callable[[str, str, pb.RaftEnvelope], bool]


@dataclass
class OurReplica:
    """One replica; ``applied`` lists what its state machine was given."""

    name: str
    root: Path
    disk: CrashDisk = field(default_factory=CrashDisk)
    session: int = 0
    applied: list[tuple[int, bytes]] = field(default_factory=list)
    held: list[tuple[int, str, pb.RaftEnvelope]] = field(default_factory=list)
    core: RaftCore = field(init=False)
    journal: Journal = field(init=False)

    @property
    def values(self) -> list[bytes]:
        return [command[1:] for _, command in self.applied if command[:1] == b"\0"]


class OurGroup:
    """Like :class:`hazards.hazard_stock.StockGroup`, of the product's parts."""

    def __init__(self, names: Iterable[str], root: Path, config: RaftConfig | None = None) -> None:
        self.clock = HandClock()
        self.names = tuple(names)
        self.config = config or RaftConfig()
        self.syncing = True
        self.wire: list[tuple[str, str, pb.RaftEnvelope]] = []
        self.replicas = {name: OurReplica(name, root / name) for name in self.names}
        for name in self.names:
            self.start(name)

    def start(self, name: str) -> OurReplica:
        """Starts, or starts again, a replica on its files."""
        replica = self.replicas[name]
        replica.session += 1
        replica.held = []
        replica.journal = Journal(replica.root, replica.disk, segment_bytes=1 << 20, cache_bytes=1 << 20)
        replica.core = RaftCore(
            name=name,
            initial=Membership(tuple(Replica(member, "") for member in sorted(self.names)), index=1),
            journal=replica.journal,
            applied=replica.applied[-1][0] if replica.applied else 1,
            clock=self.clock,
            rng=random.Random(name if replica.session == 1 else f"{name} {replica.session}"),
            config=self.config,
            send=lambda peer, envelope, hold: self._send(replica, peer, envelope, hold),
        )
        replica.core._began_at = -1e9  # the others have had time to answer
        for other in self.replicas.values():
            if other is not replica and hasattr(other, "core"):
                other.core.link_changed(name, True, new_session=True)
                replica.core.link_changed(other.name, True, new_session=True)
        return replica

    def on_checkpoint_wanted(self, leader: str, peer: str) -> None:
        """The leader's log no longer has what the peer lacks."""

    def crash(self, name: str, *, power: bool) -> None:
        """Ends the replica's process; with ``power``, what was not synced is lost as well."""
        replica = self.replicas[name]
        replica.journal.close()
        if power:
            for file in replica.disk.files:
                with file.path.open("r+b") as raw:
                    raw.truncate(file.synced)
            replica.disk.files = []
            replica.applied = []

    def last_index(self, name: str) -> int:
        return self.replicas[name].journal.last_index

    def is_leader(self, name: str) -> bool:
        return self.replicas[name].core.is_leader

    # ------------------------------------------------------------------ making things happen

    def _send(self, replica: OurReplica, peer: str, envelope: pb.RaftEnvelope, hold: bool) -> None:
        if hold and replica.journal.dirty:
            replica.held.append((replica.journal.position, peer, envelope))
        else:
            self._transmit(replica, peer, envelope)

    def _transmit(self, replica: OurReplica, peer: str, envelope: pb.RaftEnvelope) -> None:
        copied = pb.RaftEnvelope.FromString(envelope.SerializeToString())
        copied.from_session, copied.to_session = replica.session, self.replicas[peer].session
        self.wire.append((replica.name, peer, copied))

    def tick(self, *names: str) -> None:
        for name in names or self.names:
            replica = self.replicas[name]
            replica.core.tick()
            for peer in replica.core.needing_checkpoint():
                self.on_checkpoint_wanted(name, peer)
            self.apply(name)
            if self.syncing and replica.journal.dirty:
                pending = replica.journal.take_sync()
                pending.work()
                pending.done()
                ready, replica.held = replica.held, []
                for _, peer, envelope in ready:
                    self._transmit(replica, peer, envelope)
                replica.core.tick()
                self.apply(name)

    def apply(self, name: str) -> None:
        replica = self.replicas[name]
        end = min(replica.core.commit_index, replica.journal.durable_index)
        while replica.core.last_applied < end:
            entry = replica.journal.entry(replica.core.last_applied + 1)
            replica.applied.append((entry.index, entry.command))
            replica.core.note_applied(entry.index)

    def deliver(self, accept: Accept = lambda *_: True) -> int:
        """Delivers what is under way now and accepted; the rest is kept. Returns how many were delivered."""
        now, self.wire = self.wire, []
        kept = []
        for sender, to, envelope in now:
            if accept(sender, to, envelope):
                self.hand_over(sender, to, envelope)
            else:
                kept.append((sender, to, envelope))
        self.wire = kept + self.wire
        return len(now) - len(kept)

    def hand_over(self, sender: str, to: str, envelope: pb.RaftEnvelope) -> None:
        """Applies the link layer's rule (sessions of both ends), then the replica's."""
        current = (self.replicas[sender].session, self.replicas[to].session)
        if (envelope.from_session, envelope.to_session) == current:
            self.replicas[to].core.receive(sender, pb.RaftEnvelope.FromString(envelope.SerializeToString()))

    def settle(self, accept: Accept = lambda *_: True, rounds: int = 12) -> None:
        """Lets some heartbeats' time pass, delivering what is accepted."""
        for _ in range(rounds):
            self.clock.advance(0.11)
            self.tick()
            self.deliver(accept)

    def drop(self) -> None:
        """Drops every message that is under way."""
        self.wire.clear()

    def elect(self, name: str, voters: Iterable[str] = ()) -> None:
        """Makes the replica leader of a new term by the votes of ``voters`` (all, by default)."""
        reached = {name, *(tuple(voters) or self.names)}
        for voter in reached - {name}:
            self.replicas[voter].core._elections._leader_contact = -1e9
        self.replicas[name].core._campaign(self.clock.now)
        for _ in range(3):
            self.tick(*reached)
            self.deliver(lambda sender, to, sent: "vote" in str(sent.WhichOneof("body")) and {sender, to} <= reached)
        self.wire = [item for item in self.wire if "vote" not in str(item[2].WhichOneof("body"))]
        assert self.is_leader(name)

    def put(self, name: str, value: bytes) -> int:
        """Proposes at the replica; returns the entry's index."""
        return self.replicas[name].core.propose(value)[0]

    def committed(self, name: str) -> int:
        return self.replicas[name].core.commit_index
