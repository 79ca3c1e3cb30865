"""The sending side of one stream against a peer driven by hand."""

from __future__ import annotations

import asyncio

import pytest
from rstore_api import errors
from rstore_api.dialling.stream import LinkBrokenError
from rstore_api.messages import history_messages, history_of
from rstore_api.proto import rstore_pb2 as pb
from rstore_replica.raft.clock import SystemClock
from rstore_replica.replication.messages import RefusedError
from rstore_replica.replication.sending.history_hold import HistoryHold
from rstore_replica.replication.sending.progress import Progress
from rstore_replica.replication.sending.stream import SourceStream
from rstore_replica.replication.waiting import Signal, cancel_and_wait
from unit.replication.fakes.regions import STORE, FakeRegion, bootstrap, eventually, topology


class Peer:
    """The other end: keeps what was sent, answers what the test says."""

    def __init__(self) -> None:
        self.sent: list[pb.StreamRequest] = []
        self.answers: asyncio.Queue[pb.StreamResponse | None] = asyncio.Queue()
        self.takes = asyncio.Event()
        self.takes.set()

    async def send(self, request: pb.StreamRequest) -> None:
        await self.takes.wait()
        self.sent.append(request)

    async def receive(self) -> pb.StreamResponse | None:
        return await self.answers.get()

    async def close(self) -> None:
        self.answers.put_nowait(None)

    @property
    def batches(self) -> list[pb.StreamBatch]:
        return [request.batch for request in self.sent if request.WhichOneof("message") == "batch"]

    def welcome(self, *, revision=1, history=(), promised=0, region="west", store_id=STORE) -> None:
        welcome = pb.StreamWelcome(
            store_id=store_id, region=region, history=history, promised_epoch=promised, revision=revision
        )
        self.answers.put_nowait(pb.StreamResponse(welcome=welcome))

    def ack(self, revision: int) -> None:
        self.answers.put_nowait(pb.StreamResponse(ack=pb.StreamAck(revision=revision)))


@pytest.fixture
async def east(make_region) -> FakeRegion:
    made = make_region("east", max_batch_bytes=100, window_bytes=300, silence_seconds=0.3, stall_seconds=0.3)
    await bootstrap([made, make_region("west")], "east")
    return made


@pytest.fixture
async def peer() -> Peer:
    return Peer()


def source_stream(source, peer: Peer, wake: Signal) -> SourceStream:
    return SourceStream(
        "west",
        peer,
        machine=source.machine,
        group=source.group,
        clock=SystemClock(),
        config=source.config,
        progress=Progress(),
        wake=wake,
        hold=HistoryHold("west", machine=source.machine, clock=SystemClock(), idle_seconds=60, total_seconds=600),
        on_ack=lambda: None,
    )


@pytest.fixture
async def stream(east, peer):
    """The running stream, as a task."""
    wake = Signal(SystemClock())
    east.machine.subscribe(lambda _revision: wake.set())
    running = source_stream(east, peer, wake)
    task = asyncio.create_task(running.run())
    yield task
    await cancel_and_wait(task)


async def test_the_hello_tells_store_epoch_and_history(stream, east, peer):
    await eventually(lambda: peer.sent)
    hello = peer.sent[0].hello
    assert (hello.store_id, hello.region, hello.replica, hello.epoch, hello.revision) == (STORE, "east", "east-0", 1, 1)
    assert history_of(hello.history) == east.machine.state.history


async def test_batches_follow_the_position_that_the_other_region_reported(stream, east, peer):
    await east.write(b"a", b"b", b"c")
    peer.welcome(revision=2, history=history_messages(east.machine.state.history))
    await eventually(lambda: peer.batches)
    (batch,) = peer.batches
    assert (batch.prev_revision, batch.last_revision, batch.rows, batch.epoch) == (2, 4, b"b\nc", 1)


async def test_the_sender_waits_when_the_window_is_full_and_goes_on_with_each_acknowledgement(stream, east, peer):
    await east.write(*[b"x" * 100] * 10)  # ten batches of 100 bytes; the window holds three
    peer.welcome()
    await eventually(lambda: len(peer.batches) == 3)
    heartbeats = len(peer.sent)
    await eventually(lambda: len(peer.sent) >= heartbeats + 2, what="heartbeats while waiting")
    assert len(peer.batches) == 3
    peer.ack(2)
    await eventually(lambda: len(peer.batches) == 4)
    peer.ack(5)
    await eventually(lambda: len(peer.batches) == 7)
    assert [batch.prev_revision for batch in peer.batches] == [1, 2, 3, 4, 5, 6, 7]


