"""One archiver as a process: its configuration, which is read again when it changes, its port, its end."""

from __future__ import annotations

import asyncio
import time
import uuid
from pathlib import Path

from rstore_api.logs import get_logger
from rstore_api.tls import TlsSource

from rstore_backup.archiver.archiver import Archiver, problem_of
from rstore_backup.archiver.driller import INTERRUPTED
from rstore_backup.archiver.http_port import HttpPort
from rstore_backup.archiver.keepers import Keepers
from rstore_backup.archiver.metrics import Metrics
from rstore_backup.archiver.progress import Progress
from rstore_backup.archiver.scratch import Scratch
from rstore_backup.archiver.source import RegionSource
from rstore_backup.config import ArchiverConfig, ConfigError, decode
from rstore_backup.errors import ArchiveError
from rstore_backup.report import DrillReport, DrillResult, Phase, encode
from rstore_backup.stores import open_store

_log = get_logger(__name__)

WHOLE_VOLUME = "file:///"
"""The destination that stands for the folder which is named on the command line."""
LOOK_SECONDS = 2.0
"""Between two looks at the configuration, which the kubelet keeps up to date."""


def read_config(path: Path) -> ArchiverConfig:
    """Returns the configuration in a file. Raises ConfigError."""
    try:
        return decode(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error


class ArchiverProcess:
    """Runs the archiver that a file describes."""

    def __init__(
        self,
        path: Path,
        config: ArchiverConfig,
        *,
        tls: TlsSource | None,
        listen_host: str,
        folder: Path | None = None,
        scratch: Scratch | None = None,
    ) -> None:
        """``folder`` is what a destination of ``file:///`` stands for: where a volume is mounted is no matter of the
        configuration. ``scratch`` is where drills have their files."""
        self._path = path
        self._config = config
        self._tls = tls
        self._folder = folder
        self._scratch = scratch
        self._progress = Progress(region=config.region)
        self._http = HttpPort(
            listen_host,
            config.http_port,
            status=lambda _parameters: encode(self._progress.report(now_ms())),
            not_ready=self._not_ready,
            metrics=Metrics(self._progress, now_ms),
        )

    async def run(self, asked_to_stop: asyncio.Event) -> None:
        """Archives until it is asked to stop; then writes what has come. Raises OSError when its port is taken or
        the folder for drills cannot be used."""
        killed_in = self._scratch.clear() if self._scratch is not None else None
        if killed_in is not None:
            begun_ms, request = killed_in.begun_ms, killed_in.request
            self._progress.drilled(DrillReport(begun_ms, DrillResult.FAILED, INTERRUPTED, request=request))
        await self._http.start()
        stopping = asyncio.create_task(asked_to_stop.wait())
        try:
            while not stopping.done():
                archiving = asyncio.create_task(self._archive())
                watching = asyncio.create_task(self._until_moved())
                await asyncio.wait((archiving, watching, stopping), return_when=asyncio.FIRST_COMPLETED)
                failed = archiving.done() and not archiving.cancelled() and archiving.exception() is not None
                for task in (archiving, watching):
                    task.cancel()
                await asyncio.gather(archiving, watching, return_exceptions=not failed)
        finally:
            stopping.cancel()
            await self._http.stop()

    def _not_ready(self) -> str:
        report = self._progress.report(now_ms())
        if report.phase is Phase.ARCHIVING:
            return ""
        return report.error.text if report.error else "starting"

    async def _archive(self) -> None:
        """Archives, for ever, or until the destination is found to be none."""
        config = self._config
        try:
            destination = open_store(destination_of(config, self._folder), config.endpoint)
        except ArchiveError as error:
            self._progress.failed("session", problem_of(error), str(error), now_ms())
            await asyncio.Event().wait()  # for another configuration
            return
        archiver = Archiver(
            destination=destination,
            source=RegionSource(lambda: self._config.replicas, self._tls),
            confirm=Keepers(lambda: (*self._config.replicas, *self._config.others), self._tls).confirm,
            config=lambda: self._config,
            progress=self._progress,
            now_ms=now_ms,
            new_attempt=lambda: uuid.uuid4().hex[:8],
            scratch=self._scratch,
        )
        await archiver.run()

    async def _until_moved(self) -> None:
        """Returns when the archive, or the region that it is read from, is another one."""
        before = _places(self._config)
        refused = ""
        while _places(self._config) == before:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                self._config = await asyncio.to_thread(read_config, self._path)
            except ConfigError as error:
                if str(error) != refused:
                    _log.error("configuration_refused", reason=str(error))
                refused = str(error)
        _log.info("configuration_changed", region=self._config.region, destination=self._config.destination)
        self._progress.seen_both = False


def now_ms() -> int:
    """Returns the time, in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def destination_of(config: ArchiverConfig, folder: Path | None) -> str:
    """Returns the URL of the archives; ``folder`` is what a destination of ``file:///`` stands for."""
    if folder is None or config.destination != WHOLE_VOLUME:
        return config.destination
    return folder.absolute().as_uri()


def _places(config: ArchiverConfig) -> tuple[object, ...]:
    return config.destination, config.endpoint, config.region, config.replicas
