"""A snapshot for another region: keys, leases, users and roles as they were at one revision, in chunks in order of the
keys.

Leases come after all keys, and users and roles after all leases: ``place_of`` says where each row is in this order. A
short key is its own place.

Each chunk is read in a short transaction of its own: what was at a revision stays readable until compaction removes it
(see ``holds.py``), so that a transfer, however long, holds no transaction open. What a chunk says depends on the store,
the history and the revision alone, and not on the replica that reads it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rstore_api import rows
from rstore_api.domain.limits import SHORT_KEY_BYTES
from rstore_api.errors import InvalidRequest
from rstore_api.proto.rstore_pb2 import SnapshotChunk

from rstore_replica.mvcc.data import index, layout
from rstore_replica.mvcc.data.leases import Attachments
from rstore_replica.mvcc.data.reader import Reader
from rstore_replica.mvcc.data.store import Store, Transaction

_LEASES_FROM = b"\xff" * (SHORT_KEY_BYTES + 1)
"""Above all short keys, and most long ones."""
_LAST_KEYS = _LEASES_FROM + bytes(rows.LEASE_ID_BYTES)
"""What stands before the keys that begin with _LEASES_FROM; before all leases, as none has the id 0."""
_PREFIXES: Mapping[int, bytes] = {
    rows.LEASE: _LEASES_FROM,
    rows.AUTH: _LEASES_FROM + b"\xff" * (rows.LEASE_ID_BYTES + 1),
}
"""By kind, in order, what stands before the key of a row."""
VISITED_PER_ROW = 4
"""Keys that are not there at the revision are passed over; a chunk ends after so many keys for each row it may have."""


def place_of(kind: int, key: bytes) -> bytes:
    """Returns where a row is in the order of a snapshot."""
    if kind != rows.KEY:
        return _PREFIXES[kind] + key
    return _LAST_KEYS + key if key.startswith(_LEASES_FROM) else key


@dataclass(frozen=True)
class SnapshotRows:
    """Rows of keys up to and with ``last_key``, packed as ``rstore_api/rows.py`` says; ``last``: no key follows.

    May hold no row and yet not be the last: then the keys that were looked at did not exist at the revision.
    """

    last_key: bytes
    count: int
    packed: bytes
    last: bool


def read_chunk(reader: Reader, revision: int, after_key: bytes, *, max_bytes: int, max_rows: int) -> SnapshotRows:
    """Returns the keys after ``after_key`` that exist at ``revision``, up to about ``max_bytes`` or ``max_rows``.

    A row larger than the limit comes alone.
    """
    frames: list[bytes] = []
    size = count = 0
    last_key, last = after_key, False
    visited = 0
    for place, entry in _entries_after(reader, after_key, layout.newest_at(revision)):
        if count == max_rows or visited >= max_rows * VISITED_PER_ROW or size >= max_bytes:
            break
        visited += rows.cost(place)
        if not layout.is_deletion(entry):
            body = reader.body(entry)
            if frames and size + len(body) > max_bytes:
                break
            frames += (layout.row_key_of(entry) + len(body).to_bytes(4, "big"), body)
            size += rows.FRAME_HEADER.size + len(body)
            count += 1
        last_key = place
    else:
        last = True
    return SnapshotRows(last_key, count, rows.join_frames(frames, count) if frames else b"", last)


def _entries_after(reader: Reader, after_key: bytes, bound: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yields every key after ``after_key``, kind by kind, with the newest entry behind ``bound``."""
    begun = max((kind for kind, prefix in _PREFIXES.items() if after_key.startswith(prefix)), default=rows.KEY)
    if begun == rows.KEY or after_key.startswith(_LAST_KEYS):
        begun = rows.KEY
        after = after_key.removeprefix(_LAST_KEYS)
        for key, entry in reader.all_entries(after + b"\0" if after else b"", None, bound):
            yield place_of(rows.KEY, key), entry
    for kind, prefix in _PREFIXES.items():
        if kind < begun:
            continue
        after = after_key.removeprefix(prefix) if kind == begun else b""
        with reader.transaction.cursor(reader.store.index_of(kind)) as cursor:
            positioned = cursor.set_range(after) if after else cursor.first()
            if positioned and cursor.key() == after:
                positioned = cursor.next_nodup()
            while positioned:
                key, entry = cursor.item()
                if entry < bound:
                    if cursor.set_range_dup(key, bound):
                        entry = cursor.value()
                    else:
                        entry = layout.NO_ENTRY
                        cursor.set_key(key)  # a failed seek leaves the cursor nowhere
                yield prefix + key, entry
                positioned = cursor.next_nodup()


def check_chunk(chunk: SnapshotChunk) -> list[rows.Frame] | InvalidRequest:
    """Returns the rows of a chunk when they are what it says, else the error."""
    try:
        frames = rows.unpack_frames(chunk.rows, in_order=False)
    except rows.DamagedRows as error:
        return InvalidRequest(str(error))
    if len(frames) != chunk.row_count:
        return InvalidRequest(f"the chunk says {chunk.row_count} rows, there are {len(frames)}")
    previous, newest = chunk.after_key, chunk.revision
    for revision, sub, _, body, key, _, version in frames:
        place = place_of(rows.kind_of(body), key)
        if place <= previous or not version or revision > newest:
            return InvalidRequest(f"row {revision}.{sub} has no place in a snapshot of {chunk.revision}")
        previous = place
    if chunk.last_key < previous or (chunk.last_key == chunk.after_key and not chunk.last):
        return InvalidRequest("the chunk does not go on")
    return frames


def write_chunk(store: Store, transaction: Transaction, frames: Sequence[rows.Frame]) -> None:
    """Stores the rows in the generation that ``store`` shows."""
    attachments = Attachments(store, transaction)
    rows_by_key = sorted([(row_key, body) for _, _, row_key, body, _, _, _ in frames])
    entries: dict[int, list[tuple[bytes, bytes]]] = {kind: [] for kind in rows.LEVELS}
    for revision, sub, _, body, key, create_revision, version in frames:
        entries[rows.kind_of(body)].append((key, layout.pack_entry(revision, sub, create_revision, version)))
        if (lease := rows.attached_lease(body)) != 0:
            attachments.move(key, lease)
    with transaction.cursor(store.rows) as cursor:
        cursor.putmulti(rows_by_key)
    for kind, of_kind in entries.items():
        index.add_all(store, transaction, kind, of_kind)
