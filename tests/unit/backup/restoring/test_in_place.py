"""A running store becomes what it was, by writes that undo nobody's later write."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rstore_api.errors import Compacted, OutcomeUnknown, TooManyOps
from rstore_api.proto import rpc_pb2 as rpc
from rstore_api.proto.kv_pb2 import KeyValue
from rstore_backup.restoring import in_place
from rstore_backup.restoring.difference import Change, Comparison, Kind, outcome, transaction
from rstore_backup.restoring.in_place import EVERYTHING, Range
from sim.model import Item, Model, Refused

KEYS = [b"key-%d" % number for number in range(12)]
VALUES = st.sampled_from([b"", b"a", b"b", b"long" * 20])
STATES = st.dictionaries(st.sampled_from(KEYS), VALUES)


class Killed(Exception):  # noqa: N818
    """The tool ends here."""


class StoreInMemory:
    """A client whose store is the model. ``before_txn`` may write, or raise, before each transaction."""

    def __init__(self, items: dict[bytes, bytes], *, max_ops: int = 128) -> None:
        self.model = Model(max_ops)
        self.transactions = 0
        self.before_txn: Callable[[int], None] = lambda number: None
        self.after_txn: Callable[[int], None] = lambda number: None
        for key, value in items.items():
            self.put(key, value)

    def put(self, key: bytes, value: bytes) -> None:
        self.model.put(rpc.PutRequest(key=key, value=value))

    def attach(self, key: bytes) -> None:
        items = self.model.items[self.model.revision]
        items[key] = items[key]._replace(lease=7)

    @property
    def now(self) -> dict[bytes, bytes]:
        return {key: item.value for key, item in self.model.items[self.model.revision].items()}

    async def range(self, request: rpc.RangeRequest, *, timeout_seconds: float) -> rpc.RangeResponse:
        try:
            answer = self.model.range(request)
        except Refused as error:
            raise Compacted(error.code) from error
        answer.header.revision = self.model.revision
        return answer

    async def txn(self, request: rpc.TxnRequest, *, timeout_seconds: float) -> rpc.TxnResponse:
        if len(request.success) > self.model.max_ops:
            raise TooManyOps
        self.transactions += 1
        self.before_txn(self.transactions)
        answer = self.model.txn(request)
        self.after_txn(self.transactions)
        return answer


def wanted_of(
    state: dict[bytes, bytes], leased: frozenset[bytes] = frozenset()
) -> Callable[[Range], Iterator[KeyValue]]:
    def keys(within: Range) -> Iterator[KeyValue]:
        start, end = within
        for key in sorted(state):
            if start <= key and (end == b"\0" or key < end):
                yield KeyValue(key=key, value=state[key], lease=7 if key in leased else 0)

    return keys


def write(
    store: StoreInMemory, wanted: Any, revision: int, ranges: tuple[Range, ...] = (EVERYTHING,)
) -> in_place.Written:
    client: Any = store
    return asyncio.run(
        in_place.write(client, wanted, ranges, revision=revision, timeout_seconds=1, advance=lambda keys: None)
    )


def preview(store: StoreInMemory, wanted: Any, ranges: tuple[Range, ...] = (EVERYTHING,)) -> in_place.Preview:
    client: Any = store
    return asyncio.run(in_place.preview(client, wanted, ranges, revision=store.model.revision, timeout_seconds=1))


@given(STATES, STATES, st.integers(1, 5), st.integers(1, 100), st.integers(1, 4))
def test_changes_are_the_difference_whatever_the_pages_and_bounds(
    wanted: dict[bytes, bytes], present: dict[bytes, bytes], page_keys: int, max_bytes: int, max_operations: int
) -> None:
    comparison = Comparison(wanted_of(wanted)(EVERYTHING))
    left = [KeyValue(key=key, value=present[key], mod_revision=9) for key in sorted(present)]
    changes: list[Change] = []
    while not comparison.is_finished:
        if comparison.needs_page:
            page, left = left[:page_keys], left[page_keys:]
            comparison.feed(page, is_last=not left)
        taken = comparison.take(max_operations=max_operations, max_bytes=max_bytes)
        assert len(taken) <= max_operations
        assert len(taken) <= 1 or sum(change.size_bytes for change in taken) <= max_bytes
        changes += taken
    assert [change.key for change in changes] == sorted(
        key for key in {*wanted, *present} if wanted.get(key) != present.get(key)
    )
    for change in changes:
        assert change.value == wanted.get(change.key)
        assert change.seen_revision == (9 if change.key in present else 0)
    assert comparison.same == sum(1 for key in wanted if present.get(key) == wanted[key])


@given(STATES, STATES, st.integers(1, 5), st.integers(0, 4), st.booleans())
def test_it_is_done_after_any_interruption_by_doing_it_again(
    wanted: dict[bytes, bytes], present: dict[bytes, bytes], max_ops: int, interrupted_at: int, after: bool
) -> None:
    store = StoreInMemory(present, max_ops=max_ops)
    seen = store.model.revision

    def interrupt(number: int) -> None:
        if number == interrupted_at:
            raise Killed

    setattr(store, "after_txn" if after else "before_txn", interrupt)
    with suppress(Killed):
        write(store, wanted_of(wanted), seen)
    store.before_txn = store.after_txn = lambda number: None
    assert not write(store, wanted_of(wanted), seen).conflicts
    assert store.now == wanted
    revision = store.model.revision
    write(store, wanted_of(wanted), seen)
    assert store.model.revision == revision, "what is done is not done again"


@given(STATES, STATES, st.sampled_from(KEYS), st.sampled_from([b"theirs", None]), st.integers(1, 3))
def test_what_somebody_wrote_meanwhile_is_left_alone(
    wanted: dict[bytes, bytes], present: dict[bytes, bytes], key: bytes, value: bytes | None, at: int
) -> None:
    store = StoreInMemory(present, max_ops=2)
    changed_already: list[bool] = []

    def somebody(number: int) -> None:
        if number == at:
            changed_already.append(store.now.get(key) == wanted.get(key))
            if value is None:
                store.model.delete_range(rpc.DeleteRangeRequest(key=key))
            else:
                store.put(key, value)

    store.before_txn = somebody
    done = write(store, wanted_of(wanted), store.model.revision)
    expected = dict(wanted)
    if changed_already:
        expected.pop(key, None)
        now = store.now.get(key)
        assert now in {value, wanted.get(key)}
        if now is not None:
            expected[key] = now
        if now != wanted.get(key) and not changed_already[0]:
            assert [change.key for change in done.first_conflicts] == [key]
    assert store.now == expected


def test_an_unknown_outcome_is_asked_for_again_and_nothing_is_written_twice() -> None:
    store = StoreInMemory({b"a": b"1"})

    def lose(number: int) -> None:
        if number == 1:
            raise OutcomeUnknown

    store.after_txn = lose
    done = write(store, wanted_of({b"a": b"2", b"b": b"3"}), store.model.revision)
    assert (done.made, done.conflicts, store.transactions) == (2, 0, 2)
    assert store.model.items[store.model.revision][b"a"].version == 2


def test_keys_of_leases_are_left_alone_in_both_states() -> None:
    store = StoreInMemory({b"session": b"now", b"changed": b"x", b"kept": b"1"})
    store.attach(b"session")
    wanted = wanted_of({b"lock": b"then", b"changed": b"y", b"kept": b"1"}, leased=frozenset({b"lock"}))
    shown = preview(store, wanted)
    assert (shown.counts, shown.leased, shown.same) == ({Kind.OVERWRITE: 1}, 2, 1)
    write(store, wanted, store.model.revision)
    assert store.now == {b"session": b"now", b"changed": b"y", b"kept": b"1"}


def test_a_preview_counts_and_writes_nothing() -> None:
    store = StoreInMemory({b"a": b"1", b"b": b"2", b"c": b"3"})
    revision = store.model.revision
    shown = preview(store, wanted_of({b"a": b"1", b"b": b"x", b"d": b"4", b"e": b"5"}))
    assert shown.counts == {Kind.CREATE: 2, Kind.OVERWRITE: 1, Kind.DELETE: 1}
    assert (shown.total, shown.revision, store.model.revision) == (4, revision, revision)
    assert [(change.key, change.kind) for change in shown.first] == [
        (b"b", Kind.OVERWRITE), (b"c", Kind.DELETE), (b"d", Kind.CREATE), (b"e", Kind.CREATE),
    ]  # fmt: skip


def test_only_the_ranges_that_are_asked_for_change() -> None:
    store = StoreInMemory({b"a/1": b"now", b"b/1": b"now", b"c/1": b"now"})
    wanted = wanted_of({b"a/1": b"then", b"b/1": b"then", b"b/2": b"then", b"c/1": b"then"})
    write(store, wanted, store.model.revision, ((b"a/", b"a0"), (b"c/", b"c0")))
    assert store.now == {b"a/1": b"then", b"b/1": b"now", b"c/1": b"then"}


def test_a_preview_that_is_too_old_is_an_error_and_writes_nothing() -> None:
    store = StoreInMemory({b"a": b"1"})
    seen = store.model.revision
    store.put(b"a", b"2")
    store.model.compact(store.model.revision)
    with pytest.raises(Compacted):
        write(store, wanted_of({}), seen)
    assert store.now == {b"a": b"2"}


def test_the_answer_of_a_refused_transaction_is_sorted_by_key() -> None:
    changes = [Change(b"made", b"v", 3), Change(b"gone", None, 4), Change(b"open", b"v", 5), Change(b"theirs", b"v", 0)]
    request = transaction(changes)
    assert [compare.mod_revision for compare in request.compare] == [3, 4, 5, 0]
    stored = {b"made": Item(b"v", 1, 9, 2), b"open": Item(b"o", 1, 5, 1), b"theirs": Item(b"t", 9, 9, 1)}
    answer = rpc.TxnResponse()
    for operation in request.failure:
        item = stored.get(operation.request_range.key)
        kvs = [KeyValue(key=operation.request_range.key, value=item.value, mod_revision=item.modified)] if item else []
        answer.responses.add(response_range=rpc.RangeResponse(kvs=kvs))
    sorted_out = outcome(changes, answer)
    assert [change.key for change in sorted_out.made] == [b"made", b"gone"]
    assert [change.key for change in sorted_out.open] == [b"open"]
    assert [change.key for change in sorted_out.conflicts] == [b"theirs"]
