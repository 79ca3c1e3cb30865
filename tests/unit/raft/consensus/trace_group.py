"""A group of the product's Raft rules that is driven by lines of text, and says in text what it did.

The form is that of etcd-io/raft's ``testdata``: a command, ``----``, what came of it. What comes of a command is each
message that it put on the wire, what was delivered or lost, and the replicas whose state is another one than before::

    b -> a  vote_reply term=1
    a: leader term=1 log=2/1 commit=1

``log`` is index and term of the last entry.
"""

from __future__ import annotations

from pathlib import Path

from hazards.hazard_ours import OurGroup
from rstore_api.proto import raft_pb2 as pb
from rstore_replica.raft.membership import Replica
from rstore_replica.raft.types import COMMAND, CONFIG

HEARTBEAT_SECONDS = 0.11
_KINDS = {COMMAND[0]: "put", 1: "no-op", CONFIG[0]: "members"}


def show(sender: str, to: str, envelope: pb.RaftEnvelope) -> str:
    """One message on a line: body, term, and each field that is set."""
    kind = envelope.WhichOneof("body")
    assert kind is not None
    fields = []
    for field, value in getattr(envelope, kind).ListFields():
        if field.name == "entries":
            entries = [f"{entry.term}:{_entry(entry.command)}" for entry in value]
            fields.append(f"entries=[{', '.join(entries)}]")
        else:
            fields.append(f"{field.name}={str(value).lower() if isinstance(value, bool) else value}")
    return " ".join([f"{sender} -> {to}  {kind} term={envelope.term}", *fields])


def _entry(command: bytes) -> str:
    kind = _KINDS[command[0]]
    return f"put {command[1:].decode()}" if kind == "put" else kind


class TraceGroup:
    """Runs the commands of a trace; each method ``do_…`` is one."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._out: list[str] = []
        self._seen: dict[str, str] = {}
        self._wire: list[tuple[str, str, pb.RaftEnvelope]] = []
        self._group: OurGroup

    def run(self, line: str) -> str:
        """What came of the command; raises when there is no such command."""
        name, *arguments = line.split()
        self._out = []
        getattr(self, f"do_{name.replace('-', '_')}")(*arguments)
        for message in self._group.wire:
            of_standings = message[2].WhichOneof("body") == "standings"
            if not of_standings and not any(message[2] is old[2] for old in self._wire):
                self._out.append(show(*message))
        self._wire = list(self._group.wire)
        for replica in self._group.names:
            state = self._state(replica)
            if state != self._seen.get(replica):
                self._out.append(f"{replica}: {state}")
                self._seen[replica] = state
        return "\n".join(self._out) or "nothing"

    def _state(self, name: str) -> str:
        core, journal = self._core(name), self._group.replicas[name].journal
        membership = core.membership
        last = f"{journal.last_index}/{journal.last_term}"
        text = f"{core.role.value} term={core.term} log={last} commit={core.commit_index}"
        if set(membership.voters) != set(self._group.names):
            text += f" voters={','.join(membership.voters)}"
        return text

    def _core(self, name: str):
        return self._group.replicas[name].core

    # ------------------------------------------------------------------ commands

    def do_group(self, *names: str) -> None:
        """A fresh group."""
        self._group = OurGroup(names, self._root)
        self._group.on_checkpoint_wanted = self._wanted  # type: ignore[method-assign]

    def _wanted(self, leader: str, peer: str) -> None:
        self._out.append(f"{leader} has to send {peer} a checkpoint")

    def do_timeout(self, name: str) -> None:
        """Time passes until the replica has not heard from a leader for too long; the others are not asked."""
        self._group.clock.advance(max(0.0, self._core(name).next_deadline() - self._group.clock.now))
        self._group.tick(name)

    def do_tick(self, *names: str) -> None:
        """A heartbeat's time passes, and the replicas (all, by default) do what is due."""
        self._group.clock.advance(HEARTBEAT_SECONDS)
        self._group.tick(*names)

    def do_elect(self, name: str, *voters: str) -> None:
        """The replica becomes leader by these votes; all messages of the election are delivered and not shown."""
        self._group.elect(name, voters)

    def do_settle(self, *without: str) -> None:
        """Some heartbeats pass; all messages are delivered but those to and from some replicas, and none is shown."""
        reached = set(self._group.names) - set(without)
        self._group.settle(lambda sender, to, _sent: {sender, to} <= reached)
        while self._group.deliver(lambda sender, to, _sent: {sender, to} <= reached):
            self._group.tick(*sorted(reached))
        self._group.drop()

    def do_put(self, name: str, value: str) -> None:
        """A proposal at a leader."""
        assert self._group.is_leader(name)
        self._group.put(name, value.encode())
        self._group.tick(name)

    def do_deliver(self, *links: str) -> None:
        """What is under way on these links (``a->b``; all, by default) arrives; the answers are under way then."""
        receivers = {link.partition("->")[2] for link in links} or set(self._group.names)
        self._group.deliver(lambda sender, to, _sent: not links or f"{sender}->{to}" in links)
        self._group.tick(*sorted(receivers))

    def do_lose(self, *links: str) -> None:
        """What is under way on these links (all, by default) is lost."""
        for message in [item for item in self._group.wire if not links or f"{item[0]}->{item[1]}" in links]:
            self._group.wire = [item for item in self._group.wire if item is not message]
            self._out.append(f"lost: {show(*message)}")

    def do_crash(self, name: str) -> None:
        """Loses power and starts again."""
        self._group.crash(name, power=True)
        self._group.start(name)

    def do_hand_over(self, name: str, target: str) -> None:
        """The leader asks the target to stand for election at once."""
        self._core(name).send_timeout_now(target)

    def do_remove(self, name: str, member: str) -> None:
        """The leader puts a change of members into the log."""
        core = self._core(name)
        core.propose_members(core.membership.without(member))
        self._group.tick(name)

    def do_add(self, name: str, member: str) -> None:
        """As ``remove``: the member is a learner until it has caught up."""
        core = self._core(name)
        identity = self._group.replicas[member].journal.identity
        core.propose_members(core.membership.with_replica(Replica(member, "", identity, learner=True)))
        self._group.tick(name)

    def do_compact(self, name: str) -> None:
        """The replica has a checkpoint of all that is committed, and drops the log below it."""
        index = self._core(name).commit_index
        self._group.replicas[name].journal.compact(index, index)

    def do_install(self, name: str, source: str) -> None:
        """A checkpoint of the leader has been transferred to the replica, which begins its log anew there."""
        origin, replica = self._group.replicas[source], self._group.replicas[name]
        index = origin.journal.first_index
        term = origin.journal.term_at(index)
        assert term is not None
        replica.journal.reset(index, term, index, origin.journal.memberships.at(index))
        replica.core.adopt_checkpoint(index)
        origin.core.checkpoint_installed(name, index + 1)
