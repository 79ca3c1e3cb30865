"""An archive in S3, as a server of others implements it; bad days with a bucket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from integration.replicas.archiver_processes import ArchiverProcess
from integration.replicas.s3_server import CREDENTIALS, S3Server
from integration.replicas.server_certificates import Authority
from integration.replicas.server_processes import STORE_ID, free_loopback_address
from rstore_backup import names, segments
from rstore_backup.errors import AccessRefused, DestinationInvalid, ObjectExists, ObjectMissing
from rstore_backup.line import Listed, line
from rstore_backup.objects import ObjectInfo
from rstore_backup.report import Phase, Problem
from rstore_backup.stores import Below, open_store

pytestmark = pytest.mark.timeout(900)  # it is installed once


@pytest.fixture
def s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    server = S3Server(free_loopback_address(), tmp_path)
    yield server
    server.stop()


async def test_a_bucket_is_what_an_archive_relies_on(s3: S3Server) -> None:
    s3.start()
    s3.make_bucket("backups")
    store = Below(open_store("s3://backups/team/stores", s3.endpoint), "store")
    await store.create("a/2", b"second")
    with pytest.raises(ObjectExists):
        await store.create("a/2", b"other")
    assert await store.get("a/2") == b"second"
    assert (await store.get_range("a/2", 3, 100), await store.size_bytes("a/2")) == (b"ond", 6)
    for name in ("a/1", "a/10", "b/1"):
        await store.create(name, b"x")
    assert await store.list_after("a") == [ObjectInfo("a/1", 1), ObjectInfo("a/10", 1), ObjectInfo("a/2", 6)]
    assert await store.list_after("a", "a/1") == [ObjectInfo("a/10", 1), ObjectInfo("a/2", 6)]
    assert await store.folders("") == ["a", "b"]
    for _ in range(2):
        await store.delete("a/2")
    with pytest.raises(ObjectMissing):
        await store.get("a/2")
    nowhere = open_store("s3://nowhere", s3.endpoint)
    for ask in (nowhere.create("a", b"x"), nowhere.get("a"), nowhere.list_after("a"), nowhere.folders("")):
        with pytest.raises(DestinationInvalid, match="NoSuchBucket: The specified bucket does not exist"):
            await ask


async def test_credentials_that_are_not_known(s3: S3Server) -> None:
    s3.start(open_requests=1)
    s3.make_bucket("backups")
    store = open_store("s3://backups", s3.endpoint)
    for ask in (store.create("a", b"x"), store.get("a"), store.list_after("a"), store.folders("")):
        with pytest.raises(AccessRefused, match="InvalidAccessKeyId"):
            await ask


async def test_an_archiver_goes_on_once_there_is_a_bucket(
    start_regions, s3: S3Server, tmp_path: Path, authority: Authority
) -> None:
    s3.start()
    (east,) = await start_regions(("us-east", 1))
    archiver = ArchiverProcess(
        tmp_path / "archiver", authority, east, "s3://backups/stores", CREDENTIALS, endpoint=s3.endpoint
    )
    archiver.start()
    try:
        report = await archiver.reports(lambda report: report.error is not None)
        assert (report.phase, report.error.problem) == (Phase.FAILING, Problem.DESTINATION_INVALID)
        assert (await archiver.get("/readyz"))[0] == 503
        s3.make_bucket("backups")
        async with east.client() as client:
            newest = (await client.put("key", "value")).header.revision
        report = await archiver.reports(
            lambda report: report.archived_revision >= newest and report.last_base is not None
        )
        assert report.error is None
        assert await archiver.end() == 0
    finally:
        archiver.kill()
    store = Below(open_store("s3://backups/stores", s3.endpoint), STORE_ID)
    whole = [segments.decode(info.name, await store.get(info.name)) for info in await store.list_after(names.SEGMENTS)]
    of_line = line([Listed(segment.header, segment.sha256) for segment in whole])
    assert of_line is not None
    assert (of_line.last_revision, of_line.holes) == (newest, ())
