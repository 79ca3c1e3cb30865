"""Group commit: what shares an entry, what is not proposed, and whose error is whose."""

from __future__ import annotations

import asyncio
from typing import Any

import lmdb
import pytest
from rstore_api.errors import (
    AlreadyDone,
    DeadlineExceeded,
    FeatureNotActive,
    InvalidRequest,
    KeyNotFound,
    KeyTooLong,
    NoPrimary,
    NotLeader,
    NotReady,
    OutcomeUnknown,
    ShuttingDown,
    StoreError,
    TooManyRequests,
)
from rstore_api.proto import rpc_pb2, rstore_pb2
from rstore_replica.api.batcher import Batcher, BatchLimits
from unit.api.replica_fakes import FakeGate, FakeGroup


def _batcher(group: FakeGroup, gate: FakeGate | None = None, **limits: int) -> Batcher:
    return Batcher(
        group=group,
        gate=gate or FakeGate(),
        write_limits=lambda incoming: rstore_pb2.WriteLimits(max_txn_ops=128, no_space=incoming > 1_000_000),
        limits=BatchLimits(**{"max_in_flight_entries": 1} | limits),  # type: ignore[arg-type]
    )


def _put(batcher: Batcher, key: str, *, value: bytes = b"", seconds: float = 60) -> asyncio.Task[rpc_pb2.PutResponse]:
    write = rstore_pb2.WriteRequest(put=rpc_pb2.PutRequest(key=key.encode(), value=value))
    deadline = asyncio.get_running_loop().time() + seconds
    return asyncio.create_task(batcher.submit(write, rpc_pb2.PutResponse, deadline=deadline))


def _keys(group: FakeGroup) -> list[list[str]]:
    return [[request.put.key.decode() for request in entry.write.requests] for entry in group.proposals]


async def _settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_requests_that_arrive_together_share_an_entry() -> None:
    group = FakeGroup()
    batcher = _batcher(group)
    await asyncio.gather(*(_put(batcher, str(number)) for number in range(5)))
    assert _keys(group) == [["0", "1", "2", "3", "4"]]
    assert group.proposals[0].write.epoch == 1
    assert group.proposals[0].write.limits.max_txn_ops == 128


async def test_requests_gather_while_an_entry_is_in_flight() -> None:
    group = FakeGroup(held=True)
    batcher = _batcher(group)
    first = _put(batcher, "a")
    await _settle()
    rest = [_put(batcher, key) for key in "bcd"]
    await _settle()
    assert _keys(group) == [["a"]]
    assert batcher.queued == 3
    group.let_go()
    await first
    await _settle()
    assert _keys(group) == [["a"], ["b", "c", "d"]]
    group.let_go()
    await asyncio.gather(*rest)


async def test_a_second_entry_goes_beside_the_first_only_when_it_is_full() -> None:
    group = FakeGroup(held=True)
    batcher = _batcher(group, max_in_flight_entries=2, max_entry_requests=3)
    writes = [_put(batcher, "a")]
    await _settle()
    writes += [_put(batcher, key) for key in "bc"]
    await _settle()
    assert _keys(group) == [["a"]]
    writes += [_put(batcher, key) for key in "def"]
    await _settle()
    assert _keys(group) == [["a"], ["b", "c", "d"]]
    for _ in range(3):
        group.let_go()
        await _settle()
    await asyncio.gather(*writes)
    assert _keys(group) == [["a"], ["b", "c", "d"], ["e", "f"]]


async def test_an_entry_is_bounded_in_requests_and_bytes() -> None:
    group = FakeGroup()
    await asyncio.gather(*(_put(_b, str(n)) for _b in [_batcher(group, max_entry_requests=2)] for n in range(5)))
    assert [len(keys) for keys in _keys(group)] == [2, 2, 1]
    group = FakeGroup()
    batcher = _batcher(group, max_entry_bytes=1000)
    await asyncio.gather(
        *(_put(batcher, str(n), value=b"v" * 450) for n in range(4)), _put(batcher, "x", value=b"v" * 5000)
    )
    assert [len(keys) for keys in _keys(group)] == [2, 2, 1]


async def test_an_entry_is_bounded_in_operations() -> None:
    group = FakeGroup(answer=lambda _request: rpc_pb2.TxnResponse())
    batcher = _batcher(group, max_entry_operations=10)
    put = rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=b"k"))
    deadline = asyncio.get_running_loop().time() + 60
    requests = [rstore_pb2.WriteRequest(txn=rpc_pb2.TxnRequest(success=[put] * count)) for count in (4, 6, 1, 40, 2)]
    await asyncio.gather(*(batcher.submit(found, rpc_pb2.TxnResponse, deadline=deadline) for found in requests))
    assert [[len(found.txn.success) for found in entry.write.requests] for entry in group.proposals] == [
        [4, 6],
        [1],
        [40],
        [2],
    ]


