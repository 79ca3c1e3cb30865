"""One region of three real replicas: the etcd API, its clients, and faults."""

from __future__ import annotations

import asyncio
import json
import signal

import pytest
from integration.replicas.server_processes import RegionProcesses, eventually
from rstore_api.client import Client
from rstore_api.errors import (
    Compacted,
    EmptyKey,
    FutureRevision,
    OutcomeUnknown,
    RequestTooLarge,
    TooManyOps,
)
from rstore_api.proto import rpc_pb2


def _put_txn(*keys: str) -> rpc_pb2.TxnRequest:
    return rpc_pb2.TxnRequest(
        success=[rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=key.encode(), value=b"v")) for key in keys]
    )


async def test_the_api_answers_as_etcd_does(triple: RegionProcesses) -> None:
    region = triple
    async with region.client() as client:
        first = await client.put("a", "1")
        assert first.header.revision == 2
        assert first.header.cluster_id != 0
        assert first.header.member_id != 0
        assert first.header.raft_term > 0
        again = await client.put("a", "2", prev_kv=True)
        assert (again.header.revision, again.prev_kv.value) == (3, b"1")
        answer = await client.get("a")
        assert [(kv.value, kv.version, kv.create_revision, kv.mod_revision) for kv in answer.kvs] == [(b"2", 2, 2, 3)]
        assert (await client.get("a", revision=2)).kvs[0].value == b"1"
        swap = rpc_pb2.TxnRequest(
            compare=[rpc_pb2.Compare(key=b"a", target=rpc_pb2.Compare.VALUE, result=rpc_pb2.Compare.EQUAL, value=b"2")],
            success=_put_txn("a", "b").success,
        )
        assert (await client.txn(swap)).succeeded
        assert not (await client.txn(swap)).succeeded
        assert {kv.key for kv in (await client.get_prefix("")).kvs} == {b"a", b"b"}
        assert (await client.delete("", prefix=True)).deleted == 2
        assert (await client.get_prefix("")).count == 0
        members = (await client.member_list()).members
        assert {member.name for member in members} == {f"us-east/{replica.name}" for replica in region.replicas}
        status = await client.status()
        assert status.leader in {member.ID for member in members}
        hashes = set()
        for replica in region.replicas:
            async with region.client(replica) as one:
                answer = await eventually(lambda one=one: one.hash_kv(5))
                hashes.add(answer.hash)
        assert len(hashes) == 1


async def test_errors_have_their_own_kind(triple: RegionProcesses) -> None:
    async with triple.client() as client:
        for _ in range(5):
            newest = (await client.put("k", "v")).header.revision
        with pytest.raises(EmptyKey):
            await client.put("", "v")
        await client.put("k" * 5000, "long")
        assert (await client.get("k" * 5000)).kvs[0].value == b"long"
        with pytest.raises(RequestTooLarge):
            await client.put("k", b"v" * (1536 * 1024 + 1))
        await client.put("large", b"v" * (1536 * 1024 - 100))
        with pytest.raises(TooManyOps):
            await client.txn(_put_txn(*[f"k{number}" for number in range(129)]))
        with pytest.raises(FutureRevision):
            await client.get("k", revision=1_000_000)
        await client.compact(newest)
        with pytest.raises(Compacted):
            await client.get("k", revision=newest - 1)
        with pytest.raises(Compacted):
            await client.compact(newest - 1)
        assert (await client.get("k")).kvs[0].value == b"v"


async def test_nothing_acknowledged_is_lost_when_the_leader_is_killed(start_regions) -> None:
    [region] = await start_regions(("us-east", 3))
    acknowledged: dict[str, int] = {}
    unknown: set[str] = set()
    stop = asyncio.Event()

    async def writer(number: int, client: Client) -> None:
        count = 0
        while not stop.is_set():
            key = f"w{number}-{count}"
            count += 1
            try:
                acknowledged[key] = (await client.put(key, key)).header.revision
            except OutcomeUnknown:
                unknown.add(key)

    async with region.client() as client:
        writers = [asyncio.create_task(writer(number, client)) for number in range(8)]
        await eventually(_value(lambda: len(acknowledged) > 100))
        leader = await region.leader()
        await leader.end(signal.SIGKILL)
        before = len(acknowledged)
        await eventually(_value(lambda: len(acknowledged) > before + 100))
        leader.start()
        stop.set()
        await asyncio.gather(*writers)
        stored = {kv.key.decode(): kv.mod_revision for kv in (await client.get_prefix("w")).kvs}
    assert {key: stored.get(key) for key in acknowledged} == acknowledged
    assert set(stored) - set(acknowledged) <= unknown
    await _all_equal(region)


async def test_restart_of_every_replica_keeps_everything(start_regions) -> None:
    [region] = await start_regions(("us-east", 3))
    async with region.client() as client:
        result = await client.put_many((f"k{number}", f"v{number}") for number in range(1000))
        assert result.count == 1000
    assert await asyncio.gather(*(replica.end() for replica in region.replicas)) == [0, 0, 0]
    region.start()
    async with region.client() as client:
        answer = await eventually(lambda: client.get_prefix("k"), accept=lambda answer: answer.count == 1000)
        assert {kv.key: kv.value for kv in answer.kvs} == {b"k%d" % n: b"v%d" % n for n in range(1000)}
        assert answer.header.revision == result.revision
    await _all_equal(region)


async def test_every_log_line_is_json_and_a_second_process_on_the_same_data_is_refused(start_regions) -> None:
    [region] = await start_regions(("us-east", 1))
    [replica] = region.replicas
    first = replica.process
    replica.start()
    assert await replica.ended_with() == 1
    assert "in use by another process" in replica.logs[-1].read_text()
    replica.process = first
    async with region.client() as client:
        await client.put("k", "v")
    assert await replica.end() == 0
    lines = [json.loads(line) for line in replica.log_text().splitlines()]
    assert {"started", "stopping", "stopped", "not_started"} <= {line["event"] for line in lines}
    assert all({"event", "level", "timestamp", "replica"} <= set(line) for line in lines)


def _value(read):
    async def probe():
        return read()

    return probe


async def _all_equal(region: RegionProcesses) -> None:
    """Waits until every replica has the same revision and the same hash."""

    async def probe() -> set[tuple[int, int]]:
        seen = set()
        for replica in region.replicas:
            async with region.client(replica) as client:
                answer = await client.hash_kv()
                seen.add((answer.hash_revision, answer.hash))
        return seen

    await eventually(probe, accept=lambda seen: len(seen) == 1)
