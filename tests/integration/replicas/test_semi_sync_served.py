"""SemiSync as clients of real replicas see it: what is answered, what is read meanwhile, and how long it takes."""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp
import pytest
from integration.replicas.server_processes import HTTP_PORT, RegionProcesses, eventually, topology
from rstore_api.client import Client
from rstore_api.errors import OutcomeUnknown
from rstore_api.proto import rpc_pb2, rstore_pb2

MAX_MEDIAN_SECONDS = float(os.environ.get("RSTORE_SEMI_SYNC_MEDIAN_SECONDS", "1.0"))
"""A generous bound, for a busy machine: a quiet one takes a few milliseconds."""


async def _set_rule(regions: list[RegionProcesses], version: int, **rule: int | bool) -> None:
    where = topology(regions[0].region, *regions, version=version, sync=rstore_pb2.SyncRule(**rule))  # type: ignore[arg-type]
    for region in regions:
        await region.set_topology(where)


@contextmanager
def _hanging(region: RegionProcesses) -> Iterator[None]:
    processes = [replica.process for replica in region.replicas]
    for process in processes:
        assert process is not None
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            assert process is not None
            process.send_signal(signal.SIGCONT)


async def _values(client: Client, prefix: str, *, serializable: bool = False) -> list[bytes]:
    return [kv.value for kv in (await client.get_prefix(prefix, serializable=serializable)).kvs]


async def test_reads_show_what_is_confirmed_and_do_not_wait_for_what_is_not(start_regions) -> None:
    regions = await start_regions(("us-east", 1), ("eu-west", 1), ("ap-south", 1))
    east, west, _ = regions
    await _set_rule(regions, 2, min_in_sync_regions=2, timeout_ms=1500)
    async with east.client() as client:
        first = await client.put("key/a", "1")
        assert await _values(client, "key/") == [b"1"]
        with _hanging(west):
            write = asyncio.create_task(client.put("key/b", "2", timeout_seconds=10))
            await eventually(lambda: client.get("key/b", serializable=True), accept=lambda answer: answer.count == 1)
            answer = await client.get_prefix("key/")
            assert [kv.value for kv in answer.kvs] == [b"1"], "the other one might be lost in a failover"
            assert answer.header.revision == first.header.revision
            assert (await client.get("key/b")).count == 0
            many = await client.range(rpc_pb2.RangeRequest(key=b"key/", range_end=b"key0", sort_order=1, sort_target=3))
            assert many.count == 1
            with pytest.raises(OutcomeUnknown, match="not confirmed"):
                await write
            with pytest.raises(OutcomeUnknown):
                await client.txn(
                    rpc_pb2.TxnRequest(success=[rpc_pb2.RequestOp(request_range=rpc_pb2.RangeRequest(key=b"key/b"))])
                )
            metrics = await _metrics(east)
            assert "rstore_semi_sync_in_sync 0.0" in metrics
            assert "rstore_semi_sync_degraded 0.0" in metrics
        await eventually(lambda: _values(client, "key/"), accept=lambda answer: answer == [b"1", b"2"])
        await client.put("key/c", "3")
        assert await _values(client, "key/") == [b"1", b"2", b"3"]
        await eventually(lambda: _metrics(east), accept=lambda text: "rstore_semi_sync_in_sync 1.0" in text)


async def _metrics(region: RegionProcesses) -> str:
    url = f"http://{region.replicas[0].host}:{HTTP_PORT}/metrics"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return await response.text()


async def test_one_write_after_the_other_takes_a_round_trip_each_and_not_a_batch_interval(start_regions) -> None:
    regions = await start_regions(
        ("us-east", 1), ("eu-west", 1), ("ap-south", 1), replication={"batchIntervalMs": 2000}
    )
    await _set_rule(regions, 2, min_in_sync_regions=1, timeout_ms=10_000)
    took = []
    async with regions[0].client() as client:
        await client.put("warm", "up")
        for number in range(40):
            began = time.perf_counter()
            await client.put(f"k{number}", "v", timeout_seconds=10)
            took.append(time.perf_counter() - began)
    assert statistics.median(took) < MAX_MEDIAN_SECONDS, f"median {statistics.median(took):.3f} s"
