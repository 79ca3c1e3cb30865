"""A snapshot for another region: the keys as they were at one revision, in chunks in order of the keys.

Each chunk is read in a short transaction of its own: what was at a revision stays readable until compaction removes it
(see ``holds.py``), so that a transfer, however long, holds no transaction open. What a chunk says depends on the store,
the history and the revision alone, and not on the replica that reads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rstore_api.errors import InvalidRequest
from rstore_api.proto.rstore_pb2 import SnapshotChunk

from rstore_replica.mvcc.data import layout, rows
from rstore_replica.mvcc.data.reader import Reader
from rstore_replica.mvcc.data.store import Store, Transaction

VISITED_PER_ROW = 4
"""Keys that are not there at the revision are passed over; a chunk ends after so many keys for each row it may have."""


@dataclass(frozen=True)
class SnapshotRows:
    """The rows of the keys up to and with ``last_key``, packed as ``data/rows.py`` says; ``last``: no key follows.

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
    bound = layout.newest_at(revision)
    frames: list[bytes] = []
    size = count = visited = 0
    last_key = after_key
    with reader.transaction.cursor(reader.store.index) as cursor:
        positioned = cursor.set_range(after_key) if after_key else cursor.first()
        if positioned and cursor.key() == after_key:
            positioned = cursor.next_nodup()
        while positioned:
            if count == max_rows or visited == max_rows * VISITED_PER_ROW or size >= max_bytes:
                break
            key, entry = cursor.item()
            if entry < bound:
                if cursor.set_range_dup(key, bound):
                    entry = cursor.value()
                else:
                    entry = layout.NO_ENTRY
                    cursor.set_key(key)  # a failed seek leaves the cursor nowhere
            if not layout.is_deletion(entry):
                body = reader.body(entry)
                if frames and size + len(body) > max_bytes:
                    break
                frames += (layout.row_key_of(entry) + len(body).to_bytes(4, "big"), body)
                size += rows.FRAME_HEADER.size + len(body)
                count += 1
            last_key = key
            visited += 1
            positioned = cursor.next_nodup()
    return SnapshotRows(last_key, count, rows.join_frames(frames, count) if frames else b"", not positioned)


def check_chunk(chunk: SnapshotChunk) -> list[rows.Frame] | InvalidRequest:
    """Returns the rows of a chunk when they are what it says, else the error."""
    try:
        frames = rows.unpack_frames(chunk.rows, in_order=False)
    except rows.DamagedRows as error:
        return InvalidRequest(str(error))
    if len(frames) != chunk.row_count:
        return InvalidRequest(f"the chunk says {chunk.row_count} rows, there are {len(frames)}")
    previous, newest = chunk.after_key, chunk.revision
    for revision, sub, _, _, key, _, version in frames:
        if key <= previous or not version or revision > newest:
            return InvalidRequest(f"row {revision}.{sub} has no place in a snapshot of {chunk.revision}")
        previous = key
    if chunk.last_key < previous or (chunk.last_key == chunk.after_key and not chunk.last):
        return InvalidRequest("the chunk does not go on")
    return frames


def write_chunk(store: Store, transaction: Transaction, frames: Sequence[rows.Frame]) -> None:
    """Stores the rows in the generation that ``store`` shows."""
    rows_by_key = sorted([(row_key, body) for _, _, row_key, body, _, _, _ in frames])
    index = [
        (key, layout.pack_entry(revision, sub, create_revision, version))
        for revision, sub, _, _, key, create_revision, version in frames
    ]
    with transaction.cursor(store.rows) as cursor:
        cursor.putmulti(rows_by_key)
    with transaction.cursor(store.index) as cursor:
        cursor.putmulti(index, dupdata=True)
