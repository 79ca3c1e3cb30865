"""After a failover, real replicas of both regions answer alike for a revision that only the old primary ever had."""

from __future__ import annotations

import signal

import pytest
from integration.replicas.server_processes import eventually, topology
from rstore_api.errors import Compacted
from rstore_api.proto.rpc_pb2 import Compare, RangeRequest, RequestOp, TxnRequest

JUMP = 10**9


async def test_a_lost_revision_is_compacted_for_reads_hashes_and_compaction_in_every_region(start_regions) -> None:
    east, west = await start_regions(("us-east", 1), ("eu-west", 1))
    async with east.client() as client:
        fork = (await client.put("k", "shared")).header.revision
    async with west.client() as client:
        await eventually(client.status, accept=lambda status: status.header.revision >= fork)
    await west.replicas[0].end(signal.SIGKILL)
    async with east.client() as client:
        lost = (await client.put("k", "lost")).header.revision  # within the tenure
    await east.replicas[0].end(signal.SIGKILL)
    west.start()
    where = topology(west.region, west, east, epoch=2)
    await west.promote(2, fork, where, revision_jump=JUMP)
    east.start()
    await east.set_topology(where)
    async with west.client() as client:
        newest = (await eventually(lambda: client.put("k", "new"))).header.revision
    async with east.client() as client:
        await eventually(client.status, accept=lambda status: status.header.revision >= newest)

    for region in (west, east):  # east forwards what is linearizable, and reads its own copy for the rest
        async with region.client() as client:
            for serializable in (False, True):
                with pytest.raises(Compacted, match="mvcc: required revision has been compacted"):
                    await client.range(RangeRequest(key=b"k", revision=lost, serializable=serializable))
            with pytest.raises(Compacted):
                await client.hash_kv(lost)
            read = RequestOp(request_range=RangeRequest(key=b"k", revision=lost))
            with pytest.raises(Compacted):
                await client.txn(TxnRequest(success=[read]))
            same = Compare(key=b"k", target=Compare.MOD, result=Compare.EQUAL, mod_revision=lost)
            assert not (await client.txn(TxnRequest(compare=[same]))).succeeded
            assert (await client.range(RangeRequest(key=b"k", revision=fork))).kvs[0].value == b"shared"

    async with east.client() as client:
        await client.compact(lost)
        with pytest.raises(Compacted):
            await client.compact(lost + 1)  # the same one again, as there is nothing between them
        assert (await client.range(RangeRequest(key=b"k", revision=fork))).kvs[0].value == b"shared"
        with pytest.raises(Compacted):
            await client.range(RangeRequest(key=b"k", revision=fork - 1))
