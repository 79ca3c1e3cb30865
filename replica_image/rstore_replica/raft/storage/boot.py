"""Whether state that is written without a sync per change can be trusted at a start.

What a process wrote survives that process, but not the machine: after a power loss such state may be older than the log
or be damaged. A marker beside it holds the machine's boot id while a process uses it. Same boot, or no marker because
the last process synced the state and took it away: trusted. Otherwise, also after a process that could not go on has
marked it so: remove the state, and the group brings it back from the last checkpoint and the journal, which are synced.
"""

from __future__ import annotations

from pathlib import Path

from rstore_replica.raft.storage.disk import Disk

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def read_boot_id() -> str:
    """The kernel's id of the present boot."""
    return BOOT_ID.read_text().strip()


class RunningMarker:
    """The marker in one file."""

    def __init__(self, path: Path, disk: Disk, boot_id: str) -> None:
        """``path`` must be outside the state it speaks of, on the same volume."""
        self._path = path
        self._disk = disk
        self._boot_id = boot_id

    def trusted(self) -> bool:
        """Whether the state is what the last process wrote, as far as processes can know."""
        if not self._path.exists():
            return True
        return self._path.read_bytes() == self._boot_id.encode()

    def distrust(self) -> None:
        """Notes, for as long as this boot lasts, that the state may not be what was written: a sync has failed.

        Needs no room on the disk.
        """
        file = self._disk.open(self._path)
        file.truncate(0)
        file.close()

    def set(self) -> None:
        """Durably notes that the state is in use from now on; to be called before it is opened for writing."""
        if not self._path.exists() or self._path.read_bytes() != self._boot_id.encode():
            unfinished = self._path.with_name(self._path.name + ".new")
            self._disk.remove(unfinished)
            file = self._disk.open(unfinished)
            file.append(self._boot_id.encode())
            file.sync()
            file.close()
            self._disk.rename(unfinished, self._path)
        # One that is there already needs no room, so that a full disk does not keep a replica from starting; but the
        # process that renamed it may have been killed before this.
        self._disk.sync_directory(self._path.parent)

    def clear(self) -> None:
        """Durably notes that the state is complete; only after it has been synced and closed."""
        self._disk.remove(self._path)
        self._disk.sync_directory(self._path.parent)
