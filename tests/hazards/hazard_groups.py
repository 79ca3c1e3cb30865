"""The product's whole :class:`Group` with a transport and a state machine in the test's hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from hazards.hazard_clock import HandClock
from rstore_api.proto import raft_pb2 as pb
from rstore_replica.raft import Group, LocalDisk, Member, RaftConfig
from rstore_replica.raft.links.transport import OnLink, OnMessage, Transport

QUICK = RaftConfig(election_timeout_min_seconds=0.2, election_timeout_max_seconds=0.3, heartbeat_seconds=0.02)


class HandTransport(Transport):
    """Keeps what is sent; the test decides what arrives."""

    refusal = ""

    def __init__(self) -> None:
        self.sent: list[tuple[str, pb.RaftEnvelope]] = []
        self.arrive: OnMessage | None = None
        self.link: OnLink | None = None

    async def start(self, on_message: OnMessage, on_link: OnLink) -> None:
        self.arrive, self.link = on_message, on_link

    async def stop(self) -> None:
        self.arrive = self.link = None

    def send(self, peer: str, envelope: pb.RaftEnvelope) -> bool:
        self.sent.append((peer, pb.RaftEnvelope.FromString(envelope.SerializeToString())))
        return True

    def last(self, kind: str, peer: str) -> pb.RaftEnvelope | None:
        """Returns the newest message of the kind to the peer."""
        matching = [sent for to, sent in self.sent if to == peer and sent.WhichOneof("body") == kind]
        return matching[-1] if matching else None

    def say(self, peer: str, envelope: pb.RaftEnvelope) -> None:
        assert self.arrive is not None
        self.arrive(peer, envelope)


class Listing:
    """A state machine that appends to a list; its checkpoint is one file."""

    def __init__(self) -> None:
        self.applied_index = 0
        self.values: list[bytes] = []
        self.before_checkpoint: Callable[[], None] = lambda: None

    def apply(self, index: int, term: int, entry: bytes) -> object:
        if entry == b"raise":
            raise RuntimeError("a bug in apply")
        if index > self.applied_index:
            self.values.append(entry)
            self.applied_index = index
        return (index, term)

    def checkpoint(self, directory: Path) -> None:
        index, values = self.applied_index, list(self.values)
        self.before_checkpoint()
        (directory / "list").write_text(f"{index} " + " ".join(value.hex() for value in values))

    def sync(self) -> None:
        """Nothing: it is not kept."""

    def restore(self, directory: Path) -> None:
        index, *values = (directory / "list").read_text().split(" ")
        self.applied_index, self.values = int(index), [bytes.fromhex(value) for value in values]


def make_group(
    directory: Path,
    machine: Listing,
    *,
    transport: HandTransport | None = None,
    names: str = "a",
    config: RaftConfig = QUICK,
    disk: LocalDisk | None = None,
    clock: HandClock | None = None,
    on_fatal: Callable[[BaseException], None] | None = None,
) -> Group:
    """Returns replica ``a`` of a group of ``names``, not started."""
    failures: list[BaseException] = []
    return Group(
        name="a",
        members=tuple(Member(name, f"127.0.0.1:{1 + number}") for number, name in enumerate(names)),
        directory=directory,
        machine=machine,
        transport=transport or HandTransport(),
        config=config,
        disk=disk,
        clock=clock,
        on_fatal=on_fatal or failures.append,
    )


async def until(condition: Callable[[], object], what: str, seconds: float = 60.0) -> None:
    """Polls until the condition holds."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, f"not in {seconds} s: {what}"
        await asyncio.sleep(0.002)


async def make_leader(group: Group, transport: HandTransport, clock: HandClock) -> None:
    """Has the other members elect the group's replica ``a``, whose time stands still but for this."""
    assert transport.link is not None
    for peer in "bc":
        transport.link(peer, True, True)
        transport.say(peer, pb.RaftEnvelope(presence=pb.RaftPresence(pristine=True, reply=True)))
    clock.advance(group._config.election_timeout_max_seconds + 0.01)
    await until(lambda: transport.last("pre_vote", "b"), "it asks whether it may stand")
    asked = transport.last("pre_vote", "b")
    assert asked is not None
    reply = pb.RaftPreVoteReply(round=asked.pre_vote.round, granted=True)
    transport.say("b", pb.RaftEnvelope(term=asked.term, pre_vote_reply=reply))
    await until(lambda: transport.last("vote", "b"), "it stands for election")
    stands = transport.last("vote", "b")
    assert stands is not None
    transport.say("b", pb.RaftEnvelope(term=stands.term, vote_reply=pb.RaftVoteReply()))
    await until(lambda: group.status().leader == "a", "it leads")
