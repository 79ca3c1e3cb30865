"""Replicas with a tail in quarantine, as far as the commands use them: pages of two rows, and transactions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn

import grpc
from rstore_api.errors import NotLeader, StoreError, TailDamaged, TailNotFound
from rstore_api.proto import rpc_pb2, rstore_pb2, rstore_pb2_grpc
from unit.cli.fakes import FakeReplica

FORK = 10
PAGE_ROWS = 2


@dataclass
class FakeTail:
    """One region's tail, and what its replicas share."""

    region: str
    file: str
    rows: list[rstore_pb2.QuarantinedRow]
    dropped: bool = False

    @property
    def message(self) -> rstore_pb2.QuarantinedTail:
        return rstore_pb2.QuarantinedTail(
            file=self.file,
            epoch=1,
            first_revision=self.rows[0].revision,
            last_revision=self.rows[-1].revision,
            fork_revision=FORK,
            count=len(self.rows),
            revisions=len({row.revision for row in self.rows}),
            size_bytes=2048,
            replaced_by_epoch=2,
        )


class QuarantineReplica(FakeReplica, rstore_pb2_grpc.QuarantineServicer):
    """A replica that knows ``tail`` and holds it, unless it is ``damaged_at`` an offset or ``holds`` nothing."""

    def __init__(self, tail: FakeTail, *, leader: bool = False) -> None:
        super().__init__()
        self.tail = tail
        self.leader = leader
        self.holds = True
        self.damaged_at: int | None = None
        self.reads: list[int] = []
        self.before_txn: Any = None

    def List(self, request: Any, context: grpc.ServicerContext) -> rstore_pb2.QuarantineListResponse:
        answer = rstore_pb2.QuarantineListResponse(region=self.tail.region, is_leader=self.leader)
        if not self.tail.dropped:
            answer.tails.append(self.tail.message)
            answer.tails[0].held = self.holds
        return answer

    def Read(self, request: Any, context: grpc.ServicerContext) -> rstore_pb2.QuarantineReadResponse:
        self.reads.append(request.offset)
        if not self.holds:
            _abort(context, TailNotFound("not here"))
        if self.damaged_at is not None and request.offset >= self.damaged_at:
            _abort(context, TailDamaged(f"{self.tail.file} is damaged at offset {request.offset}"))
        page = self.tail.rows[request.offset : request.offset + PAGE_ROWS]
        end = request.offset + PAGE_ROWS
        if request.key or request.range_end:
            page = [
                row
                for row in page
                if row.key == request.key or (request.range_end and request.key <= row.key < request.range_end)
            ]
        return rstore_pb2.QuarantineReadResponse(rows=page, next_offset=end if end < len(self.tail.rows) else 0)

    def Drop(self, request: Any, context: grpc.ServicerContext) -> rstore_pb2.QuarantineDropResponse:
        if not self.leader:
            _abort(context, NotLeader())
        assert (request.store_id, request.file) == ("s1", self.tail.file)
        before, self.tail.dropped = self.tail.dropped, True
        return rstore_pb2.QuarantineDropResponse(dropped=not before)

    def Txn(self, request: Any, context: grpc.ServicerContext) -> rpc_pb2.TxnResponse:
        if self.before_txn is not None:
            self.before_txn()
        if self.failure is not None:
            _abort(context, self.failure)
        (compare,), (operation,) = request.compare, request.success
        answer = rpc_pb2.TxnResponse(succeeded=self.keys.get(compare.key, (b"", 0))[1] == compare.mod_revision)
        if answer.succeeded:
            self.revision += 1
            if operation.HasField("request_put"):
                self.keys[operation.request_put.key] = (operation.request_put.value, self.revision)
            else:
                del self.keys[operation.request_delete_range.key]
        answer.header.revision = self.revision
        return answer


def _abort(context: grpc.ServicerContext, error: StoreError) -> NoReturn:
    context.set_trailing_metadata(error.trailing_metadata())
    context.abort(error.status, error.message)


def put(revision: int, key: bytes, value: bytes, *, created: int | None = None) -> rstore_pb2.QuarantinedRow:
    return rstore_pb2.QuarantinedRow(
        revision=revision, key=key, value=value, create_revision=revision if created is None else created, version=1
    )


def delete(revision: int, key: bytes) -> rstore_pb2.QuarantinedRow:
    return rstore_pb2.QuarantinedRow(revision=revision, key=key, deletion=True)
