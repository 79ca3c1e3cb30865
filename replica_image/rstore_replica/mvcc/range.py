"""Range: etcd's reads, on any reader.

``limit`` bounds what is returned, never ``count``, which is the number of keys in the range before filters. Sorting and
filtering look at the whole range first, and cut afterwards. A sort target without an order sorts ascending what the
limit let through, as etcd does.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

from rstore_api.errors import Compacted, FutureRevision
from rstore_api.proto.kv_pb2 import KeyValue
from rstore_api.proto.rpc_pb2 import RangeRequest, RangeResponse

from rstore_replica.mvcc.layout import key_range, unpack_entry
from rstore_replica.mvcc.reader import Reader
from rstore_replica.mvcc.validate import check_range

Found = tuple[bytes, bytes]  # key, index entry

_SORT_KEYS: dict[int, Callable[[KeyValue], bytes | int]] = {
    RangeRequest.KEY: lambda kv: kv.key,
    RangeRequest.VERSION: lambda kv: kv.version,
    RangeRequest.CREATE: lambda kv: kv.create_revision,
    RangeRequest.MOD: lambda kv: kv.mod_revision,
    RangeRequest.VALUE: lambda kv: kv.value,
}


def check_revision(asked: int, newest: int, compact_revision: int) -> None:
    """Raises FutureRevision or Compacted; 0 and below mean the newest."""
    if asked > newest:
        raise FutureRevision
    if 0 < asked < compact_revision:
        raise Compacted


def read_range(reader: Reader, request: RangeRequest, newest: int, compact_revision: int) -> RangeResponse:
    """Answers a Range; the header is left empty. ``newest`` is the revision that "now" means.

    Raises EmptyKey, InvalidSort, FutureRevision or Compacted.
    """
    check_range(request)
    check_revision(request.revision, newest, compact_revision)
    revision = request.revision if 0 < request.revision < newest else None
    if not request.range_end:
        entry = reader.entry(request.key, revision)
        if entry is None:
            return RangeResponse()
        if request.count_only:
            return RangeResponse(count=1)
        return _answer(reader, request, [(request.key, entry)], 1)
    start, end = key_range(request.key, request.range_end)
    if end is not None and end <= start:
        return RangeResponse()
    scan = reader.scan(start, end, revision)
    if request.count_only:
        return RangeResponse(count=sum(1 for _ in scan))
    if request.limit > 0 and not must_see_all(request):
        found = list(islice(scan, request.limit + 1))
        return _answer(reader, request, found, len(found) + sum(1 for _ in scan))
    found = list(scan)
    return _answer(reader, request, found, len(found))


def must_see_all(request: RangeRequest) -> bool:
    """Whether the limit counts only after all keys of the range have been looked at."""
    return request.sort_order != RangeRequest.NONE or bool(
        request.min_mod_revision
        or request.max_mod_revision
        or request.min_create_revision
        or request.max_create_revision
    )


def _answer(reader: Reader, request: RangeRequest, found: list[Found], count: int) -> RangeResponse:
    kept = [item for item in found if _passes(request, item[1])]
    limit = request.limit if request.limit > 0 else len(kept)
    order, target = request.sort_order, request.sort_target
    if target == RangeRequest.KEY or len(kept) < 2:
        if order == RangeRequest.DESCEND:
            kept.reverse()
        kvs = [reader.key_value(key, entry, keys_only=request.keys_only) for key, entry in kept[:limit]]
    else:
        keep_values = not request.keys_only or target == RangeRequest.VALUE
        kvs = [reader.key_value(key, entry, keys_only=not keep_values) for key, entry in kept]
        kvs.sort(key=_SORT_KEYS[target], reverse=order == RangeRequest.DESCEND)
        del kvs[limit:]
        if request.keys_only:
            for kv in kvs:
                kv.ClearField("value")
    return RangeResponse(kvs=kvs, more=len(kept) > limit, count=count)


def _passes(request: RangeRequest, entry: bytes) -> bool:
    if not (
        request.min_mod_revision
        or request.max_mod_revision
        or request.min_create_revision
        or request.max_create_revision
    ):
        return True
    modified, _, created, _ = unpack_entry(entry)
    return (
        (not request.max_mod_revision or modified <= request.max_mod_revision)
        and (not request.min_mod_revision or modified >= request.min_mod_revision)
        and (not request.max_create_revision or created <= request.max_create_revision)
        and (not request.min_create_revision or created >= request.min_create_revision)
    )
