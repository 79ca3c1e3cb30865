"""The Quarantine service of real replicas: a tail is listed, read, fetched by a replica that lacks it, and dropped."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path

import pytest
from integration.replicas.server_processes import STORE_ID, RegionProcesses, ReplicaProcess, eventually, topology
from rstore_api import methods
from rstore_api.client import TlsFiles
from rstore_api.client.quarantine import tail_pages
from rstore_api.errors import InvalidRequest, NotLeader, OutcomeUnknown, PermissionDenied, TailDamaged, TailNotFound
from rstore_api.proto.rstore_pb2 import (
    QuarantineDropRequest,
    QuarantineListRequest,
    QuarantineListResponse,
    QuarantineReadRequest,
)

JUMP = 10**9
LOST = [(b"lost/%d" % number, b"%d" % number * 300_000) for number in range(5)]
"""This is more than one page of rows, or of the file."""


async def _list(
    region: RegionProcesses, replica: ReplicaProcess, files: TlsFiles | None = None
) -> QuarantineListResponse:
    async with region.peer(replica, files=files) as peer:
        return await peer.call(methods.QUARANTINE_LIST, QuarantineListRequest(), timeout_seconds=5)


async def _drop(region: RegionProcesses, replica: ReplicaProcess, file: str) -> bool:
    async with region.peer(replica) as peer:
        request = QuarantineDropRequest(store_id=STORE_ID, file=file)
        return (await peer.call(methods.QUARANTINE_DROP, request, timeout_seconds=10)).dropped


async def _rows(region: RegionProcesses, replica: ReplicaProcess, **request: bytes | str) -> list[tuple[bytes, bytes]]:
    async with region.peer(replica) as peer:
        pages = [page async for page in tail_pages(peer, QuarantineReadRequest(**request))]  # type: ignore[arg-type]
    return [(row.key, row.value) for page in pages for row in page.rows]


async def _held_everywhere(region: RegionProcesses) -> bool:
    answers = [await _list(region, replica) for replica in region.replicas]
    return all(len(answer.tails) == 1 and answer.tails[0].held and not answer.leaving.phase for answer in answers)


async def _lose_a_tail(east: RegionProcesses, west: RegionProcesses) -> None:
    """East writes what west never gets, and comes back when west is primary."""
    async with east.client() as client:
        shared = (await client.put("shared", "1")).header.revision
    async with west.client() as client:
        await eventually(client.status, accept=lambda status: status.header.revision >= shared)
    for replica in west.replicas:
        await replica.end(signal.SIGKILL)
    async with east.client() as client:
        for key, value in LOST:
            with contextlib.suppress(OutcomeUnknown):  # when the tenure, without a majority, runs out
                await client.put(key, value, timeout_seconds=8)
    for replica in east.replicas:
        await replica.end(signal.SIGKILL)
    west.start()
    where = topology(west.region, west, east, epoch=2)
    await west.promote(2, shared, where, revision_jump=JUMP)
    east.start()
    await eventually(lambda: _held_everywhere(east))


async def test_a_tail_is_listed_read_fetched_and_dropped(start_regions) -> None:
    east, west = await start_regions(("us-east", 3), ("eu-west", 1))
    await _lose_a_tail(east, west)
    leader = await east.leader()
    first, second = [replica for replica in east.replicas if replica is not leader]
    (tail,) = (await _list(east, leader)).tails
    assert (tail.count, tail.revisions, tail.epoch, tail.replaced_by_epoch) == (5, 5, 1, 2)
    for replica in east.replicas:
        assert await _rows(east, replica, file=tail.file) == LOST
    assert await _rows(east, first, file=tail.file, key=b"lost/1") == LOST[1:2]
    assert await _rows(east, first, file=tail.file, key=b"lost/1", range_end=b"m") == LOST[1:]

    for wrong, error in (("../../tls/tls.key", InvalidRequest), ("9-9-9.wal", TailNotFound)):
        with pytest.raises(error):
            await _rows(east, first, file=wrong)
    with pytest.raises(PermissionDenied):
        await _list(east, first, east.client_files)

    def file_of(replica: ReplicaProcess) -> Path:
        return replica.directory / "data" / "quarantine" / tail.file

    # One replica's file is damaged and says where; one has none and gets it from the others.
    whole = file_of(leader).read_bytes()
    assert {file_of(replica).read_bytes() for replica in east.replicas} == {whole}
    file_of(first).write_bytes(whole[:-60] + bytes([whole[-60] ^ 1]) + whole[-59:])
    with pytest.raises(TailDamaged, match=rf"{tail.file} is damaged at offset \d+.*{first.name}"):
        await _rows(east, first, file=tail.file)
    await second.end()
    file_of(second).unlink()
    second.start()
    await eventually(lambda: _rows(east, second, file=tail.file))
    assert file_of(second).read_bytes() == whole
    assert await eventually(lambda: _rows(east, first, file=tail.file)) == LOST
    assert file_of(first).read_bytes() == whole

    leader = await east.leader()
    follower = next(replica for replica in east.replicas if replica is not leader)
    with pytest.raises(NotLeader) as refused:
        await _drop(east, follower, tail.file)
    assert refused.value.leader == leader.peer_address
    assert await _drop(east, leader, tail.file)
    assert not await _drop(east, leader, tail.file)

    async def gone_everywhere() -> bool:
        return not any([(await _list(east, replica)).tails for replica in east.replicas])

    await eventually(gone_everywhere)
    assert not any(file_of(replica).exists() for replica in east.replicas)
