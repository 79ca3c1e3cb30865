"""What the receiving side admits, refuses and commits, message by message."""

from __future__ import annotations

import asyncio

import pytest
from rstore_api import errors
from rstore_api.proto import rstore_pb2 as pb
from unit.replication.fakes.regions import STORE, bootstrap, eventually

HISTORY = [pb.EpochStart(epoch=1, first_revision=2, region="east")]
Reason = pb.StreamRefusal


class Call:
    """The source's end of one stream, driven by hand."""

    def __init__(self, region) -> None:
        self.requests: asyncio.Queue[pb.StreamRequest | None] = asyncio.Queue()
        self.responses: asyncio.Queue[pb.StreamResponse | None] = asyncio.Queue()
        self.task = asyncio.create_task(self._serve(region))

    async def _incoming(self):
        while (request := await self.requests.get()) is not None:
            yield request

    async def _serve(self, region) -> None:
        async for response in region.replication.receiver.serve(self._incoming()):
            self.responses.put_nowait(response)
        self.responses.put_nowait(None)

    def hello(self, *, epoch=1, history=None, revision=1, store_id=STORE, region="east") -> None:
        hello = pb.StreamHello(
            store_id=store_id, region=region, epoch=epoch, history=history or HISTORY, revision=revision
        )
        self.requests.put_nowait(pb.StreamRequest(hello=hello))

    def batch(self, prev: int, *values: bytes, epoch=1, history=None) -> None:
        batch = pb.StreamBatch(
            epoch=epoch,
            prev_revision=prev,
            last_revision=prev + len(values),
            rows=b"\n".join(values),
            row_count=len(values),
            history=history or HISTORY,
        )
        self.requests.put_nowait(pb.StreamRequest(batch=batch))

    def heartbeat(self, epoch=1) -> None:
        self.requests.put_nowait(pb.StreamRequest(heartbeat=pb.StreamHeartbeat(epoch=epoch)))

    async def response(self) -> pb.StreamResponse | None:
        return await asyncio.wait_for(self.responses.get(), 5)

    async def welcome(self) -> pb.StreamWelcome:
        response = await self.response()
        assert response is not None
        assert response.WhichOneof("message") == "welcome", response
        return response.welcome

    async def acked(self, revision: int) -> None:
        while True:
            response = await self.response()
            assert response is not None
            assert response.WhichOneof("message") == "ack", response
            if response.ack.revision >= revision:
                assert response.ack.revision == revision
                return

    async def refused(self) -> pb.StreamRefusal:
        while True:
            response = await self.response()
            assert response is not None
            if response.WhichOneof("message") == "refusal":
                assert await self.response() is None, "a refusal is the last message"
                return response.refusal


@pytest.fixture
async def west(make_region):
    east, west = make_region("east"), make_region("west")
    await bootstrap([east, west], "east")
    return west


async def test_batches_are_committed_and_acknowledged_in_order(west):
    call = Call(west)
    call.hello()
    assert (await call.welcome()).revision == 1
    west.group.commit_seconds = 0.01
    for number in range(10):
        call.batch(1 + number, b"%d" % number)
    await call.acked(11)
    assert west.machine.values == {number + 2: b"%d" % number for number in range(10)}
    assert west.group.most_in_flight > 1
    call.requests.put_nowait(None)
    assert await call.response() is None


async def test_a_gap_is_refused_and_not_applied(west):
    call = Call(west)
    before = west.group.proposals
    call.hello(revision=9)
    await call.welcome()
    call.batch(1, b"a")
    call.batch(3, b"c")
    assert (await call.refused()).reason == Reason.GAP
    await eventually(lambda: west.machine.values == {2: b"a"})
    assert west.group.proposals == before + 1, "what cannot be applied is not proposed"


async def test_a_batch_that_comes_twice_is_not_applied_twice(west):
    call = Call(west)
    call.hello(revision=9)
    await call.welcome()
    call.batch(1, b"a")
    call.batch(1, b"a")
    assert (await call.refused()).reason == Reason.GAP
    await eventually(lambda: west.machine.values == {2: b"a"})


@pytest.mark.parametrize(
    ("hello", "reason"),
    [
        ({"store_id": "store-2"}, Reason.WRONG_STORE),
        ({"region": "west"}, Reason.UNSPECIFIED),
        ({"epoch": 2}, Reason.DIVERGED),  # does not end its own history
        ({"history": [pb.EpochStart(epoch=1, first_revision=0)]}, Reason.DIVERGED),
    ],
)
async def test_a_hello_that_cannot_be_is_refused(west, hello, reason):
    call = Call(west)
    call.hello(**hello)
    assert (await call.refused()).reason == reason


async def test_the_first_message_must_be_a_hello(west):
    call = Call(west)
    call.batch(1, b"a")
    assert (await call.refused()).reason == Reason.UNSPECIFIED
    assert west.machine.revision == 1


async def test_a_lower_epoch_is_refused_with_the_promise(west):
    promise = pb.LogEntry(promise=pb.Promise(epoch=4))
    await west.group.propose(promise.SerializeToString(), timeout_seconds=1)
    call = Call(west)
    call.hello()
    refusal = await call.refused()
    assert (refusal.reason, refusal.promised_epoch) == (Reason.STALE_EPOCH, 4)


