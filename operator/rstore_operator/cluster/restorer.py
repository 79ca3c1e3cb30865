"""Asks a store's restorer what it reports, and where what it restores is, in the background."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
from rstore_api.domain import names
from rstore_api.logs import get_logger
from rstore_backup.report import ReportError
from rstore_backup.restore_report import RECORDED, RestoreReport, decode
from rstore_kube.errors import ApiError

from rstore_operator.cluster.archiver import KEEP_SECONDS, fetch
from rstore_operator.cluster.site import Site
from rstore_operator.facts.archiver import ArchiverPod
from rstore_operator.facts.restorer import NO_RESTORER, RestorerObserved
from rstore_operator.resource.requested_base import BasePhase
from rstore_operator.specs.labels import digest

log = get_logger(__name__)

ASK_SECONDS = 1.0
"""No two requests to the restorer are closer together than this."""
LOOK_SECONDS = 5.0
"""No two looks at the backup and the Secret are."""


@dataclass(frozen=True)
class Source:
    """What ``spec.bootstrap.from`` says, as it was written: the name of a backup, and that of a Secret, or ""."""

    backup: str = ""
    secret: str = ""


class RestorerView:
    """The restorer of one store; at most one look at it is under way."""

    def __init__(
        self,
        site: Site,
        clock: Callable[[], float] = time.monotonic,
        ask: Callable[[str, str], Awaitable[RestoreReport]] | None = None,
    ) -> None:
        """``ask`` returns the report of the restorer at an address, as :func:`ask_restorer` does."""
        self._site = site
        self._clock = clock
        self._ask_restorer = ask or ask_restorer
        self._asking: asyncio.Task[None] | None = None
        self._asked_at = self._looked_at = self._reported_at = float("-inf")
        self._source = Source()
        """That of which something is known."""
        self._reporting: ArchiverPod | None = None
        """The pod of which the report is."""
        self._known = NO_RESTORER

    async def close(self) -> None:
        """Stop looking."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)
            self._asking = None

    async def look(self, source: Source | None, recorded: str, *, patience_seconds: float) -> RestorerObserved:
        """Returns what is known of the restorer now, after at most ``patience_seconds``; ``source`` is None where
        nothing is to be restored. ``recorded`` is the state that is recorded, which the restorer is told."""
        if source is None:
            self._known, self._source = NO_RESTORER, Source()
            return NO_RESTORER
        if source != self._source:
            self._known, self._source, self._looked_at = NO_RESTORER, source, float("-inf")
        pod = self._site.restorer_pod()
        if patience_seconds > 0:
            await self._ask(pod, source, recorded, patience_seconds)
        if self._clock() - self._reported_at > KEEP_SECONDS or (self._reporting and self._reporting.name) != (
            pod and pod.name
        ):
            self._known = replace(self._known, report=None)
        return replace(self._known, pod=pod)

    async def _ask(self, pod: ArchiverPod | None, source: Source, recorded: str, patience_seconds: float) -> None:
        if self._asking is None and self._clock() - self._asked_at >= ASK_SECONDS:
            self._asked_at = self._clock()
            self._asking = asyncio.create_task(self._look(pod, source, recorded), name="restorer")
        if self._asking is not None:
            await asyncio.wait({self._asking}, timeout=patience_seconds)
            if self._asking.done():
                ended, self._asking = self._asking, None
                ended.result()  # it reports by itself; anything it raises is a bug

    async def _look(self, pod: ArchiverPod | None, source: Source, recorded: str) -> None:
        if self._clock() - self._looked_at >= LOOK_SECONDS:
            self._looked_at = self._clock()
            await self._read_source(source)
        if pod is None or not pod.ip:
            return
        try:
            report = await self._ask_restorer(pod.ip, recorded)
        except (OSError, TimeoutError, ReportError, aiohttp.ClientError) as error:
            self._known = replace(self._known, silence=str(error) or type(error).__name__)
            log.debug("restorer_silent", pod=pod.name, reason=self._known.silence)
        else:
            self._reporting, self._reported_at = pod, self._clock()
            self._known = replace(self._known, report=report, silence="")

    async def _read_source(self, source: Source) -> None:
        try:
            base, problem = None, ""
            if source.backup:
                named = await self._site.requested_base(source.backup)
                base = named.status.archive if named is not None and named.status is not None else None
                problem = "" if base is not None else _why_not(source.backup, named)
            secret = base.credentials_secret if base is not None else source.secret
            body = await self._site.live(("Secret", secret)) if secret else None
        except (ApiError, OSError, TimeoutError) as error:
            log.warning("source_not_read", backup=source.backup, error=str(error))
            return
        if source == self._source:
            credentials = digest((body or {}).get("data") or {}) if secret else ""
            self._known = replace(self._known, credentials=credentials, base=base, base_problem=problem)


def _why_not(name: str, base: Any) -> str:
    """Why a ReplicatedStoreBackup does not say where an archive is."""
    if base is None:
        return f"there is no ReplicatedStoreBackup {name} in this namespace"
    if base.status is None or base.status.phase is not BasePhase.COMPLETED:
        phase = base.status.phase.value if base.status is not None else BasePhase.PENDING.value
        return f"ReplicatedStoreBackup {name} is {phase}, not Completed"
    return f"ReplicatedStoreBackup {name} does not say where its archive is, name the destination instead"


async def ask_restorer(ip: str, recorded: str) -> RestoreReport:
    """Returns what the restorer at that address reports, and tells it which state is recorded. Raises OSError,
    TimeoutError, aiohttp.ClientError and ReportError."""
    return decode(await fetch(ip, names.HTTP_PORT, {RECORDED: recorded}))


def source_of(body: Mapping[str, Any]) -> Source | None:
    """Returns ``spec.bootstrap.from`` of a store's object, as far as it is understood; None where there is none."""
    place: Any = body.get("spec")
    for name in ("bootstrap", "from"):
        place = place.get(name) if isinstance(place, Mapping) else None
    if not isinstance(place, Mapping):
        return None
    backup, secret = place.get("backup"), place.get("credentialsSecret")
    return Source(backup if isinstance(backup, str) else "", secret if isinstance(secret, str) else "")
