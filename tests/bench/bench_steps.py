"""How long the steps are that the state machine does on a replica's event loop: CPU time of the loop's thread.

While a step runs nothing else does: no heartbeat, no renewal of a tenure. So none should take more than 10 ms. CPU time
and not time on the wall, so that another load on the machine is not counted. Updates ``build/bench.json``; never fails.
"""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar
from uuid import UUID

from bench.results import Row, save, wanted
from rstore_api.proto.kv_pb2 import KeyValue
from rstore_api.proto.rpc_pb2 import DeleteRangeRequest, PutRequest, PutResponse, RangeRequest, TxnRequest
from rstore_api.proto.rstore_pb2 import RequestId, RewindStep
from rstore_replica.api.batcher import BatchLimits
from rstore_replica.mvcc.data import compaction
from rstore_replica.mvcc.machine import BEHIND_STEP_ROWS
from rstore_replica.mvcc.requests.dedup import BOUNDS, RequestMemory
from rstore_replica.mvcc.tail_facts import Leaving
from rstore_replica.replication.config import ReplicationConfig
from rstore_replica.replication.sending.snapshot_source import CHUNK_BYTES, CHUNK_ROWS
from unit.mvcc.replicas import Replica, operations
from unit.mvcc.tails.regions import follow, look, promote, rewind_of
from unit.mvcc.transfer.transfers import chunks, step_of

T = TypeVar("T")

CONFIG = ReplicationConfig("us", "us-0")
VALUE = bytes(128)
ANSWER = PutResponse(prev_kv=KeyValue(key=b"k", value=bytes(200)))
BATCH_ROWS = CONFIG.max_batch_rows
TRANSACTIONS = BatchLimits().max_entry_operations // 128
ROUNDS = 5


class Steps:
    """The CPU milliseconds of each step, by kind, in the order in which the kinds were first seen."""

    def __init__(self) -> None:
        self.found: dict[str, list[float]] = {}

    def time(self, kind: str, step: Callable[[], T]) -> T:
        """Does one step and keeps what it took."""
        began = time.thread_time()
        result = step()
        self.found.setdefault(kind, []).append((time.thread_time() - began) * 1000)
        return result


@contextmanager
def timed(steps: Steps, replica: Replica, kind: str) -> Iterator[None]:
    """What is applied inside is a step of this kind."""
    apply = replica.machine.apply

    def step(index: int, term: int, entry: bytes) -> object:
        return steps.time(kind, lambda: apply(index, term, entry))

    replica.machine.apply = step  # type: ignore[method-assign]
    try:
        yield
    finally:
        del replica.machine.apply


def key(number: int) -> bytes:
    """Keys that do not come in order."""
    return b"key/%010d" % (number * 7_919 % 1_000_003)


def fill(replica: Replica, count: int, *, value: bytes = VALUE, begin: int = 0) -> None:
    """Keys of their own, in entries of 500 puts."""
    for start in range(begin, begin + count, 500):
        replica.write(*[PutRequest(key=key(n), value=value) for n in range(start, min(start + 500, begin + count))])


def writes(steps: Steps, directory: Path) -> None:
    """What the primary's clients can ask for in one entry, and what that is on the replicas of other regions."""
    us, eu = Replica(directory / "us"), Replica(directory / "eu", "eu")
    fill(us, 20_000)
    eu.follow(us, max_rows=BATCH_ROWS)
    for number in range(ROUNDS):
        with timed(steps, us, "write: 512 puts of 128 bytes"):
            us.write(*[PutRequest(key=key(number * 512 + n), value=VALUE) for n in range(512)])
        with timed(steps, us, f"write: {TRANSACTIONS} transactions of 128 puts"):
            transactions = [
                TxnRequest(success=operations([PutRequest(key=key(t * 128 + n), value=VALUE) for n in range(128)]))
                for t in range(TRANSACTIONS)
            ]
            us.write(*transactions)
        with timed(steps, us, "write: a put of 1.5 MiB"):
            us.put(b"large", bytes(1536 << 10))
        eu.follow(us, max_rows=BATCH_ROWS)
        with timed(steps, us, "write: delete of 10,000 keys at once"):
            us.delete(b"key/", b"key/0000490000")
        with timed(steps, eu, "rows: delete of 10,000 keys at once"):
            eu.follow(us, max_rows=BATCH_ROWS)
        with timed(steps, us, "deletion: a step"):
            us.delete_in_steps(DeleteRangeRequest(key=b"key/", range_end=b"key0"))
        with timed(steps, eu, "deletion in another region: a step"):
            eu.follow(us, max_rows=BATCH_ROWS)
        fill(us, 20_000, begin=0)
        with timed(steps, eu, f"rows: a batch of {BATCH_ROWS:,}"):
            while eu.machine.revision < us.machine.revision:
                at = eu.machine.revision
                found = steps.time(
                    f"source: reading a batch of {BATCH_ROWS:,}",
                    lambda at=at: us.machine.rows_after(at, max_bytes=1 << 20, max_rows=BATCH_ROWS),
                )
                del found
                eu.receive(us.batch_after(at, max_rows=BATCH_ROWS))
    us.compact(us.machine.revision)
    while steps.time("compaction: a step", lambda: us.machine.compact_step(compaction.DEFAULT_STEP_ROWS)):
        if len(steps.found["compaction: a step"]) == 100:
            break
    while steps.time("compaction: a step when behind", lambda: us.machine.compact_step(BEHIND_STEP_ROWS)):
        pass


