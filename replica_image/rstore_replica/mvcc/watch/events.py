"""Rows as etcd's events, encoded once for all watchers that get them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from rstore_api.proto.kv_pb2 import Event, KeyValue
from rstore_api.protobuf import varint

from rstore_replica.mvcc.data.rows import Row

EVENTS_TAG = bytes((11 << 3 | 2,))
"""Of the field ``events`` in a WatchResponse."""


JOINED_EVENTS = 512
"""Of more changes than this, so many events are encoded without a pause, and joined."""
JOINED_BYTES = 64 << 10


class Want(NamedTuple):
    """Which events a watcher gets, and with what."""

    prev_kv: bool = False
    puts: bool = True
    deletions: bool = True


class Change:
    """One change of one key. ``previous`` is the key before it, where somebody wants that and it is not compacted."""

    __slots__ = ("_plain", "_with_previous", "previous", "row")

    def __init__(self, row: Row, previous: KeyValue | None = None) -> None:
        self.row = row
        self.previous = previous
        self._plain = self._with_previous = b""

    def event(self, *, prev_kv: bool) -> bytes:
        """Returns the encoded event."""
        if prev_kv and self.previous is not None:
            if not self._with_previous:
                self._with_previous = self._encoded(self.previous)
            return self._with_previous
        if not self._plain:
            self._plain = self._encoded(None)
        return self._plain

    def _encoded(self, previous: KeyValue | None) -> bytes:
        row = self.row
        if row.deletion:
            kv = KeyValue(key=row.key, mod_revision=row.revision)
            return Event(type=Event.DELETE, kv=kv, prev_kv=previous).SerializeToString()
        kv = KeyValue(
            key=row.key,
            create_revision=row.create_revision,
            mod_revision=row.revision,
            version=row.version,
            value=row.value,
            lease=row.lease,
        )
        return Event(kv=kv, prev_kv=previous).SerializeToString()


class Batch:
    """The changes of whole revisions, up to ``revision``, in the keys of one span."""

    __slots__ = ("_encoded", "changes", "revision")

    def __init__(self, revision: int, changes: list[Change]) -> None:
        self.revision = revision
        self.changes = changes
        self._encoded: dict[Want, tuple[list[bytes], bytes]] = {}

    def events(self, want: Want) -> list[bytes]:
        """Returns the fields of the events that are wanted, in order: one by one, or some together where there are many
        (:data:`JOINED_EVENTS`).
        """
        return self._of(want)[0]

    def joined(self, want: Want) -> bytes:
        """Returns the same as one byte string; empty when none is wanted."""
        return self._of(want)[1]

    def encode(self, want: Want) -> Iterator[None]:
        """Prepares what :meth:`events` and :meth:`joined` return; pauses after some events."""
        if want in self._encoded:
            return
        are_many = len(self.changes) > JOINED_EVENTS
        events: list[bytes] = []
        some: list[bytes] = []
        size = 0
        for change in self.changes:
            if not (want.deletions if change.row.deletion else want.puts):
                continue
            event = change.event(prev_kv=want.prev_kv)
            some += (EVENTS_TAG, varint(len(event)), event)
            size += len(event)
            if not are_many or len(some) >= 3 * JOINED_EVENTS or size >= JOINED_BYTES:
                events.append(b"".join(some))
                some, size = [], 0
                if are_many:
                    yield
        if some:
            events.append(b"".join(some))
        self._encoded[want] = (events, b"".join(events))

    def _of(self, want: Want) -> tuple[list[bytes], bytes]:
        for _ in self.encode(want):
            pass
        return self._encoded[want]
