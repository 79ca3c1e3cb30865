"""Leaving a tail in steps: what readers see, and what every replica makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rstore_api.errors import Compacted
from rstore_api.proto.rstore_pb2 import LogEntry, RewindStep
from rstore_replica.mvcc.machine import Machine
from rstore_replica.mvcc.tail_facts import Leaving, Phase
from rstore_replica.mvcc.tails import file as tail_file
from rstore_replica.mvcc.tails import rules
from rstore_replica.replication.history import Diverged
from unit.mvcc.replicas import Replica
from unit.mvcc.tails.regions import (
    LOST,
    SHARED,
    all_rows,
    begin,
    contents,
    files_in,
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


def test_readers_see_the_old_data_or_the_new_and_never_a_mixture(pair: tuple[Replica, Replica]) -> None:
    us, eu = pair
    assert contents(us) == LOST
    seen: list[Phase] = []

    def between(held: Leaving) -> None:
        seen.append(held.phase)
        expected = LOST if held.phase is Phase.EXPORTING else SHARED
        assert contents(us) == expected
        assert us.range(count_only=True).count == len(expected)
        assert us.range(limit=1).count == len(expected)
        assert us.get(b"a") == expected[b"a"]
        assert us.range(b"l3", b"").count == (1 if b"l3" in expected else 0)
        assert us.get(b"a", revision=3) == b"shared"
        assert us.machine.revision == (9 if held.phase is Phase.EXPORTING else 3)
        assert bool(us.machine.quarantined) == (held.phase is Phase.UNDOING)
        assert not us.machine.state.writable

    before_hash = eu.hash(3).hash
    assert leave(eu, us, max_rows=2, between=between) == Diverged(3, 9)
    assert seen == sorted(seen, key=list(Phase).index)
    assert seen.count(Phase.EXPORTING) >= 5
    assert seen.count(Phase.UNDOING) >= 5
    assert us.hash(3).hash == before_hash
    assert us.machine.state.leaving is None
    follow(eu, us)
    assert us.hash().hash == eu.hash().hash
    assert all_rows(us.machine) == all_rows(eu.machine)


def test_while_rows_are_hidden_the_hash_is_that_of_the_fork(pair: tuple[Replica, Replica]) -> None:
    us, eu = pair
    expected = eu.hash(3).hash
    found: list[int] = []
    leave(
        eu, us, max_rows=5, between=lambda held: found.append(us.hash().hash if held.phase == "Undoing" else expected)
    )
    assert set(found) == {expected}


@pytest.mark.parametrize("max_rows", [1, 2, 5, 11, 12, 13, 24, 1000])
def test_every_replica_and_every_step_size_make_the_same_of_it(
    pair: tuple[Replica, Replica], tmp_path: Path, max_rows: int
) -> None:
    us, eu = pair
    crashes = 0

    def between(_held: Leaving) -> None:
        nonlocal crashes
        crashes += 1
        us.reopen()

    leave(eu, us, max_rows=max_rows, between=between)
    assert crashes == 0 if max_rows >= 24 else crashes > 0
    other = Machine.open(tmp_path / "other", region="us")
    for index, entry in enumerate(us.log, start=1):
        other.apply(index, 1, entry)
    assert other.state == us.machine.state
    twin = quarantine_directory(us).with_name("other.quarantine")
    assert {path.name: path.read_bytes() for path in twin.iterdir()} == files_in(us)
    assert all_rows(other) == all_rows(us.machine)
    assert [at for at, _ in quarantined_rows(us)] == [4, 5, 6, 7, *[8] * 7, 9]
    (tail,) = us.machine.quarantined
    assert (tail.count, tail.revisions, tail.size_bytes) == (12, 6, len(files_in(us)["1-4-9.wal"]))
    other.close()


def test_a_step_that_is_applied_again_after_a_crash_writes_the_same(
    pair: tuple[Replica, Replica], tmp_path: Path
) -> None:
    """The machine stops: the data goes back to a checkpoint, the files stay as they were, or lose what was not synced,
    and the log is replayed from there."""
    us, eu = pair
    checkpoints: list[tuple[int, Path, dict[str, bytes]]] = []

    def between(_held: Leaving) -> None:
        directory = tmp_path / f"checkpoint-{len(checkpoints)}"
        us.machine.checkpoint(directory)
        checkpoints.append((us.machine.applied_index, directory, files_in(us)))

    leave(eu, us, max_rows=3, between=between)
    final, state = files_in(us), us.machine.state
    for index, directory, files in checkpoints:
        for lost_files in (final, files):
            for path in quarantine_directory(us).iterdir():
                path.unlink()
            for name, content in lost_files.items():
                (quarantine_directory(us) / name).write_bytes(content)
            us.machine.restore(directory)
            us.reopen()
            assert us.machine.applied_index == index
            for at, entry in enumerate(us.log[index:], start=index + 1):
                us.machine.apply(at, 1, entry)
            assert us.machine.state == state
            assert files_in(us) == final


def test_a_replica_that_came_in_the_middle_goes_on_without_the_file(
    pair: tuple[Replica, Replica], tmp_path: Path
) -> None:
    """It has the checkpoint of another replica, and nothing in quarantine."""
    us, eu = pair
    late = Machine.open(tmp_path / "late", region="us")
    begun: list[int] = []

    def between(held: Leaving) -> None:
        if held.count >= 4 and not begun:
            us.machine.checkpoint(tmp_path / "checkpoint")
            late.restore(tmp_path / "checkpoint")
            begun.append(us.machine.applied_index)

    leave(eu, us, max_rows=2, between=between)
    for index, entry in enumerate(us.log[begun[0] :], start=begun[0] + 1):
        late.apply(index, 1, entry)
    assert late.state == us.machine.state
    (tail,) = late.quarantined
    assert late.quarantine.whole == {}
    fetched = tmp_path / "fetched"
    fetched.write_bytes(files_in(us)[tail.file])
    late.quarantine.adopt(fetched, tail.file)
    assert late.quarantine.whole == {tail.file: tail}
    late.close()


def test_what_is_left_of_an_earlier_attempt_never_counts_as_the_tail(
    pair: tuple[Replica, Replica], tmp_path: Path
) -> None:
    """A replica has the beginning of a file that another primary's return cut short, and misses the beginning anew."""
    us, eu = pair
    asia = Replica(tmp_path / "asia", "asia", bootstrap="us")
    follow(eu, asia)
    late = Machine.open(tmp_path / "late", region="us")
    begin(us, eu, max_rows=5)
    us.apply(rewind_step=RewindStep(max_rows=5))
    for index, entry in enumerate(us.log, start=1):
        late.apply(index, 1, entry)
    promote(asia, 3)
    answer = begin(us, asia, max_rows=5)
    us.machine.checkpoint(tmp_path / "checkpoint")
    late.restore(tmp_path / "checkpoint")
    since = us.machine.applied_index
    go_on(us, answer, 5)
    for index, entry in enumerate(us.log[since:], start=since + 1):
        late.apply(index, 1, entry)
    assert late.state == us.machine.state
    (tail,) = late.quarantined
    assert late.quarantine.whole in ({}, {tail.file: tail})
    assert len(quarantined_rows(us)) == 12
    late.close()


