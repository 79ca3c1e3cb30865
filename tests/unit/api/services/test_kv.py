"""Reads: the revision in an answer is the one that was read, and one client's reads do not hold up another's."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rstore_api.errors import Compacted, NoPrimary, OutcomeUnknown, StoreError
from rstore_api.proto import rpc_pb2, rstore_pb2
from rstore_replica.api.identity import Identity
from rstore_replica.api.routing.router import CallInfo
from rstore_replica.api.services.kv import KvService
from rstore_replica.api.validate import scans_many
from rstore_replica.config import Limits
from rstore_replica.mvcc.data.gate import ReadInterruptedError
from unit.api.replica_fakes import FakeGroup, region_state
from unit.mvcc.replicas import Replica


class _Machine:
    """Answers with the revision that was asked for; goes on by ten revisions before each read."""

    def __init__(self, *, compactions: int = 0, interruptions: int = 0) -> None:
        self.interruptions = interruptions
        self.revision = 100
        self.compactions = compactions
        self.state = region_state()
        self.asked: list[int] = []

    def encoded_range(self, request: rpc_pb2.RangeRequest, header: rpc_pb2.ResponseHeader, pace: Any) -> bytes:
        self.revision += 10
        self.asked.append(request.revision)
        if self.interruptions:
            self.interruptions -= 1
            raise ReadInterruptedError
        if self.compactions:
            self.compactions -= 1
            raise Compacted
        return rpc_pb2.RangeResponse(header=header).SerializeToString()


def _call(client: str = "") -> CallInfo:
    return CallInfo(deadline=asyncio.get_running_loop().time() + 10, forwarded=False, client=client)


class _Router:
    """Serves everything here."""

    async def serve(self, method: Any, request: Any, local: Any, *, call: CallInfo) -> Any:
        return await local()


def _service(machine: Any, group: FakeGroup, points: list[int | None] | None = None) -> KvService:
    async def read_point(_epoch: int, _at_least: int, _timeout_seconds: float) -> int | None:
        assert points is not None
        return points.pop(0)

    identity = Identity(region="us-east", replica="orders-us-east-0", machine=machine, group=group)
    return KvService(
        calls=None,  # type: ignore[arg-type]
        router=_Router(),  # type: ignore[arg-type]
        batcher=None,  # type: ignore[arg-type]
        machine=machine,
        group=group,
        identity=identity,
        limits=Limits(),
        read_point=read_point,
    )


def _range(**fields: Any) -> rpc_pb2.RangeRequest:
    return rpc_pb2.RangeRequest(**{"key": b"a", "serializable": True} | fields)


async def test_a_long_range_has_the_revision_it_was_read_at() -> None:
    machine = _Machine()
    service = _service(machine, FakeGroup())
    response = rpc_pb2.RangeResponse.FromString((await service.range(_range(range_end=b"b"), _call())).data)
    assert (response.header.revision, machine.asked) == (100, [100])
    service.close()


async def test_a_long_range_of_the_newest_revision_outlives_compaction() -> None:
    machine = _Machine(compactions=2)
    service = _service(machine, FakeGroup())
    response = rpc_pb2.RangeResponse.FromString((await service.range(_range(range_end=b"b"), _call())).data)
    assert (response.header.revision, machine.asked) == (120, [100, 110, 120])
    service.close()


async def test_a_long_range_that_is_read_again_shows_no_more_than_may_be_shown() -> None:
    machine = _Machine(compactions=1)
    points = [None, 105]
    service = _service(machine, FakeGroup(), points)
    response = await service.range(_range(range_end=b"b", serializable=False), _call())
    assert rpc_pb2.RangeResponse.FromString(response.data).header.revision == 105
    assert (machine.asked, points) == ([100, 105], [])
    service.close()


async def test_a_compacted_revision_that_was_asked_for_is_an_error() -> None:
    service = _service(_Machine(compactions=1), FakeGroup())
    with pytest.raises(Compacted):
        await service.range(_range(range_end=b"b", revision=50), _call())
    service.close()


@pytest.mark.parametrize("revision", [0, 50])
async def test_a_long_range_that_gave_way_is_read_again(revision: int) -> None:
    machine = _Machine(interruptions=2)
    service = _service(machine, FakeGroup())
    await service.range(_range(range_end=b"b", revision=revision), _call())
    assert len(machine.asked) == 3
    service.close()


async def test_scanning_does_not_try_for_ever() -> None:
    machine = _Machine(compactions=10**6)
    service = _service(machine, FakeGroup())
    with pytest.raises(StoreError):
        await service.range(_range(range_end=b"b"), _call())
    assert len(machine.asked) < 10
    service.close()


def test_only_single_keys_are_read_on_the_event_loop() -> None:
    assert not scans_many(_range())
    assert scans_many(_range(range_end=b"b"))
    assert scans_many(_range(range_end=b"b", limit=1))  # the count is of all


class CompactingGroup(FakeGroup):
    """Commits a compaction; the tenure may run out meanwhile."""

    held_epochs: set[int]

    async def propose(self, entry: bytes, *, timeout_seconds: float) -> object:
        self.proposals.append(rstore_pb2.LogEntry.FromString(entry))
        self.held_epochs.clear()
        return None


async def test_a_compaction_is_not_acknowledged_without_the_tenure() -> None:
    state = region_state(epoch=4)
    machine: Any = SimpleNamespace(revision=100, compact_revision=1, state=state)
    group = CompactingGroup()
    group.held_epochs = {4}
    service = KvService(
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
            await service._compact(rpc_pb2.CompactionRequest(revision=50), call)
        assert len(group.proposals) == proposed
    service.close()


async def test_a_clients_backlog_of_full_scans_holds_up_no_other_client(tmp_path: Path) -> None:
    replica = Replica(tmp_path / "us")
    for start in range(0, 4000, 200):
        replica.write(*(rpc_pb2.PutRequest(key=b"k%05d" % key, value=b"v" * 100) for key in range(start, start + 200)))
    service = _service(replica.machine, FakeGroup())
    whole = _range(key=b"\0", range_end=b"\0")
    backlog = [asyncio.create_task(service.range(whole, _call("greedy"))) for _ in range(50)]
    await asyncio.sleep(0.05)
    for _ in range(3):
        answer = await service.range(_range(key=b"k0000", range_end=b"k0001"), _call("modest"))
        assert rpc_pb2.RangeResponse.FromString(answer.data).count == 10
    assert sum(not scan.done() for scan in backlog) > 10
    counts = {rpc_pb2.RangeResponse.FromString(answer.data).count for answer in await asyncio.gather(*backlog)}
    assert counts == {4000}
    service.close()
    replica.machine.close()
