"""Where a process has its temporary files, and a note that a drill is under way, which survives the end of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec

from rstore_backup.report import DrillProgress
from rstore_backup.restoring.key_table import FOLDER_PREFIX

NOTE = "drill.json"


class Scratch:
    """A folder for these alone, of which at most ``max_bytes`` are used (None: as much as there is)."""

    def __init__(self, folder: Path, max_bytes: int | None = None) -> None:
        self.folder = folder
        self.max_bytes = max_bytes

    def begin(self, drill: DrillProgress) -> None:
        """Notes that a drill is under way. Raises OSError."""
        (self.folder / NOTE).write_bytes(msgspec.json.encode(drill))

    def end(self) -> None:
        """Notes that it has ended, or was called off."""
        (self.folder / NOTE).unlink(missing_ok=True)

    def clear(self) -> DrillProgress | None:
        """Removes what a killed process has left; returns the drill in which it was killed, None if it was in none."""
        for left in self.folder.glob(f"{FOLDER_PREFIX}*"):
            shutil.rmtree(left, ignore_errors=True)
        note = self.folder / NOTE
        try:
            drill = msgspec.json.decode(note.read_bytes(), type=DrillProgress)
        except (OSError, msgspec.DecodeError):
            drill = None
        note.unlink(missing_ok=True)
        return drill
