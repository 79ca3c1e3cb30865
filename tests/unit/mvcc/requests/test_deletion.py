"""A deletion in steps: nobody sees a part of it, and it comes to the same everywhere, whatever happens in between."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from rstore_api.errors import EmptyKey, InvalidRequest, NoPrimary, RequestForgotten
from rstore_api.proto.rpc_pb2 import DeleteRangeRequest
from rstore_api.proto.rstore_pb2 import LogEntry, Noop, RequestId
from rstore_replica.mvcc.data import deleted_ranges
from rstore_replica.mvcc.data.store import StorageFailed
from rstore_replica.mvcc.machine import Machine
from unit.mvcc.replicas import Replica

STEP = 3
KEYS = [b"k%02d" % number for number in range(10)]
ALL = DeleteRangeRequest(key=b"k", range_end=b"l")


def replica_with_keys(path: Path, region: str = "us") -> Replica:
    replica = Replica(path, region, deletion_step_keys=STEP)
    replica.put(b"before", b"1")
    for key in KEYS:
        replica.put(key, b"value of " + key)
    replica.put(b"z", b"1")
    return replica


def seen(replica: Replica) -> list[tuple[object, ...]]:
    """What readers of all kinds see."""
    machine, newest = replica.machine, replica.machine.revision
    part = machine.changes(
        (2, 0), newest + 5, lambda key: ([key], True), max_rows=1000, max_bytes=1 << 20, max_previous_bytes=1 << 20
    )
    return [
        (newest, machine.compact_revision),
        tuple((kv.key, kv.value, kv.mod_revision, kv.version) for kv in replica.range().kvs),
        (replica.range(count_only=True).count, replica.range(b"k04", b"").count, replica.range(b"k", b"k05").count),
        (replica.hash().hash,),
        (machine.rows_after(newest, max_bytes=1 << 20, max_rows=100).last_revision,),
        (part.next_revision, part.rows),
        (machine.snapshot_after(b"", newest, max_bytes=1 << 20, max_rows=1000).count,),
    ]


def watching(replica: Replica, states: list[object]) -> Callable[[], None]:
    return lambda: states.append(seen(replica))


def test_nobody_sees_a_part_of_it(tmp_path: Path) -> None:
    replica = replica_with_keys(tmp_path)
    before, revision, states = seen(replica), replica.machine.revision, []  # type: ignore[var-annotated]
    revisions: list[int] = []
    replica.machine.subscribe(revisions.append)
    answer = replica.delete_in_steps(ALL, watching(replica, states))
    assert (answer.deleted, answer.header.revision) == (len(KEYS), revision + 1)
    assert len(states) >= len(KEYS) // STEP
    assert all(state == before for state in states)
    assert revisions == [revision + 1] == [replica.machine.revision]
    assert not replica.machine.amid_deletion
    assert [kv.key for kv in replica.range().kvs] == [b"before", b"z"]
    assert [kv.key for kv in replica.range(revision=revision).kvs] == [b"before", *KEYS, b"z"]


@pytest.mark.parametrize("count", [0, 1, STEP - 1, STEP, STEP + 1, 2 * STEP])
def test_it_is_what_a_deletion_at_once_is(tmp_path: Path, count: int) -> None:
    replicas = [Replica(tmp_path / name, deletion_step_keys=STEP) for name in ("steps", "once")]
    for replica in replicas:
        for key in KEYS[:count]:
            replica.put(key)
        replica.delete(KEYS[0])
        if count > 1:
            replica.put(KEYS[0])
    answers = replicas[0].delete_in_steps(ALL), replicas[1].delete(ALL.key, ALL.range_end)
    assert answers[0] == answers[1]
    for replica in replicas:
        replica.put(b"after")
    assert replicas[0].hash() == replicas[1].hash()
    batches = [replica.batch_after(1) for replica in replicas]
    if count <= STEP:
        assert batches[0].rows == batches[1].rows
    # Undone down to before it, there is nothing left of it.
    for replica in replicas:
        replica.machine.rewind(2)
        replica.put(b"other")
    assert [replica.batch_after(1).rows for replica in replicas] == [replicas[1].batch_after(1).rows] * 2


def test_another_region_gets_it_as_one_revision(tmp_path: Path) -> None:
    us, eu = replica_with_keys(tmp_path / "us"), Replica(tmp_path / "eu", "eu", deletion_step_keys=STEP)
    eu.follow(us)
    before, states = seen(eu), []  # type: ignore[var-annotated]
    us.delete_in_steps(ALL)
    us.put(b"k05", b"again")
    batch = us.batch_after(eu.machine.revision)
    assert (batch.rows, batch.deleted.count, batch.last_revision) == (b"", len(KEYS), us.machine.revision - 1)
    assert eu.receive(batch, watching(eu, states)) == batch.last_revision
    assert len(states) >= len(KEYS) // STEP
    assert all(state == before for state in states)
    eu.follow(us)
    assert [eu.hash(at) for at in range(2, us.machine.revision + 1)] == [
        us.hash(at) for at in range(2, us.machine.revision + 1)
    ]
    # The one that got it can send it on.
    ap = Replica(tmp_path / "ap", "ap", deletion_step_keys=STEP)
    ap.follow(eu)
    assert ap.hash() == us.hash()


def test_a_region_that_holds_other_keys_refuses_it_and_keeps_them(tmp_path: Path) -> None:
    us, eu = replica_with_keys(tmp_path / "us"), Replica(tmp_path / "eu", "eu", deletion_step_keys=STEP)
    eu.follow(us)
    us.delete_in_steps(ALL)
    before, revision = seen(eu), eu.machine.revision
    batch = us.batch_after(revision)
    for wrong in ({"count": 9}, {"checksum": batch.deleted.checksum ^ 1}, {"range_end": b"k05"}, {"key": b"a"}):
        other = type(batch).FromString(batch.SerializeToString())
        for name, value in wrong.items():
            setattr(other.deleted, name, value)
        answer = eu.receive(other)
        assert isinstance(answer, InvalidRequest)
        assert "different keys" in str(answer)
        assert seen(eu) == before
    for wrong in ({"revision": revision + 2}, {"count": 0}, {"key": b""}):
        other = type(batch).FromString(batch.SerializeToString())
        for name, value in wrong.items():
            setattr(other.deleted, name, value)
        assert isinstance(eu.receive(other), InvalidRequest)
    assert eu.receive(batch) == revision + 1
    assert eu.hash() == us.hash()


def test_a_restart_in_the_middle_goes_on(tmp_path: Path) -> None:
    replica, other = replica_with_keys(tmp_path / "one"), replica_with_keys(tmp_path / "other")
    before, states = seen(replica), []  # type: ignore[var-annotated]

    def restart() -> None:
        replica.reopen()
        states.append(seen(replica))

    assert replica.delete_in_steps(ALL, restart) == other.delete_in_steps(ALL)
    assert all(state == before for state in states)
    assert seen(replica) == seen(other)
    replica.reopen()
    assert seen(replica) == seen(other)


def test_a_checkpoint_in_the_middle_goes_on_elsewhere(tmp_path: Path) -> None:
    replica = replica_with_keys(tmp_path / "one")
    before, made = seen(replica), []  # type: ignore[var-annotated]

    def checkpoint() -> None:
        made.append(tmp_path / f"checkpoint-{len(made)}")
        replica.machine.checkpoint(made[-1])

    replica.delete_in_steps(ALL, checkpoint)
    assert len(made) >= 3
    for number, directory in enumerate(made):
        other = Replica(tmp_path / f"other-{number}", bootstrap=None, deletion_step_keys=STEP)
        other.machine.restore(directory)
        assert seen(other) == before
        with pytest.raises(StorageFailed, match="not finished"):
            other.machine.apply(replica.machine.applied_index + 1, 1, LogEntry(noop=Noop()).SerializeToString())
        other.log.append(replica.log[-1])
        other.apply_last()
        assert seen(other) == seen(replica)
        assert other.machine.applied_index == replica.machine.applied_index


def test_a_restore_in_the_middle_forgets_it(tmp_path: Path) -> None:
    replica = replica_with_keys(tmp_path / "one")
    checkpoint = tmp_path / "checkpoint"
    replica.delete_in_steps(ALL)
    replica.machine.checkpoint(checkpoint)
    behind = replica_with_keys(tmp_path / "behind")
    behind.log.append(replica.log[-1])
    behind.machine.apply(behind.machine.applied_index + 1, 1, behind.log[-1])
    behind.machine.restore(checkpoint)
    assert seen(behind) == seen(replica)
    assert behind.put(b"next").header.revision == replica.put(b"next").header.revision


def test_compaction_goes_on_in_between(tmp_path: Path) -> None:
    replica, other = replica_with_keys(tmp_path / "one"), replica_with_keys(tmp_path / "other")
    for each in (replica, other):
        for key in KEYS:
            each.put(key, b"newer")
        assert each.compact(each.machine.revision - 2) is None
    before, states = seen(replica), []  # type: ignore[var-annotated]

    def sweep() -> None:
        replica.machine.compact_step(2)
        states.append(seen(replica))

    replica.delete_in_steps(ALL, sweep)
    other.delete_in_steps(ALL)
    assert all(state == before for state in states)
    for each in (replica, other):
        assert each.compact(each.machine.revision) is None
        while each.machine.compact_step(2):
            pass
    assert seen(replica) == seen(other)
    assert replica.machine._store.in_use_bytes() == other.machine._store.in_use_bytes()


def test_what_was_asked_before_is_answered_as_then(tmp_path: Path) -> None:
    replica = replica_with_keys(tmp_path)
    revision = replica.machine.revision
    name = RequestId(client=bytes(16), sequence=1, revision=revision)
    first = replica.delete_in_steps(ALL, replica.reopen, request_id=name)
    replica.put(KEYS[0])
    assert replica.delete_in_steps(ALL, request_id=name) == first
    assert replica.get(KEYS[0]) == b""
    other = RequestId(client=bytes(16), sequence=2, revision=revision + 100)
    assert isinstance(replica.delete_in_steps(ALL, request_id=other), RequestForgotten)


def test_what_is_no_such_deletion_is_refused(tmp_path: Path) -> None:
    replica = replica_with_keys(tmp_path)
    before = seen(replica)
    assert isinstance(replica.delete_in_steps(DeleteRangeRequest(key=b"k")), InvalidRequest)
    assert isinstance(replica.delete_in_steps(DeleteRangeRequest(range_end=b"k")), EmptyKey)
    with_values = DeleteRangeRequest(key=b"k", range_end=b"l", prev_kv=True)
    assert isinstance(replica.delete_in_steps(with_values), InvalidRequest)
    assert isinstance(replica.delete_in_steps(ALL, epoch=7), NoPrimary)
    assert seen(replica) == before


def test_notes_go_with_compaction_and_with_the_revision(tmp_path: Path) -> None:
    replica = replica_with_keys(tmp_path)

    def notes() -> list[int]:
        store, found, at = replica.machine._store, [], 0
        with store.read() as transaction:
            while (note := deleted_ranges.first_after(store, transaction, at)) is not None:
                at = note.revision
                found.append(at)
        return found

    revisions = []
    for _ in range(3):
        replica.delete_in_steps(ALL)
        revisions.append(replica.machine.revision)
        for key in KEYS:
            replica.put(key)
    assert notes() == revisions
    replica.machine.rewind(revisions[2] - 1)
    assert notes() == revisions[:2]
    replica.compact(revisions[1] + 1)
    while replica.machine.compact_step():
        pass
    replica.delete_in_steps(ALL)
    assert notes() == [replica.machine.revision]


def test_deleted_keys_in_the_range_are_gone_through_in_steps(tmp_path: Path) -> None:
    replica = replica_with_keys(tmp_path)
    replica.delete_in_steps(ALL)
    revision, steps = replica.machine.revision, []  # type: ignore[var-annotated]
    answer = replica.delete_in_steps(ALL, lambda: steps.append(1))
    assert (answer.deleted, answer.header.revision, replica.machine.revision) == (0, revision, revision)
    assert len(steps) >= len(KEYS) // STEP


def test_a_full_disk_in_the_middle_is_waited_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replica, other = replica_with_keys(tmp_path / "one"), replica_with_keys(tmp_path / "other")
    before, states = seen(replica), []  # type: ignore[var-annotated]
    transact = Machine._transact

    def full(machine: Machine, work: Callable[[object], object]) -> object:
        def fails(transaction: object) -> object:
            work(transaction)
            raise OSError(28, "No space left on device")

        return transact(machine, fails)

    def fill() -> None:
        monkeypatch.setattr(Machine, "_transact", full)
        with pytest.raises(OSError, match="No space"):
            replica.machine.apply(replica.machine.applied_index + 1, 1, replica.log[-1])
        monkeypatch.setattr(Machine, "_transact", transact)
        states.append(seen(replica))

    assert replica.delete_in_steps(ALL, fill) == other.delete_in_steps(ALL)
    assert all(state == before for state in states)
    assert seen(replica) == seen(other)
    shutil.rmtree(tmp_path / "one")
