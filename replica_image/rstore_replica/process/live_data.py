"""Whether the state machine's live data may be used at a start, and the note of that at the end.

The state machine does not sync its commits: what is durable is the log. So its data is dropped, and the group brings it
back from its last checkpoint and the log, after the end of the *machine* (a power loss, a volume that moved), after a
process that could not go on, where it cannot be opened, and where the system could not write it to the disk. That may
happen after a process was killed, so nobody was there to learn it; a sync at the start reports it, on Linux to the
first that asks, for as long as the system remembers the file (Rebello et al., see ``raft/storage/journal.py``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from rstore_api.logs import get_logger

from rstore_replica.mvcc.data import checkpoint
from rstore_replica.mvcc.data.store import DataDamaged
from rstore_replica.mvcc.machine import Machine
from rstore_replica.raft.storage.boot import RunningMarker, read_boot_id
from rstore_replica.raft.storage.disk import Disk, LocalDisk

_log = get_logger(__name__)

DATA = "mvcc"
QUARANTINE = "quarantine"
MARKER = "mvcc.running"


class LiveData:
    """The live data below one replica's data directory, between :meth:`open` and :meth:`release`."""

    def __init__(self, data_directory: Path, *, disk: Disk | None = None, boot_id: str | None = None) -> None:
        """``boot_id``: of the machine; read from the kernel when not given. Raises OSError."""
        self.path = data_directory / DATA
        self.quarantine = data_directory / QUARANTINE
        """The files of diverged tails, which like the data are synced with each checkpoint only."""
        self._disk = disk or LocalDisk()
        self._marker = RunningMarker(
            data_directory / MARKER, self._disk, read_boot_id() if boot_id is None else boot_id
        )

    def open(self, open_machine: Callable[[], Machine]) -> Machine:
        """Returns the machine that ``open_machine`` opens in :attr:`path`, empty where its data cannot be trusted.

        Notes before that the data is in use. Raises OSError or StorageFailed.
        """
        if problem := self._problem():
            self._drop(problem)
        self._marker.set()
        try:
            return open_machine()
        except DataDamaged as error:
            self._drop(str(error))
            return open_machine()

    def _problem(self) -> str:
        """Returns why the data cannot be trusted; "" when it is what was written."""
        if not self._marker.trusted():
            return "the machine stopped or the replica failed"
        try:
            for directory in (self.path, self.quarantine):
                if directory.exists():
                    self._disk.sync_tree(directory)
        except OSError as error:
            return f"not all of it could be written to the disk: {error}"
        return ""

    def _drop(self, reason: str) -> None:
        """Tails need not be dropped: applying the log again writes again what may be missing in them."""
        _log.warning("live_data_dropped", path=str(self.path), reason=reason)
        checkpoint.discard(self.path)

    def distrust(self) -> None:
        """Has the next start drop the data. Nothing to do where the disk refuses even that: it needs another boot."""
        with suppress(OSError):
            self._marker.distrust()

    async def release(self, machine: Machine) -> None:
        """Syncs (in a thread) and closes the data and notes that it is complete. Raises OSError or StorageFailed; then
        the next start drops the data.
        """
        try:
            await asyncio.to_thread(machine.sync)
        except Exception:
            self.distrust()
            raise
        machine.close()
        self._marker.clear()
        self._disk.close()
