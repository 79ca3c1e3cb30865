"""How the keys of a store differ from those of an older state, and the conditional writes that bring them back.

Each write is conditional on the key being as it was when both were compared, so that nobody's later write is undone,
and a write that is repeated does nothing. Keys that are attached to a lease, in either state, are left alone: a lock or
a session of the past has ended, and one of today is in use.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from rstore_api.proto import rpc_pb2
from rstore_api.proto.kv_pb2 import KeyValue

MAX_OPERATIONS = 64
MAX_BYTES = 512 << 10
"""Of one transaction; a larger value comes alone."""
_OPERATION_BYTES = 64
"""Of a change in a transaction beside its key, which comes three times, and its value."""


class Kind(StrEnum):
    """What a change does."""

    CREATE = "create"
    OVERWRITE = "overwrite"
    DELETE = "delete"


@dataclass(frozen=True)
class Change:
    """A key that is to be ``value`` again, or to be deleted where that is None."""

    key: bytes
    value: bytes | None
    seen_revision: int
    """The key's mod revision in the present state; 0: it is not there."""

    @property
    def kind(self) -> Kind:
        """What it does to the present state."""
        if self.value is None:
            return Kind.DELETE
        return Kind.OVERWRITE if self.seen_revision else Kind.CREATE

    @property
    def size_bytes(self) -> int:
        """About how much it adds to a transaction."""
        return 3 * len(self.key) + len(self.value or b"") + _OPERATION_BYTES

    def is_made(self, stored: KeyValue | None) -> bool:
        """Whether the key is as the change makes it."""
        if stored is None or self.value is None:
            return stored is None and self.value is None
        return stored.value == self.value and not stored.lease


class Comparison:
    """Compares two states key by key, both in order: the one that is wanted, and pages of the present one.

    :meth:`feed` takes a page where :attr:`needs_page` is true; :meth:`take` returns changes. Takes memory for a page.
    """

    def __init__(self, wanted: Iterator[KeyValue]) -> None:
        self._wanted = wanted
        self._next = next(wanted, None)
        self._page: deque[KeyValue] = deque()
        self._is_last = False
        self._page_end = b""
        """Of a page that is not the last: no key of the present state up to here comes after it."""
        self._held: Change | None = None
        """It did not fit into the transaction before."""
        self.same = 0
        """Keys that are equal in both."""
        self.leased = 0
        """Keys that are left alone since they are attached to a lease."""

    @property
    def needs_page(self) -> bool:
        """Whether the next page has to be fed for :meth:`take` to go on."""
        if self._is_last or self._page or self._held is not None:
            return False
        return self._next is None or self._next.key > self._page_end

    @property
    def is_finished(self) -> bool:
        """Whether :meth:`take` returns nothing any more."""
        return self._is_last and not self._page and self._next is None and self._held is None

    def feed(self, page: Sequence[KeyValue], *, is_last: bool) -> None:
        """Takes the keys that follow those of the page before."""
        self._page.extend(page)
        self._is_last = is_last
        if page:
            self._page_end = page[-1].key

    def take(self, *, max_operations: int = MAX_OPERATIONS, max_bytes: int = MAX_BYTES) -> list[Change]:
        """Returns the next changes that fit into one transaction; none where a page is needed, or all were returned."""
        taken: list[Change] = []
        size = 0
        while len(taken) < max_operations:
            change = self._held or self._advance()
            self._held = None
            if change is None:
                break
            if taken and size + change.size_bytes > max_bytes:
                self._held = change
                break
            taken.append(change)
            size += change.size_bytes
        return taken

    def _advance(self) -> Change | None:
        while not self.needs_page and not self.is_finished:
            wanted, present = self._pair()
            if (wanted is not None and wanted.lease) or (present is not None and present.lease):
                self.leased += 1
            elif wanted is not None and present is not None and wanted.value == present.value:
                self.same += 1
            elif wanted is not None:
                return Change(wanted.key, wanted.value, 0 if present is None else present.mod_revision)
            elif present is not None:
                return Change(present.key, None, present.mod_revision)
        return None

    def _pair(self) -> tuple[KeyValue | None, KeyValue | None]:
        """Returns the next key in order as it is in both states, and goes past it."""
        wanted, present = self._next, self._page[0] if self._page else None
        if wanted is not None and present is not None and wanted.key != present.key:
            wanted, present = (wanted, None) if wanted.key < present.key else (None, present)
        if wanted is not None:
            self._next = next(self._wanted, None)
        if present is not None:
            self._page.popleft()
        return wanted, present


def transaction(changes: Sequence[Change]) -> rpc_pb2.TxnRequest:
    """Returns the transaction that makes the changes where each key is as it was seen, and else reads the keys."""
    request = rpc_pb2.TxnRequest()
    for change in changes:
        request.compare.add(
            key=change.key,
            target=rpc_pb2.Compare.MOD,
            result=rpc_pb2.Compare.EQUAL,
            mod_revision=change.seen_revision,
        )
        if change.value is None:
            request.success.add(request_delete_range=rpc_pb2.DeleteRangeRequest(key=change.key))
        else:
            request.success.add(request_put=rpc_pb2.PutRequest(key=change.key, value=change.value))
        request.failure.add(request_range=rpc_pb2.RangeRequest(key=change.key))
    return request


@dataclass(frozen=True)
class Outcome:
    """What became of the changes of one transaction."""

    made: tuple[Change, ...]
    """Their keys are as they are to be, by this transaction or by one before."""
    open: tuple[Change, ...]
    """Their keys still are as they were seen."""
    conflicts: tuple[Change, ...]
    """Somebody has written their keys since."""


def outcome(changes: Sequence[Change], answer: rpc_pb2.TxnResponse) -> Outcome:
    """Returns what the answer to :func:`transaction` says."""
    if answer.succeeded:
        return Outcome(tuple(changes), (), ())
    made: list[Change] = []
    still: list[Change] = []
    conflicts: list[Change] = []
    for change, response in zip(changes, answer.responses, strict=True):
        kvs = response.response_range.kvs
        stored = kvs[0] if kvs else None
        if change.is_made(stored):
            made.append(change)
        elif (stored.mod_revision if stored is not None else 0) == change.seen_revision:
            still.append(change)
        else:
            conflicts.append(change)
    return Outcome(tuple(made), tuple(still), tuple(conflicts))
