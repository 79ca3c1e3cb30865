"""Whether the state machine's live data may be used at a start, and the note of that at the end.

The state machine does not sync its commits: what is durable is the log. So after the end of the *machine* (a power
loss, a volume that moved), and after a process that could not go on (its disk may have lost what was written), its data
is dropped, and the group brings it back: from its last checkpoint and the log.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

from rstore_api.logs import get_logger

from rstore_replica.mvcc.data import checkpoint
from rstore_replica.mvcc.machine import Machine
from rstore_replica.raft.storage.boot import RunningMarker, read_boot_id
from rstore_replica.raft.storage.disk import LocalDisk

_log = get_logger(__name__)

DATA = "mvcc"
MARKER = "mvcc.running"


class LiveData:
    """The live data below one replica's data directory, between :meth:`claim` and :meth:`release`."""

    def __init__(self, data_directory: Path, *, boot_id: str | None = None) -> None:
        """``boot_id``: of the machine; read from the kernel when not given. Raises OSError."""
        self.path = data_directory / DATA
        self._disk = LocalDisk()
        self._marker = RunningMarker(
            data_directory / MARKER, self._disk, read_boot_id() if boot_id is None else boot_id
        )

    def claim(self) -> None:
        """Drops data that cannot be trusted and notes that it is in use; before it is opened.

        Raises OSError or StorageFailed.
        """
        if not self._marker.trusted():
            _log.warning("live_data_dropped", path=str(self.path), reason="the machine stopped or the replica failed")
            checkpoint.discard(self.path)
        self._marker.set()

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
