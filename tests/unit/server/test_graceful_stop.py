"""The end of a replica: in time, with the right exit code, and a second signal does not wait."""

from __future__ import annotations

import asyncio
import signal

import pytest
from rstore_api.errors import StoreError
from unit.server.server_processes import RegionProcesses, eventually


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_single_replica_ends_at_once_when_asked(start_regions, number: int) -> None:
    [region] = await start_regions(("us-east", 1))
    [replica] = region.replicas
    async with region.client() as client:
        await client.put("k", "v")
        assert await replica.end(number, timeout_seconds=5) == 0
    replica.start()
    async with region.client() as client:
        assert (await eventually(lambda: client.get("k"))).kvs[0].value == b"v"


async def test_a_leader_without_a_majority_still_ends_in_time(start_regions) -> None:
    [region] = await start_regions(("us-east", 3))
    leader = await region.leader()
    for replica in region.replicas:
        if replica is not leader:
            await replica.end(signal.SIGKILL)
    assert await leader.end(timeout_seconds=15) == 0


async def test_a_second_signal_ends_it_without_waiting(start_regions) -> None:
    [region] = await start_regions(("us-east", 3))
    leader = await region.leader()
    for replica in region.replicas:
        if replica is not leader:
            await replica.end(signal.SIGKILL)

    async def hangs(client) -> None:
        with pytest.raises(StoreError):
            await client.put("k", "v", timeout_seconds=3)

    async with region.client(leader) as client:
        call = asyncio.create_task(hangs(client))
        ended = asyncio.create_task(leader.end(signal.SIGTERM))
        await eventually(_logged(leader, "stopping"))
        assert leader.process is not None
        leader.process.send_signal(signal.SIGTERM)
        assert await ended == 1
        await call
    assert '"stopped"' not in leader.log_text()


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


def _true(condition):
    async def probe() -> bool:
        return condition()

    return probe
