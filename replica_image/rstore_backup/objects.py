"""What an archive needs of an object store; ``stores.py`` has the real ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class ObjectInfo:
    """An object in a list."""

    name: str
    size_bytes: int


class ObjectStore(Protocol):
    """Objects by name, below one prefix. Every method raises StoreUnavailable, AccessRefused or DestinationInvalid.

    Names are relative to the prefix, with ``/`` between their parts.
    """

    async def create(self, name: str, data: bytes) -> None:
        """Writes a new object, all of it or nothing. Raises ObjectExists."""

    async def get(self, name: str) -> bytes:
        """Returns an object. Raises ObjectMissing."""

    async def get_range(self, name: str, start: int, length: int) -> bytes:
        """Returns at most ``length`` bytes from ``start`` on, fewer at the object's end. Raises ObjectMissing."""

    async def size_bytes(self, name: str) -> int:
        """Returns an object's size. Raises ObjectMissing."""

    async def list_after(self, folder: str, after: str = "") -> list[ObjectInfo]:
        """Returns the objects in a folder (its name without a ``/`` at the end) and in the folders below it, of which
        the names follow ``after``, in order of their names.
        """

    async def folders(self, folder: str) -> list[str]:
        """Returns the names of the folders right below a folder ("": the prefix itself), in order."""

    async def delete(self, name: str) -> None:
        """Removes an object; nothing happens when there is none."""
