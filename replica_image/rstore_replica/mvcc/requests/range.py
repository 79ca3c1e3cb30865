"""Range: etcd's reads, on any reader.

``limit`` bounds what is returned, never ``count``, which is the number of keys in the range before filters. Sorting and
filtering look at the whole range first, and cut afterwards. A sort target without an order sorts ascending what the
limit let through, as etcd does.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from rstore_api.domain.epochs import is_left_out
from rstore_api.errors import AnswerTooLarge, Compacted, FutureRevision
from rstore_api.proto.kv_pb2 import KeyValue
from rstore_api.proto.rpc_pb2 import RangeRequest, RangeResponse, ResponseHeader

from rstore_replica.mvcc.data.layout import key_range, unpack_entry
from rstore_replica.mvcc.data.reader import Reader
from rstore_replica.mvcc.requests.validate import check_range

ENCODE_KEYS = 128
SCAN_KEYS = 256
SORT_KEYS = 1024
MAX_ANSWER_BYTES = 64 << 20
"""Keys and values that one Range returns, or puts in order."""

Found = tuple[bytes, bytes]  # key, index entry

_SORT_TARGETS: dict[int, Callable[[KeyValue], bytes | int]] = {
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


def check_exists(reader: Reader, asked: int, newest: int) -> None:
    """Raises Compacted for a revision that the present history has left out: what it was is lost or in quarantine, and
    a client that has seen it must begin anew. 0 and below mean the newest.
    """
    if 0 < asked < newest and is_left_out(reader.history(), asked):
        raise Compacted


@dataclass(frozen=True)
class Selection:
    """What a Range selects; ``kvs`` are read as they are taken, while the reader's transaction is open."""

    kvs: Iterable[KeyValue] = ()
    more: bool = False
    count: int = 0


def read_range(reader: Reader, request: RangeRequest, newest: int, compact_revision: int) -> RangeResponse:
    """Answers a Range; the header is left empty. ``newest`` is the revision that "now" means.

    Raises EmptyKey, InvalidSort, FutureRevision or Compacted.
    """
    if not request.range_end and not must_see_all(request):
        return _read_key(reader, request, newest, compact_revision)
    selection = select(reader, request, newest, compact_revision)
    return RangeResponse(kvs=selection.kvs, more=selection.more, count=selection.count)


def _read_key(reader: Reader, request: RangeRequest, newest: int, compact_revision: int) -> RangeResponse:
    """Answers a Range of one key without filters: what nearly every read is, so that it is made at once."""
    check_range(request)
    key, revision = request.key, request.revision
    if revision > 0:
        check_revision(revision, newest, compact_revision)
        check_exists(reader, revision, newest)
    entry = reader.entry(key, revision if 0 < revision < newest else None)
    response = RangeResponse()
    if entry is not None:
        response.count = 1
        if not request.count_only:
            reader.fill(response.kvs.add(), key, entry, keys_only=request.keys_only)
    return response


def encode_range(
    reader: Reader,
    request: RangeRequest,
    newest: int,
    compact_revision: int,
    header: ResponseHeader,
    pace: Callable[[], None],
) -> bytes:
    """As :func:`read_range`, with the header, as it goes over the wire. Also raises AnswerTooLarge.

    Made in small steps, so that in a thread it holds up the others for no longer than one of them: a message of many
    keys takes long to put together, to encode and to free, and each of these is one step. ``pace`` is called before
    each, and may wait.
    """
    pace()
    selection = select(reader, request, newest, compact_revision, pace)
    kvs = iter(selection.kvs)
    parts: list[bytes] = []
    size_bytes = 0
    while chunk := list(islice(kvs, ENCODE_KEYS)):
        parts.append(RangeResponse(kvs=chunk).SerializeToString())
        size_bytes += len(parts[-1])
        _check_size(size_bytes)
        pace()
    # One encoded message after another is the encoding of all they hold.
    parts.append(RangeResponse(header=header, more=selection.more, count=selection.count).SerializeToString())
    return b"".join(parts)