async def test_an_entry_takes_one_request_that_may_touch_many_keys() -> None:
    def answer(request: rstore_pb2.WriteRequest) -> object:
        return rpc_pb2.DeleteRangeResponse() if request.HasField("delete_range") else rpc_pb2.PutResponse()

    group = FakeGroup(answer=answer)
    batcher = _batcher(group)
    deletion = rstore_pb2.WriteRequest(delete_range=rpc_pb2.DeleteRangeRequest(key=b"a", range_end=b"b", prev_kv=True))

    async def delete() -> None:
        deadline = asyncio.get_running_loop().time() + 60
        await batcher.submit(deletion, rpc_pb2.DeleteRangeResponse, deadline=deadline)

    await asyncio.gather(_put(batcher, "x"), _put(batcher, "y"), delete(), delete())
    assert [[request.WhichOneof("request") for request in entry.write.requests] for entry in group.proposals] == [
        ["put", "put", "delete_range"],
        ["delete_range"],
    ]


async def test_a_deletion_in_steps_has_an_entry_to_itself_and_others_wait_for_it() -> None:
    def answer(request: rstore_pb2.WriteRequest) -> object:
        return rpc_pb2.DeleteRangeResponse() if request.HasField("delete_range") else rpc_pb2.PutResponse()

    group = FakeGroup(answer=answer, held=True)
    batcher = _batcher(group, max_in_flight_entries=2)
    deletion = rstore_pb2.WriteRequest(delete_range=rpc_pb2.DeleteRangeRequest(key=b"a", range_end=b"b"))
    deadline = asyncio.get_running_loop().time() + 60
    before = _put(batcher, "x")
    deleted = asyncio.create_task(batcher.submit(deletion, rpc_pb2.DeleteRangeResponse, deadline=deadline))
    after, late = _put(batcher, "y"), _put(batcher, "z", seconds=0.05)
    await _settle()
    assert [entry.WhichOneof("command") for entry in group.proposals] == ["write", "deletion"]
    assert group.proposals[1].deletion.request == deletion
    await asyncio.sleep(0.1)
    group.let_go()
    await before
    await _settle()
    assert len(group.proposals) == 2
    group.let_go()
    await deleted
    await _settle()
    assert _keys(group)[2:] == [["y"]]
    group.let_go()
    await after
    with pytest.raises(DeadlineExceeded):
        await late


async def test_others_wait_for_one_deletion_in_steps_at_a_time() -> None:
    def answer(request: rstore_pb2.WriteRequest) -> object:
        return rpc_pb2.DeleteRangeResponse() if request.HasField("delete_range") else rpc_pb2.PutResponse()

    group = FakeGroup(answer=answer)
    batcher = _batcher(group)
    deletion = rstore_pb2.WriteRequest(delete_range=rpc_pb2.DeleteRangeRequest(key=b"a", range_end=b"b"))
    deadline = asyncio.get_running_loop().time() + 60

    def delete(*, seconds: float = 60) -> asyncio.Task[rpc_pb2.DeleteRangeResponse]:
        until = deadline - 60 + seconds
        return asyncio.create_task(batcher.submit(deletion, rpc_pb2.DeleteRangeResponse, deadline=until))

    expired = _put(batcher, "late", seconds=-1)
    await asyncio.gather(delete(), delete(), delete(), _put(batcher, "x"), delete(), _put(batcher, "y"), delete())
    with pytest.raises(DeadlineExceeded):
        await expired
    found = ["deletion" if entry.HasField("deletion") else keys for entry, keys in zip(group.proposals, _keys(group))]  # noqa: B905
    assert found == ["deletion", ["x"], "deletion", ["y"], "deletion", "deletion", "deletion"]
    assert batcher.queued == batcher.pending == 0


async def test_a_deletion_is_applied_at_once_while_some_replica_knows_no_steps() -> None:
    class EarlierGroup(FakeGroup):
        async def propose(self, entry: bytes, *, timeout_seconds: float) -> object:
            if rstore_pb2.LogEntry.FromString(entry).HasField("deletion"):
                raise FeatureNotActive
            return await super().propose(entry, timeout_seconds=timeout_seconds)

    group = EarlierGroup(answer=lambda _request: rpc_pb2.DeleteRangeResponse())
    deletion = rstore_pb2.WriteRequest(delete_range=rpc_pb2.DeleteRangeRequest(key=b"a", range_end=b"b"))
    deadline = asyncio.get_running_loop().time() + 60
    await _batcher(group).submit(deletion, rpc_pb2.DeleteRangeResponse, deadline=deadline)
    assert [entry.write.requests[0] for entry in group.proposals] == [deletion]


