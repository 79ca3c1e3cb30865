"""HashKV: few at a time, client by client."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from rstore_api.proto import rpc_pb2
from rstore_replica.api.identity import Identity
from rstore_replica.api.routing.router import CallInfo
from rstore_replica.api.services.maintenance import MAX_HASHES, MaintenanceService
from unit.api.client_servers import until
from unit.api.replica_fakes import FakeGroup, region_state


class _Machine:
    """Each hash takes until the test ends it."""

    revision = 7
    compact_revision = 0

    def __init__(self) -> None:
        self.state = region_state()
        self.hashing: list[asyncio.Event] = []
        self.most = 0

    async def hash_kv(self, revision: int) -> Any:
        done = asyncio.Event()
        self.hashing.append(done)
        self.most = max(self.most, len(self.hashing))
        await done.wait()
        self.hashing.remove(done)
        return SimpleNamespace(hash=1, hash_revision=revision, compact_revision=0)


async def test_hashes_are_made_few_at_a_time_and_for_each_client_in_turn() -> None:
    machine: Any = _Machine()
    group = FakeGroup()
    service = MaintenanceService(
        calls=None,  # type: ignore[arg-type]
        machine=machine,
        group=group,
        identity=Identity(region="us-east", replica="orders-us-east-0", machine=machine, group=group),
        not_ready_reason=lambda: "",
    )
    answered: list[str] = []

    async def ask(client: str) -> None:
        call = CallInfo(deadline=asyncio.get_running_loop().time() + 10, forwarded=False, client=client)
        await service.hash_kv(rpc_pb2.HashKVRequest(revision=7), call)
        answered.append(client)

    greedy = [asyncio.create_task(ask("application")) for _ in range(20)]
    await until(lambda: bool(machine.hashing))
    operator = asyncio.create_task(ask("operator"))
    await until(lambda: len(machine.hashing) == MAX_HASHES)
    machine.hashing[1].set()
    await operator
    assert answered == ["operator"]
    while len(answered) <= len(greedy):
        await until(lambda: bool(machine.hashing))
        count = len(answered)
        machine.hashing[0].set()
        await until(lambda count=count: len(answered) > count)
    assert machine.most == MAX_HASHES
    await asyncio.gather(*greedy)