@pytest.mark.parametrize("message", ["batch", "heartbeat"])
async def test_a_promise_ends_a_stream_of_a_lower_epoch(west, message):
    call = Call(west)
    call.hello(revision=5)
    await call.welcome()
    promise = pb.LogEntry(promise=pb.Promise(epoch=2))
    await west.group.propose(promise.SerializeToString(), timeout_seconds=1)
    if message == "batch":
        call.batch(1, b"a")
    else:
        call.heartbeat()
    refusal = await call.refused()
    assert (refusal.reason, refusal.promised_epoch) == (Reason.STALE_EPOCH, 2)
    assert west.machine.revision == 1


async def test_a_follower_names_its_leader(west):
    west.group.names.append("west-1")
    west.group.lead("west-1")
    call = Call(west)
    call.hello()
    refusal = await call.refused()
    assert (refusal.reason, refusal.leader_address) == (Reason.NOT_LEADER, "west-1:2380")


async def test_a_leader_that_stops_leading_ends_the_stream(west):
    call = Call(west)
    call.hello()
    await call.welcome()
    west.group.lead(None)
    call.heartbeat()
    assert (await call.refused()).reason == Reason.NOT_LEADER


async def test_a_heartbeat_is_answered_with_the_committed_revision(west):
    call = Call(west)
    call.hello()
    await call.welcome()
    call.heartbeat()
    await call.acked(1)


async def test_a_source_that_goes_silent_is_let_go(make_region):
    east, west = make_region("east"), make_region("west", silence_seconds=0.05)
    await bootstrap([east, west], "east")
    call = Call(west)
    call.hello()
    await call.welcome()
    assert (await call.refused()).reason == Reason.UNAVAILABLE


async def test_a_newer_stream_takes_the_place_of_an_older_one_behind_what_that_one_proposed(west):
    old = Call(west)
    old.hello(revision=5)
    await old.welcome()
    west.group.commit_seconds = 0.1
    old.batch(1, b"a")
    await eventually(lambda: west.group.in_flight == 1)
    new = Call(west)
    new.hello(revision=5)
    assert (await new.welcome()).revision == 2
    assert (await old.refused()).reason == Reason.UNAVAILABLE
    new.batch(2, b"b")
    await new.acked(3)


async def test_a_stream_of_a_lower_epoch_does_not_displace_one_of_a_higher(west):
    second = [*HISTORY, pb.EpochStart(epoch=2, first_revision=2, region="north")]
    new = Call(west)
    new.hello(epoch=2, history=second, region="north")
    await new.welcome()
    old = Call(west)
    old.hello()
    assert (await old.refused()).reason == Reason.STALE_EPOCH
    new.batch(1, b"a", epoch=2, history=second)
    await new.acked(2)


async def test_a_primary_takes_nothing_of_its_own_epoch_from_another(make_region):
    east = make_region("east")
    await bootstrap([east], "east")
    call = Call(east)
    call.hello(region="west", history=HISTORY)
    refusal = await call.refused()
    assert refusal.reason == Reason.DIVERGED
    assert "same on both sides" in refusal.message


async def test_a_failed_commit_ends_the_stream_and_nothing_behind_it_is_applied(west):
    call = Call(west)
    call.hello(revision=9)
    await call.welcome()
    west.group.fail_next = errors.TooManyRequests()
    call.batch(1, b"a")
    call.batch(2, b"b")
    assert (await call.refused()).reason == Reason.UNAVAILABLE
    assert west.machine.revision == 1


async def test_what_is_being_proposed_is_bounded_by_the_window(make_region):
    east, west = make_region("east"), make_region("west", max_batch_bytes=10, window_bytes=30)
    await bootstrap([east, west], "east")
    west.group.commit_seconds = 0.01
    call = Call(west)
    call.hello(revision=99)
    await call.welcome()
    for number in range(12):
        call.batch(1 + number, b"x" * 10)
    await call.acked(13)
    assert west.group.most_in_flight == 3


async def test_stopping_ends_the_stream_after_what_was_proposed(west):
    call = Call(west)
    call.hello(revision=9)
    await call.welcome()
    west.group.commit_seconds = 0.05
    call.batch(1, b"a")
    await eventually(lambda: west.group.in_flight == 1)
    await west.replication.stop()
    assert west.machine.revision == 2
    assert (await call.refused()).reason == Reason.UNAVAILABLE
    late = Call(west)
    late.hello()
    assert (await late.refused()).reason == Reason.UNAVAILABLE


async def test_an_answer_of_the_state_machine_that_was_not_expected_ends_the_stream(west):
    call = Call(west)
    call.hello(revision=9)
    await call.welcome()
    west.group.answer_next = 77
    call.batch(1, b"a")
    assert (await call.refused()).reason == Reason.GAP


async def test_a_new_leader_says_where_it_stands_only_after_it_applied_what_was_committed(west):
    rows = pb.StreamBatch(epoch=1, prev_revision=1, last_revision=2, rows=b"a", row_count=1, history=HISTORY)
    west.group.committed_unapplied = [pb.LogEntry(rows=pb.ReplicatedRows(batch=rows)).SerializeToString()]
    call = Call(west)
    call.hello(revision=9)
    assert (await call.welcome()).revision == 2
