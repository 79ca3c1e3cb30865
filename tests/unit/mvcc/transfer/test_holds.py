"""What a snapshot, or a region that follows, still needs stays until it is let go."""

from __future__ import annotations

from pathlib import Path

import pytest
from rstore_api.errors import Compacted, FutureRevision
from unit.mvcc.replicas import Replica
from unit.mvcc.transfer.transfers import chunks, install, source_with_keys, step_of


@pytest.fixture
def us(tmp_path: Path) -> Replica:
    return source_with_keys(tmp_path)


@pytest.fixture
def eu(tmp_path: Path) -> Replica:
    return Replica(tmp_path / "eu", "eu")


def test_chunks_are_of_one_revision_whatever_is_written_and_compacted_meanwhile(us: Replica, eu: Replica) -> None:
    revision = us.machine.revision
    expected = us.hash(revision).hash
    hold = us.machine.hold(revision)
    for number, chunk in enumerate(chunks(us)):
        us.delete(b"key-%02d" % number)
        us.put(b"key-%02d" % (14 - number), b"later")
        us.put(b"new-%02d" % number, b"later")
        assert us.compact(us.machine.revision) is None
        while us.machine.compact_step(2):
            pass
        eu.apply(snapshot=step_of(us, eu, chunk))
    assert eu.machine.revision == revision
    assert eu.hash().hash == expected
    hold.move(revision)
    eu.follow(us)
    assert eu.hash().hash == us.hash().hash
    hold.release()
    while us.machine.compact_step():
        pass
    with pytest.raises(Compacted):
        us.machine.snapshot_after(b"", revision, max_bytes=1, max_rows=1)
    with pytest.raises(Compacted):
        us.machine.hold(revision)
    with pytest.raises(Compacted):
        us.machine.rows_after(revision, max_bytes=1, max_rows=1)


def test_holding_does_not_show_to_readers(us: Replica) -> None:
    hold = us.machine.hold(10)
    us.compact(30)
    with pytest.raises(Compacted):
        us.range(revision=29)
    assert us.machine.compact_revision == 30
    assert us.machine.rows_after(10, max_bytes=1 << 20, max_rows=1000).first_revision == 11
    with pytest.raises(Compacted):
        us.machine.rows_after(9, max_bytes=1 << 20, max_rows=1000)
    with pytest.raises(FutureRevision):
        us.machine.snapshot_after(b"", 1000, max_bytes=1, max_rows=1)
    hold.release()
    hold.release()
    with pytest.raises(Compacted):
        us.machine.rows_after(10, max_bytes=1 << 20, max_rows=1000)


def test_what_was_held_is_gone_with_the_data(us: Replica, eu: Replica, tmp_path: Path) -> None:
    eu.follow(us)
    hold = eu.machine.hold(20)
    us.put(b"key-00", b"later")
    install(us, eu)
    with pytest.raises(Compacted):
        eu.machine.rows_after(20, max_bytes=1 << 20, max_rows=1000)
    with pytest.raises(Compacted):
        eu.machine.snapshot_after(b"", 20, max_bytes=1 << 20, max_rows=1000)
    hold.move(30)
    hold.release()

    hold = us.machine.hold(20)
    us.compact(40)
    eu.machine.checkpoint(tmp_path / "checkpoint")
    us.machine.restore(tmp_path / "checkpoint")
    with pytest.raises(Compacted):
        us.machine.rows_after(20, max_bytes=1 << 20, max_rows=1000)


def test_the_lowest_of_several_holds_counts(us: Replica) -> None:
    low, high = us.machine.hold(10), us.machine.hold(20)
    us.compact(40)
    while us.machine.compact_step():
        pass
    assert us.machine.rows_after(10, max_bytes=1 << 20, max_rows=1000).first_revision == 11
    low.release()
    while us.machine.compact_step():
        pass
    assert us.machine.rows_after(20, max_bytes=1 << 20, max_rows=1000).first_revision == 21
    with pytest.raises(Compacted):
        us.machine.rows_after(19, max_bytes=1 << 20, max_rows=1000)
    high.move(30)
    high.move(25)
    assert high.revision == 30
