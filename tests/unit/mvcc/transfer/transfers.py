"""Snapshots between two machines, without a network: what the leaders of two regions do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rstore_api.domain.epochs import settled
from rstore_api.domain.forks import fork_revision
from rstore_api.messages import history_messages
from rstore_api.proto.rstore_pb2 import SnapshotChunk, SnapshotStep
from rstore_replica.replication.history import Diverged
from unit.mvcc.replicas import STORE, Replica
from unit.mvcc.tails.regions import chain, go_on, look, rewind_of


def chunks(
    source: Replica, revision: int = 0, *, after_key: bytes = b"", max_rows: int = 3, max_bytes: int = 1 << 20
) -> Iterator[SnapshotChunk]:
    """A snapshot of ``revision`` (0: the newest), read as it is taken."""
    ours = chain(source)
    revision = revision or settled(ours.history, ours.revision)
    history = history_messages(start for start in ours.history if start.first_revision <= revision)
    while True:
        found = source.machine.snapshot_after(after_key, revision, max_bytes=max_bytes, max_rows=max_rows)
        yield SnapshotChunk(
            store_id=STORE,
            epoch=source.machine.state.epoch,
            history=history,
            revision=revision,
            after_key=after_key,
            last_key=found.last_key,
            rows=found.packed,
            row_count=found.count,
            last=found.last,
        )
        if found.last:
            return
        after_key = found.last_key


def step_of(source: Replica, target: Replica, chunk: SnapshotChunk) -> SnapshotStep:
    ours = chain(target)
    return SnapshotStep(
        chunk=chunk,
        held_revision=ours.revision,
        held_epoch=ours.epoch,
        fork_revision=fork_revision(chain(source), ours),
    )


def keep_tail(source: Replica, target: Replica) -> None:
    """What is above the fork goes to quarantine, and stays where it is."""
    diverged = look(source, target)
    if isinstance(diverged, Diverged):
        go_on(target, target.apply(rewind=rewind_of(source, target, diverged, max_rows=2, keep=True)), 2)


def install(source: Replica, target: Replica, revision: int = 0, *, max_rows: int = 3) -> int:
    """A whole transfer; how many chunks it had."""
    keep_tail(source, target)
    count = 0
    for chunk in chunks(source, revision, max_rows=max_rows):
        count += 1
        answer = target.apply(snapshot=step_of(source, target, chunk))
        assert answer == (chunk.revision if chunk.last else chunk.last_key)
    return count


def source_with_keys(directory: Path) -> Replica:
    replica = Replica(directory / "us")
    for number in range(40):
        replica.put(b"key-%02d" % (number % 15), b"%d" % number)
    replica.delete(b"key-03")
    replica.put(b"long", b"x" * 5000)
    return replica
