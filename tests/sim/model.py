"""PURE. What the store means, as simply as it can be said: one dictionary per revision.

Nothing runs on this. It is what tests hold the real store against, so it shares no code with it, and takes no care of
time or memory: every revision is a full copy. Errors are codes of ``rstore_api.errors``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from rstore_api.proto.kv_pb2 import KeyValue
from rstore_api.proto.rpc_pb2 import (
    Compare,
    DeleteRangeRequest,
    DeleteRangeResponse,
    PutRequest,
    PutResponse,
    RangeRequest,
    RangeResponse,
    RequestOp,
    ResponseOp,
    TxnRequest,
    TxnResponse,
)


class Refused(Exception):  # noqa: N818
    """The request changes nothing; ``code`` says why."""

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(code)


class Item(NamedTuple):
    """A key that exists."""

    value: bytes
    created: int
    modified: int
    version: int
    lease: int = 0


Items = dict[bytes, Item]


class Decided(NamedTuple):
    """A transaction whose comparisons have been made."""

    succeeded: bool
    steps: list[Decided | RequestOp]


class Model:
    """A store. An empty one is at revision 1."""

    def __init__(self, max_ops: int = 128) -> None:
        self.max_ops = max_ops
        self.revision = 1
        self.compact_revision = 0
        self.items: dict[int, Items] = {1: {}}
        self._work: Items = {}
        self._changed = False

    # ------------------------------------------------------------------------------------------ requests

    def put(self, request: PutRequest) -> PutResponse:
        """One Put."""
        _check_put(request)
        if request.lease:
            raise Refused("lease-not-found")
        if (request.ignore_value or request.ignore_lease) and request.key not in self._now:
            raise Refused("key-not-found")
        self._begin()
        response = self._put(request)
        self._end()
        return response

    def delete_range(self, request: DeleteRangeRequest) -> DeleteRangeResponse:
        """One DeleteRange."""
        _need_key(request.key)
        self._begin()
        response = self._delete(request)
        self._end()
        return response

    def txn(self, request: TxnRequest) -> TxnResponse:
        """One Txn."""
        _check_txn(request, self.max_ops)
        _changed_keys(request.success)
        _changed_keys(request.failure)
        self._begin()
        decided = self._decide(request)
        taken = list(_taken(decided))
        for operation in taken:
            if operation.HasField("request_put"):
                put = operation.request_put
                if (put.ignore_value or put.ignore_lease) and put.key not in self._work:
                    raise Refused("key-not-found")
                if put.lease:
                    raise Refused("lease-not-found")
        for operation in taken:
            if operation.HasField("request_range"):
                self._check_revision(operation.request_range.revision)
        response = self._run(decided)
        self._end()
        response.header.revision = self.revision
        return response

    def range(self, request: RangeRequest) -> RangeResponse:
        """One Range outside a transaction; its header is empty."""
        _check_range(request)
        self._check_revision(request.revision)
        return _select(self.items[request.revision if request.revision > 0 else self.revision], request)

    def compact(self, revision: int) -> None:
        """Forget what was before ``revision``."""
        if revision <= self.compact_revision:
            raise Refused("compacted")
        if revision > self.revision:
            raise Refused("future-revision")
        self.compact_revision = revision
        self.items = {number: items for number, items in self.items.items() if number >= revision}

    def rewind(self, revision: int) -> None:
        """Forget what came after ``revision``."""
        self.items = {number: items for number, items in self.items.items() if number <= revision}
        self.revision = revision

    # ------------------------------------------------------------------------------------------ inside

    @property
    def _now(self) -> Items:
        return self.items[self.revision]

    def _begin(self) -> None:
        self._work, self._changed = dict(self._now), False

    def _end(self) -> None:
        if self._changed:
            self.revision += 1
            self.items[self.revision] = self._work

    @property
    def _seen(self) -> int:
        return self.revision + self._changed

    def _check_revision(self, revision: int) -> None:
        if revision > self.revision:
            raise Refused("future-revision")
        if 0 < revision < self.compact_revision:
            raise Refused("compacted")

    def _put(self, request: PutRequest) -> PutResponse:
        old = self._work.get(request.key)
        value = old.value if old and request.ignore_value else request.value
        revision = self.revision + 1
        if old:
            new = Item(value, old.created, revision, old.version + 1, old.lease if request.ignore_lease else 0)
        else:
            new = Item(value, revision, revision, 1)
        self._work[request.key] = new
        self._changed = True
        response = PutResponse()
        response.header.revision = revision
        if old and request.prev_kv:
            response.prev_kv.CopyFrom(_key_value(request.key, old))
        return response

    def _delete(self, request: DeleteRangeRequest) -> DeleteRangeResponse:
        keys = _keys(self._work, request.key, request.range_end)
        response = DeleteRangeResponse(deleted=len(keys))
        for key in keys:
            old = self._work.pop(key)
            if request.prev_kv:
                response.prev_kvs.append(_key_value(key, old))
            self._changed = True
        response.header.revision = self._seen
        return response

    def _decide(self, txn: TxnRequest) -> Decided:
        """All comparisons see the state before the transaction."""
        holds = all(_compare(self._work, compare) for compare in txn.compare)
        operations = txn.success if holds else txn.failure
        return Decided(
            holds,
            [
                self._decide(operation.request_txn) if operation.HasField("request_txn") else operation
                for operation in operations
            ],
        )

    def _run(self, decided: Decided) -> TxnResponse:
        response = TxnResponse(succeeded=decided.succeeded)
        response.header.SetInParent()
        for step in decided.steps:
            answer = ResponseOp()
            if isinstance(step, Decided):
                answer.response_txn.CopyFrom(self._run(step))
            elif step.HasField("request_put"):
                answer.response_put.CopyFrom(self._put(step.request_put))
            elif step.HasField("request_delete_range"):
                answer.response_delete_range.CopyFrom(self._delete(step.request_delete_range))
            else:
                asked = step.request_range.revision
                found = _select(self.items[asked] if asked > 0 else self._work, step.request_range)
                found.header.revision = self._seen
                answer.response_range.CopyFrom(found)
            response.responses.append(answer)
        return response


def _taken(decided: Decided) -> Iterable[RequestOp]:
    for step in decided.steps:
        if isinstance(step, Decided):
            yield from _taken(step)
        else:
            yield step


def _key_value(key: bytes, item: Item) -> KeyValue:
    return KeyValue(
        key=key,
        value=item.value,
        create_revision=item.created,
        mod_revision=item.modified,
        version=item.version,
        lease=item.lease,
    )


def _within(key: bytes, start: bytes, end: bytes) -> bool:
    if not end:
        return key == start
    return key >= start and (end == b"\0" or key < end)


def _keys(items: Items, start: bytes, end: bytes) -> list[bytes]:
    return sorted(key for key in items if _within(key, start, end))


def _select(items: Items, request: RangeRequest) -> RangeResponse:
    keys = _keys(items, request.key, request.range_end)
    response = RangeResponse(count=len(keys))
    if request.count_only:
        return response
    bounds = (
        (request.min_mod_revision, request.max_mod_revision),
        (request.min_create_revision, request.max_create_revision),
    )
    if request.limit > 0 and not request.sort_order and not any(map(any, bounds)):
        keys = keys[: request.limit + 1]
    found = [
        _key_value(key, items[key])
        for key in keys
        if all(
            (not low or number >= low) and (not high or number <= high)
            for number, (low, high) in zip((items[key].modified, items[key].created), bounds, strict=True)
        )
    ]
    by: dict[int, Callable[[KeyValue], bytes | int]] = {
        RangeRequest.KEY: lambda kv: kv.key,
        RangeRequest.VERSION: lambda kv: kv.version,
        RangeRequest.CREATE: lambda kv: kv.create_revision,
        RangeRequest.MOD: lambda kv: kv.mod_revision,
        RangeRequest.VALUE: lambda kv: kv.value,
    }
    found.sort(key=by[request.sort_target], reverse=request.sort_order == RangeRequest.DESCEND)
    if 0 < request.limit < len(found):
        found = found[: request.limit]
        response.more = True
    if request.keys_only:
        for kv in found:
            kv.ClearField("value")
    response.kvs.extend(found)
    return response


def _compare(items: Items, compare: Compare) -> bool:
    keys = _keys(items, compare.key, compare.range_end)
    if not keys and compare.target == Compare.VALUE:
        return False
    return all(_compare_one(compare, items[key]) for key in keys) if keys else _compare_one(compare, Item(b"", 0, 0, 0))


def _compare_one(compare: Compare, item: Item) -> bool:
    pairs: dict[int, tuple[Any, Any]] = {
        Compare.VERSION: (item.version, compare.version),
        Compare.CREATE: (item.created, compare.create_revision),
        Compare.MOD: (item.modified, compare.mod_revision),
        Compare.VALUE: (item.value, compare.value),
        Compare.LEASE: (item.lease, compare.lease),
    }
    left, right = pairs[compare.target]
    relations: dict[int, bool] = {
        Compare.EQUAL: left == right,
        Compare.NOT_EQUAL: left != right,
        Compare.GREATER: left > right,
        Compare.LESS: left < right,
    }
    return relations[compare.result]


def _need_key(key: bytes) -> None:
    if not key:
        raise Refused("empty-key")


def _check_put(put: PutRequest) -> None:
    _need_key(put.key)
    if put.ignore_value and put.value:
        raise Refused("value-provided")
    if put.ignore_lease and put.lease:
        raise Refused("lease-provided")


def _check_range(request: RangeRequest) -> None:
    _need_key(request.key)
    if request.sort_order not in (0, 1, 2) or request.sort_target not in (0, 1, 2, 3, 4):
        raise Refused("invalid-sort")


def _check_txn(txn: TxnRequest, budget: int) -> None:
    used = max(len(txn.compare), len(txn.success), len(txn.failure))
    if used > budget:
        raise Refused("too-many-ops")
    for compare in txn.compare:
        _need_key(compare.key)
    for operation in [*txn.success, *txn.failure]:
        if operation.HasField("request_put"):
            _check_put(operation.request_put)
        elif operation.HasField("request_range"):
            _check_range(operation.request_range)
        elif operation.HasField("request_delete_range"):
            _need_key(operation.request_delete_range.key)
        elif operation.HasField("request_txn"):
            _check_txn(operation.request_txn, budget - used)
        else:
            raise Refused("key-not-found")


def _changed_keys(operations: Iterable[RequestOp]) -> tuple[set[bytes], set[tuple[bytes, bytes]]]:
    """Keys put and ranges deleted by a list of operations; refused where a put meets another or a deletion.

    Inner transactions come first, in order; a deletion in one is held only against puts that come later. A deletion
    "from key on" is never held against anything: etcd takes its end for what it says.
    """
    operations = list(operations)
    puts: set[bytes] = set()
    deletes = {
        (operation.request_delete_range.key, operation.request_delete_range.range_end)
        for operation in operations
        if operation.HasField("request_delete_range")
    }

    def add(keys: Iterable[bytes]) -> None:
        for key in keys:
            if key in puts or any(end != b"\0" and _within(key, start, end) for start, end in deletes):
                raise Refused("duplicate-key")
        puts.update(keys)

    for operation in operations:
        if operation.HasField("request_txn"):
            one, other = _changed_keys(operation.request_txn.success), _changed_keys(operation.request_txn.failure)
            add(one[0] | other[0])
            deletes |= one[1] | other[1]
    for operation in operations:
        if operation.HasField("request_put"):
            add([operation.request_put.key])
    return puts, deletes
