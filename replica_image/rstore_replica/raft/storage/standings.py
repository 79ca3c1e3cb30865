"""The file in which a replica keeps what the others have promised."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import msgspec

from rstore_replica.raft.clock import Clock
from rstore_replica.raft.membership import Membership
from rstore_replica.raft.standing import Standing, Standings
from rstore_replica.raft.storage.disk import Disk

logger = logging.getLogger(__name__)

SAVE_SECONDS = 1.0
"""From one saving to the next it takes at least this."""


class StandingsFile:
    """Saved at intervals, beside everything else: what a loss of power takes of the last interval, it takes from a
    second defence. Durable before that, for volumes that all go back in time have no other memory of each other.
    """

    def __init__(self, path: Path, disk: Disk, clock: Clock) -> None:
        self._path = path
        self._disk = disk
        self._clock = clock
        self._saved_version = 0
        self._next_saving = 0.0
        self._task: asyncio.Task[None] | None = None

    def load(self) -> Standings:
        """Returns what was saved last; nothing when that cannot be read."""
        try:
            return Standings(msgspec.json.decode(self._path.read_bytes(), type=tuple[Standing, ...]))
        except FileNotFoundError:
            return Standings()
        except (OSError, msgspec.MsgspecError) as error:
            logger.warning("raft_standings_unreadable path=%s error=%s", self._path, error)
            return Standings()

    def consider(self, standings: Standings, membership: Membership) -> None:
        """Begins to save when something was learnt since the last time."""
        now = self._clock.monotonic()
        if self._task is None and standings.version != self._saved_version and now >= self._next_saving:
            self._next_saving = now + SAVE_SECONDS
            self._saved_version = standings.version
            self._task = asyncio.create_task(self._save(msgspec.json.encode(standings.of(membership))))

    async def stop(self) -> None:
        """Waits for the saving under way."""
        if self._task is not None:
            await self._task

    async def _save(self, data: bytes) -> None:
        try:
            await self._disk.run_aside(lambda: self._write(data))
        except OSError as error:
            logger.warning("raft_standings_not_saved path=%s error=%s", self._path, error)
        finally:
            self._task = None

    def _write(self, data: bytes) -> None:
        unfinished = self._path.with_name(self._path.name + ".new")
        self._disk.remove(unfinished)
        file = self._disk.open(unfinished)
        try:
            file.append(data)
            file.sync()
        finally:
            file.close()
        self._disk.rename(unfinished, self._path)
        self._disk.sync_directory(self._path.parent)
