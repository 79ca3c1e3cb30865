"""Revisions that the present history has left out: nobody is shown the state at the fork in their place."""

from __future__ import annotations

from pathlib import Path

import pytest
from rstore_api.domain.epochs import EpochStart, existing, is_left_out
from rstore_api.errors import Compacted, FutureRevision
from rstore_api.proto.rpc_pb2 import Compare, PutRequest, RangeRequest, TxnRequest
from unit.mvcc.replicas import Replica, operations
from unit.mvcc.tails.regions import JUMP, follow, leave, promote


@pytest.fixture
def us(tmp_path: Path) -> Replica:
    return Replica(tmp_path / "us")


@pytest.fixture
def eu(tmp_path: Path) -> Replica:
    return Replica(tmp_path / "eu", "eu")


@pytest.fixture
def lost(us: Replica, eu: Replica) -> range:
    """Revisions that us acknowledged and eu, which took over at revision 3, never had."""
    for value in (b"1", b"2"):
        us.put(b"k", value)
    follow(us, eu)
    for number in range(3):
        us.put(b"k", b"lost %d" % number)
    promote(eu, 2)
    return range(4, 7)


def _mod_is(revision: int) -> Compare:
    return Compare(key=b"k", target=Compare.MOD, result=Compare.EQUAL, mod_revision=revision)


@pytest.mark.parametrize(
    "more", [{}, {"range_end": b"l"}, {"range_end": b"l", "count_only": True}, {"count_only": True}]
)
@pytest.mark.parametrize("written", [False, True], ids=["nothing written yet", "written since"])
def test_reads_at_a_lost_revision_are_compacted(eu: Replica, lost: range, more: dict, written: bool) -> None:
    if written:
        eu.put(b"k", b"3")
    for revision in (*lost, 3 + JUMP // 2, 3 + JUMP - 1):
        with pytest.raises(Compacted, match="mvcc: required revision has been compacted"):
            eu.machine.range(RangeRequest(key=b"k", revision=revision, **more))
    with pytest.raises(FutureRevision):
        eu.machine.range(RangeRequest(key=b"k", revision=eu.machine.revision + 1, **more))


def test_what_exists_is_read_as_before(eu: Replica, lost: range) -> None:
    """The fork, and where the store stands since the failover: answers have named that, and pages go on at it."""
    del lost
    standing = eu.machine.revision
    assert standing == 3 + JUMP
    eu.put(b"k", b"3")
    for revision, value in ((2, b"1"), (3, b"2"), (standing, b"2"), (standing + 1, b"3")):
        found = eu.machine.range(RangeRequest(key=b"k", revision=revision))
        assert found.kvs[0].value == value


def test_a_page_cannot_go_on_at_a_lost_revision(us: Replica, eu: Replica, lost: range) -> None:
    first = us.machine.range(RangeRequest(key=b"\0", range_end=b"\0", limit=1, revision=lost[-1]))
    assert first.kvs
    with pytest.raises(Compacted):
        eu.machine.range(RangeRequest(key=b"k\0", range_end=b"\0", limit=1, revision=lost[-1]))


def test_in_a_transaction_only_the_path_that_is_taken_counts(eu: Replica, lost: range) -> None:
    put, read = PutRequest(key=b"t", value=b"v"), RangeRequest(key=b"k", revision=lost[0])
    before = eu.machine.revision
    assert isinstance(eu.txn(then=[put, read]), Compacted)
    assert isinstance(eu.txn(then=[TxnRequest(success=operations([read]))]), Compacted)
    assert eu.machine.revision == before, "nothing of a transaction that is refused happens"
    assert eu.txn(then=[put], orelse=[read]).succeeded
    assert eu.machine.revision == before + 1


def test_a_comparison_with_a_lost_revision_is_just_false(eu: Replica, lost: range) -> None:
    for revision in lost:
        answer = eu.txn(_mod_is(revision), then=[PutRequest(key=b"k", value=b"wrong")])
        assert not answer.succeeded
    assert eu.txn(_mod_is(3)).succeeded


async def test_hashes_at_a_lost_revision_are_compacted(eu: Replica, lost: range) -> None:
    with pytest.raises(Compacted):
        await eu.machine.hash_kv(lost[0])
    at_fork, standing = await eu.machine.hash_kv(3), await eu.machine.hash_kv(eu.machine.revision)
    assert at_fork.hash == standing.hash


async def test_every_region_says_the_same_once_it_follows(us: Replica, eu: Replica, lost: range) -> None:
    assert us.machine.range(RangeRequest(key=b"k", revision=lost[1])).kvs[0].value == b"lost 1"
    eu.put(b"k", b"3")
    leave(eu, us)
    follow(eu, us)
    for replica in (us, eu):
        with pytest.raises(Compacted):
            replica.machine.range(RangeRequest(key=b"k", revision=lost[1]))
        with pytest.raises(Compacted):
            await replica.machine.hash_kv(lost[1])


def test_it_holds_after_several_failovers_and_a_restart(us: Replica, eu: Replica, lost: range) -> None:
    eu.put(b"k", b"3")
    promote(us, 3)  # with its own tail: another fork, at 6
    promote(eu, 4)
    eu.machine.close()
    again = Replica(eu.path, "eu", bootstrap=None)
    starts = [start.first_revision for start in again.machine.state.history]
    for revision in (lost[0], starts[-1] - 2):
        with pytest.raises(Compacted):
            again.machine.range(RangeRequest(key=b"k", revision=revision))
    assert again.machine.range(RangeRequest(key=b"k", revision=starts[1])).kvs[0].value == b"3"


HISTORY = (
    EpochStart(epoch=1, first_revision=2),
    EpochStart(epoch=2, first_revision=10, parent_revision=4),
    EpochStart(epoch=3, first_revision=13),
    EpochStart(epoch=4, first_revision=30, parent_revision=14),
)


@pytest.mark.parametrize(
    ("revision", "last"),
    [
        (3, 3),
        (4, 4),
        (5, 4),
        (8, 4),
        (9, 9),
        (10, 10),
        (12, 12),
        (13, 13),
        (14, 14),
        (15, 14),
        (28, 14),
        (29, 29),
        (30, 30),
    ],
)
def test_the_last_revision_that_exists(revision: int, last: int) -> None:
    """What a compaction to a left out revision compacts to. Jumps may be of any size."""
    assert existing(HISTORY, revision) == last
    assert is_left_out(HISTORY, revision) is (revision != last)