async def test_requests_about_leases_are_in_entries_of_their_own() -> None:
    """Such an entry is refused while some replica does not know of leases; the writes that came with it are not."""
    group = FakeGroup(held=True)
    batcher = _batcher(group)
    first = _put(batcher, "a")
    await _settle()
    grant = rstore_pb2.WriteRequest(lease_grant=rpc_pb2.LeaseGrantRequest(ID=1, TTL=5))
    deadline = asyncio.get_running_loop().time() + 60
    tasks = [
        _put(batcher, "b"),
        asyncio.create_task(batcher.submit(grant, rpc_pb2.LeaseGrantResponse, deadline=deadline)),
        _put(batcher, "c"),
    ]
    await _settle()
    for _ in range(3):
        group.let_go()
        await _settle()
    kinds = [proposal.WhichOneof("command") for proposal in group.proposals]
    assert kinds == ["write", "write", "lease_write", "write"]
    for task in (first, *tasks):
        task.cancel()


@pytest.mark.parametrize("only_in", [(1, 2), (2, 3)])
async def test_a_request_of_another_epoch_or_term_is_not_proposed(only_in: tuple[int, int]) -> None:
    group = FakeGroup()
    batcher = _batcher(group)
    request = rstore_pb2.WriteRequest(put=rpc_pb2.PutRequest(key=b"a"))
    deadline = asyncio.get_running_loop().time() + 60
    here, other = [
        asyncio.create_task(batcher.submit(request, rpc_pb2.PutResponse, deadline=deadline, only_in=standing))
        for standing in ((1, group.term), only_in)
    ]
    await here
    with pytest.raises(NotLeader):
        await other
    assert _keys(group) == [["a"]]


async def test_each_caller_gets_its_own_result() -> None:
    def answer(request: rstore_pb2.WriteRequest) -> object:
        if request.put.key == b"bad":
            return InvalidRequest("bad")
        return rpc_pb2.PutResponse(header=rpc_pb2.ResponseHeader(revision=int(request.put.key)))

    batcher = _batcher(FakeGroup(answer=answer))
    good, bad, other = _put(batcher, "1"), _put(batcher, "bad"), _put(batcher, "2")
    assert (await good).header.revision == 1
    assert (await other).header.revision == 2
    with pytest.raises(InvalidRequest, match="bad"):
        await bad


@pytest.mark.parametrize("refusal", [NotLeader(leader="x:2380"), TooManyRequests(), OutcomeUnknown("late")])
async def test_refusal_of_the_entry_is_the_refusal_of_all_its_requests(refusal) -> None:
    batcher = _batcher(FakeGroup(refusal=refusal))
    results = await asyncio.gather(*(_put(batcher, key) for key in "ab"), return_exceptions=True)
    assert [type(result) for result in results] == [type(refusal)] * 2
    assert results[0] is not results[1]
    assert results[0].leader == refusal.leader


async def test_a_surprise_while_proposing_leaves_the_outcome_unknown() -> None:
    batcher = _batcher(FakeGroup(refusal=RuntimeError("?")))
    with pytest.raises(OutcomeUnknown):
        await _put(batcher, "a")


@pytest.mark.parametrize("failure", [OSError(5, "Input/output error"), lmdb.ReadersFullError("no reader is free")])
async def test_whatever_raises_before_proposing_is_answered_as_not_done(failure: Exception) -> None:
    def no_limits(_incoming: int) -> rstore_pb2.WriteLimits:
        raise failure

    group = FakeGroup()
    batcher = Batcher(group=group, gate=FakeGate(), write_limits=no_limits)
    results = await asyncio.gather(*(_put(batcher, key, seconds=1) for key in "abc"), return_exceptions=True)
    assert [type(result) for result in results] == [NotReady] * 3
    assert {result.outcome for result in results} == {"none"}  # type: ignore[union-attr]
    assert type(failure).__name__ in str(results[0])
    assert group.proposals == []
    assert batcher.queued == 0


async def test_a_figure_that_cannot_be_counted_leaves_no_write_without_an_answer() -> None:
    def broken(_count: int) -> None:
        raise ValueError("no such figure")

    group = FakeGroup()
    batcher = Batcher(group=group, gate=FakeGate(), write_limits=lambda _: rstore_pb2.WriteLimits(), on_batch=broken)
    with pytest.raises(NotReady):
        await _put(batcher, "a", seconds=1)
    assert group.proposals == []


