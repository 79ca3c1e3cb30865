"""What can be said about a request without looking at the data: etcd's checks, in etcd's order.

The leader may call these before it proposes; applying calls them again, because a log holds what it holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rstore_api.domain.limits import MAX_KEY_BYTES, MAX_LEASE_SECONDS, SHORT_KEY_BYTES
from rstore_api.errors import (
    DuplicateKey,
    EmptyKey,
    InvalidRequest,
    InvalidSort,
    KeyNotFound,
    KeyTooLong,
    LeaseNotFound,
    LeaseProvided,
    LeaseTtlTooLarge,
    TooManyOps,
    ValueProvided,
)
from rstore_api.proto.rpc_pb2 import (
    DeleteRangeRequest,
    PutRequest,
    RangeRequest,
    RequestOp,
    TxnRequest,
)
from rstore_api.proto.rstore_pb2 import WriteRequest

from rstore_replica.mvcc.data.layout import key_range

Interval = tuple[bytes, bytes | None]

LEASE_KINDS = frozenset({"lease_grant", "lease_revoke", "lease_checkpoints"})
"""Of write requests, those that an entry of feature level 1 may not hold."""
AUTH_KINDS = frozenset({"auth"})
"""Of write requests, those that only an entry about users and roles may hold."""
_GROWING_AUTH = frozenset({"user_add", "role_add", "user_grant_role", "role_grant_permission"})
MAX_CHECKPOINTS = 1000
"""Leases of one request, as in etcd."""
_SORT_ORDERS = frozenset(RangeRequest.SortOrder.values())
_SORT_TARGETS = frozenset(RangeRequest.SortTarget.values())


def check_range(request: RangeRequest) -> None:
    """Raises EmptyKey or InvalidSort."""
    if not request.key:
        raise EmptyKey
    if request.sort_order not in _SORT_ORDERS or request.sort_target not in _SORT_TARGETS:
        raise InvalidSort


def check_put(request: PutRequest, max_key_bytes: int = MAX_KEY_BYTES) -> None:
    """Raises EmptyKey, ValueProvided, LeaseProvided or KeyTooLong."""
    key = request.key
    if not key:
        raise EmptyKey
    if request.ignore_value and request.value:
        raise ValueProvided
    if request.ignore_lease and request.lease:
        raise LeaseProvided
    if len(key) > max_key_bytes:
        raise KeyTooLong(f"{len(key)} bytes, the limit is {max_key_bytes}")


def check_delete_range(request: DeleteRangeRequest) -> None:
    """Raises EmptyKey."""
    if not request.key:
        raise EmptyKey


def check_deletion(request: WriteRequest) -> None:
    """Raises EmptyKey, or InvalidRequest for what cannot be applied in steps."""
    if not goes_in_steps(request):
        raise InvalidRequest("only a DeleteRange without prev_kv is applied in steps")
    check_delete_range(request.delete_range)


def check_lease(request: WriteRequest) -> None:
    """Raises LeaseTtlTooLarge, LeaseNotFound or InvalidRequest for what is refused whatever the store holds."""
    kind = request.WhichOneof("request")
    if kind == "lease_grant":
        if request.lease_grant.TTL > MAX_LEASE_SECONDS:
            raise LeaseTtlTooLarge
        if not request.lease_grant.ID:
            raise InvalidRequest("no id was chosen for the lease")
    elif kind == "lease_revoke" and not request.lease_revoke.ID:
        raise LeaseNotFound
    elif kind == "lease_checkpoints" and not 0 < len(request.lease_checkpoints.leases) <= MAX_CHECKPOINTS:
        raise InvalidRequest(f"1 to {MAX_CHECKPOINTS} leases are checkpointed at a time")


def plain_puts(request: TxnRequest, max_ops: int) -> list[tuple[bytes, bytes]] | None:
    """Returns keys and values of a transaction that has nothing but puts of short keys without options and that nothing
    here refuses.

    None for all others. The hot path: most large transactions are of this kind.
    """
    if request.compare or request.failure or not 0 < len(request.success) <= max_ops:
        return None
    # An operation that is no put shows an empty one here. No WhichOneof: it takes longer than all of this.
    puts = [operation.request_put for operation in request.success]
    pairs = [(put.key, put.value) for put in puts]
    keys = dict(pairs)
    if len(keys) < len(pairs) or b"" in keys or max(map(len, keys)) > SHORT_KEY_BYTES:
        return None
    if any(put.lease or put.prev_kv or put.ignore_value or put.ignore_lease for put in puts):
        return None
    return pairs


def check_txn(request: TxnRequest, max_ops: int, max_key_bytes: int = MAX_KEY_BYTES) -> bool:
    """Whether it is of plain puts of short keys only. Raises TooManyOps, DuplicateKey, or what an operation would."""
    if plain_puts(request, max_ops) is not None:
        return True
    _check_txn_operations(request, max_ops, max_key_bytes)
    _check_overlaps(request.success)
    _check_overlaps(request.failure)
    return False


def check_write(request: WriteRequest, max_txn_ops: int, max_key_bytes: int = MAX_KEY_BYTES) -> bool:
    """Any request of a write batch; answers whether it does nothing but put short keys, so that it cannot be wide."""
    kind = request.WhichOneof("request")
    if kind == "put":
        check_put(request.put, max_key_bytes)
        return len(request.put.key) <= SHORT_KEY_BYTES
    if kind == "delete_range":
        check_delete_range(request.delete_range)
        return False
    if kind == "txn":
        return check_txn(request.txn, max_txn_ops, max_key_bytes)
    if kind in LEASE_KINDS:
        check_lease(request)
        return False
    if kind in AUTH_KINDS:
        return False
    raise InvalidRequest("a write request without a request")


def adds_data(request: WriteRequest) -> bool:
    """Returns whether the request may put something, on either path; such requests are refused when space is short."""
    kind = request.WhichOneof("request")
    if kind == "auth":
        return request.auth.WhichOneof("change") in _GROWING_AUTH
    return kind in ("put", "lease_grant") or (kind == "txn" and _txn_puts(request.txn))


def puts_long_key(request: WriteRequest) -> bool:
    """Returns whether the request may put a long key, on either path: such requests need a version that takes them."""
    kind = request.WhichOneof("request")
    if kind == "put":
        return len(request.put.key) > SHORT_KEY_BYTES
    return kind == "txn" and _txn_puts_long_key(request.txn)


def is_wide(request: WriteRequest) -> bool:
    """Returns whether the request may touch many keys, so that it should not share an entry with others of its kind."""
    kind = request.WhichOneof("request")
    if kind == "delete_range":
        return bool(request.delete_range.range_end)
    if kind in ("lease_revoke", "auth"):
        return True
    return kind == "txn" and _txn_is_wide(request.txn)


def goes_in_steps(request: WriteRequest) -> bool:
    """Returns whether the request is a deletion of a range that needs no answer but the number of keys."""
    return (
        request.HasField("delete_range") and bool(request.delete_range.range_end) and not request.delete_range.prev_kv
    )


def _txn_is_wide(txn: TxnRequest) -> bool:
    if any(compare.range_end for compare in txn.compare):
        return True
    for operation in (*txn.success, *txn.failure):
        kind = operation.WhichOneof("request")
        if (
            (kind == "request_range" and operation.request_range.range_end)
            or (kind == "request_delete_range" and operation.request_delete_range.range_end)
            or kind == "request_txn"
        ):
            return True
    return False


def _txn_puts(txn: TxnRequest) -> bool:
    for operation in (*txn.success, *txn.failure):
        kind = operation.WhichOneof("request")
        if kind == "request_put" or (kind == "request_txn" and _txn_puts(operation.request_txn)):
            return True
    return False


def _txn_puts_long_key(txn: TxnRequest) -> bool:
    return any(
        len(operation.request_put.key) > SHORT_KEY_BYTES
        or (operation.HasField("request_txn") and _txn_puts_long_key(operation.request_txn))
        for operation in (*txn.success, *txn.failure)
    )


def _check_txn_operations(request: TxnRequest, max_ops: int, max_key_bytes: int) -> None:
    operations = max(len(request.compare), len(request.success), len(request.failure))
    if operations > max_ops:
        raise TooManyOps(f"the limit is {max_ops}")
    for compare in request.compare:
        if not compare.key:
            raise EmptyKey
    for operation in (*request.success, *request.failure):
        _check_operation(operation, max_ops - operations, max_key_bytes)


def _check_operation(operation: RequestOp, max_ops: int, max_key_bytes: int) -> None:
    kind = operation.WhichOneof("request")
    if kind == "request_range":
        check_range(operation.request_range)
    elif kind == "request_put":
        check_put(operation.request_put, max_key_bytes)
    elif kind == "request_delete_range":
        check_delete_range(operation.request_delete_range)
    elif kind == "request_txn":
        _check_txn_operations(operation.request_txn, max_ops, max_key_bytes)
    else:
        raise KeyNotFound  # etcd's answer to an operation that is none


def _check_overlaps(operations: Sequence[RequestOp]) -> tuple[set[bytes], list[Interval]]:
    """Returns keys put and ranges deleted by one path; raises DuplicateKey when a key would be changed twice.

    Deletions may overlap each other. The two paths of an inner transaction may put the same key, as only one is taken.
    As in etcd, two things pass: a deletion "from key on" (its range_end "\\0" is below every key), and a deletion in an
    inner transaction after inner transactions that put what it deletes. Operations are then carried out in order.
    """
    deleted = [
        key_range(operation.request_delete_range.key, operation.request_delete_range.range_end)
        for operation in operations
        if operation.WhichOneof("request") == "request_delete_range"
        and operation.request_delete_range.range_end != b"\0"
    ]
    put: set[bytes] = set()
    for operation in operations:
        if operation.WhichOneof("request") != "request_txn":
            continue
        put_then, deleted_then = _check_overlaps(operation.request_txn.success)
        put_else, deleted_else = _check_overlaps(operation.request_txn.failure)
        _refuse_overlap(put_then | put_else, put, deleted)
        put |= put_then | put_else
        deleted += deleted_then + deleted_else
    for operation in operations:
        if operation.WhichOneof("request") == "request_put":
            key = operation.request_put.key
            _refuse_overlap((key,), put, deleted)
            put.add(key)
    return put, deleted


def _refuse_overlap(keys: Iterable[bytes], put: set[bytes], deleted: Sequence[Interval]) -> None:
    for key in keys:
        if key in put or any(start <= key and (end is None or key < end) for start, end in deleted):
            raise DuplicateKey
