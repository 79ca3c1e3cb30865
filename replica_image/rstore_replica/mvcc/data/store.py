"""The LMDB environment: its files, its databases, its growth, and the position kept beside the data.

Commits are not synced: the Raft journal is what is durable, and after a crash of the *machine* the environment is not
to be trusted (a checkpoint is). After a crash of the process alone it is whole. Without WRITEMAP, so that a full disk
is an error and not a signal.
"""

from __future__ import annotations

import copy
import errno
import os
import shutil
import struct
from pathlib import Path
from typing import Any

import lmdb
import msgspec
from rstore_api import rows
from rstore_api.domain.epochs import BASE_REVISION

from rstore_replica.disk_full import NO_ROOM
from rstore_replica.mvcc.data import generations, layout
from rstore_replica.mvcc.state import RegionState, decode, encode

INITIAL_MAP_BYTES = 1 << 30
MAX_READERS = 1024
"""Read transactions at a time; far more than there are threads and streams to other regions."""
MAX_MAP_BYTES = 1 << 44
META_PAGES = 2
"""With which LMDB's data file begins."""
FREE_DISK_RESERVE_BYTES = 64 << 20
"""With less than this left on the disk the store counts as full."""

_NO_ROOM = (*NO_ROOM, errno.EIO)

DATA_FILE = "data.mdb"
FORMAT_VERSION = 2
_POSITION = struct.Struct(">BQQQQQIII")
_POSITION_1 = struct.Struct(">BQQQQQI")  # before there were generations

Transaction = Any
"""``lmdb.Transaction``; the binding has no types."""
Database = Any


class StorageFailed(RuntimeError):  # noqa: N818
    """The disk refused a write or returned something else than was written. The process must stop: an entry that
    is committed in the region cannot be skipped on one replica."""


class DataDamaged(StorageFailed):
    """The live data is not what was written. A checkpoint and the log bring it back, so it may be dropped."""


_DAMAGE = (lmdb.InvalidError, lmdb.CorruptedError, lmdb.PageNotFoundError, lmdb.VersionMismatchError)


def _shows_damage(error: Exception) -> bool:
    """True if this is what the file holds or what the disk cannot read of it, and not a shortage of the system."""
    return isinstance(error, _DAMAGE) or str(error).endswith(os.strerror(errno.EIO))


def may_be_full(error: lmdb.Error) -> bool:
    """Whether the transaction may succeed once there is more room. LMDB calls a write that was cut short an I/O error.

    Nothing of the transaction is there then.
    """
    text = str(error)
    return "mdb_txn_commit" in text and any(text.endswith(os.strerror(number)) for number in _NO_ROOM)


class Position(msgspec.Struct, frozen=True, gc=False):
    """How far the state machine is. ``swept`` is the row up to which compaction has removed what it superseded.

    ``generation`` is the one in use, ``newest_generation`` the last that was begun.
    """

    applied_index: int = 0
    applied_term: int = 0
    revision: int = BASE_REVISION
    compact_revision: int = 0
    swept_revision: int = 0
    swept_sub: int = layout.MASK32
    generation: int = 0
    newest_generation: int = 0

    def pack(self) -> bytes:
        """Returns the form on disk."""
        return _POSITION.pack(FORMAT_VERSION, *msgspec.structs.astuple(self))

    @staticmethod
    def unpack(stored: bytes) -> Position:
        """From the form on disk; raises :class:`StorageFailed`."""
        shape = _POSITION_1 if stored[:1] == b"\x01" else _POSITION
        if len(stored) != shape.size:
            raise DataDamaged(f"the stored position has {len(stored)} bytes, not {shape.size}")
        format_version, *fields = shape.unpack(stored)
        if format_version not in (1, FORMAT_VERSION):
            raise StorageFailed(f"data format {format_version}, this version reads 1 to {FORMAT_VERSION}")
        return Position(*fields)


