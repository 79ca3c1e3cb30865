"""Writes that name themselves, on real replicas: recognised wherever they come in again, never carried out twice."""

from __future__ import annotations

import asyncio
import signal
import uuid
from contextlib import AsyncExitStack

import pytest
from integration.replicas.server_processes import RegionProcesses, eventually, topology
from rstore_api.client import Client
from rstore_api.errors import REQUEST_ID_KEY, InvalidRequest, OutcomeUnknown
from rstore_api.methods import PUT, TXN
from rstore_api.proto import rpc_pb2


async def _put(client: Client, name: str, key: str) -> rpc_pb2.PutResponse:
    request = rpc_pb2.PutRequest(key=key.encode(), value=b"v")
    return await client.call(PUT, request, timeout_seconds=10, metadata=((REQUEST_ID_KEY, name),))


async def test_a_repeated_request_is_recognised_by_every_replica_and_after_a_change_of_leader(start_regions) -> None:
    east, west = await start_regions(("us-east", 3), ("eu-west", 1))
    name = f"{uuid.uuid4()}/1/1"
    async with east.client() as client:
        first = await _put(client, name, "k")
    for replica in (*east.replicas, *west.replicas):
        async with east.client(replica) as client:
            assert (await _put(client, name, "k")).header.revision == first.header.revision
    await (await east.leader()).end(signal.SIGKILL)
    async with west.client() as client:
        again = await eventually(lambda: _put(client, name, "k"))
        assert again.header.revision == first.header.revision
        assert (await client.get("k")).kvs[0].version == 1


async def test_after_a_change_of_primary_it_does_not_pretend_to_know(start_regions) -> None:
    east, west = await start_regions(("us-east", 1), ("eu-west", 1))
    name = f"{uuid.uuid4()}/1/1"
    async with east.client() as client:
        final = (await _put(client, name, "k")).header.revision
    await east.demote(2)
    where = topology("eu-west", east, west, epoch=2)
    await west.promote(2, final, where)
    async with west.client() as client:
        with pytest.raises(OutcomeUnknown):
            await _put(client, name, "k")
        await client.put("k", "v", retry_unknown=True)
        assert (await client.get("k")).kvs[0].version == 2


async def test_a_name_that_is_none_is_refused(single: RegionProcesses) -> None:
    async with single.client() as client:
        with pytest.raises(InvalidRequest, match=REQUEST_ID_KEY):
            await client.call(TXN, rpc_pb2.TxnRequest(), timeout_seconds=5, metadata=((REQUEST_ID_KEY, "me"),))


async def test_every_write_happens_once_while_leaders_are_killed(start_regions) -> None:
    """Each writer is a client of its own: of one client the last 128 writes are recognised, and eight writers that
    share one may come that far while a write of theirs waits to be sent again."""
    [region] = await start_regions(("us-east", 3))
    written: set[str] = set()
    stop = asyncio.Event()

    async def writer(number: int, client: Client) -> None:
        count = 0
        while not stop.is_set():
            count += 1
            key = f"w{number}-{count}"
            await client.put(key, "v", retry_unknown=True, timeout_seconds=30)
            written.add(key)

    async with AsyncExitStack() as stack:
        client, *clients = [await stack.enter_async_context(region.client()) for _ in range(9)]
        writers = [asyncio.create_task(writer(number, own)) for number, own in enumerate(clients)]
        for _ in range(2):
            before = len(written)
            await eventually(_value(lambda before=before: len(written) > before + 100))
            leader = await region.leader()
            await leader.end(signal.SIGKILL)
            leader.start()
        before = len(written)
        await eventually(_value(lambda: len(written) > before + 100))
        stop.set()
        await asyncio.gather(*writers)
        answer = await eventually(lambda: client.get_prefix("w"))
    assert {kv.key.decode(): kv.version for kv in answer.kvs} == dict.fromkeys(written, 1)


def _value(condition):
    async def probe():
        return condition()

    return probe
