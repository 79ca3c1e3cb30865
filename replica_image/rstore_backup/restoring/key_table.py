"""The keys, leases, users and roles at one revision, made out of a base and of the rows after it.

They are in an SQLite file in a temporary folder: its cache takes up to ``CACHE_BYTES`` of memory, whatever is more than
that is written to the disk. So it takes as much room there as the keys and values, and no more memory for more of them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from types import TracebackType

from rstore_api import key_hash, rows
from rstore_api.proto.kv_pb2 import KeyValue
from rstore_api.proto.rstore_pb2 import DeletedRange, ImportedKey

from rstore_backup.errors import ArchiveError

CACHE_BYTES = 64 << 20
FOLDER_PREFIX = "rstore-restore-"
_FETCHED = 256
"""Names of keys that are read at a time."""
_TABLE = """
CREATE TABLE newest (
  kind INTEGER, key BLOB, modified INTEGER, sub INTEGER, created INTEGER, version INTEGER, lease INTEGER, value BLOB,
  PRIMARY KEY (kind, key)
)
"""
_PUT = """
INSERT INTO newest VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (kind, key) DO UPDATE SET modified = excluded.modified,
  sub = excluded.sub, created = excluded.created, version = excluded.version, lease = excluded.lease,
  value = excluded.value
"""
_PAGE_BYTES = 16 << 10
"""With such pages, and row numbers, the file is a tenth larger than values of 1 KiB: in smaller pages, or in the index
itself, each of these values would have a page or two of its own.
"""


class TableUnusable(ArchiveError):  # noqa: N818
    """The temporary folder does not take the keys; most often its disk is full."""


class Impossible(ArchiveError):  # noqa: N818
    """Rows that do not follow what was before them."""


class KeyTable:
    """What is there at ``revision``, a source of what an empty store is filled with. To be closed.

    It may be used from any thread, by one at a time.
    """

    def __init__(
        self, directory: Path | None = None, *, cache_bytes: int = CACHE_BYTES, max_bytes: int | None = None
    ) -> None:
        """The file is in a folder of its own in ``directory`` (default: the system's for temporary files), and takes at
        most ``max_bytes`` there. Raises TableUnusable.
        """
        self.revision = 1
        self._lock = Lock()
        """Held while the file is used; not by a reader that has a key and has not asked for the next one."""
        with ExitStack() as made:
            try:
                self._folder = made.enter_context(TemporaryDirectory(prefix=FOLDER_PREFIX, dir=directory))
            except OSError as error:
                raise TableUnusable(f"no temporary folder could be made: {error}") from error
            with self._usable():
                file = Path(self._folder) / "keys.sqlite"
                self._database = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
                made.callback(self._database.close)
                self._database.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
                # Nothing of it is needed after a crash, so nothing is synced and nothing can be taken back.
                for setting in ("journal_mode = OFF", "synchronous = OFF", "locking_mode = EXCLUSIVE"):
                    self._database.execute(f"PRAGMA {setting}")
                self._database.execute(f"PRAGMA cache_size = -{cache_bytes >> 10}")
                if max_bytes is not None:
                    self._database.execute(f"PRAGMA max_page_count = {max(1, max_bytes // _PAGE_BYTES)}")
                self._database.execute(_TABLE)
                self._database.execute("BEGIN")
            self._made = made.pop_all()

    def __enter__(self) -> KeyTable:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Removes the file, once a thread that uses it has ended what it does; what it begins after that fails with
        TableUnusable. A restore that is cancelled leaves such a thread behind.
        """
        with self._lock:
            self._made.close()

    # ------------------------------------------------------------------------------------------ writing

    def apply(self, frames: Iterable[rows.Frame]) -> None:
        """Takes rows, of a key those that are newer later. Raises TableUnusable."""
        newest: dict[tuple[int, bytes], tuple[object, ...] | None] = {}
        for revision, sub, _, body, key, created, version in frames:
            kind = rows.kind_of(body)
            if version:
                lease, value = rows.attached_lease(body), rows.value_of(body)
                newest[kind, key] = (kind, key, revision, sub, created, version, lease, value)
            else:
                newest[kind, key] = None
        with self._usable():
            self._database.executemany(
                "DELETE FROM newest WHERE kind = ? AND key = ?", [place for place, row in newest.items() if row is None]
            )
            self._database.executemany(_PUT, [row for _, row in sorted(newest.items()) if row is not None])

    def delete_range(self, deleted: DeletedRange) -> None:
        """Takes a revision that deleted all keys of a range. Raises Impossible when they are not the keys that it says,
        TableUnusable.
        """
        where, bounds = _within(deleted.key, deleted.range_end)
        count = checksum = 0
        with self._usable():
            cursor = self._database.execute(f"SELECT key FROM newest WHERE {where} ORDER BY key", bounds)
            while keys := cursor.fetchmany(_FETCHED):
                checksum = key_hash.extend_names(checksum, [key for (key,) in keys])
                count += len(keys)
            if (count, checksum) != (deleted.count, deleted.checksum):
                raise Impossible(
                    f"revision {deleted.revision} deleted {deleted.count} keys from {deleted.key!r} on, and before it "
                    f"there are {'other' if count == deleted.count else count} ones"
                )
            self._database.execute(f"DELETE FROM newest WHERE {where}", bounds)

    # ------------------------------------------------------------------------------------------ reading

    def __len__(self) -> int:
        with self._usable():
            return int(self._database.execute("SELECT count(*) FROM newest WHERE kind = ?", (rows.KEY,)).fetchone()[0])

    @property
    def leases(self) -> list[tuple[int, int]]:
        """Ids and seconds to live of the leases, in the order of their ids' bytes."""
        return [
            (int.from_bytes(key, "big", signed=True), rows.LEASE_VALUE.unpack(value)[0])
            for key, value in self._records(rows.LEASE)
        ]

    @property
    def auth(self) -> list[tuple[bytes, bytes]]:
        """Keys and values of the rows of users and roles, in order."""
        return self._records(rows.AUTH)

    def imported_keys(self) -> Iterator[ImportedKey]:
        """Yields the keys in order."""
        return self._keys(b"\0", b"\0")

    def keys(self, start: bytes = b"\0", range_end: bytes = b"\0") -> Iterator[KeyValue]:
        """Yields the keys of a range, in order; ``b"\\0"`` is no end."""
        return (imported.kv for imported in self._keys(start, range_end))

    def hash(self) -> int:
        """Returns the HashKV of the keys, see :mod:`rstore_api.key_hash`."""
        checksum = 0
        for kv in self.keys():
            hashed = key_hash.packed(kv.key, kv.value, kv.create_revision, kv.mod_revision, kv.version, kv.lease)
            checksum = key_hash.extend(checksum, hashed)
        return checksum

    def _keys(self, start: bytes, range_end: bytes) -> Iterator[ImportedKey]:
        where, bounds = _within(start, range_end)
        columns = "key, value, created, modified, version, lease, sub"
        query = f"SELECT {columns} FROM newest WHERE {where} ORDER BY key"
        with self._explained():
            with self._lock:
                cursor = self._database.execute(query, bounds)
            while True:
                with self._lock:
                    row = cursor.fetchone()
                if row is None:
                    return
                key, value, created, modified, version, lease, sub = row
                kv = KeyValue(
                    key=key,
                    value=value,
                    create_revision=created,
                    mod_revision=modified,
                    version=version,
                    lease=lease,
                )
                yield ImportedKey(kv=kv, sub=sub)

    def _records(self, kind: int) -> list[tuple[bytes, bytes]]:
        with self._usable():
            return self._database.execute(
                "SELECT key, value FROM newest WHERE kind = ? ORDER BY key", (kind,)
            ).fetchall()

    @contextmanager
    def _usable(self) -> Iterator[None]:
        with self._explained(), self._lock:
            yield

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise TableUnusable(f"{self._folder}: {error}") from error


def _within(key: bytes, range_end: bytes) -> tuple[str, tuple[object, ...]]:
    """Returns the condition for the keys of a range as etcd has it: one key where ``range_end`` is empty, all keys from
    ``key`` on where it is ``b"\\0"``.
    """
    if not range_end:
        return "kind = ? AND key = ?", (rows.KEY, key)
    if range_end == b"\0":
        return "kind = ? AND key >= ?", (rows.KEY, key)
    return "kind = ? AND key >= ? AND key < ?", (rows.KEY, key, range_end)
