"""Put, DeleteRange and Txn, with etcd's semantics.

Everything that can refuse a request is decided before it changes anything: the form of the request (``validate``),
then, against the state before it, all comparisons of a transaction (inner ones too), and then what the operations on
the paths taken require and how much they touch (``budget``). So nothing ever has to be undone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rstore_api.domain.limits import SHORT_KEY_BYTES
from rstore_api.errors import InvalidRequest, KeyNotFound, NoSpace, StoreError
from rstore_api.proto.kv_pb2 import KeyValue
from rstore_api.proto.rpc_pb2 import (
    Compare,
    DeleteRangeRequest,
    DeleteRangeResponse,
    PutRequest,
    PutResponse,
    RangeRequest,
    RequestOp,
    ResponseOp,
    TxnRequest,
    TxnResponse,
)
from rstore_api.proto.rstore_pb2 import AuthChanged, WriteLimits, WriteRequest

from rstore_replica.mvcc.data.layout import key_range, unpack_entry
from rstore_replica.mvcc.data.walks import Found
from rstore_replica.mvcc.data.writer import Writer
from rstore_replica.mvcc.requests import auth, leases, validate
from rstore_replica.mvcc.requests.budget import Budget
from rstore_replica.mvcc.requests.dedup import RequestMemory
from rstore_replica.mvcc.requests.ordering import must_see_all
from rstore_replica.mvcc.requests.range import check_exists, check_revision, read_range

WriteResponse = PutResponse | DeleteRangeResponse | TxnResponse | leases.LeaseResponse | AuthChanged


def execute_all(
    writer: Writer,
    requests: Iterable[WriteRequest],
    limits: WriteLimits,
    compact_revision: int,
    memory: RequestMemory,
    *,
    allowed: frozenset[str] = frozenset(),
    max_key_bytes: int = SHORT_KEY_BYTES,
) -> list[WriteResponse | StoreError]:
    """Executes requests in order, each as (at most) one revision. One that is refused changes nothing.

    One that came before is answered as it was then. ``allowed`` are the kinds of requests, of those that are not of
    feature level 1, that are carried out; others are refused, as by versions that do not know them, and so are keys of
    more than ``max_key_bytes``.
    """
    answers: list[WriteResponse | StoreError] = []
    max_txn_ops, no_space = limits.max_txn_ops, limits.no_space
    for request in requests:
        identified = request.HasField("request_id")
        if identified and (answer_before := memory.recall(request.request_id, writer.revision)) is not None:
            answers.append(answer_before)
            continue
        before = writer.revision
        try:
            if no_space and validate.adds_data(request):
                validate.check_write(request, max_txn_ops, max_key_bytes)
                raise NoSpace
            answer: WriteResponse
            kind = request.WhichOneof("request") if allowed else None
            if kind in allowed:
                answer = auth.execute(writer, request.auth) if kind == "auth" else leases.execute(writer, request)
            else:
                answer = _execute(writer, request, limits, compact_revision, max_key_bytes)
        except StoreError as error:
            answers.append(error.with_traceback(None))
            continue
        answers.append(answer)
        if identified and writer.revision > before:
            memory.remember(request.request_id, answer, writer.revision)
    return answers


def _execute(
    writer: Writer, request: WriteRequest, limits: WriteLimits, compact_revision: int, max_key_bytes: int
) -> PutResponse | DeleteRangeResponse | TxnResponse:
    kind = request.WhichOneof("request")
    if kind == "put":
        return execute_put(writer, request.put, limits, max_key_bytes)
    if kind == "delete_range":
        validate.check_delete_range(request.delete_range)
        pairs = _measure_deletion(writer, request.delete_range, Budget(limits))
        deleted = _delete(writer, request.delete_range, pairs)
        writer.end_revision()
        deleted.header.revision = writer.revision
        return deleted
    if kind == "txn":
        return execute_txn(writer, request.txn, limits, compact_revision, max_key_bytes)
    raise InvalidRequest("a write request without a request")


def execute_put(
    writer: Writer, request: PutRequest, limits: WriteLimits, max_key_bytes: int = SHORT_KEY_BYTES
) -> PutResponse:
    """Carries out a Put by itself."""
    key, lease = request.key, request.lease
    special = lease or request.prev_kv or request.ignore_value or request.ignore_lease
    if not special and 0 < len(key) <= SHORT_KEY_BYTES:
        # The hot path: nothing to refuse, and nothing to look up but the key's last entry.
        response = PutResponse()
        response.header.revision = writer.put(key, request.value, 0)
        writer.end_revision()
        return response
    validate.check_put(request, max_key_bytes)
    if lease:
        leases.check_attaching(writer, lease, Budget(limits))
    if (request.ignore_value or request.ignore_lease) and writer.entry(request.key) is None:
        raise KeyNotFound
    response = _put(writer, request)
    writer.end_revision()
    return response


def execute_txn(
    writer: Writer,
    request: TxnRequest,
    limits: WriteLimits,
    compact_revision: int,
    max_key_bytes: int = SHORT_KEY_BYTES,
) -> TxnResponse:
    """Carries out a Txn by itself."""
    puts = validate.plain_puts(request, limits.max_txn_ops)
    if puts is not None:
        return _execute_puts(writer, puts, Budget(limits))
    validate.check_txn(request, limits.max_txn_ops, max_key_bytes)
    budget = Budget(limits)
    path = _choose(writer, request, budget)
    _check_puts(writer, path, budget)
    _check_ranges(writer, path, compact_revision)
    _measure(writer, path, budget)
    response = _run(writer, path, compact_revision)
    writer.end_revision()
    response.header.revision = writer.revision
    return response


def _execute_puts(writer: Writer, puts: list[tuple[bytes, bytes]], budget: Budget) -> TxnResponse:
    budget.change(len(puts), sum([len(key) + len(value) for key, value in puts]))
    answer = TxnResponse()
    answer.responses.add().response_put.header.revision = writer.put_all(puts)
    writer.end_revision()
    # All answers are alike, and messages that follow each other are one: much quicker than one object for each.
    response = TxnResponse.FromString(answer.SerializeToString() * len(puts))
    response.succeeded = True
    response.header.revision = writer.revision
    return response


@dataclass(frozen=True)
class _Path:
    """What a transaction will do: the operations of the path taken, and the paths of the inner transactions in them."""

    succeeded: bool
    operations: tuple[RequestOp, ...]
    inner: tuple[_Path | None, ...]


def _choose(writer: Writer, txn: TxnRequest, budget: Budget) -> _Path:
    succeeded = all(_holds(writer, compare, budget) for compare in txn.compare)
    operations = tuple(txn.success if succeeded else txn.failure)
    inner = tuple(
        _choose(writer, operation.request_txn, budget) if operation.WhichOneof("request") == "request_txn" else None
        for operation in operations
    )
    return _Path(succeeded, operations, inner)


def _holds(writer: Writer, compare: Compare, budget: Budget) -> bool:
    """Whether a comparison holds for every key it names; a missing key compares as all zeros, but has no value."""
    if compare.range_end:
        pairs = budget.look(writer, *key_range(compare.key, compare.range_end))
    else:
        entry = writer.entry(compare.key)
        pairs = [] if entry is None else [(compare.key, entry)]
    if not pairs:
        return compare.target != Compare.VALUE and _compare_number(compare, 0, 0, 0, 0)
    for key, entry in pairs:
        modified, _, created, version = unpack_entry(entry)
        if compare.target == Compare.VALUE:
            value, _ = writer.value_and_lease(key, entry)
            budget.read(len(value))
            if not _relation(compare, (value > compare.value) - (value < compare.value)):
                return False
        else:
            lease = writer.value_and_lease(key, entry)[1] if compare.target == Compare.LEASE else 0
            if not _compare_number(compare, version, created, modified, lease):
                return False
    return True


def _compare_number(compare: Compare, version: int, created: int, modified: int, lease: int) -> bool:
    if compare.target == Compare.VERSION:
        difference = version - compare.version
    elif compare.target == Compare.CREATE:
        difference = created - compare.create_revision
    elif compare.target == Compare.MOD:
        difference = modified - compare.mod_revision
    elif compare.target == Compare.LEASE:
        difference = lease - compare.lease
    else:
        difference = 0  # etcd: a target it does not know compares as equal
    return _relation(compare, difference)


def _relation(compare: Compare, difference: int) -> bool:
    if compare.result == Compare.EQUAL:
        return difference == 0
    if compare.result == Compare.NOT_EQUAL:
        return difference != 0
    if compare.result == Compare.GREATER:
        return difference > 0
    if compare.result == Compare.LESS:
        return difference < 0
    return True  # etcd: a relation it does not know holds


def _check_puts(writer: Writer, path: _Path, budget: Budget) -> None:
    puts = size_bytes = 0
    for operation, inner in zip(path.operations, path.inner, strict=True):
        if inner is not None:
            _check_puts(writer, inner, budget)
        elif operation.HasField("request_put"):
            put = operation.request_put
            puts += 1
            size_bytes += len(put.key) + len(put.value)
            if put.prev_kv or put.ignore_value or put.ignore_lease:
                entry = writer.entry(put.key)
                if entry is None and (put.ignore_value or put.ignore_lease):
                    raise KeyNotFound
                previous = 0 if entry is None else len(writer.body(entry))
                budget.read(previous)
                size_bytes += previous if put.ignore_value else 0
            if put.lease:
                leases.check_attaching(writer, put.lease, budget)
    budget.change(puts, size_bytes)


def _check_ranges(writer: Writer, path: _Path, compact_revision: int) -> None:
    for operation, inner in zip(path.operations, path.inner, strict=True):
        if inner is not None:
            _check_ranges(writer, inner, compact_revision)
        elif operation.HasField("request_range"):
            check_revision(operation.request_range.revision, writer.revision, compact_revision)
            check_exists(writer, operation.request_range.revision, writer.revision)


def _measure(writer: Writer, path: _Path, budget: Budget) -> None:
    """Counts what the ranges of a transaction hold before it; its own puts can add no more than themselves."""
    for operation, inner in zip(path.operations, path.inner, strict=True):
        if inner is not None:
            _measure(writer, inner, budget)
        elif operation.HasField("request_delete_range"):
            _measure_deletion(writer, operation.request_delete_range, budget)
        elif operation.HasField("request_range"):
            _measure_range(writer, operation.request_range, budget)


def _measure_deletion(writer: Writer, request: DeleteRangeRequest, budget: Budget) -> list[Found]:
    pairs = _find(writer, request.key, request.range_end, budget)
    budget.change(len(pairs), sum(len(key) for key, _ in pairs))
    if request.prev_kv:
        for _, entry in pairs:
            budget.read(len(writer.body(entry)))
    return pairs


def _measure_range(writer: Writer, request: RangeRequest, budget: Budget) -> None:
    pairs = _find(writer, request.key, request.range_end, budget, revision=request.revision)
    if request.count_only:
        return
    returned = pairs if must_see_all(request) or request.limit <= 0 else pairs[: request.limit]
    for _, entry in returned:
        budget.read(len(writer.body(entry)))


def _find(writer: Writer, key: bytes, range_end: bytes, budget: Budget, *, revision: int = 0) -> list[Found]:
    asked = revision if 0 < revision < writer.visible_revision else None
    if range_end:
        start, end = key_range(key, range_end)
        return [] if end is not None and end <= start else budget.look(writer, start, end, asked)
    entry = writer.entry(key, asked)
    return [] if entry is None else [(key, entry)]


def _run(writer: Writer, path: _Path, compact_revision: int) -> TxnResponse:
    response = TxnResponse(succeeded=path.succeeded)
    response.header.SetInParent()
    for operation, inner in zip(path.operations, path.inner, strict=True):
        if inner is not None:
            answer = ResponseOp(response_txn=_run(writer, inner, compact_revision))
        elif operation.HasField("request_put"):
            answer = ResponseOp(response_put=_put(writer, operation.request_put))
        elif operation.HasField("request_delete_range"):
            answer = ResponseOp(response_delete_range=_delete_range(writer, operation.request_delete_range))
        else:
            newest = writer.visible_revision
            answer = ResponseOp(response_range=read_range(writer, operation.request_range, newest, compact_revision))
            answer.response_range.header.revision = newest
        response.responses.append(answer)
    return response


def _put(writer: Writer, request: PutRequest) -> PutResponse:
    key, value, lease = request.key, request.value, request.lease
    response = PutResponse()
    if request.prev_kv or request.ignore_value or request.ignore_lease:
        previous = _key_value(writer, key)
        if previous is not None:
            if request.ignore_value:
                value = previous.value
            if request.ignore_lease:
                lease = previous.lease
            if request.prev_kv:
                response.prev_kv.CopyFrom(previous)
    response.header.revision = writer.put(key, value, lease)
    return response


def _delete_range(writer: Writer, request: DeleteRangeRequest) -> DeleteRangeResponse:
    if request.range_end:
        pairs = list(writer.scan(*key_range(request.key, request.range_end)))
    else:
        entry = writer.entry(request.key)
        pairs = [] if entry is None else [(request.key, entry)]
    return _delete(writer, request, pairs)


def _delete(writer: Writer, request: DeleteRangeRequest, pairs: list[Found]) -> DeleteRangeResponse:
    response = DeleteRangeResponse(deleted=len(pairs))
    if request.prev_kv:
        response.prev_kvs.extend(writer.key_value(key, entry) for key, entry in pairs)
    writer.delete_all([key for key, _ in pairs])
    response.header.revision = writer.visible_revision
    return response


def _key_value(writer: Writer, key: bytes) -> KeyValue | None:
    entry = writer.entry(key)
    return None if entry is None else writer.key_value(key, entry)
