"""What the archive has not confirmed stays, also while no archiver is there, as long as its bounds allow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rstore_api.errors import Compacted, InvalidRequest, NotBootstrapped, WrongStore
from rstore_api.proto import rstore_pb2 as pb
from rstore_replica.api.archive import keeping as module
from rstore_replica.api.archive.keeping import FILE_NAME, KEPT_SECONDS, Keeping
from rstore_replica.mvcc.machine import Machine
from rstore_replica.raft.clock import SystemClock
from unit.mvcc.replicas import STORE, Replica
from unit.mvcc.tails.regions import follow, promote

RETENTION = 1000


class FakeClock(SystemClock):
    """Its time goes on when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Kept:
    """A replica, and what it keeps for the archive."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clock = FakeClock()
        self.replica = Replica(directory / "us")
        for number in range(20):
            self.replica.put(b"key", b"%d" % number)
        self.keeping = self.begin()

    def begin(self, **settings: Any) -> Keeping:
        """As at the start of a replica."""
        self.keeping = Keeping(
            machine=self.replica.machine,
            clock=self.clock,
            directory=self.directory,
            **{"retention": RETENTION, **settings},
        )
        self.keeping.begin()
        return self.keeping

    def restart(self) -> None:
        self.replica.machine.close()
        self.replica.machine = Machine.open(self.directory / "us", region="us")
        self.begin()

    def compact(self, revision: int) -> None:
        assert self.replica.compact(revision) is None
        self.sweep()

    def sweep(self) -> None:
        while self.replica.machine.compact_step():
            pass

    def has(self, revision: int) -> bool:
        """Whether the rows after a revision can still be sent."""
        self.sweep()
        try:
            self.replica.machine.rows_after(revision, max_bytes=1000, max_rows=10)
        except Compacted:
            return False
        return True


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    kept = Kept(tmp_path)
    yield kept
    kept.replica.machine.close()


def confirmation(revision: int, store_id: str = STORE, epoch: int = 1) -> pb.ConfirmRequest:
    history = [pb.EpochStart(epoch=epoch, first_revision=2, region="us")]
    return pb.ConfirmRequest(store_id=store_id, history=history, revision=revision)


async def test_it_stays_while_no_archiver_is_there_and_compaction_is_answered_at_once(kept: Kept) -> None:
    await kept.keeping.confirm(confirmation(8))
    kept.compact(20)
    assert kept.replica.machine.compact_revision == 20
    for _ in range(100):
        kept.clock.now += KEPT_SECONDS / 101
        kept.keeping.review()
    assert (kept.has(7), kept.has(8), kept.keeping.revision) == (False, True, 8)


async def test_what_is_confirmed_is_removed(kept: Kept) -> None:
    await kept.keeping.confirm(confirmation(8))
    kept.compact(20)
    await kept.keeping.confirm(confirmation(15))
    assert (kept.has(14), kept.has(15)) == (False, True)
    await kept.keeping.confirm(confirmation(21))
    assert not kept.has(15)


async def test_it_stays_through_a_restart(kept: Kept) -> None:
    await kept.keeping.confirm(confirmation(8))
    kept.compact(20)
    kept.restart()
    assert (kept.has(7), kept.has(8), kept.keeping.revision) == (False, True, 8)
    kept.compact(21)
    assert kept.has(8)


async def test_it_stays_where_a_checkpoint_takes_the_place_of_the_data(kept: Kept, tmp_path: Path) -> None:
    await kept.keeping.confirm(confirmation(8))
    kept.compact(20)
    kept.replica.machine.checkpoint(tmp_path / "checkpoint")
    kept.replica.put(b"key", b"later")
    kept.replica.machine.restore(tmp_path / "checkpoint")
    assert (kept.has(8), kept.keeping.revision) == (True, 8)


async def test_an_archive_that_confirms_nothing_new_is_waited_for_so_long(kept: Kept) -> None:
    """Its archiver may be there: the object store may take nothing."""
    await kept.keeping.confirm(confirmation(8))
    kept.clock.now += 10 * KEPT_SECONDS  # while nothing is compacted nobody waits
    kept.keeping.review()
    kept.compact(20)
    kept.keeping.review()
    kept.clock.now += KEPT_SECONDS - 1.0
    await kept.keeping.confirm(confirmation(8))
    kept.keeping.review()
    assert kept.has(8)
    kept.clock.now += 1.0
    kept.keeping.review()
    assert (kept.has(8), kept.keeping.revision) == (False, 0)
    await kept.keeping.confirm(confirmation(8))
    assert kept.keeping.revision == 0
    kept.restart()
    assert kept.keeping.revision == 0


async def test_one_that_gets_on_is_waited_for_again(kept: Kept) -> None:
    await kept.keeping.confirm(confirmation(8))
    kept.compact(20)
    for revision in range(9, 20):
        kept.keeping.review()
        kept.clock.now += KEPT_SECONDS - 1.0
        await kept.keeping.confirm(confirmation(revision))
    kept.keeping.review()
    assert kept.has(19)


async def test_not_more_revisions_than_for_a_region(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LAGGARD_FACTOR", 2)
    keeping = kept.begin(retention=5)
    await keeping.confirm(confirmation(8))
    keeping.review()
    assert keeping.revision == 8  # nothing is compacted: it costs nothing
    kept.compact(20)
    keeping.review()
    assert (kept.has(8), keeping.revision) == (False, 0)
    await keeping.confirm(confirmation(20))
    keeping.review()
    assert (kept.has(20), keeping.revision) == (True, 20)


async def test_not_where_writes_need_the_room(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    await kept.keeping.confirm(confirmation(8))
    kept.compact(20)
    monkeypatch.setattr(Machine, "is_nearly_full", True)
    kept.keeping.review()
    assert not kept.has(8)


async def test_what_is_gone_already_cannot_be_kept(kept: Kept) -> None:
    kept.compact(20)
    await kept.keeping.confirm(confirmation(8))
    assert (kept.keeping.revision, (kept.directory / FILE_NAME).exists()) == (0, False)


async def test_a_disk_that_takes_no_note(kept: Kept) -> None:
    (kept.directory / f"{FILE_NAME}.new").mkdir()
    await kept.keeping.confirm(confirmation(8))
    kept.compact(20)
    assert kept.has(8)


async def test_a_note_that_cannot_be_read_is_none(kept: Kept) -> None:
    (kept.directory / FILE_NAME).write_bytes(b"{")
    assert kept.begin().revision == 0


async def test_a_tail_that_was_lost_is_no_part_of_the_archive_that_counts(tmp_path: Path) -> None:
    """The archive has what this region has lost: what both have is where it will go on."""
    us, eu = Replica(tmp_path / "us-data"), Replica(tmp_path / "eu-data", "eu")
    for number in range(10):
        us.put(b"key", b"%d" % number)
    follow(us, eu)
    fork = us.machine.revision
    us.put(b"key", b"lost")
    lost = us.machine.revision
    promote(eu, 2)
    eu.put(b"key", b"of the new primary")
    keeping = Keeping(machine=eu.machine, clock=FakeClock(), directory=tmp_path, retention=RETENTION)
    keeping.begin()
    await keeping.confirm(confirmation(lost))
    assert keeping.revision == fork
    us.machine.close()
    eu.machine.close()


async def test_of_another_store_or_without_one(kept: Kept, tmp_path: Path) -> None:
    with pytest.raises(WrongStore):
        await kept.keeping.confirm(confirmation(8, "another"))
    starts = [pb.EpochStart(epoch=epoch, first_revision=2, region="us") for epoch in (2, 1)]
    with pytest.raises(InvalidRequest):
        await kept.keeping.confirm(pb.ConfirmRequest(store_id=STORE, history=starts, revision=8))
    empty = Machine.open(tmp_path / "empty", region="us")
    keeping = Keeping(machine=empty, clock=FakeClock(), directory=tmp_path, retention=RETENTION)
    with pytest.raises(NotBootstrapped):
        await keeping.confirm(confirmation(8))
    empty.close()
