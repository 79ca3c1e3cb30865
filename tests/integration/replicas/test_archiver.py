"""An archiver beside real replicas: everything that was acknowledged is in the archive, through every change."""

from __future__ import annotations

import re
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from integration.replicas.archiver_processes import ArchiverProcess
from integration.replicas.server_certificates import Authority
from integration.replicas.server_processes import (
    STORE_ID,
    RegionProcesses,
    ReplicaProcess,
    eventually,
    get_page,
    topology,
)
from rstore_api import methods, rows
from rstore_api.dialling.stream import LinkBrokenError
from rstore_api.errors import Compacted, PermissionDenied, StoreError
from rstore_api.proto import rstore_pb2
from rstore_backup import bases, names, segments
from rstore_backup.archiver.tip import read_manifests
from rstore_backup.line import Line, Listed, line
from rstore_backup.report import Phase
from rstore_backup.stores import Below, open_store

Start = Callable[..., ArchiverProcess]


@pytest.fixture
async def start_archiver(tmp_path: Path, authority: Authority) -> AsyncIterator[Start]:
    """Starts archivers; all processes end afterwards."""
    started: list[ArchiverProcess] = []

    def start(region: RegionProcesses, destination: str, **settings: Any) -> ArchiverProcess:
        archiver = ArchiverProcess(tmp_path / f"archiver-{len(started)}", authority, region, destination, **settings)
        started.append(archiver)
        archiver.start()
        return archiver

    yield start
    for archiver in started:
        archiver.kill()


class Archive:
    """The store's archive, read."""

    def __init__(self, destination: str) -> None:
        self._store = Below(open_store(destination), STORE_ID)

    async def line(self) -> tuple[Line, dict[str, segments.Segment]]:
        whole = {}
        for info in await self._store.list_after(names.SEGMENTS):
            whole[info.name] = segments.decode(info.name, await self._store.get(info.name))
        result = line([Listed(segment.header, segment.sha256) for segment in whole.values()])
        assert result is not None
        return result, whole

    async def keys(self) -> dict[bytes, tuple[bytes, int]]:
        """Values and revisions of the keys at the end of the line, from its oldest base."""
        of_line, whole = await self.line()
        manifest = next(
            each for each in await read_manifests(self._store) if of_line.includes(each.revision, each.history)
        )
        assert of_line.reach(manifest.revision) == of_line.last_revision, of_line.holes
        keys: dict[bytes, tuple[bytes, int]] = {}
        for part in manifest.parts:
            for frame in bases.decode_part(part.name, await self._store.get(part.name), manifest).frames():
                row = rows.unpack(frame[0], frame[1], frame[3])
                if row.kind == rows.KEY:
                    keys[row.key] = row.value, row.revision
        at = manifest.revision
        for piece in of_line.pieces:
            for record in whole[piece.header.name].records:
                for frame in record.frames(piece.header.history):
                    if at < frame[0] <= piece.until_revision:
                        row = rows.unpack(frame[0], frame[1], frame[3])
                        keys[row.key] = row.value, row.revision
            at = max(at, piece.until_revision)
        return {key: found for key, found in keys.items() if found[0]}


async def _write(region: RegionProcesses, acknowledged: dict[bytes, tuple[bytes, int]], count: int) -> int:
    """Writes keys and returns the last revision; a write whose outcome is unknown is none of them."""
    async with region.client() as client:
        for _ in range(count):
            key = b"key-%d" % (len(acknowledged) % 50)
            value = b"value-%d" % len(acknowledged)
            answer = await eventually(lambda k=key, v=value: client.put(k, v))
            acknowledged[key] = value, answer.header.revision
    return answer.header.revision


async def _stored(region: RegionProcesses, revision: int) -> dict[bytes, tuple[bytes, int]]:
    async with region.client() as client:
        answer = await eventually(
            lambda: client.get_prefix("key"), accept=lambda answer: answer.header.revision >= revision
        )
    return {kv.key: (kv.value, kv.mod_revision) for kv in answer.kvs}


async def _kept_from(replica: ReplicaProcess) -> int:
    """What follows this revision is kept for the archive; 0: nothing is."""
    found = re.search(r"^rstore_archive_kept_revision (\S+)$", (await get_page(replica, "/metrics"))[1], re.MULTILINE)
    return int(float(found[1])) if found is not None else 0


async def test_changes_of_leader_and_restarts(start_regions, start_archiver: Start, tmp_path: Path) -> None:
    (east,) = await start_regions(("us-east", 3))
    destination = f"file://{tmp_path}/archive"
    acknowledged: dict[bytes, tuple[bytes, int]] = {}
    await _write(east, acknowledged, 30)
    archiver = start_archiver(east, destination)
    await archiver.reports(lambda report: report.last_base is not None)
    newest = await _write(east, acknowledged, 30)
    await archiver.reports(lambda report: report.archived_revision >= newest)

    await (await east.leader()).end(signal.SIGKILL)
    newest = await _write(east, acknowledged, 30)
    report = await archiver.reports(lambda report: report.archived_revision >= newest)
    assert report.region == "us-east"

    assert await archiver.end(signal.SIGKILL) == -signal.SIGKILL
    newest = await _write(east, acknowledged, 30)
    archiver.start()
    report = await archiver.reports(
        lambda report: report.archived_revision >= newest and report.phase is Phase.ARCHIVING
    )
    assert report.first_recoverable_revision == report.last_base.revision
    assert (await archiver.get("/readyz"))[0] == 200
    assert b"rstore_archive_revision" in (await archiver.get("/metrics"))[1]

    newest = await _write(east, acknowledged, 5)
    assert await archiver.end() == 0
    of_line, _ = await Archive(destination).line()
    assert not of_line.holes
    stored = await _stored(east, newest)
    assert {key: stored[key] for key in acknowledged} == stored
    if of_line.last_revision < newest:  # what was acknowledged right before the stop may not have come yet
        archiver.start()
        await archiver.reports(lambda report: report.archived_revision >= newest)
        assert await archiver.end() == 0
    assert await Archive(destination).keys() == stored


