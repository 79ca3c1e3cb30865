"""Writes at a steady rate, and how long each revision takes to reach the target, by one clock in one process."""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import grpc
import grpc.aio
from bench.contenders import credentials
from integration.replicas.server_processes import CLIENT_PORT
from rstore_api.proto import rpc_pb2

POLL_SECONDS = 0.003
SETTLE_SECONDS = 30.0
MAX_OUTSTANDING = 256


@dataclass(frozen=True)
class Lag:
    """Times from a write's acknowledgement at the source until a read at the target showed it."""

    median_ms: float
    p99_ms: float
    writes: int
    per_second: float
    """What was really written, in calls."""


Newest = Callable[[], Awaitable[int]]
"""Returns the newest revision that the target has."""


class RegionTarget:
    """The revision of a server, as it answers itself: a target of :func:`measure`."""

    def __init__(self, host: str, tls_directory: Path) -> None:
        self._channel = grpc.aio.secure_channel(f"{host}:{CLIENT_PORT}", credentials(tls_directory))
        self._range = self._channel.unary_unary("/etcdserverpb.KV/Range")
        self._read = rpc_pb2.RangeRequest(key=b"\0", serializable=True).SerializeToString()

    async def __call__(self) -> int:
        return int(rpc_pb2.RangeResponse.FromString(await self._range(self._read)).header.revision)

    async def close(self) -> None:
        """Ends the connection."""
        await self._channel.close()


async def measure(
    host: str,
    tls_directory: Path,
    method: str,
    messages: list[bytes],
    *,
    newest_of_target: Newest,
    rate: float,
    seconds: float,
    poll_seconds: float = POLL_SECONDS,
) -> Lag:
    """Calls ``method`` ``rate`` times a second on ``host`` and watches the target.

    Each call makes one revision at the source and, in the same order, one at the target.
    """
    channel = grpc.aio.secure_channel(f"{host}:{CLIENT_PORT}", credentials(tls_directory))
    call = channel.unary_unary(method)
    acked: list[float] = []
    seen: list[tuple[int, float]] = []
    ended = asyncio.Event()
    first = await newest_of_target()

    async def watch() -> None:
        newest = first
        deadline = float("inf")
        while newest < first + len(acked) or not ended.is_set():
            if ended.is_set():
                deadline = min(deadline, time.monotonic() + SETTLE_SECONDS)
            if time.monotonic() > deadline:
                return
            now_at = await newest_of_target()
            if now_at > newest:
                newest = now_at
                seen.append((newest - first, time.monotonic()))
            await asyncio.sleep(poll_seconds)

    async def write(message: bytes) -> None:
        await call(message)
        acked.append(time.monotonic())

    watching = asyncio.create_task(watch())
    begun, pending, sent = time.monotonic(), set(), 0
    while (now := time.monotonic()) - begun < seconds:
        while sent < (now - begun) * rate and len(pending) < MAX_OUTSTANDING:
            task = asyncio.create_task(write(messages[sent % len(messages)]))
            pending.add(task)
            task.add_done_callback(pending.discard)
            sent += 1
        await asyncio.sleep(min(0.005, 1 / rate))
    if pending:
        await asyncio.wait(pending)
    took = time.monotonic() - begun
    ended.set()
    await watching
    await channel.close()
    lags = _lags(acked, seen)
    return Lag(_percentile(lags, 50) * 1e3, _percentile(lags, 99) * 1e3, len(acked), len(acked) / took)


def _lags(acked: list[float], seen: list[tuple[int, float]]) -> list[float]:
    """The n-th acknowledged write is there once the target has n revisions more; what never came lags infinitely."""
    counts = [count for count, _ in seen]
    lags = []
    for number, at in enumerate(sorted(acked), start=1):
        place = bisect_left(counts, number)
        lags.append(max(0.0, seen[place][1] - at) if place < len(seen) else float("inf"))
    return lags


def _percentile(values: list[float], percent: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else float("inf")
