"""How a group comes into being, and why a replica whose volume was emptied cannot bring about a second one.

A replica without data does not know whether it is new or has lost what it had. If it had a part in a majority that
committed something, that majority was one of the group's first members or of what became of them; so it begins a group
only when it has seen, since it started, every other one of the first members without any past. Else it waits to be
taken into the group that there is, under an identity that nobody has counted on before.
"""

from __future__ import annotations

from msgspec.structs import replace
from rstore_api.proto import raft_pb2 as pb

from rstore_replica.raft.consensus.outbox import Outbox
from rstore_replica.raft.membership import Membership
from rstore_replica.raft.storage.journal import Journal


class Formation:
    """One replica's part in it; idle as soon as the log says who belongs to the group."""

    def __init__(self, *, name: str, initial: Membership, journal: Journal, outbox: Outbox) -> None:
        """``initial`` are the members with which a fresh group begins."""
        self._name = name
        self._initial = initial
        self._journal = journal
        self._outbox = outbox
        self._others = frozenset(member for member in initial.names if member != name)
        self._without_past: set[str] = set()
        self._founders: set[str] = set()
        self._began = False

    @property
    def membership(self) -> Membership:
        """Who belongs to the group as the log has it; nobody when it does not say."""
        latest = self._journal.memberships.latest
        if latest is None:
            # Identity 0 without any members in it: a journal from before they were kept there.
            latest = Membership() if self._journal.identity else self._initial
        return latest

    @property
    def joining(self) -> bool:
        """Nothing here says which group this replica belongs to."""
        return not self.membership.replicas

    @property
    def pristine(self) -> bool:
        """This replica has never voted and has never held an entry."""
        return self._journal.current_term == 0 and self._journal.last_index == 1

    def forget(self, peer: str) -> None:
        """Another process has taken the peer's place."""
        self._without_past.discard(peer)

    def ask(self, peer: str | None = None) -> None:
        """Asks one, or all of the first members, whether they have a past; only when this replica may need that."""
        if self.joining:
            for other in sorted(self._others) if peer is None else (peer,):
                self._outbox.emit(other, pb.RaftEnvelope(presence=pb.RaftPresence(pristine=self.pristine)))

    @property
    def others_missing(self) -> bool:
        """This process has begun the group, nothing has happened in it, and not all others have begun it as well.

        A replica that misses the beginning has to be taken in later and does not count until then: a short wait pays.
        """
        return self._began and self.pristine and not self._others <= self._founders

    def on_presence(self, peer: str, presence: pb.RaftPresence, identity: int) -> None:
        """A replica has reported whether it has a past, and its identity."""
        if identity == 0:
            self._founders.add(peer)
        if not presence.reply:
            self._outbox.emit(peer, pb.RaftEnvelope(presence=pb.RaftPresence(pristine=self.pristine, reply=True)))
        if presence.pristine:
            self._without_past.add(peer)
        else:
            self._without_past.discard(peer)
        self.begin_if_possible()

    def begin_if_possible(self) -> None:
        """Makes this replica one of the group's first members, durably, if that is safe."""
        named = self._initial.get(self._name) is not None
        if named and self.joining and self.pristine and self._others <= self._without_past:
            if self._others:
                self._journal.found(self._initial, identity=0)
            else:
                # Nobody else has to know its identity. Should a configuration that is out of date let it begin alone
                # again after its volume was emptied, the replicas that count on its former identity do not count it.
                itself = replace(self._initial.replicas[0], identity=self._journal.identity)
                self._journal.found(replace(self._initial, replicas=(itself,)), identity=itself.identity)
            self._began = True
            for other in sorted(self._others):
                self._outbox.emit(other, pb.RaftEnvelope(presence=pb.RaftPresence(pristine=True)))
