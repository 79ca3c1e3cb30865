"""Bootstrap, promises, promotions and topology: which region may write, and whose rows are accepted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from rstore_api.domain.epochs import EpochStart
from rstore_api.errors import (
    Behind,
    Gap,
    InvalidRequest,
    NoPrimary,
    NotBootstrapped,
    NotPrimary,
    StaleEpoch,
    WrongStore,
)
from rstore_api.messages import history_of, topology_of
from rstore_api.proto.rpc_pb2 import PutRequest
from rstore_api.proto.rstore_pb2 import BootstrapRequest
from rstore_api.rows import Row, pack_batch
from unit.mvcc.replicas import STORE, Replica, topology


@pytest.fixture
def us(tmp_path: Path) -> Iterator[Replica]:
    replica = Replica(tmp_path / "us")
    yield replica
    replica.machine.close()


@pytest.fixture
def eu(tmp_path: Path) -> Iterator[Replica]:
    replica = Replica(tmp_path / "eu", "eu")
    yield replica
    replica.machine.close()


def starts(replica: Replica) -> list[tuple[int, int, str]]:
    return [(start.epoch, start.first_revision, start.region) for start in replica.machine.state.history]


def test_a_fresh_primary_has_epoch_1_and_the_others_none(us: Replica, eu: Replica) -> None:
    assert us.machine.state.writable
    assert us.machine.state.epoch == 1
    assert starts(us) == [(1, 2, "us")]
    assert not eu.machine.state.primary
    assert eu.machine.state.epoch == 0
    assert starts(eu) == []
    assert eu.machine.state.topology == topology_of(topology("us"))


def test_bootstrap_again_changes_nothing_and_another_store_is_refused(us: Replica) -> None:
    before = us.machine.state
    assert us.bootstrap(topology("eu", 1, 9)) is None
    assert us.machine.state is before
    assert isinstance(us.bootstrap(topology("us"), store="other"), WrongStore)
    assert us.machine.state is before
    assert us.machine.applied_index == 3


def test_bootstrap_needs_a_store_id(tmp_path: Path) -> None:
    fresh = Replica(tmp_path, bootstrap=None)
    assert isinstance(fresh.bootstrap(topology("us"), store=""), InvalidRequest)
    assert isinstance(fresh.put(b"k"), NotBootstrapped)
    assert isinstance(fresh.promote(2), NotBootstrapped)


def test_an_empty_region_never_becomes_primary_of_an_epoch_that_has_been(tmp_path: Path) -> None:
    fresh = Replica(tmp_path, bootstrap=None)
    assert isinstance(fresh.bootstrap(topology("us", epoch=5)), InvalidRequest)
    assert fresh.machine.state.store_id == ""


def test_an_empty_region_promises_what_the_store_has_promised(tmp_path: Path) -> None:
    fresh = Replica(tmp_path, "eu", bootstrap=None)
    joining = BootstrapRequest(store_id=STORE, topology=topology("us"), promised_epoch=3)
    assert fresh.apply(bootstrap=joining) is None
    assert (fresh.machine.state.promised_epoch, fresh.machine.state.epoch) == (3, 0)
    other = Replica(tmp_path / "other", "us", bootstrap=None)
    assert isinstance(other.apply(bootstrap=joining), InvalidRequest), "epoch 1 is over"
    assert other.machine.state.store_id == ""


def test_writes_are_refused_in_a_secondary_and_name_the_primary(eu: Replica) -> None:
    answer = eu.put(b"k")
    assert isinstance(answer, NotPrimary)
    assert "us" in str(answer)
    assert eu.machine.revision == 1


def test_a_promise_cuts_off_every_write_behind_it_in_the_log(us: Replica) -> None:
    us.put(b"k", b"before")
    assert us.promise(2) == (1, 2)
    answers = us.write(PutRequest(key=b"k", value=b"after"), PutRequest(key=b"l"))
    assert [type(answer) for answer in answers] == [NoPrimary, NoPrimary]
    assert us.get(b"k") == b"before"
    assert us.promise(1) == (1, 2)
    assert us.machine.state.promised_epoch == 2


def test_writes_of_an_older_epoch_are_refused_after_a_promotion(us: Replica) -> None:
    us.promise(2)
    assert us.promote(2) == 2
    assert us.machine.state.writable
    assert isinstance(us.write(PutRequest(key=b"k"), epoch=1)[0], NoPrimary)
    assert us.put(b"k").header.revision == 2


def test_promotion_is_refused_below_what_is_promised_or_held(us: Replica, eu: Replica) -> None:
    us.put(b"k")
    eu.promise(5)
    assert isinstance(eu.promote(4), StaleEpoch)
    answer = eu.promote(5, min_revision=2)
    assert isinstance(answer, Behind)
    assert "2 is required" in str(answer)
    assert isinstance(eu.promote(5, store="other"), WrongStore)
    assert eu.promote(5) == 2
    assert eu.promote(5, min_revision=99) == 2  # done already
    assert isinstance(eu.promote(4), StaleEpoch)


def test_a_fresh_secondary_does_not_take_the_epoch_of_another_region(eu: Replica) -> None:
    assert isinstance(eu.promote(1), StaleEpoch)
    assert (eu.machine.state.epoch, eu.machine.state.primary) == (0, False)
    assert eu.promote(2) == 2


def test_a_switchover_there_and_back_loses_nothing(us: Replica, eu: Replica) -> None:
    us.put(b"k", b"1")
    epoch, final = us.promise(2)
    eu.follow(us)
    assert eu.promote(epoch + 1, min_revision=final) == final + 1
    eu.put(b"k", b"2")
    us.follow(eu)
    assert not us.machine.state.primary
    assert us.machine.state.epoch == 2
    assert starts(us) == starts(eu) == [(1, 2, "us"), (2, 3, "eu")]
    assert us.hash() == eu.hash()
    eu.promise(3)
    assert us.promote(3, min_revision=3) == 4
    us.put(b"k", b"3")
    eu.follow(us)
    assert eu.get(b"k") == b"3"
    assert [eu.get(b"k", revision) for revision in (2, 3, 4)] == [b"1", b"2", b"3"]


def test_an_empty_batch_brings_the_history_of_a_new_epoch(us: Replica, eu: Replica) -> None:
    us.put(b"k")
    eu.follow(us)
    us.promise(2)
    us.promote(2)
    batch = us.batch_after(2)
    assert (batch.row_count, batch.last_revision) == (0, 2)
    assert eu.receive(batch) == 2
    assert starts(eu) == [(1, 2, "us"), (2, 3, "us")]
    assert eu.machine.state.epoch == 2


def test_a_newer_topology_with_another_primary_ends_this_one(us: Replica) -> None:
    assert us.apply(topology=topology("us", 1, 2)) is None
    assert us.machine.state.writable
    us.apply(topology=topology("eu", 2))
    assert not us.machine.state.primary
    assert us.machine.state.promised_epoch == 2
    held = us.machine.state
    us.apply(topology=topology("us", 1, 7))
    assert us.machine.state is held


def test_rows_of_a_lower_epoch_than_promised_are_refused(us: Replica, eu: Replica) -> None:
    us.put(b"k")
    eu.promise(2)
    assert isinstance(eu.receive(us.batch_after(1)), StaleEpoch)
    assert eu.machine.revision == 1


def test_a_primary_refuses_rows_of_its_own_epoch(us: Replica) -> None:
    us.put(b"k")
    batch = us.batch_after(1)
    batch.prev_revision = us.machine.revision
    assert isinstance(us.receive(batch), StaleEpoch)


def test_rows_that_leave_a_gap_or_come_twice_are_refused(us: Replica, eu: Replica) -> None:
    us.put(b"k")
    us.put(b"l")
    assert isinstance(eu.receive(us.batch_after(2)), Gap)
    first = us.batch_after(1)
    assert eu.receive(first) == 3
    assert isinstance(eu.receive(first), Gap)
    assert eu.hash() == us.hash()


def test_rows_are_refused_by_a_region_whose_own_revisions_diverged(us: Replica, eu: Replica) -> None:
    us.put(b"k", b"shared")
    eu.follow(us)
    us.put(b"k", b"only in us")
    assert eu.promote(2) == 3
    eu.put(b"k", b"in eu instead")
    eu.put(b"k", b"and more")
    answer = us.receive(eu.batch_after(3))
    assert isinstance(answer, Gap)
    assert "diverged" in str(answer)
    assert us.get(b"k") == b"only in us"


@pytest.mark.parametrize(
    ("rows", "count", "last"),
    [
        ([Row(2, 0, b"k", deletion=True)], 2, 2),
        ([Row(2, 0, b"k", deletion=True)], 1, 3),
        ([Row(3, 0, b"k", deletion=True)], 1, 3),
        ([Row(2, 1, b"k", deletion=True)], 1, 2),
        ([Row(2, 0, b"k", deletion=True), Row(4, 0, b"k", deletion=True)], 2, 4),
        ([Row(2, 0, b"k", deletion=True), Row(2, 2, b"l", deletion=True)], 2, 2),
    ],
)
def test_rows_that_do_not_fit_together_are_refused(
    us: Replica, eu: Replica, rows: list[Row], count: int, last: int
) -> None:
    us.put(b"k")
    batch = us.batch_after(1)
    batch.rows, batch.row_count, batch.last_revision = pack_batch(rows), count, last
    assert isinstance(eu.receive(batch), InvalidRequest)
    assert eu.machine.revision == 1
    assert starts(eu) == []


def test_damaged_rows_and_rows_without_history_are_refused(us: Replica, eu: Replica) -> None:
    us.put(b"k")
    good = us.batch_after(1)
    damaged = us.batch_after(1)
    damaged.rows = damaged.rows[:-1] + b"\xee"
    assert isinstance(eu.receive(damaged), InvalidRequest)
    bare = us.batch_after(1)
    del bare.history[:]
    assert isinstance(eu.receive(bare), InvalidRequest)
    assert eu.receive(good) == 2


def test_a_batch_never_crosses_the_start_of_an_epoch(us: Replica) -> None:
    us.put(b"a")
    us.put(b"b")
    us.promise(2)
    us.promote(2)
    us.put(b"c")
    first = us.batch_after(1)
    assert (first.last_revision, first.row_count) == (3, 2)
    assert history_of(first.history) == (EpochStart(1, 2, "us"),)
    assert us.batch_after(3).last_revision == 4


def test_the_state_survives_a_restart(us: Replica) -> None:
    us.put(b"k")
    us.promise(4)
    before, revision, index = us.machine.state, us.machine.revision, us.machine.applied_index
    us.reopen()
    assert us.machine.state == before
    assert (us.machine.revision, us.machine.applied_index) == (revision, index)
