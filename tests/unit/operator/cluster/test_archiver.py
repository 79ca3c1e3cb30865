"""How the operator looks at a store's archiver: in the background, not too often, and with patience."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from aiohttp import web
from rstore_backup.report import PATH, Phase, Report, ReportError, encode
from rstore_kube.errors import ApiError
from rstore_operator.cluster.archiver import ASK_SECONDS, KEEP_SECONDS, MAX_REPORT_BYTES, ArchiverView, fetch_report
from rstore_operator.cluster.pods import newest_of
from rstore_operator.cluster.site import Site
from rstore_operator.facts.archiver import NO_ARCHIVER, ArchiverPod

REPORT = Report(phase=Phase.ARCHIVING, time_ms=1, archived_revision=7)
POD = ArchiverPod("orders-archiver-1", "10.0.0.9")
BACKUP = {"destination": "s3://backups/orders", "credentialsSecret": "keys"}


class FakeSite:
    """The site of a store with an archiver."""

    def __init__(self) -> None:
        self.pod: ArchiverPod | None = POD
        self.secret: dict[str, Any] | ApiError | None = {"data": {"KEY": "YQ=="}}
        self.read: list[str] = []

    def archiver_pod(self) -> ArchiverPod | None:
        return self.pod

    async def live(self, key: tuple[str, str]) -> dict[str, Any] | None:
        self.read.append(key[1])
        if isinstance(self.secret, ApiError):
            raise self.secret
        return self.secret


class Looks:
    """A view, its site, its clock and the archiver that it asks."""

    def __init__(self) -> None:
        self.site = FakeSite()
        self.now = 100.0
        self.answer: Report | Exception | None = REPORT
        """None: it hangs."""
        self.asked: list[str] = []
        self.view = ArchiverView(cast(Site, self.site), lambda: self.now, self.fetch)

    async def fetch(self, ip: str) -> Report:
        self.asked.append(ip)
        if self.answer is None:
            await asyncio.Event().wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        assert self.answer is not None
        return self.answer

    async def look(self, backup: object = BACKUP, patience_seconds: float = 5.0) -> Any:
        return await self.view.look(backup, patience_seconds=patience_seconds)


async def test_a_store_without_backup_is_not_looked_at() -> None:
    looks = Looks()
    assert await looks.look(None) is NO_ARCHIVER
    assert await looks.look("nonsense") is NO_ARCHIVER
    assert (looks.asked, looks.site.read) == ([], [])


async def test_the_report_and_the_credentials_are_seen_and_asked_for_now_and_then() -> None:
    looks = Looks()
    seen = await looks.look()
    assert (seen.pod, seen.report, seen.silence) == (POD, REPORT, "")
    assert seen.credentials
    looks.now += ASK_SECONDS - 0.1
    assert await looks.look() == seen
    assert looks.asked == ["10.0.0.9"]
    looks.now += 0.1
    await looks.look()
    assert (looks.asked, looks.site.read) == (["10.0.0.9"] * 2, ["keys"] * 2)


async def test_a_new_pod_is_asked_at_once() -> None:
    looks = Looks()
    await looks.look()
    looks.site.pod = ArchiverPod("orders-archiver-2", "10.0.0.10")
    await looks.look()
    assert looks.asked == ["10.0.0.9", "10.0.0.10"]


async def test_nothing_is_asked_without_patience() -> None:
    looks = Looks()
    seen = await looks.look(patience_seconds=0.0)
    assert (seen.report, seen.credentials) == (None, None)
    assert (looks.asked, looks.site.read) == ([], [])


async def test_an_archiver_that_hangs_is_asked_once_and_does_not_hold_anything_up() -> None:
    looks = Looks()
    looks.answer = None
    for _ in range(3):
        assert (await looks.look(patience_seconds=0.01)).report is None
        looks.now += ASK_SECONDS
    assert looks.asked == ["10.0.0.9"]
    await looks.view.close()


async def test_an_old_report_counts_for_a_while() -> None:
    looks = Looks()
    await looks.look()
    looks.answer = OSError("connection refused")
    looks.now += KEEP_SECONDS
    seen = await looks.look()
    assert (seen.report, seen.silence) == (REPORT, "connection refused")
    looks.now += ASK_SECONDS
    assert (await looks.look()).report is None


async def test_credentials_that_cannot_be_read_are_not_taken_for_changed() -> None:
    looks = Looks()
    before = (await looks.look()).credentials
    looks.site.secret = ApiError(503, "ServiceUnavailable", "later")
    looks.now += ASK_SECONDS
    assert (await looks.look()).credentials == before
    looks.site.secret = {"data": {"KEY": "Yg=="}}
    looks.now += ASK_SECONDS
    changed = (await looks.look()).credentials
    assert changed not in (None, before)
    looks.site.secret = None
    looks.now += ASK_SECONDS
    assert (await looks.look()).credentials not in (None, before, changed), "it is gone, which is known"


async def test_credentials_are_unknown_until_they_were_read() -> None:
    looks = Looks()
    looks.site.secret = ApiError(503, "ServiceUnavailable", "later")
    assert (await looks.look()).credentials is None
    assert (await looks.look({"destination": "s3://b/p"})).credentials == "", "none are named"


def pod(name: str, created: str, **more: Any) -> dict[str, Any]:
    meta = {"name": name, "creationTimestamp": created, "labels": {"app.kubernetes.io/component": "archiver"}}
    return {"metadata": meta | more.pop("metadata", {}), "status": {"phase": "Running", "podIP": f"ip-{name}"} | more}


def test_the_newest_pod_that_stays_is_the_archivers() -> None:
    replica = {"metadata": {"name": "orders-us-east-0", "labels": {}}, "status": {}}
    leaving = pod("c", "2026-01-03T00:00:00Z", metadata={"deletionTimestamp": "2026-01-04T00:00:00Z"})
    bodies = [pod("a", "2026-01-01T00:00:00Z"), pod("b", "2026-01-02T00:00:00Z"), leaving, replica]
    assert newest_of("archiver", bodies) == ArchiverPod("b", "ip-b")
    assert newest_of("archiver", [replica]) is None
    waiting = {"state": {"waiting": {"reason": "CreateContainerConfigError", "message": 'secret "keys" not found'}}}
    starting = pod("d", "2026-01-05T00:00:00Z", phase="Pending", containerStatuses=[waiting])
    problem = 'CreateContainerConfigError: secret "keys" not found'
    assert newest_of("archiver", [*bodies, starting]) == ArchiverPod("d", "", problem)


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        (encode(REPORT), 200, None),
        (b"{", 200, ReportError),
        (b" " * (MAX_REPORT_BYTES + 1), 200, ReportError),
        (encode(REPORT), 503, Exception),
    ],
)
async def test_reports_come_over_http(body: bytes, status: int, error: type[Exception] | None) -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=body, status=status)

    app = web.Application()
    app.router.add_get(PATH, answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        if error is None:
            assert await fetch_report("127.0.0.1", port) == REPORT
        else:
            with pytest.raises(error):
                await fetch_report("127.0.0.1", port)
    finally:
        await runner.cleanup()
