"""The configuration of a process, in a file that changes while it runs, and what it stands for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Generic, TypeVar

from rstore_api.logs import get_logger

from rstore_backup.config import ConfigError

_log = get_logger(__name__)

WHOLE_VOLUME = "file:///"
"""The destination that stands for the folder which is named on the command line."""
LOOK_SECONDS = 2.0
"""Between two looks at the configuration, which the kubelet keeps up to date."""

ConfigT = TypeVar("ConfigT")


class ConfigFile(Generic[ConfigT]):
    """The newest configuration in a file that could be read."""

    def __init__(self, path: Path, decode: Callable[[bytes], ConfigT]) -> None:
        """Raises ConfigError."""
        self._path = path
        self._decode = decode
        self.current = self._read()

    async def until_changed(self, what: Callable[[ConfigT], object]) -> None:
        """Reads the file again and again, and returns when ``what`` of it is another. A file that cannot be used is
        logged, and the configuration stays as it is."""
        before = what(self.current)
        refused = ""
        while what(self.current) == before:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                self.current = await asyncio.to_thread(self._read)
            except ConfigError as error:
                if str(error) != refused:
                    _log.error("configuration_refused", reason=str(error))
                refused = str(error)

    def _read(self) -> ConfigT:
        try:
            return self._decode(self._path.read_bytes())
        except OSError as error:
            raise ConfigError(f"{self._path} cannot be read: {error.strerror}") from error


async def work_until_stopped(
    work: Callable[[], Coroutine[object, object, None]],
    changed: Callable[[], Coroutine[object, object, None]],
    asked_to_stop: asyncio.Event,
) -> None:
    """Does the work, and begins it anew when ``changed`` returns, until it is asked to stop. Raises what the work
    raises."""
    stopping = asyncio.create_task(asked_to_stop.wait())
    try:
        while not stopping.done():
            working, watching = asyncio.create_task(work()), asyncio.create_task(changed())
            await asyncio.wait((working, watching, stopping), return_when=asyncio.FIRST_COMPLETED)
            failed = working.done() and not working.cancelled() and working.exception() is not None
            for task in (working, watching):
                task.cancel()
            await asyncio.gather(working, watching, return_exceptions=not failed)
    finally:
        stopping.cancel()


def destination_of(destination: str, folder: Path | None) -> str:
    """Returns the URL of the archives; ``folder`` is what a destination of ``file:///`` stands for."""
    return destination if folder is None or destination != WHOLE_VOLUME else folder.absolute().as_uri()


def now_ms() -> int:
    """Returns the time, in milliseconds since 1970."""
    return time.time_ns() // 1_000_000