async def test_whatever_raises_after_committing_leaves_the_outcome_unknown_and_gives_back_the_room() -> None:
    def broken(_epoch: int, _revision: int | None, answer: Any) -> None:
        answer(OutcomeUnknown("said once"))
        raise ValueError("and then it broke")

    batcher = Batcher(
        group=FakeGroup(),
        gate=FakeGate(),
        write_limits=lambda _: rstore_pb2.WriteLimits(),
        settle=broken,
        limits=BatchLimits(max_waiting_requests=1),
    )
    for _ in range(3):  # there is room for one: each finds it again
        with pytest.raises(OutcomeUnknown, match="said once"):
            await _put(batcher, "a", seconds=1)


async def test_results_that_do_not_say_their_revision_leave_the_outcome_unknown() -> None:
    batcher = _batcher(FakeGroup(answer=lambda _request: object()))
    with pytest.raises(OutcomeUnknown):
        await _put(batcher, "a", seconds=1)


async def test_a_malformed_result_leaves_the_outcome_unknown() -> None:
    group = FakeGroup()

    async def propose(entry: bytes, *, timeout_seconds: float) -> object:
        return []

    group.propose = propose  # type: ignore[method-assign]
    with pytest.raises(OutcomeUnknown):
        await _put(_batcher(group), "a")


async def test_nothing_is_proposed_after_the_deadline() -> None:
    group = FakeGroup(held=True)
    batcher = _batcher(group)
    first = _put(batcher, "a")
    await _settle()
    late = _put(batcher, "late", seconds=0)
    await _settle()
    group.let_go()
    await first
    with pytest.raises(DeadlineExceeded):
        await late
    assert _keys(group) == [["a"]]


async def test_nothing_is_proposed_for_a_caller_that_went_away() -> None:
    group = FakeGroup(held=True)
    batcher = _batcher(group)
    first, gone, kept = _put(batcher, "a"), _put(batcher, "gone"), _put(batcher, "kept")
    second = _put(batcher, "b")
    await _settle()
    assert _keys(group) == [["a", "gone", "kept", "b"]]
    gone.cancel()  # in flight: the entry goes on for the others
    later, dropped = _put(batcher, "later"), _put(batcher, "dropped")
    await _settle()
    dropped.cancel()  # waiting: never proposed
    await _settle()
    group.let_go()
    await asyncio.gather(first, kept, second)
    await _settle()
    group.let_go()
    await later
    assert _keys(group)[1:] == [["later"]]


async def test_the_queue_is_bounded_in_requests_and_bytes() -> None:
    group = FakeGroup(held=True)
    batcher = _batcher(group, max_waiting_requests=2, max_waiting_bytes=10_000)
    _first = _put(batcher, "a")
    await _settle()
    waiting = [_put(batcher, "b"), _put(batcher, "c")]
    await _settle()
    with pytest.raises(TooManyRequests):
        await _put(batcher, "d")
    for task in waiting:
        task.cancel()
    group.let_go()
    await _settle()
    with pytest.raises(TooManyRequests):
        await _put(batcher, "large", value=b"v" * 20_000)


async def test_a_shut_gate_refuses_before_proposing() -> None:
    group, gate = FakeGroup(), FakeGate(open=False)
    with pytest.raises(NoPrimary):
        await _put(_batcher(group, gate), "a")
    assert group.proposals == []


async def test_the_gate_is_asked_when_the_entry_is_made() -> None:
    group, gate = FakeGroup(held=True), FakeGate()
    batcher = _batcher(group, gate)
    first = _put(batcher, "a")
    await _settle()
    second = _put(batcher, "b")
    await _settle()
    gate.open = False
    group.let_go()
    await first
    with pytest.raises(NoPrimary):
        await second


async def test_closing_refuses_what_waits_and_waits_for_what_is_in_flight() -> None:
    group = FakeGroup(held=True)
    batcher = _batcher(group)
    first = _put(batcher, "a")
    await _settle()
    second = _put(batcher, "b")
    await _settle()
    closing = asyncio.create_task(batcher.close())
    with pytest.raises(ShuttingDown):
        await second
    with pytest.raises(ShuttingDown):
        await _put(batcher, "c")
    assert not closing.done()
    group.let_go()
    await asyncio.gather(first, closing)