def test_only_export_leaves_the_data_until_a_snapshot_takes_its_place(pair: tuple[Replica, Replica]) -> None:
    us, eu = pair
    go_on(us, begin(us, eu, max_rows=2, keep=True), 2)
    held = us.machine.state.leaving
    assert held is not None
    assert (held.phase, held.count) == (Phase.EXPORTED, 12)
    assert contents(us) == LOST
    assert not us.machine.quarantined
    assert list(us.machine.quarantine.whole) == ["1-4-9.wal"]
    assert begin(us, eu, max_rows=2, keep=True) == 9, "again, it changes nothing"
    us.reopen()
    (tail,) = rules.replaced(us.machine.state).tails
    assert us.machine.quarantine.whole == {tail.file: tail}
    promote(us, 3)
    assert us.machine.quarantine.whole == {}


def test_what_compaction_may_have_removed_is_exported_alike_everywhere(
    pair: tuple[Replica, Replica], tmp_path: Path
) -> None:
    """Where the fork is compacted, one replica has swept and another has not: the file is the same."""
    us, eu = pair
    other = Machine.open(tmp_path / "other", region="us")
    other.compact_step = lambda *_: False  # type: ignore[method-assign]
    us.compact(7)
    while us.machine.compact_step(1):
        pass
    assert isinstance(begin(us, eu, max_rows=0), Compacted)
    go_on(us, begin(us, eu, max_rows=3, keep=True), 3)
    for index, entry in enumerate(us.log, start=1):
        other.apply(index, 1, entry)
    twin = tmp_path / "other.quarantine"
    assert {path.name: path.read_bytes() for path in twin.iterdir()} == files_in(us)
    found = [(row.revision, row.key) for row in tail_file.read_rows(twin / "1-4-9.wal")]
    assert found == [(6, b"a"), (7, b"l0"), *[(8, b"l%d" % number) for number in range(1, 8)], (9, b"b")]
    other.close()


@settings(max_examples=40)
@given(data=st.data())
def test_any_crash_between_steps_and_any_step_size_lose_nothing(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("steps")
    us, eu = (Replica(directory / name, name, map_bytes=1 << 22) for name in ("us", "eu"))
    try:
        follow(us, eu)
        meaning: dict[int, bytes] = {}
        for number in range(data.draw(st.integers(1, 12))):
            value = b"%d" % number
            meaning[us.put(b"k%d" % data.draw(st.integers(0, 3)), value).header.revision] = value
        promote(eu, 2)

        def between(_held: Leaving) -> None:
            if data.draw(st.booleans()):
                us.reopen()
            if data.draw(st.booleans()):
                index = us.machine.applied_index
                assert us.machine.apply(index, 1, LogEntry().SerializeToString()) is None

        leave(eu, us, max_rows=data.draw(st.integers(1, 7)), between=between)
        assert {row.revision: row.value for row in quarantined_rows(us).values()} == meaning
        assert all_rows(us.machine) == {}
    finally:
        us.machine.close()
        eu.machine.close()
