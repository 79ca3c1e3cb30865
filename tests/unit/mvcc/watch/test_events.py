"""Changes as events: those of many changes are encoded as they come, and are the same bytes."""

from __future__ import annotations

import pytest
from rstore_api.proto.rpc_pb2 import WatchResponse
from rstore_api.rows import Row
from rstore_replica.mvcc.watch.events import JOINED_BYTES, JOINED_EVENTS, Batch, Change, Want


def change(number: int, value: bytes = b"") -> Change:
    if number % 2:
        return Change(Row(7, number, b"%06d" % number, deletion=True))
    return Change(Row(7, number, b"%06d" % number, value, create_revision=7, version=1))


def batch_of(count: int, *, encoded_at: int, value: bytes = b"") -> Batch:
    batch = Batch()
    for number in range(count):
        batch.changes.append(change(number, value))
        if len(batch.changes) == encoded_at:
            batch.encode({Want(), Want(puts=False), Want(deletions=False)})
    return batch


@pytest.mark.parametrize("want", [Want(), Want(puts=False), Want(deletions=False)])
def test_what_is_encoded_as_it_comes_is_the_same(want: Want) -> None:
    count = 4 * JOINED_EVENTS + 10
    early, late = batch_of(count, encoded_at=JOINED_EVENTS), batch_of(count, encoded_at=0)
    assert (len(early.changes), len(late.changes)) == (10, count)
    for each in (early, late):
        assert b"".join(each.events(want)) == each.joined(want)
        keys = [event.kv.key for event in WatchResponse.FromString(each.joined(want)).events]
        assert keys == [b"%06d" % number for number in range(count) if (want.deletions if number % 2 else want.puts)]
    assert early.joined(want) == late.joined(want)
    assert len(early.events(want)) < 4 * 2 + 10


def test_events_are_joined_up_to_a_size() -> None:
    batch = batch_of(JOINED_EVENTS, encoded_at=JOINED_EVENTS, value=bytes(JOINED_BYTES // 2))
    assert len(batch.events(Want())) == JOINED_EVENTS // 2
    assert max(map(len, batch.events(Want()))) <= JOINED_BYTES
    assert Batch().joined(Want()) == b""
