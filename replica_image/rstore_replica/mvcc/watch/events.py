"""Rows as etcd's events, encoded once for all watchers that get them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from rstore_api.proto.kv_pb2 import Event, KeyValue
from rstore_api.protobuf import varint
from rstore_api.rows import Row

EVENTS_TAG = bytes((11 << 3 | 2,))
"""Of the field ``events`` in a WatchResponse."""


JOINED_EVENTS = 512
"""Of so many changes the events are encoded together, and joined."""
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
    """The changes of whole revisions, up to ``revision``, in the keys of one span.

    Of very many changes only the encoded events are kept.
    """

    __slots__ = ("_encoded", "_pieces", "changes", "revision")

    def __init__(self) -> None:
        self.revision = 0
        self.changes: list[Change] = []
        """Those that are not encoded for good."""
        self._pieces: dict[Want, list[bytes]] = {}
        self._encoded: dict[Want, tuple[list[bytes], bytes]] = {}

    def encode(self, wants: Iterable[Want]) -> None:
        """Encodes the changes that there are for those who want them, and lets them go.

        ``wants`` are at least those that :meth:`events` and :meth:`joined` will be asked for.
        """
        for want in wants:
            self._pieces.setdefault(want, []).extend(_joined(self._fields(want)))
        self.changes = []

    def events(self, want: Want) -> list[bytes]:
        """Returns the fields of the events that are wanted, in order: one by one, or some together where there are many
        (:data:`JOINED_EVENTS`).
        """
        return self._of(want)[0]

    def joined(self, want: Want) -> bytes:
        """Returns the same as one byte string; empty when none is wanted."""
        return self._of(want)[1]

    def _of(self, want: Want) -> tuple[list[bytes], bytes]:
        encoded = self._encoded.get(want)
        if encoded is None:
            events = [*self._pieces.get(want, ()), *self._fields(want)]
            encoded = self._encoded[want] = (events, b"".join(events))
        return encoded

    def _fields(self, want: Want) -> Iterator[bytes]:
        for change in self.changes:
            if want.deletions if change.row.deletion else want.puts:
                event = change.event(prev_kv=want.prev_kv)
                yield EVENTS_TAG + varint(len(event)) + event


def _joined(fields: Iterable[bytes]) -> Iterator[bytes]:
    """Joins fields up to a size, one at least."""
    some: list[bytes] = []
    size = 0
    for field in fields:
        if some and size + len(field) > JOINED_BYTES:
            yield b"".join(some)
            some, size = [], 0
        some.append(field)
        size += len(field)
    if some:
        yield b"".join(some)
