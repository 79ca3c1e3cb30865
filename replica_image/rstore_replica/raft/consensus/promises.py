"""Each replica's memory of what the others have promised: one that has forgotten its own promise does not count.

What nobody who is asked remembers is not noticed: promises since the last heartbeat that reached those who are left,
those that were lost with the power of everybody who remembered them, and volumes that all went back together.
"""

from __future__ import annotations

import random

from msgspec.structs import asdict, replace
from rstore_api.proto import raft_pb2 as pb

from rstore_replica.raft.consensus.outbox import Outbox
from rstore_replica.raft.membership import Membership
from rstore_replica.raft.standing import Standing, Standings
from rstore_replica.raft.storage.journal import Journal
from rstore_replica.raft.types import VolumeRolledBackError


class Promises:
    """Notes promises, passes them on, and checks the others' processes, and this one, against them."""

    def __init__(
        self, start: Standing, standings: Standings, journal: Journal, outbox: Outbox, rng: random.Random
    ) -> None:
        """``start`` is what this process began with, ``standings`` what was saved of the others' promises."""
        self.standings = standings
        self._start = start
        self._journal = journal
        self._outbox = outbox
        self._rng = rng
        self._announced = 0
        self._checked: set[str] = set()  # peers whose present process has forgotten nothing that is known here
        self._answered: set[str] = set()  # peers that have sent this process what they know

    def note(self, peer: str, envelope: pb.RaftEnvelope, *, index: int = 0, voted_for: str = "") -> None:
        """The peer has promised this, in the envelope's term."""
        if envelope.HasField("start"):
            process = envelope.start.process
            self.standings.note(Standing(peer, envelope.from_identity, process, envelope.term, index, voted_for))

    def new_session(self, peer: str) -> None:
        """Another process has taken the peer's place."""
        self._checked.discard(peer)

    def has_forgotten(self, peer: str, envelope: pb.RaftEnvelope) -> bool:
        """Whether the peer's process began without what it had promised; then the peer is sent that promise."""
        if peer in self._checked or not envelope.HasField("start"):
            return False  # without it: entries, or a replica of a version that does not send it
        start = replace(from_message(envelope.start), name=peer, identity=envelope.from_identity)
        promised = self.standings.contradiction(start)
        if promised is None:
            self._checked.add(peer)
            return False
        self._send(peer, [promised])
        return True

    def tell(self, peer: str, membership: Membership) -> None:
        """Sends the peer what is known of the members, which may be nothing: the message says how this process began,
        so that a peer which knows better answers at once.
        """
        self._send(peer, self.standings.of(membership))

    def announce(self, membership: Membership, term: int) -> None:
        """Leader: sends every member what was learnt, and what this replica counts itself for in its term.

        One that leads alone does so before its term and vote are durable: until then it has promised nothing in it.
        """
        journal = self._journal
        own = replace(self._start, identity=journal.identity, term=term, index=journal.durable_index)
        if journal.state_durable:
            self.standings.note(replace(own, voted_for=own.name))
        if self.standings.version != self._announced:
            self._announced = self.standings.version
            for peer in membership.names:
                if peer != own.name:
                    self.tell(peer, membership)

    def have_come(self, membership: Membership) -> bool:
        """Whether every other member has sent what it knows, so that nobody remembers more of this replica."""
        return self._answered.issuperset(name for name in membership.names if name != self._start.name)

    def receive(self, peer: str, message: pb.RaftStandings) -> None:
        """Raises :class:`VolumeRolledBackError` when this replica has promised what it does not hold: it has renewed
        its identity then.
        """
        self._answered.add(peer)
        for standing in map(from_message, message.standings):
            start = replace(self._start, identity=self._journal.identity)
            if standing.name != start.name:
                self.standings.note(standing)
            elif Standings([standing]).contradiction(start) is not None:
                self._journal.renew_identity(self._rng.getrandbits(63) | 1)
                raise VolumeRolledBackError(
                    f"this volume was rolled back: it had promised entry {standing.index} in term {standing.term}, and "
                    f"began with entry {start.index} in term {start.term}; the replica is filled again as a new one"
                )

    def _send(self, peer: str, standings: list[Standing]) -> None:
        message = pb.RaftStandings(standings=[to_message(standing) for standing in standings])
        self._outbox.emit(peer, pb.RaftEnvelope(standings=message))


def to_message(standing: Standing) -> pb.RaftStanding:
    """The standing as it is sent."""
    return pb.RaftStanding(**asdict(standing))


def from_message(message: pb.RaftStanding) -> Standing:
    """The standing that was sent."""
    return Standing(message.name, message.identity, message.process, message.term, message.index, message.voted_for)
