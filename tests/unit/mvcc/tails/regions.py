"""Two regions' machines, without a network: promoting one, and streaming from it into the other, step by step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rstore_api import rows
from rstore_api.domain.epochs import after_jumps
from rstore_api.domain.forks import Chain
from rstore_api.messages import history_messages
from rstore_api.proto.rpc_pb2 import PutRequest, TxnRequest
from rstore_api.proto.rstore_pb2 import PromoteRequest, Rewind, RewindStep, StreamBatch
from rstore_replica.mvcc.data import layout
from rstore_replica.mvcc.machine import Machine
from rstore_replica.mvcc.tail_facts import Leaving
from rstore_replica.mvcc.tails import file as tail_file
from rstore_replica.replication.history import Diverged, Resume, compare, history_up_to
from unit.mvcc.replicas import STORE, Replica, operations, topology

JUMP = 10**9
SHARED = {b"a": b"shared", b"b": b"shared"}
LOST = {b"a": b"lost 3", b"b": b"shared", **{b"l%d" % number: b"lost" for number in range(8)}}


def promote(replica: Replica, epoch: int, jump: int = JUMP) -> int:
    replica.promise(epoch)
    where = topology(replica.region, epoch)
    answer = replica.apply(promotion=PromoteRequest(store_id=STORE, epoch=epoch, topology=where, revision_jump=jump))
    assert isinstance(answer, int)
    return answer


def chain(replica: Replica) -> Chain:
    return Chain.of(replica.machine.state.history, replica.machine.revision)


def look(source: Replica, target: Replica) -> Diverged | Resume:
    found = compare(chain(source), chain(target), receiver_promised_epoch=target.machine.state.promised_epoch)
    assert isinstance(found, Diverged | Resume), found
    return found


def rewind_of(source: Replica, target: Replica, diverged: Diverged, *, max_rows: int = 0, keep: bool = False) -> Rewind:
    return Rewind(
        fork_revision=diverged.fork_revision,
        epoch=chain(source).epoch,
        tail_epoch=chain(target).epoch,
        max_rows=max_rows,
        keep_data=keep,
    )


def leave(
    source: Replica, target: Replica, *, max_rows: int = 0, between: Callable[[Leaving], None] | None = None
) -> Diverged | None:
    """What the receiver does with a tail: the divergence, None when there is none. ``between`` is called after steps
    that leave something to do."""
    finish_undoing(target, max_rows, between)
    diverged = look(source, target)
    if isinstance(diverged, Resume):
        return None
    go_on(target, target.apply(rewind=rewind_of(source, target, diverged, max_rows=max_rows)), max_rows, between)
    assert target.machine.revision == diverged.fork_revision
    return diverged


def finish_undoing(target: Replica, max_rows: int = 0, between: Callable[[Leaving], None] | None = None) -> None:
    leaving = target.machine.state.leaving
    if leaving is not None and leaving.phase == "Undoing":
        go_on(target, leaving, max_rows, between)


def go_on(target: Replica, answer: object, max_rows: int, between: Callable[[Leaving], None] | None = None) -> None:
    while isinstance(answer, Leaving):
        if between is not None:
            between(answer)
        answer = target.apply(rewind_step=RewindStep(max_rows=max_rows))
    assert isinstance(answer, int), answer


def follow(source: Replica, target: Replica, *, max_rows: int = 3) -> None:
    """Streams until the target has all that the source has; it must have no tail."""
    while not same_chain(source, target):
        take_batch(source, target, max_rows=max_rows)


def same_chain(source: Replica, target: Replica) -> bool:
    """Whether the target has all that the source has."""
    return target.machine.revision >= source.machine.revision and chain(target).history == chain(source).history


def take_batch(source: Replica, target: Replica, *, max_rows: int) -> None:
    """The target takes what the source sends next."""
    ours, at = chain(source), target.machine.revision
    batch = source.machine.rows_after(at, max_bytes=1 << 20, max_rows=max_rows)
    last = batch.last_revision if batch.count else after_jumps(ours.history, at)
    message = StreamBatch(
        epoch=ours.epoch,
        prev_revision=at,
        last_revision=last,
        rows=batch.packed,
        row_count=0 if batch.deleted else batch.count,
        deleted=batch.deleted,
        history=history_messages(history_up_to(ours, last)),
        compact_revision=min(source.machine.compact_revision, last),
    )
    assert target.receive(message) == last


def all_rows(machine: Machine) -> dict[tuple[int, int], rows.Row]:
    """Every row in the data, hidden ones too."""
    with machine._reading() as (reader, _), reader.transaction.cursor(reader.store.rows) as cursor:
        stored = list(cursor.iternext(keys=True, values=True))
    found = [rows.unpack(*layout.ROW_KEY.unpack(key), body) for key, body in stored]
    return {(row.revision, row.sub): row for row in found}


def quarantine_directory(replica: Replica) -> Path:
    return replica.path.with_name(f"{replica.path.name}.quarantine")


def quarantined_rows(replica: Replica) -> dict[tuple[int, int], rows.Row]:
    """All rows in quarantine; none may be there twice."""
    found: dict[tuple[int, int], rows.Row] = {}
    for tail in replica.machine.quarantined:
        held = list(tail_file.read_rows(quarantine_directory(replica) / tail.file))
        assert len(held) == tail.count
        assert len({row.revision for row in held}) == tail.revisions
        for row in held:
            assert (row.revision, row.sub) not in found, f"row {row.revision}.{row.sub} is in quarantine twice"
            found[row.revision, row.sub] = row
    return found


def files_in(replica: Replica) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(quarantine_directory(replica).glob("*"))}


def pair_with_tail(directory: Path) -> tuple[Replica, Replica]:
    """us has a tail of 12 rows above revision 3 (a deletion and a transaction among them), eu is primary."""
    us, eu = Replica(directory / "us"), Replica(directory / "eu", "eu")
    for key, value in SHARED.items():
        us.put(key, value)
    follow(us, eu)
    us.put(b"a", b"lost 1")
    us.delete(b"a")
    us.put(b"a", b"lost 3")
    us.put(b"l0", b"lost")
    us.write(TxnRequest(success=operations([PutRequest(key=b"l%d" % number, value=b"lost") for number in range(1, 8)])))
    us.put(b"b", b"shared")
    promote(eu, 2)
    eu.put(b"n", b"new")
    return us, eu


def contents(replica: Replica) -> dict[bytes, bytes]:
    return {pair.key: pair.value for pair in replica.range().kvs}


def begin(us: Replica, eu: Replica, *, max_rows: int, keep: bool = False) -> object:
    diverged = look(eu, us)
    assert isinstance(diverged, Diverged)
    return us.apply(rewind=rewind_of(eu, us, diverged, max_rows=max_rows, keep=keep))