class _TenuredGroup:
    """Commits at once; the tenure may run out meanwhile."""

    term = 1

    def __init__(self) -> None:
        self.proposed = 0
        self.meanwhile = lambda: None

    async def propose(self, entry: bytes, *, timeout_seconds: float) -> object:
        self.proposed += 1
        await asyncio.sleep(0)
        self.meanwhile()
        count = len(rstore_pb2.LogEntry.FromString(entry).write.requests)
        return [rpc_pb2.PutResponse() for _ in range(count)]


async def test_checked_before_proposing_and_when_acknowledging() -> None:
    group, held = _TenuredGroup(), {4}
    batcher = Batcher(
        group=group,  # type: ignore[arg-type]
        gate=FakeGate(epoch=4),
        write_limits=lambda _bytes: rstore_pb2.WriteLimits(),
        tenure_held=lambda epoch: epoch in held,
    )
    await _put(batcher, "k")
    group.meanwhile = held.clear
    with pytest.raises(OutcomeUnknown, match="tenure"):
        await _put(batcher, "k")
    assert group.proposed == 2
    with pytest.raises(NoPrimary, match="tenure"):
        await _put(batcher, "k")
    assert group.proposed == 2, "nothing was proposed"
    await batcher.close()


class _DoneGroup(_TenuredGroup):
    """Answers that the request was carried out before, or with another error of the state machine."""

    def __init__(self, answer: StoreError) -> None:
        super().__init__()
        self.answer = answer

    async def propose(self, entry: bytes, *, timeout_seconds: float) -> object:
        await super().propose(entry, timeout_seconds=timeout_seconds)
        return [self.answer]


@pytest.mark.parametrize(
    ("answer", "error"), [(AlreadyDone("at revision 7"), OutcomeUnknown), (KeyNotFound(), KeyNotFound)]
)
async def test_that_it_was_done_before_is_not_shown_without_the_tenure(
    answer: StoreError, error: type[StoreError]
) -> None:
    group, held = _DoneGroup(answer), {4}
    group.meanwhile = held.clear
    batcher = Batcher(
        group=group,  # type: ignore[arg-type]
        gate=FakeGate(epoch=4),
        write_limits=lambda _bytes: rstore_pb2.WriteLimits(),
        tenure_held=lambda epoch: epoch in held,
    )
    with pytest.raises(error):
        await _put(batcher, "k")
    await batcher.close()


def _long(*sizes: int) -> rstore_pb2.WriteRequest:
    puts = [rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=b"k" * size)) for size in sizes]
    inner = rpc_pb2.RequestOp(request_txn=rpc_pb2.TxnRequest(failure=puts))
    return rstore_pb2.WriteRequest(txn=rpc_pb2.TxnRequest(success=[inner]))


@pytest.mark.parametrize(
    ("request_", "kind"),
    [
        (rstore_pb2.WriteRequest(put=rpc_pb2.PutRequest(key=b"k" * 511)), "write"),
        (rstore_pb2.WriteRequest(put=rpc_pb2.PutRequest(key=b"k" * 512)), "long_key_write"),
        (_long(1, 511), "write"),
        (_long(1, 512), "long_key_write"),
        (rstore_pb2.WriteRequest(delete_range=rpc_pb2.DeleteRangeRequest(key=b"k" * 512)), "write"),
    ],
)
async def test_puts_of_long_keys_are_in_entries_of_their_own(request_: rstore_pb2.WriteRequest, kind: str) -> None:
    response: Any = getattr(rpc_pb2, _RESPONSES[request_.WhichOneof("request")])  # type: ignore[index]
    group = FakeGroup(answer=lambda _request: response())
    deadline = asyncio.get_running_loop().time() + 60
    await _batcher(group).submit(request_, response, deadline=deadline)
    assert [proposal.WhichOneof("command") for proposal in group.proposals] == [kind]


async def test_a_long_key_is_refused_as_too_long_until_every_replica_takes_it() -> None:
    class EarlierGroup(FakeGroup):
        async def propose(self, entry: bytes, *, timeout_seconds: float) -> object:
            if rstore_pb2.LogEntry.FromString(entry).HasField("long_key_write"):
                raise FeatureNotActive
            return await super().propose(entry, timeout_seconds=timeout_seconds)

    batcher = _batcher(EarlierGroup())
    short, long = await asyncio.gather(_put(batcher, "a"), _put(batcher, "k" * 512), return_exceptions=True)
    assert isinstance(short, rpc_pb2.PutResponse)
    assert isinstance(long, KeyTooLong)
    assert "the limit is 511 bytes until every replica of every region" in str(long)


_RESPONSES = {"put": "PutResponse", "txn": "TxnResponse", "delete_range": "DeleteRangeResponse"}