def select(
    reader: Reader,
    request: RangeRequest,
    newest: int,
    compact_revision: int,
    pace: Callable[[], None] = lambda: None,
) -> Selection:
    """Returns what a Range selects. Raises EmptyKey, InvalidSort, FutureRevision, Compacted or AnswerTooLarge."""
    check_range(request)
    check_revision(request.revision, newest, compact_revision)
    check_exists(reader, request.revision, newest)
    revision = request.revision if 0 < request.revision < newest else None
    if not request.range_end:
        entry = reader.entry(request.key, revision)
        if entry is None:
            return Selection()
        if request.count_only:
            return Selection(count=1)
        return _select(reader, request, [(request.key, entry)], 1)
    start, end = key_range(request.key, request.range_end)
    if end is not None and end <= start:
        return Selection()
    scan = _paced(reader.scan(start, end, revision), pace)
    if request.count_only:
        return Selection(count=sum(1 for _ in scan))
    if request.limit > 0 and not must_see_all(request):
        pairs = list(islice(scan, request.limit + 1))
        return _select(reader, request, pairs, len(pairs) + sum(1 for _ in scan))
    pairs = list(_bounded(scan))
    return _select(reader, request, pairs, len(pairs))


def _paced(scan: Iterable[Found], pace: Callable[[], None]) -> Iterator[Found]:
    scan = iter(scan)
    while step := list(islice(scan, SCAN_KEYS)):
        yield from step
        pace()


def _bounded(scan: Iterable[Found]) -> Iterator[Found]:
    size_bytes = 0
    for item in scan:
        size_bytes += len(item[0]) + len(item[1])
        _check_size(size_bytes)
        yield item


def _check_size(size_bytes: int) -> None:
    if size_bytes > MAX_ANSWER_BYTES:
        raise AnswerTooLarge(f"more than {MAX_ANSWER_BYTES >> 20} MiB; read the range in parts, with a limit")


def must_see_all(request: RangeRequest) -> bool:
    """Returns whether the limit counts only after all keys of the range have been looked at."""
    return request.sort_order != RangeRequest.NONE or bool(
        request.min_mod_revision
        or request.max_mod_revision
        or request.min_create_revision
        or request.max_create_revision
    )


def _select(reader: Reader, request: RangeRequest, pairs: list[Found], count: int) -> Selection:
    kept = [item for item in pairs if _passes(request, item[1])]
    limit = request.limit if request.limit > 0 else len(kept)
    more = len(kept) > limit
    order, target = request.sort_order, request.sort_target
    if target == RangeRequest.KEY or len(kept) < 2:
        if order == RangeRequest.DESCEND:
            kept.reverse()
        wanted = islice(kept, limit)
        return Selection((reader.key_value(*item, keys_only=request.keys_only) for item in wanted), more, count)
    keep_values = not request.keys_only or target == RangeRequest.VALUE
    kvs: list[KeyValue] = []
    size_bytes = 0
    for key, entry in kept:
        kvs.append(reader.key_value(key, entry, keys_only=not keep_values))
        size_bytes += len(key) + len(kvs[-1].value)
        _check_size(size_bytes)
    ordered = islice(_sorted(kvs, _SORT_TARGETS[target], descending=order == RangeRequest.DESCEND), limit)
    return Selection(map(_without_value, ordered) if request.keys_only else ordered, more, count)


def _sorted(kvs: list[KeyValue], sort_key: Callable[[KeyValue], Any], *, descending: bool) -> Iterable[KeyValue]:
    """Sorts in small steps, see :func:`encode_range`. What is equal stays in its order."""
    runs = [
        sorted(kvs[start : start + SORT_KEYS], key=sort_key, reverse=descending)
        for start in range(0, len(kvs), SORT_KEYS)
    ]
    return runs[0] if len(runs) == 1 else heapq.merge(*runs, key=sort_key, reverse=descending)


def _without_value(kv: KeyValue) -> KeyValue:
    kv.ClearField("value")
    return kv


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
