"""What a migration writes, decided without asking anybody: transactions out of changes, and how far they have come.

How far it is, is a key of the store itself, written in the transaction of the changes that it speaks of, which is
carried out only where the key is what it was before: so each change is made once, whatever becomes of the tool, of a
connection, or of an answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rstore_api.proto import kv_pb2, rpc_pb2

MARK = b"\0rstore/migration"
"""The key; etcd's own keys hardly begin with a zero byte."""
MAX_OPERATIONS = 127
"""Of a transaction, beside the put of the mark: etcd allows 128."""
MAX_BYTES = 1 << 20


@dataclass(frozen=True)
class Point:
    """All changes up to ``revision`` of the source have been made, and ``events`` of the revision after it."""

    revision: int
    events: int = 0

    def encode(self) -> bytes:
        """Returns the value of the mark."""
        return b"%d %d" % (self.revision, self.events)

    @classmethod
    def decode(cls, value: bytes) -> Point:
        """Reads what :meth:`encode` has made. Raises ValueError."""
        revision, events = value.split(b" ")
        return cls(int(revision), int(events))


@dataclass(frozen=True)
class Step:
    """Changes that are made in one transaction, and how far the migration is then."""

    operations: tuple[rpc_pb2.RequestOp, ...]
    after: Point

    def request(self, before: Point) -> rpc_pb2.TxnRequest:
        """Returns the transaction, which does nothing unless the migration is at ``before``."""
        is_before = rpc_pb2.Compare(
            key=MARK, target=rpc_pb2.Compare.VALUE, result=rpc_pb2.Compare.EQUAL, value=before.encode()
        )
        mark = rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=MARK, value=self.after.encode()))
        return rpc_pb2.TxnRequest(compare=[is_before], success=[*self.operations, mark])


def steps(events: Iterable[kv_pb2.Event], before: Point, gone: frozenset[int]) -> Iterator[Step]:
    """Yields transactions for the changes after ``before``, in order; ``gone`` are leases that have ended since.

    Several revisions are made in one where they change different keys, so that each key's version grows as at the
    source. A revision of more changes than a transaction may have is made in several.
    """
    operations: list[rpc_pb2.RequestOp] = []
    keys: set[bytes] = set()
    size, point = 0, before
    for revision, changes in _by_revision(events):
        if revision <= before.revision:
            continue
        skipped = before.events if revision == before.revision + 1 else 0
        fits = len(operations) + len(changes) <= MAX_OPERATIONS and not keys.intersection(
            change.kv.key for change in changes
        )
        if operations and not fits:
            yield Step(tuple(operations), point)
            operations, keys, size = [], set(), 0
        for number, change in enumerate(changes[skipped:], skipped):
            added = len(change.kv.key) + len(change.kv.value) + 64
            if operations and (len(operations) == MAX_OPERATIONS or size + added > MAX_BYTES):
                yield Step(tuple(operations), Point(revision - 1, number) if number else point)
                operations, keys, size = [], set(), 0
            operations.append(_operation(change, gone))
            keys.add(change.kv.key)
            size += added
        point = Point(revision)
    if operations:
        yield Step(tuple(operations), point)


def _by_revision(events: Iterable[kv_pb2.Event]) -> Iterator[tuple[int, Sequence[kv_pb2.Event]]]:
    changes: list[kv_pb2.Event] = []
    for event in events:
        if changes and event.kv.mod_revision != changes[0].kv.mod_revision:
            yield changes[0].kv.mod_revision, changes
            changes = []
        changes.append(event)
    if changes:
        yield changes[0].kv.mod_revision, changes


def _operation(event: kv_pb2.Event, gone: frozenset[int]) -> rpc_pb2.RequestOp:
    kv = event.kv
    if event.type == kv_pb2.Event.DELETE:
        return rpc_pb2.RequestOp(request_delete_range=rpc_pb2.DeleteRangeRequest(key=kv.key))
    lease = 0 if kv.lease in gone else kv.lease
    return rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=kv.key, value=kv.value, lease=lease))
