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

from rstore_backup.archiver.http_port import HttpPort
from rstore_backup.archiver.process import LOOK_SECONDS, WHOLE_VOLUME, now_ms
from rstore_backup.archiver.scratch import Scratch
from rstore_backup.config import ConfigError
from rstore_backup.objects import ObjectStore
from rstore_backup.restore_config import RestoreConfig, decode
from rstore_backup.restore_report import RECORDED, RestorePhase, encode
from rstore_backup.restorer.metrics import ProcessMetrics
from rstore_backup.restorer.progress import Progress
from rstore_backup.restorer.restorer import Restorer
from rstore_backup.restorer.rules import Different
from rstore_backup.stores import open_store

_log = get_logger(__name__)


def read_config(path: Path) -> RestoreConfig:
    """Returns the configuration in a file. Raises ConfigError."""
    try:
        return decode(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error


class RestorerProcess:
    """Runs the restore that a file describes, and reports it until it is stopped."""

    def __init__(
        self,
        path: Path,
        config: RestoreConfig,
        *,
        tls: TlsSource | None,
        listen_host: str,
        folder: Path | None = None,
        scratch: Scratch | None = None,
    ) -> None:
        """``folder`` is what a destination of ``file:///`` stands for. ``scratch`` is where the temporary file is."""
        self._path = path
        self._config = config
        self._tls = tls
        self._folder = folder
        self._scratch = scratch
        self._progress = Progress()
        self._http = HttpPort(
            listen_host, config.http_port, status=self._status, not_ready=self._not_ready, metrics=ProcessMetrics()
        )

    async def run(self, asked_to_stop: asyncio.Event) -> None:
        """Restores until it is asked to stop; what it has done by then is done, and what it has not is begun anew by
        the next process. Raises OSError when its port is taken or the folder for its file cannot be used."""
        if self._scratch is not None:
            self._scratch.clear()
        await self._http.start()
        stopping = asyncio.create_task(asked_to_stop.wait())
        try:
            while not stopping.done():
                restoring = asyncio.create_task(self._restore())
                watching = asyncio.create_task(self._until_changed())
                await asyncio.wait((restoring, watching, stopping), return_when=asyncio.FIRST_COMPLETED)
                failed = restoring.done() and not restoring.cancelled() and restoring.exception() is not None
                for task in (restoring, watching):
                    task.cancel()
                await asyncio.gather(restoring, watching, return_exceptions=not failed)
        finally:
            stopping.cancel()
            await self._http.stop()

    async def _restore(self) -> None:
        """Restores, and then waits for another configuration, or for the end."""
        restorer = Restorer(
            destination=self._open_destination,
            store=self._open_client,
            config=lambda: self._config,
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
        config, folder = self._config, self._folder
        of_volume = folder is not None and config.destination == WHOLE_VOLUME
        destination = folder.absolute().as_uri() if folder is not None and of_volume else config.destination
        return open_store(destination, config.endpoint)

    def _open_client(self) -> AbstractAsyncContextManager[Client]:
        return Client(self._config.replicas, tls=self._tls)

    async def _until_changed(self) -> None:
        """Returns when something else is to be restored, or from elsewhere."""
        before = _wanted(self._config)
        refused = ""
        while _wanted(self._config) == before:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                self._config = await asyncio.to_thread(read_config, self._path)
            except ConfigError as error:
                if str(error) != refused:
                    _log.error("configuration_refused", reason=str(error))
                refused = str(error)
        _log.info("configuration_changed", destination=self._config.destination)

    def _status(self, parameters: Mapping[str, str]) -> bytes:
        self._progress.told(parameters.get(RECORDED, ""))
        return encode(self._progress.report(now_ms()))

    def _not_ready(self) -> str:
        report = self._progress.report(now_ms())
        return report.error.text if report.error is not None and report.phase is RestorePhase.STARTING else ""


def _wanted(config: RestoreConfig) -> RestoreConfig:
    """The configuration without what is no reason to begin anew."""
    return msgspec.structs.replace(config, pinned=None, replicas=("",))
