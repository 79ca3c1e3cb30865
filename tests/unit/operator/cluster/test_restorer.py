"""How the operator looks at a store's restorer, and at what says where the archive is."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, cast

import pytest
from rstore_backup.restore_report import RestorePhase, RestoreReport
from rstore_kube.errors import ApiError
from rstore_operator.cluster.archiver import KEEP_SECONDS
from rstore_operator.cluster.restorer import ASK_SECONDS, LOOK_SECONDS, RestorerView, Source, source_of
from rstore_operator.cluster.site import Site
from rstore_operator.facts.archiver import ArchiverPod
from rstore_operator.facts.restorer import NO_RESTORER, RestorerObserved
from rstore_operator.resource.requested_base import BaseArchive, BasePhase, BaseStatus, RequestedBase

REPORT = RestoreReport(phase=RestorePhase.READING, time_ms=1)
POD = ArchiverPod("orders-restorer-1", "10.0.0.9")
ARCHIVE = BaseArchive("old-id", "s3://backups/stores", credentials_secret="kept-keys")
BASE = RequestedBase(
    "b",
    "uid",
    "1",
    "",
    retain=True,
    deadline_seconds=1,
    owners=(),
    status=BaseStatus(BasePhase.COMPLETED, archive=ARCHIVE),
)
OF_BACKUP, OF_SECRET = Source(backup="b"), Source(secret="keys")


class Looks:
    """A view, its site, its clock and the restorer that it asks."""

    def __init__(self) -> None:
        self.pod: ArchiverPod | None = POD
        self.base: RequestedBase | ApiError | None = BASE
        self.read: list[str] = []
        self.asked: list[tuple[str, str]] = []
        self.answer: RestoreReport | Exception | None = REPORT
        self.now = 100.0
        self.view = RestorerView(cast(Site, self), lambda: self.now, self.ask)

    def restorer_pod(self) -> ArchiverPod | None:
        return self.pod

    async def requested_base(self, _name: str) -> RequestedBase | None:
        if isinstance(self.base, ApiError):
            raise self.base
        return self.base

    async def live(self, key: tuple[str, str]) -> dict[str, Any] | None:
        self.read.append(key[1])
        return {"data": {"KEY": "YQ=="}}

    async def ask(self, ip: str, recorded: str) -> RestoreReport:
        self.asked.append((ip, recorded))
        if self.answer is None:
            await asyncio.Event().wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        assert self.answer is not None
        return self.answer

    async def look(
        self, source: Source | None = OF_SECRET, recorded: str = "", patience: float = 5.0
    ) -> RestorerObserved:
        return await self.view.look(source, recorded, patience_seconds=patience)


async def test_it_is_told_what_is_recorded_whenever_it_is_asked() -> None:
    looks = Looks()
    seen = await looks.look(recorded="old-id/1/41/98")
    assert (seen.pod, seen.report, seen.base) == (POD, REPORT, None)
    assert seen.credentials
    await looks.look()
    assert looks.asked == [("10.0.0.9", "old-id/1/41/98")], "not too often"
    looks.now += ASK_SECONDS
    await looks.look()
    assert (len(looks.asked), looks.read) == (2, ["keys"])
    looks.now += LOOK_SECONDS
    await looks.look()
    assert looks.read == ["keys", "keys"]


async def test_a_store_that_is_not_restored_is_not_looked_at() -> None:
    looks = Looks()
    assert await looks.look(None) is NO_RESTORER
    seen = await looks.look(patience=0.0)
    assert (seen.report, seen.credentials) == (None, None)
    assert (looks.asked, looks.read) == ([], [])


async def test_the_backup_says_where_the_archive_is_and_whose_credentials_are_used() -> None:
    looks = Looks()
    seen = await looks.look(OF_BACKUP)
    assert (seen.base, seen.base_problem, looks.read) == (ARCHIVE, "", ["kept-keys"])


@pytest.mark.parametrize(
    ("base", "why"),
    [
        (None, "there is no ReplicatedStoreBackup b"),
        (replace(BASE, status=None), "is Pending, not Completed"),
        (replace(BASE, status=BaseStatus(BasePhase.FAILED)), "is Failed, not Completed"),
        (replace(BASE, status=BaseStatus(BasePhase.COMPLETED)), "does not say where its archive is"),
    ],
)
async def test_a_backup_that_does_not_say_it_is_a_problem(base: RequestedBase | None, why: str) -> None:
    looks = Looks()
    looks.base = base
    seen = await looks.look(OF_BACKUP)
    assert seen.base is None
    assert why in seen.base_problem


async def test_what_cannot_be_looked_up_now_is_not_known() -> None:
    looks = Looks()
    looks.base = ApiError(503, "ServiceUnavailable", "later")
    seen = await looks.look(OF_BACKUP)
    assert (seen.base, seen.base_problem, seen.credentials) == (None, "", None)


async def test_the_report_of_another_pod_or_of_long_ago_does_not_count() -> None:
    looks = Looks()
    await looks.look()
    looks.answer = OSError("refused")
    looks.now += KEEP_SECONDS
    seen = await looks.look()
    assert (seen.report, seen.silence) == (REPORT, "refused")
    looks.pod = ArchiverPod("orders-restorer-2", "10.0.0.10")
    assert (await looks.look()).report is None


async def test_another_source_is_looked_at_anew() -> None:
    looks = Looks()
    await looks.look()
    assert (await looks.look(OF_BACKUP, patience=0.0)).credentials is None


async def test_a_restorer_that_hangs_does_not_hold_anything_up() -> None:
    looks = Looks()
    looks.answer = None
    for _ in range(3):
        assert (await looks.look(patience=0.01)).report is None
        looks.now += ASK_SECONDS
    assert len(looks.asked) == 1
    await looks.view.close()


@pytest.mark.parametrize(
    ("spec", "source"),
    [
        ({}, None),
        ({"bootstrap": "x"}, None),
        ({"bootstrap": {"from": []}}, None),
        ({"bootstrap": {"from": {"backup": "b"}}}, OF_BACKUP),
        ({"bootstrap": {"from": {"credentialsSecret": "keys", "backup": 7}}}, OF_SECRET),
    ],
)
def test_the_source_is_read_of_the_raw_object(spec: dict[str, Any], source: Source | None) -> None:
    assert source_of({"spec": spec}) == source
