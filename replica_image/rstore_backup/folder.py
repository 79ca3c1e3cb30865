"""An archive in a folder, such as one on a volume. An object is a file that appears whole, and is on the disk then."""

from __future__ import annotations

import asyncio
import errno
import os
import uuid
from pathlib import Path

from rstore_backup.errors import AccessRefused, DestinationInvalid, ObjectExists, ObjectMissing, StoreUnavailable
from rstore_backup.objects import ObjectInfo

UNFINISHED = ".unfinished-"
"""Files whose names begin so are none of the objects: they were being written when the writer died."""


class FolderStore:
    """Objects below a folder, which is made with the first of them; work is done in threads."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def create(self, name: str, data: bytes) -> None:
        """Implements :class:`ObjectStore`."""
        await asyncio.to_thread(self._create, name, data)

    async def get(self, name: str) -> bytes:
        """Implements :class:`ObjectStore`."""
        return await asyncio.to_thread(self._read, name, 0, None)

    async def get_range(self, name: str, start: int, length: int) -> bytes:
        """Implements :class:`ObjectStore`."""
        return await asyncio.to_thread(self._read, name, start, length)

    async def size_bytes(self, name: str) -> int:
        """Implements :class:`ObjectStore`."""
        return await asyncio.to_thread(self._size_bytes, name)

    async def list_after(self, folder: str, after: str = "") -> list[ObjectInfo]:
        """Implements :class:`ObjectStore`."""
        return await asyncio.to_thread(self._list, folder, after)

    async def folders(self, folder: str) -> list[str]:
        """Implements :class:`ObjectStore`."""
        return await asyncio.to_thread(self._folders, folder)

    async def delete(self, name: str) -> None:
        """Implements :class:`ObjectStore`."""
        await asyncio.to_thread(self._delete, name)

    def _create(self, name: str, data: bytes) -> None:
        path = self._root / name
        unfinished = path.with_name(f"{UNFINISHED}{uuid.uuid4().hex}")
        try:
            _make_folders(path.parent)
            try:
                with unfinished.open("xb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                os.link(unfinished, path)  # fails where the name is taken, which a rename would not
            finally:
                unfinished.unlink(missing_ok=True)
            _sync_folder(path.parent)
        except FileExistsError:
            raise ObjectExists(name) from None
        except OSError as error:
            raise _error_of(error, path) from error

    def _read(self, name: str, start: int, length: int | None) -> bytes:
        path = self._root / name
        try:
            with path.open("rb") as file:
                file.seek(start)
                return file.read(-1 if length is None else length)
        except FileNotFoundError:
            self._require_root()
            raise ObjectMissing(name) from None
        except OSError as error:
            raise _error_of(error, path) from error

    def _size_bytes(self, name: str) -> int:
        path = self._root / name
        try:
            return path.stat().st_size
        except FileNotFoundError:
            self._require_root()
            raise ObjectMissing(name) from None
        except OSError as error:
            raise _error_of(error, path) from error

    def _list(self, folder: str, after: str) -> list[ObjectInfo]:
        self._require_root()
        listed: list[ObjectInfo] = []
        try:
            for parent, _, files in os.walk(self._root / folder):
                base = Path(parent)
                for file in files:
                    name = str((base / file).relative_to(self._root))
                    if not file.startswith(UNFINISHED) and name > after:
                        listed.append(ObjectInfo(name, (base / file).stat().st_size))
        except OSError as error:
            raise _error_of(error, self._root / folder) from error
        return sorted(listed, key=lambda info: info.name)

    def _folders(self, folder: str) -> list[str]:
        self._require_root()
        path = self._root / folder
        try:
            return sorted(f"{folder}/{each.name}".lstrip("/") for each in path.iterdir() if each.is_dir())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _error_of(error, path) from error

    def _delete(self, name: str) -> None:
        path = self._root / name
        try:
            path.unlink(missing_ok=True)
            for parent in path.parents:
                if parent == self._root or any(parent.iterdir()):
                    break
                parent.rmdir()
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.ENOENT):
                raise _error_of(error, path) from error

    def _require_root(self) -> None:
        if not self._root.is_dir():
            raise DestinationInvalid(f"there is no folder {self._root}")


def _make_folders(path: Path) -> None:
    missing = [each for each in (path, *path.parents) if not each.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for each in missing:
        _sync_folder(each.parent)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _error_of(error: OSError, path: Path) -> AccessRefused | StoreUnavailable:
    text = f"{path}: {error.strerror or error}"
    refused = error.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
    return AccessRefused(text) if refused else StoreUnavailable(text)
