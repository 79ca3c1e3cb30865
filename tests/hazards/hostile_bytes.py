"""Bytes with bad intent: a pickle that makes a file when anybody loads it."""

from __future__ import annotations

import pickle
import struct
import zlib
from pathlib import Path


class _Creates:
    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return (open, (self.path, "w"))


class Marker:
    """A file that must never appear, and pickles that make it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.pickles = tuple(pickle.dumps(_Creates(path), protocol) for protocol in (0, 2, 4))

    @property
    def exists(self) -> bool:
        return self.path.exists()

    def framed(self) -> tuple[bytes, ...]:
        """Returns the pickles bare, compressed, and as PySyncObj's transport sends them."""
        packed = [zlib.compress(item, 3) for item in self.pickles]
        return (*self.pickles, *packed, *(struct.pack("i", len(item)) + item for item in packed))
