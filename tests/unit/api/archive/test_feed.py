"""What an archiver is sent: every revision once, in order, through jumps, never beyond what may be shown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from rstore_api import rows
from rstore_api.domain.epochs import EpochStart
from rstore_api.errors import Behind, Compacted, InvalidRequest, WrongStore
from rstore_api.messages import history_messages, history_of
from rstore_api.proto.rpc_pb2 import DeleteRangeRequest
from rstore_api.proto.rstore_pb2 import BaseRequest, FollowRequest, StreamBatch
from rstore_replica.api.archive.feed import Begin, Feed, base_revision, begin
from unit.mvcc.replicas import STORE, Replica
from unit.mvcc.tails.regions import JUMP, follow, leave, promote

FIRST = (EpochStart(1, 2, "us"),)


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[Replica]:
    replica = Replica(tmp_path / "us")
    for number in range(8):
        replica.put(b"key", b"%d" % number)
    yield replica
    replica.machine.close()


def request(revision: int, history: tuple[EpochStart, ...] = FIRST, store: str = STORE) -> FollowRequest:
    return FollowRequest(store_id=store, history=history_messages(history), revision=revision)


def drain(feed: Feed, shown: int) -> list[StreamBatch]:
    batches = []
    while (batch := feed.next_batch(shown)) is not None:
        batches.append(batch)
    return batches


def places(batches: list[StreamBatch]) -> list[tuple[int, int]]:
    return [frame[:2] for batch in batches for frame in rows.unpack_frames(batch.rows)]


def test_a_caller_that_has_nothing_begins_at_present(replica: Replica) -> None:
    assert begin(replica.machine, 9, FollowRequest()) == Begin(FIRST, 9, 0)


def test_one_that_begins_where_an_epoch_has_no_rows_yet_begins_at_the_revision_before(replica: Replica) -> None:
    first = promote(replica, 2)
    shown = replica.machine.revision
    assert shown == first - 1
    start = begin(replica.machine, shown, FollowRequest())
    assert start == Begin(FIRST, 9, 0)
    (jump,) = drain(Feed(replica.machine, start), shown)
    assert (jump.prev_revision, jump.last_revision) == (9, shown)
    assert base_revision(replica.machine, shown, BaseRequest()) == (FIRST, 9)


def test_a_compaction_where_an_epoch_has_no_rows_yet_leaves_the_base_before_it(replica: Replica) -> None:
    promote(replica, 2)
    replica.compact(replica.machine.revision)
    while replica.machine.compact_step():
        pass
    _, revision = base_revision(replica.machine, replica.machine.revision, BaseRequest())
    assert replica.machine.snapshot_after(b"", revision, max_bytes=1000, max_rows=10).count == 1
    with pytest.raises(Compacted):
        replica.machine.snapshot_after(b"", revision - 1, max_bytes=1000, max_rows=10)
    start = begin(replica.machine, replica.machine.revision, request(9))
    assert (start.after_revision, start.compacted) == (9, False)


def test_one_that_has_something_gets_what_follows(replica: Replica) -> None:
    feed = Feed(replica.machine, begin(replica.machine, 9, request(4)))
    assert places(drain(feed, 9)) == [(revision, 0) for revision in range(5, 10)]
    assert drain(feed, 9) == []
    replica.put(b"key", b"more")
    assert places(drain(feed, 9)) == []
    assert places(drain(feed, 10)) == [(10, 0)]


def test_nothing_beyond_what_may_be_shown(replica: Replica) -> None:
    feed = Feed(replica.machine, begin(replica.machine, 6, request(4)))
    assert places(drain(feed, 6)) == [(5, 0), (6, 0)]
    assert feed.revision == 6


def test_an_epoch_without_rows_is_a_batch_of_its_own(replica: Replica) -> None:
    feed = Feed(replica.machine, begin(replica.machine, 9, request(9)))
    first = promote(replica, 2)
    assert first > JUMP
    shown = replica.machine.revision
    (jump,) = drain(feed, shown)
    assert (jump.prev_revision, jump.last_revision, jump.rows) == (9, first - 1, b"")
    assert [start.epoch for start in history_of(jump.history)] == [1, 2]
    replica.put(b"key", b"in the new epoch")
    assert places(drain(feed, first)) == [(first, 0)]


def test_an_epoch_that_may_not_be_shown_yet_waits(replica: Replica) -> None:
    feed = Feed(replica.machine, begin(replica.machine, 9, request(9)))
    promote(replica, 2)
    assert drain(feed, 9) == []


def test_a_deletion_of_a_large_range_is_a_note(tmp_path: Path) -> None:
    replica = Replica(tmp_path / "us", deletion_step_keys=2)
    for number in range(5):
        replica.put(b"k%d" % number)
    feed = Feed(replica.machine, begin(replica.machine, 6, request(6)))
    replica.delete_in_steps(DeleteRangeRequest(key=b"a", range_end=b"z"))
    (batch,) = drain(feed, 7)
    assert (batch.deleted.revision, batch.deleted.count, batch.rows) == (7, 5, b"")
    replica.machine.close()


def test_what_is_gone_begins_anew(replica: Replica) -> None:
    replica.compact(6)
    while replica.machine.compact_step():
        pass
    assert begin(replica.machine, 9, request(3)) == Begin(FIRST, 9, 3, compacted=True)
    assert begin(replica.machine, 9, request(6)).after_revision == 6


def test_what_is_compacted_meanwhile_ends_the_feed(replica: Replica) -> None:
    feed = Feed(replica.machine, begin(replica.machine, 9, request(3)))
    replica.compact(6)
    while replica.machine.compact_step():
        pass
    with pytest.raises(Compacted):
        feed.next_batch(9)


def test_a_tail_that_lost_is_left_at_the_fork(tmp_path: Path) -> None:
    us, eu = Replica(tmp_path / "us"), Replica(tmp_path / "eu", region="eu")
    us.put(b"a", b"shared")
    follow(us, eu)
    fork = us.machine.revision
    us.put(b"a", b"lost")
    feed = Feed(us.machine, begin(us.machine, fork + 1, request(fork)))
    assert places(drain(feed, fork + 1)) == [(fork + 1, 0)]
    assert feed.holds
    first = promote(eu, 2)
    eu.put(b"a", b"kept")
    leave(eu, us)
    follow(eu, us)
    assert not feed.holds
    again = begin(us.machine, us.machine.revision, request(fork + 1))
    assert again == Begin(FIRST, fork, fork)
    batches = drain(Feed(us.machine, again), us.machine.revision)
    assert places(batches) == [(first, 0)]
    assert [start.epoch for start in history_of(batches[-1].history)] == [1, 2]
    us.machine.close()
    eu.machine.close()


def test_whom_it_refuses(replica: Replica) -> None:
    with pytest.raises(WrongStore):
        begin(replica.machine, 9, request(4, store="other"))
    with pytest.raises(Behind):
        begin(replica.machine, 9, request(20))
    with pytest.raises(Behind):
        begin(replica.machine, 9, request(9, (*FIRST, EpochStart(2, 10, "eu"))))
    with pytest.raises(InvalidRequest):
        begin(replica.machine, 9, request(4, (EpochStart(1, 2, "elsewhere"),)))
    with pytest.raises(InvalidRequest):
        begin(replica.machine, 9, request(4, (EpochStart(3, 2, "us"), EpochStart(2, 2, "us"))))


def test_the_revision_of_a_base(replica: Replica) -> None:
    assert base_revision(replica.machine, 9, BaseRequest(store_id=STORE)) == (FIRST, 9)
    assert base_revision(replica.machine, 7, BaseRequest()) == (FIRST, 7)
    with pytest.raises(Behind):
        base_revision(replica.machine, 7, BaseRequest(min_revision=8))
    with pytest.raises(WrongStore):
        base_revision(replica.machine, 7, BaseRequest(store_id="other"))
    promote(replica, 2)
    assert base_revision(replica.machine, replica.machine.revision, BaseRequest()) == (FIRST, 9)


def test_a_base_of_a_store_in_which_nothing_was_written(tmp_path: Path) -> None:
    replica = Replica(tmp_path / "us")
    assert base_revision(replica.machine, 1, BaseRequest()) == (FIRST, 1)
    replica.machine.close()
