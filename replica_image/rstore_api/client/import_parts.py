"""What an empty store can be filled with, in parts that the Import service takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from rstore_api.proto.rstore_pb2 import ImportedAuth, ImportedKey, ImportedLease, ImportRequest

LEASE_SUBS_FROM = 1 << 31
AUTH_SUBS_FROM = LEASE_SUBS_FROM + (1 << 30)
"""Sub-revisions of leases, and of users and roles, above those of keys in the same revision."""
_FIELD_BYTES = 8
"""Of a message in a part, besides its own bytes, at most."""


class ImportSource(Protocol):
    """Keys, leases, users and roles as they were at one revision."""

    @property
    def revision(self) -> int:
        """At which they were so."""
        ...

    @property
    def leases(self) -> Sequence[tuple[int, int]]:
        """Ids and seconds to live of the leases, in the order of their ids' bytes."""
        ...

    @property
    def auth(self) -> Sequence[tuple[bytes, bytes]]:
        """Keys and values of the rows of users and roles, in order; see rstore_replica/mvcc/data/auth.py."""
        ...

    def __len__(self) -> int:
        """The number of keys."""
        ...

    def imported_keys(self) -> Iterator[ImportedKey]:
        """Yields the keys, in order."""
        ...


def parts(source: ImportSource, *, max_bytes: int, revision_jump: int = 0) -> Iterator[ImportRequest]:
    """Yields all of a source in parts of about ``max_bytes``; ``after_key`` is left to the caller.

    A key with a larger value comes alone. There is one part at least.
    """
    part, size = ImportRequest(revision=source.revision, revision_jump=revision_jump), 0
    for item in _items(source):
        added = item.ByteSize() + _FIELD_BYTES
        if size and size + added > max_bytes:
            yield part
            part, size = ImportRequest(revision=source.revision, revision_jump=revision_jump), 0
        size += added
        match item:
            case ImportedKey():
                part.keys.append(item)
            case ImportedLease():
                part.leases.append(item)
            case ImportedAuth():
                part.auth.append(item)
    part.last = True
    yield part


def _items(source: ImportSource) -> Iterator[ImportedKey | ImportedLease | ImportedAuth]:
    yield from source.imported_keys()
    for number, (lease, ttl_seconds) in enumerate(source.leases):
        yield ImportedLease(id=lease, ttl_seconds=ttl_seconds, sub=LEASE_SUBS_FROM + number)
    for number, (key, value) in enumerate(source.auth):
        yield ImportedAuth(key=key, value=value, sub=AUTH_SUBS_FROM + number)
