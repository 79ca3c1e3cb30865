"""Changes as events: many of them are encoded in steps, and come to the same bytes."""

from __future__ import annotations

from rstore_api.proto.rpc_pb2 import WatchResponse
from rstore_replica.mvcc.data.rows import Row
from rstore_replica.mvcc.watch.events import JOINED_BYTES, JOINED_EVENTS, Batch, Change, Want


def changes(count: int, value: bytes = b"") -> list[Change]:
    return [
        Change(Row(7, n, b"%06d" % n, deletion=True))
        if n % 2
        else Change(Row(7, n, b"%06d" % n, value, create_revision=7, version=1))
        for n in range(count)
    ]


def test_many_changes_are_encoded_in_steps() -> None:
    for want in (Want(), Want(puts=False), Want(deletions=False)):
        batch, alone = Batch(7, changes(4 * JOINED_EVENTS)), Batch(7, changes(JOINED_EVENTS))
        steps = len(list(batch.encode(want)))
        assert steps >= 4 * (want.puts + want.deletions) // 2 - 1
        assert list(alone.encode(want)) == []
        for each in (batch, alone):
            assert b"".join(each.events(want)) == each.joined(want)
            kinds = [event.kv.key for event in WatchResponse.FromString(each.joined(want)).events]
            wanted = (want.deletions if change.row.deletion else want.puts for change in each.changes)
            assert kinds == [
                change.row.key for change, is_wanted in zip(each.changes, wanted, strict=True) if is_wanted
            ]
        assert max(map(len, batch.events(want))) < JOINED_BYTES
        assert len(batch.events(want)) < len(alone.events(want))


def test_large_changes_are_joined_up_to_a_size() -> None:
    batch = Batch(7, changes(2 * JOINED_EVENTS, bytes(JOINED_BYTES // 2)))
    assert max(map(len, batch.events(Want()))) < 2 * JOINED_BYTES
    assert Batch(7, []).joined(Want()) == b""
