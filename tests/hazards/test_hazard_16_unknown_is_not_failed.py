"""Hazard 16: an unknown outcome looks like failure, so a caller's retry writes twice."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from hazards.hazard_clock import HandClock
from hazards.hazard_groups import HandTransport, Listing, make_group, make_leader
from hazards.hazard_stock import StockGroup
from pysyncobj import FAIL_REASON
from rstore_api.errors import NotLeader, OutcomeUnknown, StoreError
from rstore_api.proto import raft_pb2 as pb
from rstore_api.proto.rpc_pb2 import PutRequest, RangeRequest
from rstore_api.proto.rstore_pb2 import BootstrapRequest, LogEntry, RequestId, Topology, WriteBatch, WriteRequest
from rstore_replica.mvcc.machine import Machine
from rstore_replica.raft import Group


def test_hazard_16_stock_says_failed_and_commits() -> None:
    group = StockGroup("abc")
    group.elect("a")
    group.settle()
    answers = group.put("b", "pay 100")  # forwarded to the leader
    group.tick("b")
    group.deliver(lambda sender, to, _: (sender, to) == ("b", "a"))
    group.send("a")
    group.deliver(lambda _, to, message: to == "c" and bool(message.get("entries")))
    group.drop()
    group.elect("c", "b")
    group.settle()
    assert answers == [(None, FAIL_REASON.LEADER_CHANGED)]
    # Documented as "leader has changed without command commit".
    assert [group.replicas[name].values for name in "abc"] == [["pay 100"]] * 3
    group.put("b", "pay 100")  # as a caller that believes it does
    group.settle()
    assert group.replicas["a"].values == ["pay 100", "pay 100"]


@pytest.fixture
async def leading(tmp_path: Path) -> tuple[Group, HandTransport, Listing]:
    transport, machine, clock = HandTransport(), Listing(), HandClock()
    group = make_group(tmp_path, machine, transport=transport, names="abc", clock=clock)
    await group.start()
    await make_leader(group, transport, clock)
    return group, transport, machine


async def proposed(group: Group, transport: HandTransport, timeout_seconds: float) -> tuple[asyncio.Task[object], int]:
    """Returns a proposal that was sent to the peers, and its index."""
    task = asyncio.ensure_future(group.propose(b"pay 100", timeout_seconds=timeout_seconds))
    await asyncio.sleep(0)
    return task, group.status().last_index


def replaced(transport: HandTransport, *, term: int, index: int, entries: list[pb.RaftLogEntry]) -> None:
    """Makes ``b`` the leader of the term, with these entries after ``index``, all of them committed."""
    append = pb.RaftAppend(prev_index=index, prev_term=1, commit_index=index + len(entries), entries=entries)
    transport.say("b", pb.RaftEnvelope(term=term, append=append))


async def test_hazard_16_ours_reports_success_when_the_next_leader_has_the_entry(
    leading: tuple[Group, HandTransport, Listing],
) -> None:
    group, transport, machine = leading
    task, index = await proposed(group, transport, 5)
    replaced(transport, term=2, index=index, entries=[pb.RaftLogEntry(term=2, command=b"\1")])
    assert await task == (index, 1)
    assert machine.values == [b"pay 100"]
    await group.stop()


async def test_hazard_16_ours_says_failed_only_when_another_entry_took_its_place(
    leading: tuple[Group, HandTransport, Listing],
) -> None:
    group, transport, machine = leading
    task, index = await proposed(group, transport, 5)
    replaced(transport, term=2, index=index - 1, entries=[pb.RaftLogEntry(term=2, command=b"\1")])
    with pytest.raises(NotLeader, match="nothing was written"):
        await task
    assert machine.values == []
    await group.stop()


async def _deposed(_group: Group, transport: HandTransport) -> None:
    transport.say("b", pb.RaftEnvelope(term=9, append_reply=pb.RaftAppendReply()))


async def _stopped(group: Group, _transport: HandTransport) -> None:
    await group.stop()


async def _silence(_group: Group, _transport: HandTransport) -> None:
    """No peer answers."""


@pytest.mark.parametrize("event", [_deposed, _stopped, _silence])
async def test_hazard_16_ours_says_unknown_when_it_is(
    leading: tuple[Group, HandTransport, Listing], event: Callable[[Group, HandTransport], Awaitable[None]]
) -> None:
    group, transport, _ = leading
    task, index = await proposed(group, transport, 0.3)
    sent = transport.last("append", "b")
    assert sent is not None
    await event(group, transport)
    with pytest.raises(OutcomeUnknown) as raised:
        await task
    assert isinstance(raised.value, StoreError)
    assert not isinstance(raised.value, NotLeader)
    # It was not proposed a second time.
    assert group.status().last_index == index
    await group.stop()


async def test_hazard_16_ours_refuses_before_anything_is_written(tmp_path: Path) -> None:
    transport, clock = HandTransport(), HandClock()
    group = make_group(tmp_path, Listing(), transport=transport, names="abc", clock=clock)
    await group.start()
    before = group.status().last_index
    with pytest.raises(StoreError) as raised:
        await group.propose(b"pay 100", timeout_seconds=1)
    assert not isinstance(raised.value, OutcomeUnknown)
    assert group.status().last_index == before
    await make_leader(group, transport, clock)
    await group.stop()


def test_hazard_16_ours_carries_out_a_request_that_comes_again_once(tmp_path: Path) -> None:
    machine = Machine.open(tmp_path, region="us-east")
    try:
        topology = Topology(epoch=1, version=1, primary_region="us-east")
        bootstrap = LogEntry(bootstrap=BootstrapRequest(store_id="store", topology=topology))
        assert machine.apply(2, 1, bootstrap.SerializeToString()) is None
        put = PutRequest(key=b"account", value=b"pay 100")
        name = RequestId(client=bytes(16), sequence=1, revision=1)
        batch = WriteBatch(epoch=1, requests=[WriteRequest(put=put, request_id=name)])
        entry = LogEntry(write=batch).SerializeToString()
        answers = [machine.apply(index, 1, entry) for index in (3, 4)]
        assert answers[0] == answers[1]
        [found] = machine.range(RangeRequest(key=b"account")).kvs
        assert (found.version, machine.revision) == (1, 2)
    finally:
        machine.close()
