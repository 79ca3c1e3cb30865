"""Drills of a real archiver, which has the rights of its certificate alone, beside real replicas."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from integration.replicas.archiver_processes import ArchiverProcess
from integration.replicas.server_certificates import Authority
from integration.replicas.server_processes import STORE_ID, RegionProcesses
from rstore_backup import names
from rstore_backup.archiver.driller import INTERRUPTED
from rstore_backup.program.scratch import NOTE
from rstore_backup.report import DrillProgress, DrillResult, Report

Start = Callable[[RegionProcesses], ArchiverProcess]


@pytest.fixture
async def start_archiver(tmp_path: Path, authority: Authority) -> AsyncIterator[Start]:
    """Starts an archiver that writes to ``archive`` and has its drills in ``drills``; it ends afterwards."""
    started: list[ArchiverProcess] = []

    def start(region: RegionProcesses) -> ArchiverProcess:
        (tmp_path / "drills").mkdir()
        archiver = ArchiverProcess(
            tmp_path / "archiver",
            authority,
            region,
            f"file://{tmp_path}/archive",
            arguments=(f"--drill-folder={tmp_path}/drills", f"--drill-bytes={1 << 30}"),
        )
        started.append(archiver)
        archiver.start()
        return archiver

    yield start
    for archiver in started:
        archiver.kill()


def answered(request: str) -> Callable[[Report], bool]:
    return lambda report: report.last_drill is not None and report.last_drill.request == request


async def test_drills_show_whether_the_archive_can_be_restored(
    start_regions: Any, start_archiver: Start, tmp_path: Path
) -> None:
    (east,) = await start_regions(("us-east", 1))
    archiver = start_archiver(east)
    await archiver.reports(lambda report: report.last_base is not None)
    async with east.client() as client:
        for number in range(300):
            newest = (await client.put(b"key-%d" % (number % 100), b"value" * 200)).header.revision
        newest = (await client.put(b"long" * 500, b"of a long key")).header.revision
    archiver.configure(east, drillRequest="one")
    drill = (await archiver.reports(answered("one"))).last_drill
    assert drill is not None
    assert (drill.result, drill.revision, drill.keys, drill.compared_region) == (
        DrillResult.SUCCEEDED,
        newest,
        101,
        "us-east",
    ), drill.message
    assert 0 < drill.rto_seconds < 30
    assert 0 <= drill.rpo_seconds < 30
    assert b'rstore_archive_drills_total{result="Succeeded"} 1.0' in (await archiver.get("/metrics"))[1]

    folder = tmp_path / "archive" / STORE_ID
    segment = next(path for path in sorted(folder.glob(f"{names.SEGMENTS}/*/*")) if path.stat().st_size > 1000)
    whole = segment.read_bytes()
    segment.write_bytes(whole[:-500] + bytes([whole[-500] ^ 1]) + whole[-499:])
    archiver.configure(east, drillRequest="two")
    drill = (await archiver.reports(answered("two"))).last_drill
    assert drill is not None
    assert drill.result is DrillResult.FAILED
    assert segment.name in drill.message
    assert list((tmp_path / "drills").iterdir()) == []

    segment.write_bytes(whole)
    assert await archiver.end(signal.SIGKILL) == -signal.SIGKILL
    (tmp_path / "drills" / NOTE).write_bytes(msgspec.json.encode(DrillProgress(1234, "three")))
    archiver.configure(east, drillRequest="three")
    archiver.start()
    drill = (await archiver.reports(answered("three"))).last_drill
    assert drill is not None
    assert (drill.result, drill.time_ms, drill.message) == (DrillResult.FAILED, 1234, INTERRUPTED)
    archiver.configure(east, drillRequest="four")
    drill = (await archiver.reports(answered("four"))).last_drill
    assert drill is not None
    assert (drill.result, drill.keys) == (DrillResult.SUCCEEDED, 101), drill.message
