"""Asks a store's archiver what it reports, and looks at the Secret with its credentials, in the background."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import aiohttp
from rstore_api.domain import names
from rstore_api.logs import get_logger
from rstore_backup.report import PATH, Report, ReportError, decode
from rstore_kube.errors import ApiError

from rstore_operator.cluster.site import Site
from rstore_operator.facts.archiver import NO_ARCHIVER, ArchiverObserved, ArchiverPod
from rstore_operator.specs.labels import digest

log = get_logger(__name__)

ASK_SECONDS = 5.0
"""No two requests to the archiver are closer together than this."""
TIMEOUT_SECONDS = 2.0
KEEP_SECONDS = 60.0
"""How long a report counts while the archiver does not answer, or is restarted."""
MAX_REPORT_BYTES = 1 << 20


class ArchiverView:
    """The archiver of one store; at most one look at it is under way."""

    def __init__(
        self,
        site: Site,
        clock: Callable[[], float] = time.monotonic,
        fetch: Callable[[str], Awaitable[Report]] | None = None,
    ) -> None:
        """``fetch`` returns the report of the archiver at an address, as :func:`fetch_report` does."""
        self._site = site
        self._clock = clock
        self._fetch = fetch or fetch_report
        self._asking: asyncio.Task[None] | None = None
        self._asked_at = float("-inf")
        self._asked_pod: ArchiverPod | None = None
        self._report: Report | None = None
        self._reported_at = float("-inf")
        self._silence = ""
        self._secret = ""
        """The Secret that ``_credentials`` is about."""
        self._credentials: str | None = None

    async def close(self) -> None:
        """Stop looking."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)
            self._asking = None

    async def look(self, raw_backup: object, *, patience_seconds: float) -> ArchiverObserved:
        """Returns what is known of the archiver now, after at most ``patience_seconds``; ``raw_backup`` is the spec's
        ``backup`` as it was written. With no patience nothing is asked."""
        if not isinstance(raw_backup, Mapping):
            self._report, self._reported_at = None, float("-inf")
            return NO_ARCHIVER
        secret = raw_backup.get("credentialsSecret")
        secret = secret if isinstance(secret, str) else ""
        if secret != self._secret or not secret:
            self._secret, self._credentials = secret, None if secret else ""
        pod = self._site.archiver_pod()
        if patience_seconds > 0:
            await self._ask(pod, patience_seconds)
        if self._clock() - self._reported_at > KEEP_SECONDS:
            self._report = None
        return ArchiverObserved(pod, self._report, self._silence, self._credentials)

    async def _ask(self, pod: ArchiverPod | None, patience_seconds: float) -> None:
        due = self._clock() - self._asked_at >= ASK_SECONDS or pod != self._asked_pod or self._credentials is None
        if self._asking is None and due:
            self._asked_at, self._asked_pod = self._clock(), pod
            self._asking = asyncio.create_task(self._look(pod, self._secret), name="archiver")
        if self._asking is not None:
            await asyncio.wait({self._asking}, timeout=patience_seconds)
            if self._asking.done():
                ended, self._asking = self._asking, None
                ended.result()  # it reports by itself; anything it raises is a bug

    async def _look(self, pod: ArchiverPod | None, secret: str) -> None:
        if secret:
            await self._read_secret(secret)
        if pod is None or not pod.ip:
            return
        try:
            report = await self._fetch(pod.ip)
        except (OSError, TimeoutError, ReportError, aiohttp.ClientError) as error:
            self._silence = str(error) or type(error).__name__
            log.debug("archiver_silent", pod=pod.name, reason=self._silence)
        else:
            self._report, self._reported_at, self._silence = report, self._clock(), ""

    async def _read_secret(self, name: str) -> None:
        try:
            body = await self._site.live(("Secret", name))
        except (ApiError, OSError, TimeoutError) as error:
            log.warning("credentials_not_read", secret=name, error=str(error))
            return
        if name == self._secret:
            self._credentials = digest((body or {}).get("data") or {})


async def fetch_report(ip: str, port: int = names.HTTP_PORT) -> Report:
    """Returns what the archiver at that address reports. Raises OSError, TimeoutError, aiohttp.ClientError and
    ReportError."""
    return decode(await fetch(ip, port))


async def fetch(ip: str, port: int, parameters: Mapping[str, str] | None = None) -> bytes:
    """Returns the report of an archiver or a restorer at that address. Raises OSError, TimeoutError,
    aiohttp.ClientError, and ReportError where it is too long."""
    host = f"[{ip}]" if ":" in ip else ip
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
    async with (
        aiohttp.ClientSession(timeout=timeout, trust_env=False) as session,
        session.get(f"http://{host}:{port}{PATH}", params=parameters, allow_redirects=False) as response,
    ):
        response.raise_for_status()
        data = bytearray()
        async for chunk in response.content.iter_chunked(64 << 10):
            data += chunk
            if len(data) > MAX_REPORT_BYTES:
                raise ReportError(f"a report of more than {MAX_REPORT_BYTES} bytes")
        return bytes(data)


def raw_backup_of(body: Mapping[str, Any]) -> object:
    """Returns ``spec.backup`` of a store's object, whatever that is."""
    spec = body.get("spec")
    return spec.get("backup") if isinstance(spec, Mapping) else None
