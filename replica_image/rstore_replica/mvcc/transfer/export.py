"""The rows of a replica as etcd would have them, for a snapshot in etcd's format.

What etcd keeps of a compacted history is, of each key, its newest change up to the compact revision, and all changes
above. Rows that a sweep has yet to remove are left out here, so that what is read does not depend on how far it is.
"""

from __future__ import annotations

from dataclasses import dataclass

from rstore_api import rows
from rstore_api.domain.epochs import History
from rstore_api.etcd_files.snapshot import revision_key
from rstore_api.proto.kv_pb2 import KeyValue
from rstore_api.proto.lease_pb2 import Lease

from rstore_replica.mvcc.data import index, layout, leases
from rstore_replica.mvcc.data.reader import Reader

PART_ROWS = 512
PART_BYTES = 1 << 20


@dataclass(frozen=True)
class Exported:
    """What is exported: the data ``data_id`` of this history, at a revision, compacted up to another."""

    revision: int
    compact_revision: int
    data_id: int
    history: History


@dataclass(frozen=True)
class ExportPart:
    """Rows in order, as items of etcd's bucket; ``next_row`` is where the next part begins, None behind the last."""

    items: list[tuple[bytes, bytes]]
    next_row: tuple[int, int] | None


def read_part(reader: Reader, start: tuple[int, int], revision: int, compact_revision: int) -> ExportPart:
    """Returns the rows from ``start`` (revision, sub-revision) on up to ``revision``, about as many as a part has."""
    items: list[tuple[bytes, bytes]] = []
    size = count = 0
    with reader.transaction.cursor(reader.store.rows) as cursor:
        if not cursor.set_range(layout.ROW_KEY.pack(*start)):
            return ExportPart(items, None)
        for row_key, body in cursor.iternext(keys=True, values=True):
            at, sub = layout.ROW_KEY.unpack(row_key)
            if at > revision:
                break
            if count == PART_ROWS or size >= PART_BYTES:
                return ExportPart(items, (at, sub))
            count += 1
            if rows.kind_of(body) != rows.KEY:
                continue
            row = rows.unpack(at, sub, body)
            if at <= compact_revision and _is_compacted(reader, row, compact_revision):
                continue
            items.append(_item(row))
            size += len(body)
    return ExportPart(items, None)


def read_leases(reader: Reader, after: int | None, revision: int) -> tuple[list[tuple[bytes, bytes]], int | None]:
    """Returns leases that there were at a revision, as items of etcd's bucket, in order, from those behind ``after``
    (None: from the first), about as many as a part has; and behind which one to go on, None behind the last.
    """
    found, last = leases.present(reader.store, reader.transaction, after, PART_ROWS, revision)
    items = [
        (lease.key, Lease(ID=lease.id, TTL=lease.ttl_seconds, RemainingTTL=lease.remaining_seconds).SerializeToString())
        for lease in found
    ]
    return items, last


def _is_compacted(reader: Reader, row: rows.Row, compact_revision: int) -> bool:
    """Whether the row is superseded at the compact revision, or a deletion before it."""
    if row.deletion and row.revision < compact_revision:
        return True
    bound = layout.newest_at(compact_revision)
    entry = index.newest_behind(reader.store, reader.transaction, rows.KEY, row.key, bound)
    if entry is None:
        raise rows.DamagedRows(f"row {row.revision}.{row.sub} is not in the index")
    revision, sub, _, _ = layout.unpack_entry(entry)
    return (revision, sub) != (row.revision, row.sub)


def _item(row: rows.Row) -> tuple[bytes, bytes]:
    key = revision_key(row.revision, row.sub, deletion=row.deletion)
    if row.deletion:
        return key, KeyValue(key=row.key).SerializeToString()
    kv = KeyValue(
        key=row.key,
        create_revision=row.create_revision,
        mod_revision=row.revision,
        version=row.version,
        value=row.value,
        lease=row.lease,
    )
    return key, kv.SerializeToString()
