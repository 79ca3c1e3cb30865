"""The rows that another region needs, and whether those that came from one are what they should be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rstore_api import rows
from rstore_api.domain.epochs import EpochStart, after_jumps, settled
from rstore_api.errors import Compacted, FutureRevision, InvalidRequest, StoreError
from rstore_api.messages import history_of
from rstore_api.proto.rstore_pb2 import DeletedRange, StreamBatch

from rstore_replica.mvcc.data import deleted_ranges, layout
from rstore_replica.mvcc.data.reader import Reader


@dataclass(frozen=True)
class RowBatch:
    """Whole revisions in order, ``first_revision`` to ``last_revision``, packed as ``rstore_api/rows.py`` says.

    Without rows ``count`` is 0, ``packed`` empty and ``last_revision`` the revision asked from. A revision that deleted
    a large range comes alone, as ``deleted``; its rows are counted and not packed.
    """

    first_revision: int
    last_revision: int
    count: int
    packed: bytes
    deleted: DeletedRange | None = None


def rows_after(
    reader: Reader,
    history: Sequence[EpochStart],
    *,
    revision: int,
    newest: int,
    compact_revision: int,
    max_bytes: int,
    max_rows: int,
) -> RowBatch:
    """Returns the rows of the revisions after ``revision`` up to about ``max_bytes`` or ``max_rows``.

    A revision is never split, so that one larger than the limits comes alone; and a batch ends before the next epoch
    begins. Raises Compacted when some of these rows may be gone, FutureRevision when ``revision`` does not exist yet.
    """
    if revision > newest:
        raise FutureRevision(f"{revision} was asked for, {newest} is the newest")
    if revision < settled(history, compact_revision):
        raise Compacted(f"{revision} was asked for, the compaction is at {compact_revision}")
    deleted = deleted_ranges.first_after(reader.store, reader.transaction, revision)
    end = min((newest + 1, *(start.first_revision for start in history if start.first_revision > revision + 1)))
    if deleted is not None and deleted.revision < end:
        end = deleted.revision
    else:
        deleted = None
    frames: list[bytes] = []
    size = 0
    first = last = whole = 0
    with reader.transaction.cursor(reader.store.rows) as cursor:
        positioned = cursor.set_range(layout.ROW_KEY.pack(revision + 1, 0))
        for row_key, body in cursor.iternext(keys=True, values=True) if positioned else ():
            row_revision = int.from_bytes(row_key[:8], "big")
            if row_revision != last:
                if row_revision >= end or (frames and (size >= max_bytes or whole >= max_rows)):
                    break
                boundary = len(frames), whole
                if frames and size + len(body) > max_bytes:
                    break
                first = first or row_revision
                previous, last = last, row_revision
            elif previous and size + len(body) > max_bytes:
                # The revision does not fit any more: leave it to the next batch.
                del frames[boundary[0] :]
                whole, last = boundary[1], previous
                break
            frames += (row_key + len(body).to_bytes(4, "big"), body)
            size += rows.FRAME_HEADER.size + len(body)
            whole += 1
    if not frames and deleted is not None:
        return RowBatch(end, end, deleted.count, b"", deleted)
    if not frames:
        return RowBatch(revision + 1, revision, 0, b"")
    return RowBatch(first, last, whole, rows.join_frames(frames, whole))


def check_rows(batch: StreamBatch) -> list[rows.Frame] | StoreError:
    """The rows of a batch when they are whole and have no gap but the recorded one before an epoch, else the error."""
    try:
        frames = rows.unpack_frames(batch.rows)
    except rows.DamagedRows as error:
        return InvalidRequest(str(error))
    if len(frames) != batch.row_count:
        return InvalidRequest(f"the batch says {batch.row_count} rows, there are {len(frames)}")
    history = history_of(batch.history)
    try:
        revision = rows.last_revision_of(frames, batch.prev_revision, history)
    except rows.DamagedRows as error:
        return InvalidRequest(str(error))
    if batch.last_revision not in (revision, after_jumps(history, revision)):
        return InvalidRequest(f"the rows end at {revision}, the batch at {batch.last_revision}")
    return frames
