"""Failovers at the level of the state machine: jumps, forks, quarantine, rewinding, several times in a row."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rstore_api.domain.epochs import EpochStart, count_at, revision_at, settled
from rstore_api.errors import Compacted, InvalidRequest, StaleEpoch
from rstore_api.proto.rstore_pb2 import Rewind
from rstore_replica.mvcc.data.store import StorageFailed
from rstore_replica.mvcc.tails import file as tail_file
from rstore_replica.mvcc.tails.quarantine import Quarantine
from rstore_replica.mvcc.transfer import stream
from rstore_replica.replication.history import Diverged
from unit.mvcc.replicas import Replica
from unit.mvcc.tails.regions import (
    JUMP,
    follow,
    look,
    promote,
    rewind_of,
)


def stream_all(source: Replica, target: Replica, *, max_rows: int = 3) -> Diverged | None:
    """What the two leaders do, without a network. Returns the divergence that was found on the way."""
    diverged = look(source, target)
    if isinstance(diverged, Diverged):
        rewind = rewind_of(source, target, diverged)
        for _ in range(2):  # again, it changes nothing
            assert target.apply(rewind=rewind) == diverged.fork_revision
    follow(source, target, max_rows=max_rows)
    return diverged if isinstance(diverged, Diverged) else None


@pytest.fixture
def us(tmp_path: Path) -> Replica:
    return Replica(tmp_path / "us")


@pytest.fixture
def eu(tmp_path: Path) -> Replica:
    return Replica(tmp_path / "eu", "eu")


def test_a_failover_starts_above_everything_and_is_streamed_across_the_gap(us: Replica, eu: Replica) -> None:
    us.put(b"a", b"1")
    stream_all(us, eu)
    first = promote(eu, 2)
    assert first == 2 + JUMP + 1
    assert eu.machine.revision == first - 1
    assert eu.machine.state.history[-1] == EpochStart(epoch=2, first_revision=first, region="eu", parent_revision=2)
    eu.reopen()
    assert eu.machine.state.history[-1].parent_revision == 2
    assert stream_all(eu, us) is None, "nothing was written meanwhile: a prefix"
    assert us.machine.revision == first - 1
    assert eu.put(b"b", b"2").header.revision == first
    stream_all(eu, us)
    assert us.get(b"b") == b"2"
    assert us.hash().hash == eu.hash().hash
    assert not us.machine.quarantined


def test_a_tail_goes_to_quarantine_and_the_region_follows(us: Replica, eu: Replica) -> None:
    us.put(b"a", b"1")
    stream_all(us, eu)
    us.put(b"a", b"lost")
    us.put(b"c", b"lost too")
    us.delete(b"a")
    promote(eu, 2)
    eu.put(b"b", b"2")
    assert stream_all(eu, us) == Diverged(2, 5)
    assert us.get(b"a") == b"1"
    assert us.hash().hash == eu.hash().hash
    assert not us.machine.state.primary
    (tail,) = us.machine.quarantined
    assert tail.file == "1-3-5.wal"
    assert (tail.header.first_revision, tail.header.last_revision, tail.count) == (3, 5, 3)
    assert (tail.header.fork_revision, tail.header.replaced_by_epoch) == (2, 2)
    path = us.path.with_name("us.quarantine") / tail.file
    found = [(row.revision, row.key, row.value, row.deletion) for row in tail_file.read_rows(path)]
    assert found == [(3, b"a", b"lost", False), (4, b"c", b"lost too", False), (5, b"a", b"", True)]
    us.reopen()
    assert us.machine.quarantined == (tail,)


def test_every_damage_to_a_file_is_seen(us: Replica, eu: Replica) -> None:
    stream_all(us, eu)
    us.put(b"a", b"lost")
    promote(eu, 2)
    stream_all(eu, us)
    path = us.path.with_name("us.quarantine") / us.machine.quarantined[0].file
    whole = path.read_bytes()
    for at in range(0, len(whole), 3):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(tail_file.DamagedTail):
            list(tail_file.read_rows(path))
    for cut in (whole[:-1], whole + b"\0", whole[: len(whole) // 2], b""):
        path.write_bytes(cut)
        with pytest.raises(tail_file.DamagedTail):
            list(tail_file.read_rows(path))
    assert Quarantine(path.parent).whole == {}


def test_a_replica_without_room_for_the_tail_stops(us: Replica, eu: Replica) -> None:
    stream_all(us, eu)
    us.put(b"a", b"lost")
    us.path.with_name("us.quarantine").write_bytes(b"in the way")
    before = us.machine.revision, us.machine.applied_index
    with pytest.raises(StorageFailed, match="diverged tail"):
        us.apply(rewind=Rewind(fork_revision=1, epoch=2, tail_epoch=1))
    assert (us.machine.revision, us.machine.applied_index) == before
    assert us.get(b"a") == b"lost"


def test_no_rewind_below_the_compaction_nor_for_an_old_epoch(us: Replica) -> None:
    for _ in range(4):
        us.put(b"a")
    us.compact(4)
    assert isinstance(us.machine.refusal_of_rewind(3), Compacted)
    assert us.machine.refusal_of_rewind(4) is None
    assert isinstance(us.apply(rewind=Rewind(fork_revision=3, epoch=2, tail_epoch=1)), Compacted)
    assert isinstance(us.apply(rewind=Rewind(fork_revision=4, epoch=1, tail_epoch=1)), StaleEpoch)
    us.promise(3)
    assert isinstance(us.apply(rewind=Rewind(fork_revision=4, epoch=2, tail_epoch=1)), StaleEpoch)
    assert isinstance(us.apply(rewind=Rewind(fork_revision=0, epoch=3, tail_epoch=1)), InvalidRequest)
    assert us.machine.revision == 5
    assert us.machine.state.primary


def test_an_epoch_without_a_write_leaves_nothing_behind(us: Replica, eu: Replica, tmp_path: Path) -> None:
    asia = Replica(tmp_path / "asia", "asia", bootstrap="us")
    us.put(b"a", b"1")
    for other in (eu, asia):
        stream_all(us, other)
    promote(eu, 2)
    promote(asia, 3)
    asia.put(b"b", b"2")
    assert stream_all(asia, eu) == Diverged(2, 2 + JUMP)
    assert not eu.machine.quarantined
    assert eu.hash().hash == asia.hash().hash


def test_compaction_inside_a_jump_keeps_nobody_out(us: Replica, eu: Replica) -> None:
    us.put(b"a", b"1")
    us.put(b"a", b"2")
    stream_all(us, eu)
    us.put(b"a", b"lost")
    promote(eu, 2)
    eu.compact(eu.machine.revision)
    eu.put(b"b", b"3")
    assert stream_all(eu, us) == Diverged(3, 4)
    assert us.hash().hash == eu.hash().hash


def test_a_batch_may_jump_only_where_an_epoch_does(us: Replica) -> None:
    us.put(b"a")
    batch = us.batch_after(1)
    batch.last_revision = 7
    assert isinstance(stream.check_rows(batch), InvalidRequest)
    batch.history.add(epoch=2, first_revision=8, region="eu", parent_revision=3)
    assert isinstance(stream.check_rows(batch), InvalidRequest)
    batch.history[-1].parent_revision = 2
    assert isinstance(stream.check_rows(batch), list)


@settings(max_examples=60)
@given(data=st.data())
def test_left_out_revisions_do_not_count(data: st.DataObject) -> None:
    history: list[EpochStart] = []
    exist, revision = [1], 1
    for epoch in range(1, data.draw(st.integers(1, 6)) + 1):
        jump = data.draw(st.sampled_from([0, 3, 10])) if epoch > 1 else 0
        first = revision + 1 + jump
        history.append(EpochStart(epoch=epoch, first_revision=first, parent_revision=revision if jump else 0))
        written = data.draw(st.integers(0, 4))
        exist += range(first, first + written)
        revision = first + written - 1
    for at in range(1, revision + 1):
        held = [found for found in exist if found <= at]
        assert count_at(history, at) == len(held)
        assert settled(history, at) == held[-1]
        if at in exist:
            assert revision_at(history, count_at(history, at)) == at
