"""Long reads do not hold up short ones, nor each other's threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest
from rstore_replica.api.scans import OPEN, OPEN_PER_CLIENT, RUNNING, Pace, Scans
from unit.api.client_servers import until


class _Long:
    """A scan of any number of steps; knows how many run at a time."""

    running = 0
    most = 0
    lock = threading.Lock()

    def __init__(self) -> None:
        self.steps = 0
        self.stop = threading.Event()

    def __call__(self, pace: Pace) -> int:
        pace()
        while not self.stop.is_set():
            with _Long.lock:
                _Long.running += 1
                _Long.most = max(_Long.most, _Long.running)
            self.stop.wait(0.001)
            with _Long.lock:
                _Long.running -= 1
            self.steps += 1
            pace()
        return self.steps


@pytest.fixture
def scans() -> Scans:
    _Long.running = _Long.most = 0
    return Scans()


def _short(steps: int = 3) -> Callable[[Pace], str]:
    def scan(pace: Pace) -> str:
        for _ in range(steps):
            pace()
        return "read"

    return scan


async def test_a_short_read_does_not_wait_for_long_ones_of_another_client(scans: Scans) -> None:
    longs = [_Long() for _ in range(2 * OPEN)]
    tasks = [asyncio.create_task(scans.run("greedy", scan)) for scan in longs]
    await until(lambda: sum(scan.steps > 3 for scan in longs) == OPEN_PER_CLIENT)
    for _ in range(5):
        assert await asyncio.wait_for(scans.run("modest", _short()), timeout=5) == "read"
    assert _Long.most <= RUNNING
    assert sum(bool(scan.steps) for scan in longs) == OPEN_PER_CLIENT
    for scan in longs:
        scan.stop.set()
    await asyncio.gather(*tasks)
    scans.close()


async def test_a_scan_nobody_waits_for_ends_and_gives_its_place_back(scans: Scans) -> None:
    for _ in range(3 * OPEN):
        scan = _Long()
        task = asyncio.create_task(scans.run("a", scan))
        await until(lambda scan=scan: scan.steps > 0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert await asyncio.wait_for(scans.run("a", _short()), timeout=5) == "read"
    scans.close()
    assert _Long.running == 0


async def test_what_a_scan_raises_is_its_callers(scans: Scans) -> None:
    def fails(pace: Pace) -> None:
        pace()
        raise ValueError("no such key")

    results = await asyncio.gather(*(scans.run("a", fails) for _ in range(2 * OPEN)), return_exceptions=True)
    assert {str(result) for result in results} == {"no such key"}
    assert await scans.run("a", _short()) == "read"
    scans.close()


async def test_scans_that_cannot_begin_to_read_hold_up_none_that_do(scans: Scans) -> None:
    """As when the map of the data is to grow: that waits for those that read, and new ones wait for it."""
    growing = threading.Event()
    reading = _Long()
    long = asyncio.create_task(scans.run("a", reading))
    await until(lambda: reading.steps > 0)

    def blocked(pace: Pace) -> str:
        growing.wait()
        pace()
        return "read"

    waiting = [asyncio.create_task(scans.run(f"b{number}", blocked)) for number in range(OPEN - 1)]
    before = reading.steps
    await until(lambda: reading.steps > before + 10)
    reading.stop.set()
    await asyncio.wait_for(long, timeout=5)
    growing.set()
    assert await asyncio.gather(*waiting) == ["read"] * (OPEN - 1)
    scans.close()
