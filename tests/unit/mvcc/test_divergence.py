"""Failovers at the level of the state machine: jumps, forks, quarantine, rewinding, several times in a row."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rstore_api.errors import Compacted, InvalidRequest, StaleEpoch
from rstore_api.proto.rstore_pb2 import EpochStart, PromoteRequest, ReplicatedRows, Rewind, StreamBatch
from rstore_replica.mvcc import layout, rows, stream, tail_file
from rstore_replica.mvcc.epochs import after_jumps, count_at, revision_at, settled
from rstore_replica.mvcc.machine import Machine
from rstore_replica.mvcc.quarantine import Quarantine
from rstore_replica.mvcc.store import StorageFailed
from rstore_replica.replication.history import Chain, Diverged, Resume, compare, history_up_to
from rstore_replica.replication.messages import history_messages
from unit.mvcc.mvcc_support import STORE, Replica, topology

JUMP = 10**9


def promote(replica: Replica, epoch: int, jump: int = JUMP) -> int:
    replica.promise(epoch)
    where = topology(replica.region, epoch)
    answer = replica.apply(promotion=PromoteRequest(store_id=STORE, epoch=epoch, topology=where, revision_jump=jump))
    assert isinstance(answer, int)
    return answer


def chain(replica: Replica) -> Chain:
    return Chain.of(replica.machine.state.history, replica.machine.revision)


def stream_all(source: Replica, target: Replica, *, max_rows: int = 3) -> Diverged | None:
    """What the two leaders do, without a network. Returns the divergence that was found on the way."""
    found = compare(chain(source), chain(target), receiver_promised_epoch=target.machine.state.promised_epoch)
    diverged = found if isinstance(found, Diverged) else None
    if diverged is not None:
        rewind = Rewind(fork_revision=diverged.fork_revision, epoch=chain(source).epoch, tail_epoch=chain(target).epoch)
        assert target.apply(rewind=rewind) == diverged.fork_revision
        assert target.apply(rewind=rewind) == diverged.fork_revision, "again, it changes nothing"
        found = compare(chain(source), chain(target), receiver_promised_epoch=target.machine.state.promised_epoch)
    assert isinstance(found, Resume), found
    ours = chain(source)
    while target.machine.revision < ours.revision or chain(target).history != ours.history:
        at = target.machine.revision
        batch = source.machine.rows_after(at, max_bytes=1 << 20, max_rows=max_rows)
        last = batch.last_revision if batch.count else after_jumps(ours.history, at)
        answer = target.apply(
            rows=ReplicatedRows(
                batch=StreamBatch(
                    epoch=ours.epoch,
                    prev_revision=at,
                    last_revision=last,
                    rows=batch.packed,
                    row_count=batch.count,
                    history=history_messages(history_up_to(ours, last)),
                )
            )
        )
        assert answer == last
    return diverged


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


@settings(max_examples=60, deadline=None)
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


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_failovers_back_and_forth_lose_nothing_silently(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Any order of writes, partial streams, failovers and switchovers: all regions converge, no revision ever means
    two things, and every write is in the data or in quarantine."""
    directory = tmp_path_factory.mktemp("regions")
    names = ["us", "eu", "asia"]
    regions = {name: Replica(directory / name, name, map_bytes=1 << 22) for name in names}
    meaning: dict[int, bytes] = {}
    epoch, primary, count = 1, "us", 0
    try:
        for _ in range(data.draw(st.integers(1, 14))):
            kind = data.draw(st.sampled_from(["write", "write", "stale write", "stream", "failover", "switchover"]))
            if kind in ("write", "stale write"):
                # A primary that is not fenced does not know that it was replaced.
                able = [name for name in names if regions[name].machine.state.writable]
                name = primary if kind == "write" else data.draw(st.sampled_from(able))
                count += 1
                value = b"%d" % count
                revision = regions[name].put(data.draw(st.sampled_from([b"a", b"b"])), value).header.revision
                assert meaning.setdefault(revision, value) == value
            elif kind == "stream":
                other = data.draw(st.sampled_from([name for name in names if name != primary]))
                stream_all(regions[primary], regions[other])
            elif kind == "failover":
                epoch += 1
                primary = data.draw(st.sampled_from(names))
                promote(regions[primary], epoch)
            else:
                target = data.draw(st.sampled_from([name for name in names if name != primary]))
                regions[primary].promise(epoch + 1)
                stream_all(regions[primary], regions[target])
                epoch, primary = epoch + 1, target
                promote(regions[target], epoch, jump=0)
        count += 1
        revision = regions[primary].put(b"last", b"%d" % count).header.revision
        meaning[revision] = b"%d" % count
        for name in names:
            if name != primary:
                stream_all(regions[primary], regions[name])
        assert len({regions[name].hash().hash for name in names}) == 1
        assert len({chain(regions[name]) for name in names}) == 1
        kept = _all_rows(regions[primary].machine)
        quarantined: dict[int, bytes] = {}
        for name in names:
            for tail in regions[name].machine.quarantined:
                for row in tail_file.read_rows(directory / f"{name}.quarantine" / tail.file):
                    assert meaning[row.revision] == row.value
                    quarantined[row.revision] = row.value
        assert {**kept, **quarantined} == meaning
    finally:
        for replica in regions.values():
            replica.machine.close()


def _all_rows(machine: Machine) -> dict[int, bytes]:
    with machine._reading() as (reader, _), reader.transaction.cursor(reader.store.rows) as cursor:
        stored = list(cursor.iternext(keys=True, values=True))
    found = [rows.unpack(*layout.ROW_KEY.unpack(key), body) for key, body in stored]
    return {row.revision: row.value for row in found}