def passing_over(steps: Steps, directory: Path) -> None:
    """Ranges inside a write, over keys that were deleted."""
    us = Replica(directory / "us")
    fill(us, 200_000)
    us.delete_in_steps(DeleteRangeRequest(key=b"key/", range_end=b"key0"))
    deleted = RangeRequest(key=b"key/", range_end=b"key0")
    for number in range(ROUNDS):
        with timed(steps, us, "write: a slice of a range over deleted keys"):
            us.txn(then=[deleted])
        with timed(steps, us, "write: the same behind 511 puts"):
            puts = [PutRequest(key=b"other/%d" % (number * 511 + n), value=VALUE) for n in range(511)]
            us.write(*puts, TxnRequest(success=operations([deleted])))


def leaving_a_tail(steps: Steps, directory: Path) -> None:
    """An old primary comes back."""
    us, eu = Replica(directory / "us"), Replica(directory / "eu", "eu")
    fill(us, 5_000)
    follow(us, eu, max_rows=BATCH_ROWS)
    fill(us, 20_000)
    us.delete(b"key/", b"key/0000300000")
    for number in range(8):
        us.put(b"large-%d" % number, bytes(200 << 10))
    promote(eu, 2)
    bounds = {"max_rows": CONFIG.rewind_step_rows, "max_bytes": CONFIG.rewind_step_bytes}
    rewind = rewind_of(eu, us, look(eu, us))  # type: ignore[arg-type]
    rewind.max_rows, rewind.max_bytes = bounds["max_rows"], bounds["max_bytes"]
    with timed(steps, us, "tail: the first step"):
        answer = us.apply(rewind=rewind)
    while isinstance(answer, Leaving):
        with timed(steps, us, f"tail: a step, {answer.phase.value}"):
            answer = us.apply(rewind_step=RewindStep(**bounds))


def snapshots(steps: Steps, directory: Path) -> None:
    """A region begins anew, and what it had goes."""
    for name, value, count in (("128 bytes", VALUE, 40_000), ("8 KiB", bytes(8 << 10), 2_000)):
        us, eu = Replica(directory / name / "us"), Replica(directory / name / "eu", "eu")
        fill(us, count, value=value)
        eu.follow(us, max_rows=BATCH_ROWS)
        remember(eu)
        fill(us, count, value=value)
        read = us.machine.snapshot_after
        us.machine.snapshot_after = lambda *a, read=read, name=name, **k: steps.time(  # type: ignore[method-assign]
            f"source: reading a chunk of {name}", lambda: read(*a, **k)
        )
        for chunk in chunks(us, max_rows=CHUNK_ROWS, max_bytes=CHUNK_BYTES):
            with timed(steps, eu, "snapshot: the last chunk" if chunk.last else f"snapshot: a chunk of {name}"):
                eu.apply(snapshot=step_of(us, eu, chunk))
        while steps.time(f"clearing: a step, {name}", eu.machine.clear_step):
            pass


def remember(replica: Replica) -> None:
    """Fills the memory of writes that carried an id, as it is in a region that was primary."""
    store = replica.machine._store
    for first in range(0, BOUNDS.clients, 64):
        with store.write() as transaction:
            memory = RequestMemory(store, transaction, first + 1)
            for client in range(first, first + 64):
                for sequence in range(1, BOUNDS.requests_per_client + 1):
                    request = RequestId(client=UUID(int=client).bytes, sequence=sequence)
                    memory.remember(request, ANSWER, sequence)


def main() -> None:
    """Prints a line for each kind of step."""
    if not wanted("steps"):
        return
    steps = Steps()
    gc.set_threshold(20_000, 50, 100)  # as in a replica
    for section in (writes, passing_over, leaving_a_tail, snapshots):
        with tempfile.TemporaryDirectory() as directory:
            gc.freeze()
            section(steps, Path(directory))
    print(f"{'step':44} {'count':>6} {'median ms':>10} {'p99 ms':>8} {'most ms':>8}")
    for kind, found in steps.found.items():
        found.sort()
        median, p99, most = found[len(found) // 2], found[int(len(found) * 0.99)], found[-1]
        print(f"{kind:44} {len(found):6} {median:10.2f} {p99:8.2f} {most:8.2f}" + ("  > 10" if most > 10 else ""))
    save([Row(f"step, {kind}", round(found[-1], 3), 0.0, "", 0.0, "ms CPU") for kind, found in steps.found.items()])


if __name__ == "__main__":
    main()
