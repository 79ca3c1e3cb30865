"""An object store in memory, for tests."""

from __future__ import annotations

from rstore_backup.errors import ArchiveError, ObjectExists, ObjectMissing
from rstore_backup.objects import ObjectInfo


class MemoryStore:
    """Objects by name. ``failing`` is raised by every request while it is set; ``requests`` are their names."""

    def __init__(self, objects: dict[str, bytes] | None = None) -> None:
        self.objects = dict(objects or {})
        self.failing: ArchiveError | None = None
        self.requests: list[tuple[str, str]] = []

    def _request(self, kind: str, name: str) -> None:
        self.requests.append((kind, name))
        if self.failing is not None:
            raise self.failing

    def _find(self, name: str) -> bytes:
        if name not in self.objects:
            raise ObjectMissing(name)
        return self.objects[name]

    async def create(self, name: str, data: bytes) -> None:
        self._request("create", name)
        if name in self.objects:
            raise ObjectExists(name)
        self.objects[name] = data

    async def get(self, name: str) -> bytes:
        self._request("get", name)
        return self._find(name)

    async def get_range(self, name: str, start: int, length: int) -> bytes:
        self._request("get_range", name)
        return self._find(name)[start : start + length]

    async def size_bytes(self, name: str) -> int:
        self._request("size_bytes", name)
        return len(self._find(name))

    async def list_after(self, folder: str, after: str = "") -> list[ObjectInfo]:
        self._request("list_after", folder)
        names = sorted(name for name in self.objects if name.startswith(f"{folder}/") and name > after)
        return [ObjectInfo(name, len(self.objects[name])) for name in names]

    async def folders(self, folder: str) -> list[str]:
        self._request("folders", folder)
        prefix = f"{folder}/" if folder else ""
        inside = (name.removeprefix(prefix) for name in self.objects if name.startswith(prefix))
        return sorted({prefix + name.split("/")[0] for name in inside if "/" in name})

    async def delete(self, name: str) -> None:
        self._request("delete", name)
        self.objects.pop(name, None)
