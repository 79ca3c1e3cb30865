"""Snapshots at the level of the state machine: chunks, the staging area, the moment when it becomes visible."""

from __future__ import annotations

import random
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rstore_api import rows
from rstore_api.domain.epochs import EpochStart
from rstore_api.domain.forks import Chain
from rstore_api.errors import Compacted, Gap, InvalidRequest, NotBootstrapped, StaleEpoch, WrongStore
from rstore_api.messages import history_messages
from rstore_api.proto import rstore_pb2 as pb
from rstore_api.proto.rstore_pb2 import SnapshotStep
from rstore_replica.mvcc.data import generations
from rstore_replica.mvcc.data.store import Position
from rstore_replica.replication.sending.snapshot_source import SnapshotId
from unit.mvcc.replicas import STORE, Replica, writes
from unit.mvcc.tails.regions import promote, quarantined_rows
from unit.mvcc.transfer.transfers import chunks, install, keep_tail, source_with_keys, step_of


@pytest.fixture
def us(tmp_path: Path) -> Replica:
    return source_with_keys(tmp_path)


@pytest.fixture
def eu(tmp_path: Path) -> Replica:
    return Replica(tmp_path / "eu", "eu")


def entries(replica: Replica) -> list[int]:
    """How many entries each place of a generation has, rows and index together."""
    store = replica.machine._store
    with store.read() as transaction:
        return [
            transaction.stat(view.rows)["entries"] + transaction.stat(view.index)["entries"]
            for view in map(store.at_generation, range(generations.PLACES))
        ]


@pytest.mark.parametrize("max_rows", [1, 3, 1000])
def test_a_fresh_region_holds_what_the_source_held(us: Replica, eu: Replica, max_rows: int) -> None:
    assert install(us, eu, max_rows=max_rows) == {1: 15, 3: 5, 1000: 1}[max_rows]
    assert eu.machine.revision == eu.machine.compact_revision == us.machine.revision
    assert list(eu.machine.state.history) == list(us.machine.state.history)
    assert eu.hash().hash == us.hash().hash
    assert eu.range() == us.range()
    with pytest.raises(Compacted):
        eu.range(revision=us.machine.revision - 1)
    us.put(b"after", b"1")
    eu.follow(us)
    assert eu.hash().hash == us.hash().hash


def test_nothing_is_visible_before_the_last_chunk_and_all_of_it_with_that(us: Replica, eu: Replica) -> None:
    seen: list[int] = []
    eu.machine.subscribe(seen.append)
    for chunk in chunks(us):
        before = eu.machine
        assert (before.revision, before.compact_revision, len(eu.range().kvs)) == (1, 0, 0)
        assert before.state.history == ()
        assert seen == []
        eu.apply(snapshot=step_of(us, eu, chunk))
        if not chunk.last:
            assert eu.machine.staged is not None
            assert eu.machine.staged.last_key == chunk.last_key
    assert eu.machine.staged is None
    assert seen == [us.machine.revision]


def test_a_transfer_goes_on_where_it_stopped_also_after_a_restart_and_with_another_sender(
    us: Replica, eu: Replica, tmp_path: Path
) -> None:
    third = Replica(tmp_path / "ap", "ap")
    third.follow(us)
    first = list(chunks(us))
    for chunk in first[:3]:
        eu.apply(snapshot=step_of(us, eu, chunk))
    eu.reopen()
    staged = eu.machine.staged
    assert staged is not None
    assert staged.is_of(first[0])
    assert staged.last_key == first[2].last_key
    assert (staged.rows, staged.size_bytes) == (9, sum(len(chunk.rows) for chunk in first[:3]))
    third.promise(2)
    third.promote(2)
    third.put(b"key-00", b"in the next epoch")
    eu.promise(2)
    for chunk in chunks(third, staged.revision, after_key=staged.last_key, max_rows=2):
        assert chunk.epoch == 2
        eu.apply(snapshot=step_of(third, eu, chunk))
    assert eu.hash().hash == us.hash().hash
    assert eu.machine.state.promised_epoch == 2
    eu.follow(third)
    assert eu.hash().hash == third.hash().hash
    assert [start.epoch for start in eu.machine.state.history] == [1, 2]


def test_another_snapshot_begins_anew_and_what_was_staged_goes(us: Replica, eu: Replica) -> None:
    for chunk in list(chunks(us))[:3]:
        eu.apply(snapshot=step_of(us, eu, chunk))
    us.put(b"key-00", b"newer")
    before = eu.machine.staged
    install(us, eu)
    assert before is not None
    assert eu.hash().hash == us.hash().hash
    while eu.machine.clear_step(2):
        pass
    assert sorted(entries(eu)) == [0, 0, 2 * len(us.range().kvs)]


def test_snapshots_follow_each_other_without_end(us: Replica, eu: Replica) -> None:
    for number in range(8):
        us.put(b"round", b"%d" % number)
        us.put(b"only-%d" % number, b"1")
        us.delete(b"only-", b"only." if number % 2 else b"")
        us.compact(us.machine.revision)
        part = list(chunks(us))
        for chunk in part[: number % 4]:
            eu.apply(snapshot=step_of(us, eu, chunk))
        us.put(b"round", b"%d again" % number)
        install(us, eu)
        if number % 3 == 0:
            eu.reopen()
        assert eu.hash().hash == us.hash().hash
    while eu.machine.clear_step(7):
        pass
    assert sorted(entries(eu)) == [0, 0, 2 * len(us.range().kvs)]


