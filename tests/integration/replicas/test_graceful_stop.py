"""The end of a replica: in time, with the right exit code, and a second signal does not wait."""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import AsyncExitStack

import grpc
import pytest
from integration.replicas.server_processes import RegionProcesses, eventually, get_page
from rstore_api.errors import StoreError
from rstore_api.proto.rpc_pb2 import RangeRequest
from rstore_replica.process.composition import LAME_DUCK_SECONDS


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_single_replica_ends_at_once_when_asked(start_regions, number: int) -> None:
    [region] = await start_regions(("us-east", 1))
    [replica] = region.replicas
    async with region.client() as client:
        await client.put("k", "v")
        assert await replica.end(number, timeout_seconds=20) == 0
    replica.start()
    async with region.client() as client:
        assert (await eventually(lambda: client.get("k"))).kvs[0].value == b"v"


async def test_a_leader_without_a_majority_still_ends_in_time(start_regions) -> None:
    [region] = await start_regions(("us-east", 3))
    leader = await region.leader()
    for replica in region.replicas:
        if replica is not leader:
            await replica.end(signal.SIGKILL)
    assert await leader.end(timeout_seconds=60) == 0


async def test_a_second_signal_ends_it_without_waiting(start_regions) -> None:
    primary, secondary = await start_regions(("us-east", 1), ("eu-west", 1))
    [replica] = primary.replicas
    secondary.stop()
    ended = asyncio.create_task(replica.end(signal.SIGTERM))
    await eventually(_logged(replica, "waiting_before_stop"))
    assert replica.process is not None
    replica.process.send_signal(signal.SIGTERM)
    assert await ended == 1
    assert '"stopped"' not in replica.log_text()


def _logged(replica, event: str):
    async def probe() -> bool:
        return f'"{event}"' in replica.log_text()

    return probe


async def test_no_write_fails_while_the_leader_they_are_sent_to_stops(start_regions) -> None:
    [region] = await start_regions(("us-east", 3))
    leader = await region.leader()
    others = [replica for replica in region.replicas if replica is not leader]
    written = 0
    failures: list[StoreError] = []
    stop = asyncio.Event()

    async def writer(number: int, region: RegionProcesses) -> None:
        nonlocal written
        count = 0
        async with region.client(leader, *others) as client:
            while not stop.is_set():
                count += 1
                try:
                    await client.put(f"w{number}-{count}", "v", timeout_seconds=20)
                    written += 1
                except StoreError as error:
                    failures.append(error)

    writers = [asyncio.create_task(writer(number, region)) for number in range(4)]
    await eventually(_true(lambda: written > 50))
    assert await leader.end() == 0
    before = written
    await eventually(_true(lambda: written > before + 50))
    stop.set()
    await asyncio.gather(*writers)
    assert failures == []


@pytest.mark.parametrize("leads", [False, True])
async def test_a_replica_that_stops_is_not_ready_at_once_and_serves_new_connections_for_a_while(
    start_regions, leads: bool
) -> None:
    """Services send clients here until every node has read that the pod is ready no longer."""
    [region] = await start_regions(("us-east", 3))
    leader = await region.leader()
    replica = leader if leads else next(one for one in region.replicas if one is not leader)
    ended = asyncio.create_task(replica.end(signal.SIGTERM))
    began = time.monotonic()
    await eventually(lambda: get_page(replica, "/readyz"), accept=lambda answer: "stopping" in answer[1])
    served, refused_after = 0, 0.0
    while not refused_after:
        try:
            async with region.client(replica) as client:
                await client.put(f"new-{served}", "v", timeout_seconds=5)
                served += 1
        except StoreError:
            refused_after = time.monotonic() - began
        await asyncio.sleep(0.02)
    assert served
    assert refused_after >= LAME_DUCK_SECONDS
    assert await ended == 0


async def _writes_until(
    client, stop: asyncio.Event, acknowledged: set[str], name: str, refused: list[StoreError]
) -> None:
    """Puts one key after another; ``acknowledged`` lists those that were acknowledged."""
    count = 0
    while not stop.is_set():
        count += 1
        try:
            await client.put(f"{name}-{count}", "v", timeout_seconds=2)
            acknowledged.add(f"{name}-{count}")
        except StoreError as error:
            refused.append(error)
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("replicas", [1, 2, 3])
async def test_a_primary_region_that_ends_leaves_nothing_behind_that_only_it_has(start_regions, replicas: int) -> None:
    """The other region gets a batch four times a second only: an end at once would leave a quarter of a second."""
    slow = {"replication": {"batchIntervalMs": 250}}
    primary, secondary = await start_regions(("us-east", replicas), ("eu-west", 1), **slow)
    acknowledged: set[str] = set()
    refused: list[StoreError] = []
    stop = asyncio.Event()
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(primary.client(await primary.leader())) for _ in range(4)]
        writers = [
            asyncio.create_task(_writes_until(client, stop, acknowledged, f"w{number}", refused))
            for number, client in enumerate(clients)
        ]
        await eventually(_true(lambda: len(acknowledged) > 200))
        codes = await asyncio.gather(*(replica.end() for replica in primary.replicas))
        assert codes == [0] * replicas
        stop.set()
        await asyncio.gather(*writers)
    assert {type(error).status for error in refused} <= {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}
    async with secondary.client() as client:
        response = await client.range(RangeRequest(key=b"w", range_end=b"x", serializable=True))
        present = {item.key.decode() for item in response.kvs}
    assert acknowledged - present == set()
    assert '"primary_region_ends"' in "".join(replica.log_text() for replica in primary.replicas)


async def test_a_follower_whose_going_costs_the_quorum_waits_for_the_leader(start_regions) -> None:
    slow = {"replication": {"batchIntervalMs": 250}}
    primary, secondary = await start_regions(("us-east", 2), ("eu-west", 1), **slow)
    leader = await primary.leader()
    [follower] = [replica for replica in primary.replicas if replica is not leader]
    acknowledged: set[str] = set()
    refused: list[StoreError] = []
    stop = asyncio.Event()
    async with primary.client(leader) as client:
        writer = asyncio.create_task(_writes_until(client, stop, acknowledged, "w", refused))
        await eventually(_true(lambda: len(acknowledged) > 50))
        assert await follower.end() == 0
        leader.kill()
        stop.set()
        await writer
    async with secondary.client() as client:
        response = await client.range(RangeRequest(key=b"w", range_end=b"x", serializable=True))
    assert acknowledged - {item.key.decode() for item in response.kvs} == set()


async def test_a_region_takes_writes_again_when_the_replica_is_back(start_regions) -> None:
    primary, _ = await start_regions(("us-east", 2), ("eu-west", 1))
    leader = await primary.leader()
    [follower] = [replica for replica in primary.replicas if replica is not leader]
    assert await follower.end() == 0
    follower.start()
    async with primary.client() as client:
        await eventually(lambda: client.put("k", "v", timeout_seconds=10))


async def test_without_another_region_that_is_connected_it_ends_soon_and_says_so(start_regions) -> None:
    primary, secondary = await start_regions(("us-east", 1), ("eu-west", 1))
    [replica] = primary.replicas
    secondary.stop()
    assert await replica.end(timeout_seconds=60) == 0
    assert "no other region is connected" in replica.log_text()


def _true(condition):
    async def probe() -> bool:
        return condition()

    return probe
