"""What the tests of the state machine share: a driver that plays the region's log, and strategies for requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from google.protobuf.message import Message
from hypothesis import strategies as st
from rstore_api.messages import history_messages
from rstore_api.proto.rpc_pb2 import (
    Compare,
    DeleteRangeRequest,
    PutRequest,
    RangeRequest,
    RangeResponse,
    RequestOp,
    TxnRequest,
)
from rstore_api.proto.rstore_pb2 import (
    BootstrapRequest,
    Compaction,
    Deletion,
    LogEntry,
    Promise,
    PromoteRequest,
    ReplicatedRows,
    RequestId,
    StreamBatch,
    Topology,
    WriteBatch,
    WriteLimits,
    WriteRequest,
)
from rstore_replica.mvcc.data.hashing import HashResult
from rstore_replica.mvcc.machine import Machine
from rstore_replica.mvcc.requests.validate import puts_long_key

STORE = "store-1"
FIELDS = {PutRequest: "put", DeleteRangeRequest: "delete_range", TxnRequest: "txn"}
OPERATIONS = {**{kind: f"request_{name}" for kind, name in FIELDS.items()}, RangeRequest: "request_range"}


def topology(primary: str, epoch: int = 1, version: int = 1) -> Topology:
    return Topology(epoch=epoch, version=version, primary_region=primary)


class Replica:
    """A machine and the log that it is fed."""

    def __init__(self, path: Path, region: str = "us", *, bootstrap: str | None = "us", **settings: Any) -> None:
        self.path, self.region, self.settings = path, region, settings
        self.machine = Machine.open(path, region=region, **settings)
        self.log: list[bytes] = []
        if bootstrap is not None:
            assert self.bootstrap(topology(bootstrap)) is None

    def apply(self, **command: Message) -> Any:
        self.log.append(LogEntry(**command).SerializeToString())  # type: ignore[arg-type]
        return self.apply_last()

    def apply_last(self, between: Callable[[], object] = lambda: None) -> Any:
        """Applies the last entry of the log, and calls ``between`` after each step of it but the last one."""
        index = self.machine.applied_index + 1
        while True:
            answer = self.machine.apply(index, 1, self.log[-1])
            if self.machine.applied_index == index:
                return answer
            assert answer is None
            between()

    def bootstrap(self, where: Topology, store: str = STORE) -> Any:
        return self.apply(bootstrap=BootstrapRequest(store_id=store, topology=where))

    def write(
        self,
        *requests: Message,
        limits: WriteLimits | None = None,
        epoch: int | None = None,
        between: Callable[[], object] = lambda: None,
    ) -> list[Any]:
        """Applies an entry with these requests, and calls ``between`` after each slice of it but the last one."""
        batch = WriteBatch(
            epoch=self.machine.state.epoch if epoch is None else epoch,
            requests=[WriteRequest(**{FIELDS[type(request)]: request}) for request in requests],  # type: ignore[arg-type]
            limits=limits or self.machine.write_limits(),
        )
        has_long_key = any(map(puts_long_key, batch.requests))
        entry = LogEntry(long_key_write=batch) if has_long_key else LogEntry(write=batch)
        self.log.append(entry.SerializeToString())
        return list(self.apply_last(between))

    def put(self, key: bytes, value: bytes = b"", **fields: Any) -> Any:
        return self.write(PutRequest(key=key, value=value, **fields))[0]

    def delete(self, key: bytes, range_end: bytes = b"", **fields: Any) -> Any:
        return self.write(DeleteRangeRequest(key=key, range_end=range_end, **fields))[0]

    def delete_in_steps(
        self,
        request: DeleteRangeRequest,
        between: Callable[[], object] = lambda: None,
        *,
        epoch: int | None = None,
        request_id: RequestId | None = None,
    ) -> Any:
        """Deletes a range as a command of its own; see :meth:`apply_last`."""
        write = WriteRequest(delete_range=request, request_id=request_id)
        command = Deletion(epoch=self.machine.state.epoch if epoch is None else epoch, request=write)
        self.log.append(LogEntry(deletion=command).SerializeToString())
        return self.apply_last(between)[0]

    def txn(self, *compare: Compare, then: list[Message] | None = None, orelse: list[Message] | None = None) -> Any:
        return self.write(
            TxnRequest(compare=compare, success=operations(then or []), failure=operations(orelse or []))
        )[0]

    def compact(self, revision: int) -> Any:
        return self.apply(compaction=Compaction(revision=revision))

    def promise(self, epoch: int) -> Any:
        return self.apply(promise=Promise(epoch=epoch))

    def promote(self, epoch: int, min_revision: int = 0, store: str = STORE) -> Any:
        where = topology(self.region, epoch)
        request = PromoteRequest(store_id=store, epoch=epoch, min_revision=min_revision, topology=where)
        return self.apply(promotion=request)

    def range(self, key: bytes = b"\0", range_end: bytes = b"\0", **fields: Any) -> RangeResponse:
        return self.machine.range(RangeRequest(key=key, range_end=range_end, **fields))

    def get(self, key: bytes, revision: int = 0) -> bytes | None:
        kvs = self.range(key, b"", revision=revision).kvs
        return kvs[0].value if kvs else None

    def hash(self, revision: int = 0) -> HashResult:
        return asyncio.run(self.machine.hash_kv(revision))

    def reopen(self) -> None:
        self.machine.close()
        self.machine = Machine.open(self.path, region=self.region, **self.settings)

    def batch_after(self, revision: int, *, max_bytes: int = 1 << 20, max_rows: int = 10_000) -> StreamBatch:
        """The batch that this replica, as primary, would send to one that holds ``revision``."""
        found = self.machine.rows_after(revision, max_bytes=max_bytes, max_rows=max_rows)
        state = self.machine.state
        at_end = found.last_revision == self.machine.revision
        return StreamBatch(
            epoch=state.epoch,
            prev_revision=revision,
            last_revision=found.last_revision,
            rows=found.packed,
            row_count=0 if found.deleted else found.count,
            deleted=found.deleted,
            history=history_messages(
                start for start in state.history if at_end or start.first_revision <= found.last_revision
            ),
            compact_revision=self.machine.compact_revision,
        )

    def receive(self, batch: StreamBatch, between: Callable[[], object] = lambda: None) -> Any:
        rows = ReplicatedRows(batch=batch)
        entry = LogEntry(deleted_rows=rows) if batch.HasField("deleted") else LogEntry(rows=rows)
        self.log.append(entry.SerializeToString())
        return self.apply_last(between)

    def follow(self, primary: Replica, *, max_bytes: int = 1 << 20, max_rows: int = 10_000) -> None:
        """Takes everything the primary has."""
        while True:
            batch = primary.batch_after(self.machine.revision, max_bytes=max_bytes, max_rows=max_rows)
            assert self.receive(batch) == batch.last_revision
            if batch.last_revision == primary.machine.revision:
                return


def operations(requests: list[Message]) -> list[RequestOp]:
    return [RequestOp(**{OPERATIONS[type(request)]: request}) for request in requests]  # type: ignore[arg-type]


# ---------------------------------------------------------------------------------------------- strategies

# Six keys: with more, etcd (Go's sort) puts what sorts equal in an order that nothing specifies.
KEYS = st.sampled_from([b"a", b"b", b"\0", b"k" * 511, b"k" * 512, b"\xff" * 1000])
POINTS = KEYS | st.sampled_from([b"b\0", b"bb", b"z", b"\xff\xff", b"k" * 513, b"k" * 470 + b"l", b"k" * 2000])
ENDS = st.just(b"") | st.just(b"\0") | POINTS
VALUES = st.sampled_from([b"", b"1", b"2", b"three"])
SMALL = st.integers(0, 12)


@st.composite
def puts(draw: st.DrawFn) -> PutRequest:
    odd = draw(st.integers(0, 60))
    key = b"" if odd == 1 else draw(KEYS)
    return PutRequest(
        key=key,
        value=b"" if odd in (3, 4) else draw(VALUES),
        prev_kv=draw(st.booleans()),
        ignore_value=odd in (3, 4, 5),
        ignore_lease=odd in (4, 6, 7),
        lease=5 if odd in (7, 8) else 0,
    )


@st.composite
def deletes(draw: st.DrawFn) -> DeleteRangeRequest:
    return DeleteRangeRequest(key=draw(POINTS), range_end=draw(ENDS), prev_kv=draw(st.booleans()))


@st.composite
def ranges(draw: st.DrawFn) -> RangeRequest:
    key, end = draw(st.tuples(POINTS, ENDS) | st.just((b"\0", b"\0")) | st.just((b"a", b"c")))
    bound = draw(st.sampled_from(["", "", "", "min_mod", "max_mod", "min_create", "max_create"]))
    return RangeRequest(
        key=key,
        range_end=end,
        limit=draw(st.just(0) | st.integers(1, 4)),
        revision=draw(st.just(0) | SMALL),
        sort_order=draw(st.just(0) | st.integers(0, 2)),  # type: ignore[arg-type]
        sort_target=draw(st.just(0) | st.integers(0, 5)),  # type: ignore[arg-type]
        keys_only=draw(st.booleans()),
        count_only=draw(st.integers(0, 6)) == 6,
        **({f"{bound}_revision": draw(SMALL)} if bound else {}),
    )


@st.composite
def compares(draw: st.DrawFn) -> Compare:
    target = draw(st.sampled_from(["version", "create_revision", "mod_revision", "value", "lease"]))
    index = ["version", "create_revision", "mod_revision", "value", "lease"].index(target)
    return Compare(
        key=draw(POINTS),
        range_end=draw(ENDS),
        target=index,  # type: ignore[arg-type]
        result=draw(st.integers(0, 3)),  # type: ignore[arg-type]
        **{target: draw(VALUES if target == "value" else st.integers(0, 6))},  # type: ignore[arg-type]
    )


def txns(depth: int = 2) -> st.SearchStrategy[TxnRequest]:
    simple: st.SearchStrategy[Message] = puts() | deletes() | ranges()
    inner = simple if depth == 0 else simple | txns(depth - 1)
    lists = st.lists(inner, max_size=4).map(operations)
    return st.builds(
        lambda compare, success, failure: TxnRequest(compare=compare, success=success, failure=failure),
        st.lists(compares(), max_size=2),
        lists,
        lists,
    )


def writes() -> st.SearchStrategy[Message]:
    return puts() | puts() | deletes() | txns()