def test_a_place_that_is_not_empty_yet_is_emptied_first(
    us: Replica, eu: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rstore_replica.mvcc.transfer.staging.clear_some", lambda *_: True)
    for number in range(5):
        us.put(b"only-%d" % number, b"1")
        install(us, eu)
        assert eu.range() == us.range()
        us.delete(b"only-%d" % number)


def test_chunks_of_two_snapshots_are_never_put_together(us: Replica, eu: Replica) -> None:
    first = list(chunks(us))
    us.put(b"key-14", b"newer")
    second = list(chunks(us))
    assert [chunk.last_key for chunk in first] == [chunk.last_key for chunk in second]
    for chunk in first[:2]:
        eu.apply(snapshot=step_of(us, eu, chunk))
    assert isinstance(eu.apply(snapshot=step_of(us, eu, second[2])), Gap)
    second[2].revision = first[0].revision
    second[2].history[0].region = "ap"
    assert isinstance(eu.apply(snapshot=step_of(us, eu, second[2])), Gap)
    assert eu.apply(snapshot=step_of(us, eu, first[2])) == first[2].last_key


def test_a_tail_that_is_not_in_quarantine_is_not_replaced(us: Replica, eu: Replica) -> None:
    eu.follow(us)
    promote(eu, 2)
    eu.put(b"key-00", b"of the second epoch")
    us.put(b"key-00", b"lost")
    us.compact(us.machine.revision)
    (whole,) = chunks(eu, max_rows=1000)
    assert isinstance(us.apply(snapshot=step_of(eu, us, whole)), Gap)
    assert us.get(b"key-00") == b"lost"
    keep_tail(eu, us)
    assert us.get(b"key-00") == b"lost", "it is served until something takes its place"
    assert us.apply(snapshot=step_of(eu, us, whole)) == eu.machine.revision
    assert us.get(b"key-00") == b"of the second epoch"
    assert [row.value for row in quarantined_rows(us).values()] == [b"lost"]


def test_what_another_history_had_at_a_revision_is_not_gone_on_with() -> None:
    one = EpochStart(1, 2, "us")
    old = Chain((one,), 150)
    staged = pb.StagedSnapshot(store_id=STORE, history=history_messages([one]), revision=150, last_key=b"k")
    same = Chain((one, EpochStart(2, 151, "eu")), 160)
    failed_over = Chain((one, EpochStart(2, 10**9 + 101, "eu", 100)), 10**9 + 101)
    assert SnapshotId.of_staged(old, STORE, staged) == SnapshotId((one,), 150)
    assert SnapshotId.of_staged(same, STORE, staged) == SnapshotId((one,), 150)
    assert SnapshotId.of_staged(failed_over, STORE, staged) is None, "there, 150 was never written"
    assert SnapshotId.of_staged(Chain((one,), 149), STORE, staged) is None
    assert SnapshotId.of_staged(old, "another", staged) is None
    assert SnapshotId.newest(failed_over) == SnapshotId(failed_over.history, 10**9 + 101)
    empty = Chain((one, EpochStart(2, 10**9 + 101, "eu", 100)), 10**9 + 100)
    assert SnapshotId.newest(empty) == SnapshotId((one,), 100)


def test_rows_end_what_is_staged(us: Replica, eu: Replica) -> None:
    for chunk in list(chunks(us))[:3]:
        eu.apply(snapshot=step_of(us, eu, chunk))
    eu.follow(us)
    assert eu.machine.staged is None
    while eu.machine.clear_step(3):
        pass
    assert sorted(entries(eu))[:2] == [0, 0]
    assert eu.hash().hash == us.hash().hash
    eu.reopen()
    assert eu.machine.staged is None


def test_what_must_not_be_installed_is_refused_and_changes_nothing(us: Replica, eu: Replica, tmp_path: Path) -> None:
    whole = list(chunks(us))

    def answer(number: int, **changes: object) -> object:
        step = step_of(us, eu, whole[number])
        for name, value in changes.items():
            setattr(step if hasattr(step, name) else step.chunk, name, value)
        return eu.apply(snapshot=step)

    fresh = Replica(tmp_path / "fresh", "ap", bootstrap=None)
    assert isinstance(fresh.apply(snapshot=step_of(us, fresh, whole[0])), NotBootstrapped)
    assert isinstance(answer(0, store_id="another"), WrongStore)
    assert isinstance(answer(0, held_revision=2), Gap)
    assert isinstance(answer(0, held_epoch=1), Gap)
    assert isinstance(answer(0, fork_revision=2), InvalidRequest)
    assert isinstance(answer(0, revision=1), InvalidRequest)
    assert isinstance(answer(1), Gap)
    assert isinstance(answer(0, row_count=1), InvalidRequest)
    assert isinstance(answer(0, last_key=b"a"), InvalidRequest)
    assert isinstance(answer(0, rows=whole[0].rows[:-1]), InvalidRequest)
    assert isinstance(answer(0, after_key=b"z"), InvalidRequest)
    deletion = rows.pack_batch([rows.Row(3, 0, b"key-00", deletion=True)])
    assert isinstance(answer(0, rows=deletion, row_count=1), InvalidRequest)
    assert eu.machine.staged is None
    assert answer(0) == whole[0].last_key
    assert isinstance(answer(2), Gap)
    assert isinstance(answer(1, after_key=whole[0].after_key + b"a"), Gap | InvalidRequest)
    assert answer(1) == whole[1].last_key
    eu.promise(2)
    assert isinstance(answer(2), StaleEpoch)
    assert isinstance(us.apply(snapshot=SnapshotStep(chunk=whole[0], held_revision=43, held_epoch=1)), StaleEpoch)
    assert (eu.machine.revision, len(eu.range().kvs)) == (1, 0)


def test_replicas_of_a_region_are_the_same_also_by_checkpoint(us: Replica, eu: Replica, tmp_path: Path) -> None:
    parts = list(chunks(us))
    for chunk in parts[:3]:
        eu.apply(snapshot=step_of(us, eu, chunk))
    eu.machine.checkpoint(tmp_path / "checkpoint")
    other = Replica(tmp_path / "other", "eu", bootstrap=None)
    other.machine.restore(tmp_path / "checkpoint")
    assert other.machine.staged == eu.machine.staged
    for chunk in parts[3:]:
        for replica in (eu, other):
            replica.apply(snapshot=step_of(us, replica, chunk))
    assert other.hash() == eu.hash()
    assert other.machine._position == eu.machine._position
    eu.machine.checkpoint(tmp_path / "checkpoint-2")
    third = Replica(tmp_path / "third", "eu", bootstrap=None)
    third.put(b"x")
    third.machine.restore(tmp_path / "checkpoint-2")
    assert third.hash() == eu.hash()
    third.reopen()
    assert third.hash() == eu.hash()


def test_a_reader_in_a_thread_sees_one_state_while_snapshots_are_installed(us: Replica, eu: Replica) -> None:
    """Each installed store has one value everywhere; no answer may mix two."""
    keys = [b"all-%03d" % number for number in range(50)]
    stop, mixed, looks = threading.Event(), [], [0]

    def look() -> None:
        while not stop.is_set():
            values = {pair.value for pair in eu.range(b"all-", b"all.").kvs}
            looks[0] += 1
            if len(values) > 1:
                mixed.append(values)

    readers = [threading.Thread(target=look) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        for number in range(30):
            for key in keys:
                us.put(key, b"%d" % number)
            install(us, eu, max_rows=20)
            eu.machine.clear_step(30)
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    assert looks[0] > 30
    assert not mixed


def test_a_position_of_the_first_format_is_read(us: Replica) -> None:
    position = us.machine._position
    assert Position.unpack(position.pack()) == position
    old = b"\x01" + position.pack()[1:45]
    assert Position.unpack(old) == position


@settings(max_examples=25)
@given(
    history=st.lists(writes(), min_size=1, max_size=25),
    later=st.lists(writes(), max_size=8),
    at=st.integers(0, 30),
    compacted=st.integers(0, 30),
    max_rows=st.integers(1, 4),
    seed=st.integers(0, 1000),
)
def test_a_snapshot_of_any_revision_equals_the_source_there(
    tmp_path_factory: pytest.TempPathFactory,
    history: list,
    later: list,
    at: int,
    compacted: int,
    max_rows: int,
    seed: int,
) -> None:
    """Whatever was written, compacted and swept before, between the chunks, and where the transfer broke."""
    rng = random.Random(seed)
    directory = tmp_path_factory.mktemp("snapshot")
    source, target = Replica(directory / "us"), Replica(directory / "eu", "eu")
    try:
        for request in history:
            source.write(request)
        if source.machine.revision < 2:
            return
        if compacted <= source.machine.revision:
            source.compact(compacted)
            source.machine.compact_step(rng.randint(1, 10))
        revision = max(2, min(at, source.machine.revision), source.machine.compact_revision)
        expected = source.hash(revision).hash
        hold = source.machine.hold(revision)
        after_key, done, steps = b"", False, list(later)
        while not done:
            for chunk in chunks(source, revision, after_key=after_key, max_rows=max_rows):
                target.apply(snapshot=step_of(source, target, chunk))
                if steps:
                    source.write(steps.pop())
                    source.compact(rng.randint(1, source.machine.revision))
                    source.machine.compact_step(rng.randint(1, 10))
                after_key, done = chunk.last_key, chunk.last
                if rng.random() < 0.2:
                    target.reopen()
                    target.machine.clear_step(rng.randint(1, 5))
                    break
        assert target.hash(revision).hash == expected
        if revision < source.machine.revision:
            target.follow(source, max_rows=3)
        hold.release()
        assert target.hash().hash == source.hash().hash
        assert target.range() == source.range()
    finally:
        source.machine.close()
        target.machine.close()
