"""The object stores that an archive can be in, by URL. Everything about the library that talks to them is here.

Credentials come from the environment, by the names that each provider's own tools use (``AWS_ACCESS_KEY_ID``,
``GOOGLE_APPLICATION_CREDENTIALS``, ``AZURE_STORAGE_ACCOUNT_NAME``, …), or from the workload's identity.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote, urlsplit

from rstore_backup.errors import (
    AccessRefused,
    ArchiveError,
    DestinationInvalid,
    ObjectExists,
    ObjectMissing,
    StoreUnavailable,
)
from rstore_backup.folder import FolderStore
from rstore_backup.objects import ObjectInfo, ObjectStore

if TYPE_CHECKING:
    import obstore.store

SCHEMES = ("s3", "gs", "az", "file")
CONNECT_SECONDS = 10
REQUEST_SECONDS = 120
"""For one request: also the upload of a large segment over a slow line."""
MAX_RETRIES = 3
RETRY_SECONDS = 30
"""After which a request that is tried again by the library is given up."""
MAX_TEXT = 500
"""Characters of an error that the library reports; some quote the whole answer."""

_NO_BUCKET = ("NoSuchBucket", "ContainerNotFound")
_NO_ACCESS = (
    *("redential", "metadata endpoint", "InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied"),
    *("AuthenticationFailed", "AuthorizationFailure", "401 Unauthorized", "403 Forbidden"),
)
"""In texts of errors that the library gives no class of their own, as when a list is asked for."""
_ANSWER = re.compile("<Code>([^<]*)</Code>.*?<Message>([^<]*)</Message>")
_DURATION = re.compile(r" in [0-9.]+(ns|µs|ms|s)\b")

T = TypeVar("T")


def open_store(url: str, endpoint: str = "") -> ObjectStore:
    """Returns the objects below a destination, which is not asked for anything yet.

    ``endpoint`` is the address of an S3-compatible store; "" where it is the provider's own, or in the environment.
    Raises DestinationInvalid.
    """
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES or parts.query or parts.fragment:
        raise DestinationInvalid(
            f"{url!r} is no destination: it begins with {', '.join(f'{each}://' for each in SCHEMES)}"
        )
    if parts.scheme == "file":
        if parts.netloc or not parts.path.startswith("/"):
            raise DestinationInvalid(f"{url!r} names no folder, as file:///folder does")
        return FolderStore(Path(unquote(parts.path)))
    if not parts.netloc:
        raise DestinationInvalid(f"{url!r} names no bucket")
    return Remote(_open(url, endpoint), url)


class Below:
    """The objects of a store in one of its folders, which their names leave out."""

    def __init__(self, store: ObjectStore, folder: str) -> None:
        """``folder``: without a ``/`` at its end."""
        self._store = store
        self._folder = folder

    async def create(self, name: str, data: bytes) -> None:
        """Implements :class:`ObjectStore`."""
        await self._store.create(f"{self._folder}/{name}", data)

    async def get(self, name: str) -> bytes:
        """Implements :class:`ObjectStore`."""
        return await self._store.get(f"{self._folder}/{name}")

    async def get_range(self, name: str, start: int, length: int) -> bytes:
        """Implements :class:`ObjectStore`."""
        return await self._store.get_range(f"{self._folder}/{name}", start, length)

    async def size_bytes(self, name: str) -> int:
        """Implements :class:`ObjectStore`."""
        return await self._store.size_bytes(f"{self._folder}/{name}")

    async def list_after(self, folder: str, after: str = "") -> list[ObjectInfo]:
        """Implements :class:`ObjectStore`."""
        listed = await self._store.list_after(
            f"{self._folder}/{folder}".rstrip("/"), f"{self._folder}/{after}" if after else ""
        )
        return [ObjectInfo(self._without(info.name), info.size_bytes) for info in listed]

    async def folders(self, folder: str) -> list[str]:
        """Implements :class:`ObjectStore`."""
        return [self._without(each) for each in await self._store.folders(f"{self._folder}/{folder}".rstrip("/"))]

    async def delete(self, name: str) -> None:
        """Implements :class:`ObjectStore`."""
        await self._store.delete(f"{self._folder}/{name}")

    def _without(self, name: str) -> str:
        return name.removeprefix(f"{self._folder}/")


class Remote:
    """A bucket or container."""

    def __init__(self, store: obstore.store.ObjectStore, url: str) -> None:
        self._store = store
        self._url = url

    async def create(self, name: str, data: bytes) -> None:
        """Implements :class:`ObjectStore`."""
        import obstore

        await self._ask(name, obstore.put_async(self._store, name, data, mode="create", use_multipart=False), puts=True)

    async def get(self, name: str) -> bytes:
        """Implements :class:`ObjectStore`."""
        return await self._ask(name, self._get(name))

    async def _get(self, name: str) -> bytes:
        import obstore

        result = await obstore.get_async(self._store, name)
        return bytes(await result.bytes_async())

    async def get_range(self, name: str, start: int, length: int) -> bytes:
        """Implements :class:`ObjectStore`."""
        import obstore

        return bytes(await self._ask(name, obstore.get_range_async(self._store, name, start=start, end=start + length)))

    async def size_bytes(self, name: str) -> int:
        """Implements :class:`ObjectStore`."""
        import obstore

        return int((await self._ask(name, obstore.head_async(self._store, name)))["size"])

    async def list_after(self, folder: str, after: str = "") -> list[ObjectInfo]:
        """Implements :class:`ObjectStore`."""
        return await self._ask(folder, self._list(folder, after))

    async def _list(self, folder: str, after: str) -> list[ObjectInfo]:
        import obstore

        listed: list[ObjectInfo] = []
        async for batch in obstore.list(self._store, prefix=folder or None, offset=after or None, chunk_size=1000):
            listed += [ObjectInfo(str(meta["path"]), int(meta["size"])) for meta in batch]
        return sorted(listed, key=lambda info: info.name)

    async def folders(self, folder: str) -> list[str]:
        """Implements :class:`ObjectStore`."""
        import obstore

        result = await self._ask(folder, obstore.list_with_delimiter_async(self._store, prefix=folder or None))
        return sorted(str(prefix).rstrip("/") for prefix in result["common_prefixes"])

    async def delete(self, name: str) -> None:
        """Implements :class:`ObjectStore`."""
        import obstore

        try:
            await self._ask(name, obstore.delete_async(self._store, name))
        except ObjectMissing:
            return

    async def _ask(self, name: str, request: Awaitable[T], *, puts: bool = False) -> T:
        from obstore.exceptions import BaseError

        try:
            return await request
        except (BaseError, OSError, ValueError) as error:
            raise _error_of(error, name, self._url, puts=puts) from error


def _open(url: str, endpoint: str) -> Any:
    from obstore.exceptions import BaseError
    from obstore.store import from_url

    options: dict[str, Any] = {
        "client_options": {
            "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
            "timeout": timedelta(seconds=REQUEST_SECONDS),
        },
        "retry_config": {"max_retries": MAX_RETRIES, "retry_timeout": timedelta(seconds=RETRY_SECONDS)},
    }
    if endpoint:
        options["endpoint"] = endpoint
        if endpoint.startswith("http://"):
            options["client_options"]["allow_http"] = True
    try:
        return from_url(url, **options)
    except (BaseError, ValueError, TypeError, OSError) as error:
        raise DestinationInvalid(f"{url}: {_text(error)}") from error


def _error_of(error: Exception, name: str, url: str, *, puts: bool) -> ArchiveError:
    from obstore import exceptions

    text = _text(error)
    if isinstance(error, exceptions.AlreadyExistsError | exceptions.PreconditionError):
        return ObjectExists(name)
    if any(word in text for word in _NO_BUCKET):
        return DestinationInvalid(f"{url}: there is no such bucket: {text}")
    if isinstance(error, FileNotFoundError | exceptions.NotFoundError):
        return DestinationInvalid(f"{url}: there is no such bucket: {text}") if puts else ObjectMissing(name)
    if isinstance(error, exceptions.PermissionDeniedError | exceptions.UnauthenticatedError):
        return AccessRefused(f"{url}: {text}")
    if any(word in text for word in _NO_ACCESS):
        return AccessRefused(f"{url}: {text}")
    return StoreUnavailable(f"{url}: {text}")


def _text(error: Exception) -> str:
    """What is different each time, such as how long it took, is left out: the text is kept in a status."""
    text = " ".join(str(error).partition("Debug source:")[0].split())
    if answer := _ANSWER.search(text):
        return f"{answer[1]}: {answer[2]}"
    text = _DURATION.sub("", text)
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]} …"
