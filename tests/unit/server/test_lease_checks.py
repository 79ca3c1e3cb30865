"""Without the lease nothing is proposed and nothing is acknowledged."""

from __future__ import annotations

import asyncio

import pytest
from rstore_api.errors import NoPrimary, OutcomeUnknown
from rstore_api.proto import rpc_pb2, rstore_pb2
from rstore_replica.api.batcher import Batcher


class Gate:
    open = True
    epoch = 4


class Group:
    """Commits at once; the lease may run out meanwhile."""

    def __init__(self) -> None:
        self.proposed = 0
        self.meanwhile = lambda: None

    async def propose(self, entry: bytes, *, timeout_seconds: float) -> object:
        self.proposed += 1
        await asyncio.sleep(0)
        self.meanwhile()
        count = len(rstore_pb2.LogEntry.FromString(entry).write.requests)
        return [rpc_pb2.PutResponse() for _ in range(count)]


async def _put(batcher: Batcher) -> rpc_pb2.PutResponse:
    request = rstore_pb2.WriteRequest(put=rpc_pb2.PutRequest(key=b"k"))
    return await batcher.submit(request, rpc_pb2.PutResponse, deadline=asyncio.get_running_loop().time() + 5)


async def test_checked_before_proposing_and_when_acknowledging() -> None:
    group, held = Group(), {4}
    batcher = Batcher(
        group=group,  # type: ignore[arg-type]
        gate=Gate(),
        write_limits=lambda _bytes: rstore_pb2.WriteLimits(),
        lease_held=lambda epoch: epoch in held,
    )
    await _put(batcher)
    group.meanwhile = held.clear
    with pytest.raises(OutcomeUnknown, match="lease"):
        await _put(batcher)
    assert group.proposed == 2
    with pytest.raises(NoPrimary, match="lease"):
        await _put(batcher)
    assert group.proposed == 2, "nothing was proposed"
    await batcher.close()
