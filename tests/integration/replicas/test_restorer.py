"""A restorer, which has the rights of its certificate alone, fills a region that lets nobody else in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from integration.replicas.restorer_processes import RestorerProcess
from integration.replicas.server_certificates import Authority
from integration.replicas.server_processes import RegionProcesses
from integration.replicas.test_access import enforce
from rstore_api import methods
from rstore_api.client import Client
from rstore_api.dialling.endpoint import Endpoint
from rstore_api.domain.access import AccessRules
from rstore_api.domain.epochs import BASE_REVISION
from rstore_api.errors import NotReady, PermissionDenied
from rstore_api.methods import Method
from rstore_api.proto import rpc_pb2 as rpc
from rstore_api.tls import TlsFiles
from rstore_backup.restore_report import RestorePhase, RestoreProblem, RestoreReport
from rstore_testkit.patience import WAIT_SECONDS
from unit.backup.archives import STORE_ID as ARCHIVED_ID
from unit.backup.restoring.histories import Archived, Stored, random_history

REVISION = rpc.RangeRequest(key=b"\0", count_only=True)
REFUSED: list[tuple[Method[Any, Any], Any]] = [
    (methods.PUT, rpc.PutRequest(key=b"key", value=b"value")),
    (methods.COMPACT, rpc.CompactionRequest(revision=1)),
    (methods.STATUS, rpc.StatusRequest()),
]
KILLED_AFTER_SECONDS = (0.0, 0.02, 0.1, 0.3)


@pytest.fixture(scope="module")
def archived() -> Archived:
    """With failovers, a tail that was lost, and bases."""
    return random_history(4, 150)


@pytest.fixture
async def region(start_regions) -> RegionProcesses:
    (region,) = await start_regions(("us-east", 1))
    await enforce(AccessRules(version=1, restoring=True), region)
    return region


@pytest.fixture
async def restorer(
    archived: Archived, region: RegionProcesses, authority: Authority, tmp_path: Path
) -> AsyncIterator[RestorerProcess]:
    for name, data in archived.store.objects.items():
        path = tmp_path / "archive" / ARCHIVED_ID / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (tmp_path / "restorer").mkdir()
    process = RestorerProcess(tmp_path / "restorer", authority, region, f"file://{tmp_path}/archive")
    yield process
    process.kill()


async def stored(client: Client, revision: int) -> dict[bytes, Stored]:
    """What was there at a revision; leases run out after it."""
    request = rpc.RangeRequest(key=b"\0", range_end=b"\0", revision=revision)
    kvs = (await client.range(request, timeout_seconds=20)).kvs
    return {kv.key: Stored(kv.value, kv.create_revision, kv.mod_revision, kv.version, kv.lease) for kv in kvs}


async def asked(region: RegionProcesses, files: TlsFiles, method: Method[Any, Any], request: Any) -> Any:
    """Asks once, with this certificate."""
    async with Endpoint(region.replicas[0].client_address, tls=files) as endpoint:
        return await endpoint.call(method, request, timeout_seconds=WAIT_SECONDS)


def expected(archived: Archived, revision: int) -> dict[bytes, Stored]:
    return {key: each._replace(sub=0) for key, each in archived.states[archived.epoch][revision].keys.items()}


def settled(report: RestoreReport) -> bool:
    return report.phase is RestorePhase.SETTLED


def completed(report: RestoreReport) -> bool:
    assert report.error is None, report
    return report.phase is RestorePhase.COMPLETED


async def test_nothing_is_sent_before_it_is_recorded_and_nobody_else_gets_in(
    archived: Archived, region: RegionProcesses, restorer: RestorerProcess
) -> None:
    restorer.start()
    report = await restorer.reports(settled)
    assert report.pinned is not None
    assert (report.pinned.store_id, report.pinned.revision) == (ARCHIVED_ID, archived.revision)
    async with region.client(files=restorer.files) as client:
        assert (await client.range(REVISION)).header.revision == BASE_REVISION
    for method, request in REFUSED:
        with pytest.raises(PermissionDenied, match="restorer"):
            await asked(region, restorer.files, method, request)
        with pytest.raises(NotReady, match="the store is being restored"):
            await asked(region, region.client_files, method, request)
    with pytest.raises(NotReady, match="the store is being restored"):
        await asked(region, region.client_files, methods.RANGE, REVISION)
    restorer.recorded = "some-other-state"
    assert settled(await restorer.reports(lambda _report: True))
    restorer.recorded = report.pinned.text
    await restorer.reports(completed)
    await enforce(AccessRules(version=2), region)
    async with region.client() as client:
        assert await stored(client, report.pinned.final_revision) == expected(archived, archived.revision)
        assert (await client.put("next", "value")).header.revision > report.pinned.final_revision
    with pytest.raises(PermissionDenied):
        await asked(region, restorer.files, methods.RANGE, REVISION)


async def test_it_is_all_or_nothing_whenever_the_restorer_is_killed(
    archived: Archived, region: RegionProcesses, restorer: RestorerProcess
) -> None:
    restorer.start()
    pinned = (await restorer.reports(settled)).pinned
    assert pinned is not None
    restorer.recorded = pinned.text
    restorer.configure(pinned=msgspec.to_builtins(pinned))
    whole = expected(archived, archived.revision)
    for seconds in KILLED_AFTER_SECONDS:
        await restorer.reports(lambda _report: True)  # it is told, and goes on
        await asyncio.sleep(seconds)  # when it is killed, not what is waited for
        restorer.kill()
        async with region.client(files=restorer.files) as client:
            revision = (await client.range(REVISION, timeout_seconds=20)).header.revision
            if revision != BASE_REVISION:
                assert revision >= pinned.final_revision
                assert await stored(client, pinned.final_revision) == whole
        restorer.start()
    await restorer.reports(completed)
    async with region.client(files=restorer.files) as client:
        assert await stored(client, pinned.final_revision) == whole


async def test_what_is_wrong_is_reported_and_corrected(
    archived: Archived, region: RegionProcesses, restorer: RestorerProcess
) -> None:
    restorer.configure(revision=999_999_999_999)
    restorer.start()

    def problem(wanted: RestoreProblem) -> object:
        return lambda report: report.error is not None and report.error.problem is wanted

    report = await restorer.reports(problem(RestoreProblem.NOT_RESTORABLE))
    assert report.error is not None
    assert "is not in the archive; it can restore" in report.error.text
    restorer.configure(sourceName="default/somebody-else")
    report = await restorer.reports(problem(RestoreProblem.NO_ARCHIVE))
    assert report.error is not None
    assert ARCHIVED_ID in report.error.text
    revision = min(archived.states[archived.epoch], key=lambda each: abs(each - archived.revision // 2))
    restorer.configure(sourceName="", revision=revision)
    report = await restorer.reports(lambda report: report.phase is RestorePhase.SETTLED)
    assert report.pinned is not None
    assert report.pinned.revision == revision
    restorer.recorded = report.pinned.text
    await restorer.reports(completed)
    async with region.client(files=restorer.files) as client:
        assert await stored(client, report.pinned.final_revision) == expected(archived, revision)
    restorer.kill()
    restorer.configure(revision=0)
    restorer.start()
    report = await restorer.reports(problem(RestoreProblem.STORE_REFUSES))
    assert report.error is not None
    assert "nothing was written" in report.error.text, "without a record of it nobody knows what the store has"
