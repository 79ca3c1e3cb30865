"""Without the tenure nothing is proposed and nothing is acknowledged."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from rstore_api.errors import AlreadyDone, KeyNotFound, NoPrimary, OutcomeUnknown, StoreError
from rstore_api.proto import rpc_pb2, rstore_pb2
from rstore_replica.api.batcher import Batcher
from rstore_replica.api.identity import Identity
from rstore_replica.api.routing.router import CallInfo
from rstore_replica.api.services.kv import KvServicer
from rstore_replica.config import Limits
from unit.api.replica_fakes import FakeGroup, region_state


class Gate:
    open = True
    epoch = 4


class Group:
    """Commits at once; the tenure may run out meanwhile."""

    def __init__(self) -> None:
        self.proposed = 0
        self.meanwhile = lambda: None

    async def propose(self, entry: bytes, *, timeout_seconds: float) -> object:
        self.proposed += 1
        await asyncio.sleep(0)
        self.meanwhile()
        count = len(rstore_pb2.LogEntry.FromString(entry).write.requests)
        return [rpc_pb2.PutResponse() for _ in range(count)]


async def _put(batcher: Batcher) -> rpc_pb2.PutResponse:
    request = rstore_pb2.WriteRequest(put=rpc_pb2.PutRequest(key=b"k"))
    return await batcher.submit(request, rpc_pb2.PutResponse, deadline=asyncio.get_running_loop().time() + 5)


async def test_checked_before_proposing_and_when_acknowledging() -> None:
    group, held = Group(), {4}
    batcher = Batcher(
        group=group,  # type: ignore[arg-type]
        gate=Gate(),
        write_limits=lambda _bytes: rstore_pb2.WriteLimits(),
        tenure_held=lambda epoch: epoch in held,
    )
    await _put(batcher)
    group.meanwhile = held.clear
    with pytest.raises(OutcomeUnknown, match="tenure"):
        await _put(batcher)
    assert group.proposed == 2
    with pytest.raises(NoPrimary, match="tenure"):
        await _put(batcher)
    assert group.proposed == 2, "nothing was proposed"
    await batcher.close()


class DoneGroup(Group):
    """Answers that the request was carried out before, or with another error of the state machine."""

    def __init__(self, answer: StoreError) -> None:
        super().__init__()
        self.answer = answer

    async def propose(self, entry: bytes, *, timeout_seconds: float) -> object:
        await super().propose(entry, timeout_seconds=timeout_seconds)
        return [self.answer]


@pytest.mark.parametrize(
    ("answer", "told"), [(AlreadyDone("at revision 7"), OutcomeUnknown), (KeyNotFound(), KeyNotFound)]
)
async def test_that_it_was_done_before_is_not_told_without_the_tenure(
    answer: StoreError, told: type[StoreError]
) -> None:
    group, held = DoneGroup(answer), {4}
    group.meanwhile = held.clear
    batcher = Batcher(
        group=group,  # type: ignore[arg-type]
        gate=Gate(),
        write_limits=lambda _bytes: rstore_pb2.WriteLimits(),
        tenure_held=lambda epoch: epoch in held,
    )
    with pytest.raises(told):
        await _put(batcher)
    await batcher.close()


class CompactingGroup(FakeGroup):
    """Commits a compaction; the tenure may run out meanwhile."""

    held_epochs: set[int]

    async def propose(self, entry: bytes, *, timeout_seconds: float) -> object:
        self.proposals.append(rstore_pb2.LogEntry.FromString(entry))
        self.held_epochs.clear()
        return None


async def test_a_compaction_is_not_told_without_the_tenure() -> None:
    state = region_state(epoch=4)
    machine: Any = SimpleNamespace(revision=100, compact_revision=1, state=state)
    group = CompactingGroup()
    group.held_epochs = {4}
    servicer = KvServicer(
        calls=None,  # type: ignore[arg-type]
        router=None,  # type: ignore[arg-type]
        batcher=None,  # type: ignore[arg-type]
        machine=machine,
        group=group,
        identity=Identity(region="us-east", replica="orders-us-east-0", machine=machine, group=group),
        limits=Limits(),
        tenure_held=lambda epoch: epoch in group.held_epochs,
    )
    call = CallInfo(asyncio.get_running_loop().time() + 5, forwarded=False)
    for error, proposed in ((OutcomeUnknown, 1), (NoPrimary, 1)):
        with pytest.raises(error, match="tenure"):
            await servicer._compact(rpc_pb2.CompactionRequest(revision=50), call)
        assert len(group.proposals) == proposed
    servicer.close()
