"""All replicas of a region are killed at once, again and again, under load: nothing acknowledged is lost.

``RSTORE_CRASH_ROUNDS`` (default 5) is the number of rounds.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from integration.replicas.server_certificates import Authority
from integration.replicas.server_processes import RegionProcesses, bootstrap, eventually
from rstore_api.client import Client
from rstore_api.errors import StoreError
from rstore_api.proto import rpc_pb2

ROUNDS = int(os.environ.get("RSTORE_CRASH_ROUNDS", "5"))
WRITERS = 8
TXN_KEYS = 8
SECONDS_PER_ROUND = 60


@dataclass
class Writer:
    """Writes keys of its own one after the other, in turn by one Put and by one Txn of several, and counts them.

    Every second one sends again what it does not know the outcome of, under a name: it must not be written twice.
    """

    number: int
    revisions: dict[str, int] = field(default_factory=dict)
    """Revisions of the acknowledged writes, by key."""
    attempted: list[tuple[str, ...]] = field(default_factory=list)
    errors: dict[str, int] = field(default_factory=dict)

    async def run(self, client: Client, stop: asyncio.Event) -> None:
        while not stop.is_set():
            count = len(self.attempted)
            names = [f"w{self.number}-{count}"]
            if count % 2:
                names = [f"{names[0]}-{part}" for part in range(TXN_KEYS)]
            self.attempted.append(tuple(names))
            try:
                revision = await self._write(client, names)
            except StoreError as error:
                kind = type(error).__name__
                self.errors[kind] = self.errors.get(kind, 0) + 1
                await asyncio.sleep(0.02)
            else:
                self.revisions.update(dict.fromkeys(names, revision))

    async def _write(self, client: Client, names: list[str]) -> int:
        again = self.number % 2 == 1
        if len(names) == 1:
            return (await client.put(names[0], names[0], retry_unknown=again)).header.revision
        puts = [rpc_pb2.PutRequest(key=name.encode(), value=name.encode()) for name in names]
        request = rpc_pb2.TxnRequest(success=[rpc_pb2.RequestOp(request_put=put) for put in puts])
        return (await client.txn(request, retry_unknown=again)).header.revision


@pytest.mark.timeout(120 + ROUNDS * SECONDS_PER_ROUND)
async def test_nothing_acknowledged_is_lost_when_all_replicas_are_killed_at_once(tmp_path: Path) -> None:
    region = RegionProcesses(tmp_path, Authority.make(), region="us-east", replicas=3)
    region.start()
    try:
        await bootstrap(region)
        await _kill_again_and_again(region)
    finally:
        region.stop()


async def _kill_again_and_again(region: RegionProcesses) -> None:
    rng = random.Random(1)
    writers = [Writer(number) for number in range(WRITERS)]
    stop = asyncio.Event()
    async with region.client() as client:
        tasks = [asyncio.create_task(writer.run(client, stop)) for writer in writers]
        for number in range(ROUNDS):
            # In some rounds while they still start; otherwise some time after the first writes were acknowledged.
            if number % 4 == 3:
                await asyncio.sleep(rng.uniform(0.0, 3.0))
            else:
                await _acknowledged(writers, tasks, 10)
                await asyncio.sleep(rng.uniform(0.0, 1.0))
            for replica in region.replicas:
                assert replica.process is not None
                assert replica.process.poll() is None, f"{replica.name} ended by itself:\n{replica.log_text()[-3000:]}"
                replica.process.send_signal(signal.SIGKILL)
            for replica in region.replicas:
                assert replica.process is not None
                replica.process.wait()
                replica.start()
        await _acknowledged(writers, tasks, 10)
        stop.set()
        await asyncio.gather(*tasks)
        answer = await eventually(lambda: client.get_prefix("w"), timeout_seconds=SECONDS_PER_ROUND)
        stored = {kv.key.decode(): kv for kv in answer.kvs}
    _check(writers, {name: kv.mod_revision for name, kv in stored.items()})
    assert all(kv.version == 1 and kv.value == kv.key for kv in answer.kvs)
    await _all_equal(region)
    for replica in region.replicas:
        assert replica.process is not None
        assert replica.process.poll() is None
        assert "not_started" not in replica.log_text()
        assert "raft_failed" not in replica.log_text()
    errors: dict[str, int] = {}
    for writer in writers:
        for kind, count in writer.errors.items():
            errors[kind] = errors.get(kind, 0) + count
    attempted = sum(len(writer.attempted) for writer in writers)
    print(f"rounds={ROUNDS} writes={attempted} acknowledged={attempted - sum(errors.values())} other={errors}")


def _check(writers: list[Writer], stored: dict[str, int]) -> None:
    acknowledged = {name: revision for writer in writers for name, revision in writer.revisions.items()}
    lost = {name: revision for name, revision in acknowledged.items() if stored.get(name) != revision}
    assert lost == {}, f"{len(lost)} of {len(acknowledged)} acknowledged keys are not as they were"
    assert set(stored) <= {name for writer in writers for names in writer.attempted for name in names}
    for writer in writers:
        for names in writer.attempted:
            assert len({stored.get(name) for name in names}) == 1, f"half of the transaction {names} was applied"


async def _acknowledged(writers: list[Writer], tasks: list[asyncio.Task[None]], more: int) -> None:
    """Waits until that many more writes have been acknowledged."""
    before = sum(len(writer.revisions) for writer in writers)
    deadline = time.monotonic() + SECONDS_PER_ROUND

    while sum(len(writer.revisions) for writer in writers) < before + more:
        for task in tasks:
            if task.done():
                task.result()
        assert time.monotonic() < deadline, f"no writes for {SECONDS_PER_ROUND} s"
        await asyncio.sleep(0.02)


async def _all_equal(region: RegionProcesses) -> None:
    """Waits until every replica has the same revision and the same hash."""

    async def probe() -> set[tuple[int, int]]:
        seen = set()
        for replica in region.replicas:
            async with region.client(replica) as client:
                found = await client.hash_kv()
                seen.add((found.hash_revision, found.hash))
        return seen

    await eventually(probe, accept=lambda seen: len(seen) == 1, timeout_seconds=SECONDS_PER_ROUND)
