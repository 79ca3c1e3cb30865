"""What a snapshot of an etcd has at its newest revision: a source of what an empty store is filled with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from google.protobuf.message import DecodeError

from rstore_api.etcd_files import snapshot
from rstore_api.etcd_files.bolt_reader import DamagedDatabase, Database, Place
from rstore_api.proto.kv_pb2 import KeyValue
from rstore_api.proto.lease_pb2 import Lease
from rstore_api.proto.rstore_pb2 import ImportedKey

HASH_BYTES = hashlib.sha256().digest_size
READ_BYTES = 1 << 20


class EtcdSnapshot:
    """A file that ``etcdctl snapshot save`` wrote, or a copy of an etcd's data file. To be closed.

    Takes memory for the keys, and not for their values.
    """

    def __init__(self, path: Path, *, check_hash: bool = True) -> None:
        """``check_hash`` demands the SHA-256 hash that a snapshot ends with; a copy of a data file has none. Raises
        DamagedDatabase, OSError.
        """
        self._database = Database(path)
        try:
            if check_hash:
                _check_hash(path, self._database.size_bytes)
            self.revision = 1
            """The newest of the etcd."""
            self._places: dict[bytes, tuple[int, Place]] = {}
            self._read_keys()
            self.leases = list(self._read_leases())
            """Ids and seconds to live of the leases that there are, in the order of their ids' bytes."""
            self.auth: list[tuple[bytes, bytes]] = []
            """Users and roles are not taken."""
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> EtcdSnapshot:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file."""
        self._database.close()

    def __len__(self) -> int:
        """The number of keys."""
        return len(self._places)

    def imported_keys(self) -> Iterator[ImportedKey]:
        """Yields the keys that there are, in order. Raises DamagedDatabase."""
        for key in sorted(self._places):
            sub, place = self._places[key]
            yield ImportedKey(kv=_key_value(self._database.value(place)), sub=sub)

    def _read_keys(self) -> None:
        for key, place in self._database.places(snapshot.KEY):
            row = snapshot.parse_revision_key(key)
            if row is None:
                raise DamagedDatabase(f"{key!r} is no revision of a key")
            self.revision = max(self.revision, row.revision)
            changed = _key_value(self._database.value(place)).key
            if row.deletion:
                self._places.pop(changed, None)
            else:
                self._places[changed] = row.sub, place
        for key, value in self._database.items(snapshot.META):
            # Where everything that was written last has been compacted away.
            if key == snapshot.FINISHED_COMPACTION and (row := snapshot.parse_revision_key(value)) is not None:
                self.revision = max(self.revision, row.revision)

    def _read_leases(self) -> Iterator[tuple[int, int]]:
        for key, value in self._database.items(snapshot.LEASE):
            try:
                lease = Lease.FromString(value)
            except DecodeError as error:
                raise DamagedDatabase(f"lease {key.hex()}: {error}") from error
            if lease.ID and lease.TTL > 0:
                yield lease.ID, lease.TTL


def _key_value(encoded: bytes) -> KeyValue:
    try:
        return KeyValue.FromString(encoded)
    except DecodeError as error:
        raise DamagedDatabase(f"a key and its value: {error}") from error


def _check_hash(path: Path, size: int) -> None:
    """A snapshot is the database and the hash of its bytes. Raises DamagedDatabase."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        end = file.seek(0, 2) - HASH_BYTES
        if end < size or end % 512:
            raise DamagedDatabase(f"{path} does not end with a hash, as a snapshot does; is it a copy of a data file?")
        file.seek(0)
        left = end
        while left:
            data = file.read(min(READ_BYTES, left))
            digest.update(data)
            left -= len(data)
        if file.read() != digest.digest():
            raise DamagedDatabase(f"the hash at the end of {path} is not that of its contents: it was damaged or cut")
