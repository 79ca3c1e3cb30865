"""One restorer as a process: its configuration, which is read again when it changes, its port, its end."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import msgspec
from rstore_api.client import Client
from rstore_api.logs import get_logger
from rstore_api.tls import TlsSource

from rstore_backup.objects import ObjectStore
from rstore_backup.program.config_file import ConfigFile, destination_of, now_ms, work_until_stopped
from rstore_backup.program.http_port import HttpPort
from rstore_backup.program.scratch import Scratch
from rstore_backup.restore_config import RestoreConfig
from rstore_backup.restore_report import RECORDED, RestorePhase, encode
from rstore_backup.restorer.metrics import ProcessMetrics
from rstore_backup.restorer.progress import Progress
from rstore_backup.restorer.restorer import Restorer
from rstore_backup.restorer.rules import Different
from rstore_backup.stores import open_store

_log = get_logger(__name__)


class RestorerProcess:
    """Runs the restore that a file describes, and reports it until it is stopped."""

    def __init__(
        self,
        config: ConfigFile[RestoreConfig],
        *,
        tls: TlsSource | None,
        listen_host: str,
        folder: Path | None = None,
        scratch: Scratch | None = None,
    ) -> None:
        """``folder`` is what a destination of ``file:///`` stands for. ``scratch`` is where the temporary file is."""
        self._config = config
        self._tls = tls
        self._folder = folder
        self._scratch = scratch
        self._progress = Progress()
        self._http = HttpPort(
            listen_host,
            config.current.http_port,
            status=self._status,
            not_ready=self._not_ready,
            metrics=ProcessMetrics(),
        )

    async def run(self, asked_to_stop: asyncio.Event) -> None:
        """Restores until it is asked to stop; what it has done by then is done, and what it has not is begun anew by
        the next process. Raises OSError when its port is taken or the folder for its file cannot be used."""
        if self._scratch is not None:
            self._scratch.clear()
        await self._http.start()
        try:
            await work_until_stopped(self._restore, self._until_changed, asked_to_stop)
        finally:
            await self._http.stop()

    async def _restore(self) -> None:
        """Restores, and then waits for another configuration, or for the end."""
        restorer = Restorer(
            destination=self._open_destination,
            store=self._open_client,
            config=lambda: self._config.current,
            progress=self._progress,
            now_ms=now_ms,
            scratch=self._scratch,
        )
        try:
            await restorer.run()
        except Different:
            _log.error("restore_given_up")
        await asyncio.Event().wait()

    def _open_destination(self) -> ObjectStore:
        config = self._config.current
        return open_store(destination_of(config.destination, self._folder), config.endpoint)

    def _open_client(self) -> AbstractAsyncContextManager[Client]:
        return Client(self._config.current.replicas, tls=self._tls)

    async def _until_changed(self) -> None:
        """Returns when something else is to be restored, or from elsewhere."""
        await self._config.until_changed(_wanted)
        _log.info("configuration_changed", destination=self._config.current.destination)

    def _status(self, parameters: Mapping[str, str]) -> bytes:
        self._progress.told(parameters.get(RECORDED, ""))
        return encode(self._progress.report(now_ms()))

    def _not_ready(self) -> str:
        report = self._progress.report(now_ms())
        return report.error.text if report.error is not None and report.phase is RestorePhase.STARTING else ""


def _wanted(config: RestoreConfig) -> RestoreConfig:
    """The configuration without what is no reason to begin anew."""
    return msgspec.structs.replace(config, pinned=None, replicas=("",))