async def test_what_was_written_while_no_archiver_ran(start_regions, start_archiver: Start, tmp_path: Path) -> None:
    """A client compacts all of it meanwhile, which the store answers at once, and every replica is restarted."""
    east, west = await start_regions(("us-east", 3), ("eu-west", 1))
    destination = f"file://{tmp_path}/archive"
    acknowledged: dict[bytes, tuple[bytes, int]] = {}
    others = [replica.peer_address for replica in east.replicas]
    archiver = start_archiver(west, destination, others=others)
    newest = await _write(east, acknowledged, 10)
    await archiver.reports(lambda report: report.last_base is not None and report.archived_revision >= newest)
    every = (*east.replicas, *west.replicas)
    for replica in every:
        await eventually(lambda r=replica: _kept_from(r), accept=lambda kept: kept > 0)
    assert await archiver.end(signal.SIGKILL) == -signal.SIGKILL

    newest = await _write(east, acknowledged, 60)
    async with east.client() as client:
        await client.compact(newest)
        with pytest.raises(Compacted):
            await client.get(b"key-1", revision=newest - 1)
    for number, replica in enumerate(every):
        await replica.end((signal.SIGKILL, signal.SIGTERM)[number % 2])
        replica.start()
        newest = await _write(east, acknowledged, 5)
    await _stored(west, newest)

    archiver.configure(east, others=[])
    archiver.start()
    await archiver.reports(lambda report: report.archived_revision >= newest)
    assert await archiver.end() == 0
    of_line, _ = await Archive(destination).line()
    assert not of_line.holes
    assert await Archive(destination).keys() == await _stored(east, newest) == acknowledged


@pytest.mark.parametrize("rule", [None, rstore_pb2.SyncRule(min_in_sync_regions=1, timeout_ms=5000)])
async def test_a_change_of_primary(start_regions, start_archiver: Start, tmp_path: Path, rule: Any) -> None:
    """The archiver reads the secondary, which becomes the primary, and then the region that it was told instead."""
    east, west = await start_regions(("us-east", 1), ("eu-west", 1))
    if rule is not None:
        for region in (east, west):
            await region.set_topology(topology("us-east", east, west, version=2, sync=rule))
    destination = f"file://{tmp_path}/archive"
    acknowledged: dict[bytes, tuple[bytes, int]] = {}
    archiver = start_archiver(west, destination)
    newest = await _write(east, acknowledged, 20)
    await archiver.reports(lambda report: report.archived_revision >= newest and report.last_base is not None)
    demoted = await east.demote(2)
    where = topology("eu-west", east, west, epoch=2, version=3, sync=rule)
    await west.promote(2, demoted.final_revision, where)
    await east.set_topology(where)
    await archiver.reports(lambda report: report.epoch == 2)
    newest = await _write(west, acknowledged, 20)
    await archiver.reports(lambda report: report.archived_revision >= newest)
    archiver.configure(east)
    newest = await _write(west, acknowledged, 20)
    await archiver.reports(lambda report: report.region == "us-east" and report.archived_revision >= newest)
    assert await archiver.end() == 0
    of_line, _ = await Archive(destination).line()
    assert [start.region for start in of_line.history] == ["us-east", "eu-west"]
    assert not of_line.holes
    assert await Archive(destination).keys() == await _stored(west, newest) == acknowledged


async def test_what_the_archivers_certificate_may_do(
    start_regions, start_archiver: Start, tmp_path: Path, authority: Authority
) -> None:
    (east,) = await start_regions(("us-east", 1))
    archiver = start_archiver(east, f"file://{tmp_path}/archive")
    await archiver.reports(lambda report: report.last_base is not None)
    async with east.peer(east.replicas[0], files=archiver.files) as peer:
        for method, request in (
            (methods.ADMIN_STATUS, rstore_pb2.StatusRequest()),
            (methods.GRANT, rstore_pb2.GrantRequest()),
            (methods.QUARANTINE_LIST, rstore_pb2.QuarantineListRequest()),
        ):
            with pytest.raises(PermissionDenied):
                await peer.call(method, request, timeout_seconds=5)
    async with east.client(files=archiver.files) as client:
        with pytest.raises(StoreError, match="archiver"):
            await client.get("k", timeout_seconds=2)
    shared = authority.issue(tmp_path / "other", "client")
    async with east.peer(east.replicas[0], files=shared) as peer:
        stream = await peer.open_stream(methods.ARCHIVE_FOLLOW)
        with pytest.raises(LinkBrokenError, match="PERMISSION_DENIED"):
            await stream.receive()
        await stream.close()