async def test_an_idle_stream_carries_heartbeats(stream, east, peer):
    peer.welcome(history=history_messages(east.machine.state.history))
    await eventually(lambda: len(peer.sent) >= 4)
    assert {request.WhichOneof("message") for request in peer.sent[1:]} == {"heartbeat"}
    assert peer.sent[-1].heartbeat.epoch == 1


async def test_a_peer_that_falls_silent_is_given_up(stream, east, peer):
    peer.welcome(history=history_messages(east.machine.state.history))
    with pytest.raises(LinkBrokenError, match="nothing received"):
        await asyncio.wait_for(stream, 5)


async def test_a_peer_that_takes_nothing_is_given_up(stream, east, peer):
    await eventually(lambda: peer.sent)
    peer.takes.clear()
    peer.welcome()
    with pytest.raises(LinkBrokenError):
        await asyncio.wait_for(stream, 5)


@pytest.mark.parametrize(
    ("welcome", "reason"),
    [
        ({"store_id": "store-2"}, pb.StreamRefusal.WRONG_STORE),
        ({"revision": 9}, pb.StreamRefusal.DIVERGED),
        ({"promised": 2}, pb.StreamRefusal.STALE_EPOCH),
        ({"revision": 9, "history": [pb.EpochStart(epoch=1, first_revision=2, region="east")]}, pb.StreamRefusal.GAP),
        ({"history": [pb.EpochStart(epoch=1, first_revision=2, region="west")]}, pb.StreamRefusal.DIVERGED),
        ({"history": [pb.EpochStart(epoch=1, first_revision=0)]}, pb.StreamRefusal.DIVERGED),
    ],
)
async def test_nothing_is_sent_to_a_region_that_does_not_hold_a_prefix(stream, east, peer, welcome, reason):
    await east.write(b"a")
    peer.welcome(**welcome)
    with pytest.raises(RefusedError) as caught:
        await asyncio.wait_for(stream, 5)
    assert caught.value.refusal.reason == reason
    assert not peer.batches


async def test_a_replica_of_another_region_is_not_taken_for_the_target(stream, peer):
    peer.welcome(region="north")
    with pytest.raises(LinkBrokenError, match="north"):
        await asyncio.wait_for(stream, 5)


async def test_an_acknowledgement_of_what_was_never_sent_ends_the_stream(stream, east, peer):
    peer.welcome(history=history_messages(east.machine.state.history))
    peer.ack(50)
    with pytest.raises(LinkBrokenError, match="acknowledged"):
        await asyncio.wait_for(stream, 5)


async def test_a_new_epoch_of_this_region_starts_a_new_stream(stream, east, peer):
    peer.welcome(history=history_messages(east.machine.state.history))
    await eventually(lambda: len(peer.sent) >= 2)
    request = pb.PromoteRequest(store_id=STORE, epoch=2, topology=topology([east], "east", epoch=2))
    await east.controller.promote(request)
    await east.write(b"a")
    with pytest.raises(LinkBrokenError, match="epoch"):
        await asyncio.wait_for(stream, 5)
    assert not peer.batches


async def test_a_region_that_another_has_followed_sends_nothing_more(stream, east, peer):
    await eventually(lambda: peer.sent)
    await east.write(b"a")
    named = pb.Topology(epoch=2, version=1, primary_region="west", regions=topology([east], "east").regions)
    named.regions.add(name="west")
    await east.controller.set_topology(pb.SetTopologyRequest(store_id=STORE, topology=named))
    assert east.machine.state.epoch == 1
    peer.welcome(history=[])
    with pytest.raises(LinkBrokenError, match="source"):
        await asyncio.wait_for(stream, 5)
    assert not peer.batches


async def test_losing_leadership_before_the_handshake_sends_nothing(make_region, peer):
    east = make_region("east")
    await bootstrap([east], "east")
    east.group.lead(None)
    running = source_stream(east, peer, Signal(SystemClock()))
    with pytest.raises(errors.NoLeader):
        await running.run()
    assert not peer.sent
