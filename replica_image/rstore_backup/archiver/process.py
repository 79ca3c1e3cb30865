"""One archiver as a process: its configuration, which is read again when it changes, its port, its end."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path

from rstore_api.logs import get_logger
from rstore_api.tls import TlsSource

from rstore_backup.archiver.archiver import Archiver, problem_of
from rstore_backup.archiver.driller import INTERRUPTED
from rstore_backup.archiver.keepers import Keepers
from rstore_backup.archiver.metrics import Metrics
from rstore_backup.archiver.progress import Progress
from rstore_backup.archiver.source import RegionSource
from rstore_backup.config import ArchiverConfig
from rstore_backup.errors import ArchiveError
from rstore_backup.program.config_file import ConfigFile, destination_of, now_ms, work_until_stopped
from rstore_backup.program.http_port import HttpPort
from rstore_backup.program.scratch import Scratch
from rstore_backup.report import DrillReport, DrillResult, Phase, encode
from rstore_backup.stores import open_store

_log = get_logger(__name__)


class ArchiverProcess:
    """Runs the archiver that a file describes."""

    def __init__(
        self,
        config: ConfigFile[ArchiverConfig],
        *,
        tls: TlsSource | None,
        listen_host: str,
        folder: Path | None = None,
        scratch: Scratch | None = None,
    ) -> None:
        """``folder`` is what a destination of ``file:///`` stands for: where a volume is mounted is no matter of the
        configuration. ``scratch`` is where drills have their files."""
        self._config = config
        self._tls = tls
        self._folder = folder
        self._scratch = scratch
        self._progress = Progress(region=config.current.region)
        self._http = HttpPort(
            listen_host,
            config.current.http_port,
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
        try:
            await work_until_stopped(self._archive, self._until_moved, asked_to_stop)
        finally:
            await self._http.stop()

    def _not_ready(self) -> str:
        report = self._progress.report(now_ms())
        if report.phase is Phase.ARCHIVING:
            return ""
        return report.error.text if report.error else "starting"

    async def _archive(self) -> None:
        """Archives, for ever, or until the destination is found to be none."""
        config = self._config.current
        try:
            destination = open_store(destination_of(config.destination, self._folder), config.endpoint)
        except ArchiveError as error:
            self._progress.failed("session", problem_of(error), str(error), now_ms())
            await asyncio.Event().wait()  # for another configuration
            return
        archiver = Archiver(
            destination=destination,
            source=RegionSource(lambda: self._config.current.replicas, self._tls),
            confirm=Keepers(self._keepers, self._tls).confirm,
            config=lambda: self._config.current,
            progress=self._progress,
            now_ms=now_ms,
            new_attempt=lambda: uuid.uuid4().hex[:8],
            scratch=self._scratch,
        )
        await archiver.run()

    async def _until_moved(self) -> None:
        """Returns when the archive, or the region that it is read from, is another one."""
        await self._config.until_changed(_places)
        now = self._config.current
        _log.info("configuration_changed", region=now.region, destination=now.destination)
        self._progress.seen_both = False

    def _keepers(self) -> tuple[str, ...]:
        """The replicas that keep what is not archived yet."""
        config = self._config.current
        return (*config.replicas, *config.others)


def _places(config: ArchiverConfig) -> tuple[object, ...]:
    return config.destination, config.endpoint, config.region, config.replicas