class Store:
    """One open environment, seen at one generation of the data. Read transactions may be opened in any thread."""

    def __init__(self, directory: Path, *, map_bytes: int = INITIAL_MAP_BYTES) -> None:
        """Opens or creates the environment in ``directory``; raises :class:`StorageFailed`."""
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.environment: Any = None
        try:
            self.environment = lmdb.open(
                str(directory),
                map_size=map_bytes,
                max_dbs=2 + len(generations.TABLES) * generations.PLACES,
                subdir=True,
                sync=False,
                metasync=False,
                map_async=True,
                writemap=False,
                meminit=False,
                readahead=False,
                max_spare_txns=4,
                max_readers=MAX_READERS,
            )
            self._page_bytes = int(self.environment.stat()["psize"])
            self._fill_up(directory / DATA_FILE)
            places = [
                tuple(self.environment.open_db(name, dupsort=several) for name, several in generations.names_of(place))
                for place in range(generations.PLACES)
            ]
            self.meta: Database = self.environment.open_db(layout.META)
            self.requests: Database = self.environment.open_db(layout.REQUESTS)
        except (lmdb.Error, OSError) as error:
            if self.environment is not None:
                self.environment.close()
            kind = DataDamaged if _shows_damage(error) else StorageFailed
            raise kind(f"cannot open the data in {directory}: {error}") from error
        self._last_position: tuple[bytes | None, Position] = (None, Position())
        """As it was loaded last, for nearly every read finds the same one; replaced as a whole, by any thread."""
        self.rows: Database
        self.index: Database
        self.leases: Database
        self.attached: Database
        self.lease_keys: Database
        self.auth: Database
        self.long_index: Database
        self.long_attached: Database
        self.long_lease_keys: Database
        self._views: list[Store] = []
        for tables in places:
            view = copy.copy(self)
            view._show(tables)
            self._views.append(view)
        self._show(places[0])

    def _show(self, tables: tuple[Database, ...]) -> None:
        self.tables = tables
        self.rows, self.index, self.leases, self.attached, self.lease_keys, self.auth, *long = tables
        self.long_index, self.long_attached, self.long_lease_keys = long
        self._indexes = {rows.KEY: self.index, rows.LEASE: self.leases, rows.AUTH: self.auth}

    def index_of(self, kind: int) -> Database:
        """Returns the index in which rows of this kind have their entries."""
        return self._indexes[kind]

    def at_generation(self, generation: int) -> Store:
        """Returns the same environment, seen at a generation: what its position names, or one that is being filled."""
        return self._views[generations.place_of(generation)]

    def _fill_up(self, file: Path) -> None:
        """A read behind the end of a file that was cut off would end the process by a signal; zeros are an error.

        A sound file may end early too, where its last pages are free.
        """
        needed = (int(self.environment.info()["last_pgno"]) + 1) * self._page_bytes
        if file.stat().st_size < needed:
            os.truncate(file, needed)

    def close(self) -> None:
        """May be called twice. No transaction may be open (see ``gate``)."""
        self.environment.close()

    def sync(self) -> None:
        """Makes what was committed durable; blocks for as long as that takes. Raises :class:`StorageFailed`."""
        try:
            self.environment.sync(True)
        except lmdb.Error as error:
            raise StorageFailed(f"the data in {self.directory} cannot be synced: {error}") from error

    def read(self) -> Transaction:
        """Returns a read transaction (context manager) over all databases."""
        return self.environment.begin()

    def write(self) -> Transaction:
        """Returns a write transaction (context manager): committed at the end, aborted by an exception."""
        return self.environment.begin(write=True)

    def grow(self) -> None:
        """Doubles the map. No transaction may be open (see ``gate``)."""
        size = int(self.environment.info()["map_size"]) * 2
        if size > MAX_MAP_BYTES:
            raise StorageFailed(f"the map would have to grow above {MAX_MAP_BYTES} bytes")
        self.environment.set_mapsize(size)

    def load_position(self, transaction: Transaction) -> Position:
        """Returns the stored position, or that of an empty store."""
        stored = self._get_meta(transaction, layout.POSITION_KEY)
        packed, position = self._last_position
        if stored != packed:
            position = Position() if stored is None else Position.unpack(stored)
            self._last_position = stored, position
        return position

    def _get_meta(self, transaction: Transaction, key: bytes) -> bytes | None:
        try:
            found: bytes | None = transaction.get(key, db=self.meta)
        except lmdb.Error as error:
            raise DataDamaged(f"the data in {self.directory} is damaged: {error}") from error
        return found

    def save_position(self, transaction: Transaction, position: Position) -> None:
        """Written in the transaction of what it describes."""
        transaction.put(layout.POSITION_KEY, position.pack(), db=self.meta)

    def load_region(self, transaction: Transaction, region: str) -> RegionState:
        """Returns the stored region state, or that of a fresh region."""
        stored = self._get_meta(transaction, layout.REGION_KEY)
        if stored is None:
            return RegionState(region)
        try:
            return decode(region, stored)
        except Exception as error:
            raise DataDamaged(f"the stored region state is damaged: {error}") from error

    def save_region(self, transaction: Transaction, state: RegionState) -> None:
        """Written in the transaction of what it describes."""
        transaction.put(layout.REGION_KEY, encode(state), db=self.meta)

    def size_bytes(self) -> int:
        """Returns the bytes of the data file that have been used at some time."""
        return (int(self.environment.info()["last_pgno"]) + 1) * self._page_bytes

    def in_use_bytes(self) -> int:
        """Returns the bytes in pages that hold this generation's databases, and those that say where they are; what
        compaction freed is not in it."""
        with self.read() as transaction:
            pages = META_PAGES
            for database in (None, self.meta, *self.tables):
                stat = transaction.stat(database)
                pages += stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
        return int(pages) * self._page_bytes

    def free_disk_bytes(self) -> int:
        """Returns the bytes that the disk has left."""
        return shutil.disk_usage(self.directory).free

    def disk_is_full(self) -> bool:
        """Returns whether the disk has less left than the reserve."""
        return self.free_disk_bytes() < FREE_DISK_RESERVE_BYTES
