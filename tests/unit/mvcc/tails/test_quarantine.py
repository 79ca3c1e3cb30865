"""What may happen while a region leaves its tail, and to the files that it leaves."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from rstore_api.errors import InvalidRequest, NoSpace, NotReady
from rstore_api.proto.rpc_pb2 import DeleteRangeRequest, PutRequest
from rstore_api.proto.rstore_pb2 import Compaction, DropTail, RewindStep
from rstore_replica.mvcc.tail_facts import Leaving, Phase
from rstore_replica.mvcc.tails import rules
from rstore_replica.mvcc.tails.quarantine import Quarantine
from rstore_replica.replication.history import Diverged
from unit.mvcc.replicas import Replica
from unit.mvcc.tails.regions import (
    LOST,
    SHARED,
    begin,
    contents,
    files_in,
    finish_undoing,
    follow,
    go_on,
    leave,
    pair_with_tail,
    promote,
    quarantine_directory,
    quarantined_rows,
)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Replica, Replica]:
    return pair_with_tail(tmp_path)


def test_a_region_that_is_promoted_while_rows_are_exported_keeps_them(pair: tuple[Replica, Replica]) -> None:
    us, eu = pair
    assert isinstance(begin(us, eu, max_rows=4), Leaving)
    assert list(files_in(us)) == ["1-4-9.wal.part"]
    promote(us, 3)
    assert us.machine.state.leaving is None
    assert files_in(us) == {}
    assert contents(us) == LOST
    assert us.apply(rewind_step=RewindStep(max_rows=4)) == us.machine.revision, "there is nothing to go on with"
    us.put(b"later", b"1")
    leave(us, eu)
    follow(us, eu)
    assert eu.hash().hash == us.hash().hash
    assert {row.key for row in quarantined_rows(eu).values()} == {b"n"}


def test_a_source_that_goes_on_from_the_tail_ends_the_export(pair: tuple[Replica, Replica], tmp_path: Path) -> None:
    us, eu = pair
    asia = Replica(tmp_path / "asia", "asia", bootstrap="us")
    follow(us, asia)  # asia has what us has to itself otherwise
    assert isinstance(begin(us, eu, max_rows=4), Leaving)
    promote(asia, 3)
    asia.put(b"m", b"1")
    assert leave(asia, us, max_rows=1) is None
    follow(asia, us)
    assert us.machine.state.leaving is None
    assert files_in(us) == {}
    assert us.hash().hash == asia.hash().hash


def test_another_source_with_another_fork_begins_the_export_anew(pair: tuple[Replica, Replica], tmp_path: Path) -> None:
    us, eu = pair
    asia = Replica(tmp_path / "asia", "asia", bootstrap="us")
    batch = us.batch_after(1, max_rows=3)
    asia.receive(batch)  # up to revision 4, the first of the tail
    assert isinstance(begin(us, eu, max_rows=4), Leaving)
    promote(asia, 3)
    assert leave(asia, us, max_rows=2) == Diverged(4, 9)
    follow(asia, us)
    assert list(files_in(us)) == ["1-5-9.wal"]
    assert us.hash().hash == asia.hash().hash


def test_a_revision_that_came_back_is_not_in_quarantine_twice(pair: tuple[Replica, Replica], tmp_path: Path) -> None:
    us, eu = pair
    asia = Replica(tmp_path / "asia", "asia", bootstrap="us")
    asia.receive(us.batch_after(1, max_rows=5))  # revisions 4 to 6 of the tail among them
    assert asia.machine.revision == 6
    leave(eu, us)
    follow(eu, us)
    promote(asia, 3)
    asia.put(b"m", b"1")
    assert leave(asia, us) is not None
    follow(asia, us)
    assert us.get(b"a") == b"lost 3", "it has them again"
    promote(eu, 4)
    eu.put(b"o", b"1")
    leave(eu, us, max_rows=1)
    follow(eu, us)
    assert us.hash().hash == eu.hash().hash
    assert len(quarantined_rows(us)) == 12 + 2, "the first tail, and what eu and asia wrote; none of it twice"


def test_what_is_being_undone_is_undone_before_anything_else(pair: tuple[Replica, Replica]) -> None:
    us, eu = pair
    answer = begin(us, eu, max_rows=8)
    while isinstance(answer, Leaving) and answer.phase is Phase.EXPORTING:
        answer = us.apply(rewind_step=RewindStep(max_rows=8))
    assert us.machine.revision == 3
    assert isinstance(rules.refusal_while_undoing(us.machine.state), NotReady)
    us.promise(3)
    assert isinstance(us.promote(3), NotReady)
    assert isinstance(us.receive(eu.batch_after(3)), NotReady)
    assert isinstance(us.apply(compaction=Compaction(revision=2)), NotReady)
    assert us.write(PutRequest(key=b"x"), DeleteRangeRequest(key=b"x"))[0] is not None
    assert contents(us) == SHARED
    finish_undoing(us, 2)
    assert promote(us, 3) == 4 + 2 * 10**9
    assert contents(us) == SHARED


def test_a_full_disk_holds_the_export_up_and_loses_nothing(
    pair: tuple[Replica, Replica], monkeypatch: pytest.MonkeyPatch
) -> None:
    us, eu = pair
    answer = begin(us, eu, max_rows=3)
    before = us.machine.applied_index, us.machine.state

    def no_room(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no room")

    with monkeypatch.context() as patched:
        patched.setattr("rstore_replica.mvcc.tails.quarantine._write", no_room)
        with pytest.raises(OSError, match="no room"):
            us.apply(rewind_step=RewindStep(max_rows=3))
        patched.setattr("rstore_replica.mvcc.data.store.Store.free_disk_bytes", lambda _: 1)
        assert isinstance(us.machine.refusal_of_export(), NoSpace)
        assert isinstance(us.machine.refusal_of_rewind(3), NoSpace)
    assert (us.machine.applied_index, us.machine.state) == before
    assert contents(us) == LOST
    us.log.pop()
    go_on(us, answer, 3)
    assert len(quarantined_rows(us)) == 12
    follow(eu, us)
    assert us.hash().hash == eu.hash().hash


def test_dropping_a_tail_removes_it_everywhere_and_may_be_repeated(pair: tuple[Replica, Replica]) -> None:
    us, eu = pair
    leave(eu, us, max_rows=4)
    (tail,) = us.machine.quarantined
    assert us.apply(drop_tail=DropTail(file=tail.file)) is True
    assert us.apply(drop_tail=DropTail(file=tail.file)) is False
    assert us.machine.quarantined == ()
    assert files_in(us) == {}
    assert isinstance(us.apply(drop_tail=DropTail(file="../us/live/data.mdb")), InvalidRequest)
    us.reopen()
    assert us.machine.quarantined == ()


def test_a_tail_that_is_being_written_cannot_be_dropped(pair: tuple[Replica, Replica]) -> None:
    us, eu = pair
    begin(us, eu, max_rows=2)
    assert isinstance(us.apply(drop_tail=DropTail(file="1-4-9.wal")), InvalidRequest)
    assert list(files_in(us)) == ["1-4-9.wal.part"]


def test_there_is_a_bound_on_tails(pair: tuple[Replica, Replica], monkeypatch: pytest.MonkeyPatch) -> None:
    us, eu = pair
    monkeypatch.setattr(rules, "MAX_TAILS", 0)
    assert isinstance(begin(us, eu, max_rows=0), NoSpace)
    assert contents(us) == LOST


def test_files_are_synced_before_a_checkpoint_counts(
    pair: tuple[Replica, Replica], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    us, eu = pair
    begin(us, eu, max_rows=2)
    synced: list[Path] = []
    monkeypatch.setattr("rstore_replica.mvcc.tails.quarantine._sync_if_there", synced.append)
    us.machine.checkpoint(tmp_path / "one")
    assert [path.name for path in synced] == ["1-4-9.wal.part", "1-4-9.wal.part"]
    synced.clear()
    us.machine.checkpoint(tmp_path / "two")
    assert not synced, "nothing was written since"
    us.apply(rewind_step=RewindStep())
    us.machine.sync()
    assert [path.name for path in synced] == ["1-4-9.wal"]


def test_a_torn_file_is_no_tail(pair: tuple[Replica, Replica]) -> None:
    us, eu = pair
    leave(eu, us)
    path = quarantine_directory(us) / "1-4-9.wal"
    path.write_bytes(path.read_bytes()[:-7])
    files = Quarantine(path.parent)
    assert files.whole == {}
    assert "1-4-9.wal is damaged at offset" in files.damaged["1-4-9.wal"]
