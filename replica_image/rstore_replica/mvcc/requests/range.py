"""Range: etcd's reads, on any reader.

``limit`` bounds what is returned, never ``count``, which is the number of keys in the range before filters. Sorting and
filtering look at the whole range first, and cut afterwards.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

from rstore_api.domain.epochs import is_left_out
from rstore_api.errors import Compacted, FutureRevision
from rstore_api.proto.kv_pb2 import KeyValue
from rstore_api.proto.rpc_pb2 import RangeRequest, RangeResponse, ResponseHeader

from rstore_replica.mvcc.data.layout import key_range
from rstore_replica.mvcc.data.reader import LONG_KEYS_AT_A_TIME, Reader
from rstore_replica.mvcc.data.walks import Found, pacing
from rstore_replica.mvcc.requests.counts import NO_COUNTS, RangeCounts, View
from rstore_replica.mvcc.requests.ordering import arrange, check_size, list_bounded, must_see_all
from rstore_replica.mvcc.requests.validate import check_range

ENCODE_KEYS = 128
SCAN_KEYS = 256


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
    selection = select(view_of(reader, request, newest, compact_revision), request)
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


def view_of(reader: Reader, request: RangeRequest, newest: int, compact_revision: int, generation: int = 0) -> View:
    """Returns what the Range is read from. Raises EmptyKey, InvalidSort, FutureRevision or Compacted."""
    check_range(request)
    check_revision(request.revision, newest, compact_revision)
    check_exists(reader, request.revision, newest)
    revision = request.revision if 0 < request.revision < newest else None
    return View(reader, revision, newest, compact_revision, generation)


def encode_range(
    view: View, request: RangeRequest, header: ResponseHeader, counts: RangeCounts, pace: Callable[[], None]
) -> bytes:
    """Answers a Range, with the header, as it goes over the wire. Raises AnswerTooLarge.

    Made in small steps, so that in a thread it holds up the others for no longer than one of them: a message of many
    keys takes long to put together, to encode and to free, and each of these is one step. ``pace`` is called before
    each, and may wait.
    """
    pace()
    selection = select(view, request, counts, pace)
    kvs = iter(selection.kvs)
    parts: list[bytes] = []
    size_bytes = 0
    while chunk := list(islice(kvs, ENCODE_KEYS)):
        parts.append(RangeResponse(kvs=chunk).SerializeToString())
        size_bytes += len(parts[-1])
        check_size(size_bytes)
        pace()
    # One encoded message after another is the encoding of all they hold.
    parts.append(RangeResponse(header=header, more=selection.more, count=selection.count).SerializeToString())
    return b"".join(parts)


def select(
    view: View, request: RangeRequest, counts: RangeCounts = NO_COUNTS, pace: Callable[[], None] = lambda: None
) -> Selection:
    """Returns what a Range selects. Raises AnswerTooLarge."""
    reader, revision = view.reader, view.revision
    if not request.range_end:
        entry = reader.entry(request.key, revision)
        return _selection(reader, request, [] if entry is None else [(request.key, entry)])
    start, end = key_range(request.key, request.range_end)
    if end is not None and end <= start:
        return Selection()
    if request.count_only:
        return Selection(count=counts.count(view, start, end, pace))
    at_a_time = LONG_KEYS_AT_A_TIME if reader.holds_long_keys(start, end) else SCAN_KEYS
    scan = _paced(reader.scan(start, end, revision, pacing(pace)), at_a_time, pace)
    if request.limit > 0 and not must_see_all(request):
        page = list_bounded(islice(scan, min(request.limit, sys.maxsize - 1) + 1))
        if len(page) > request.limit:
            keys = _count_from_page(view, (start, end), page[:-1], counts, pace)
            return replace(_selection(reader, request, page), count=keys)
        return _selection(reader, request, page)
    selection = _selection(reader, request, scan)
    counts.remember(view, start, end, selection.count)
    return selection


def _selection(reader: Reader, request: RangeRequest, found: Iterable[Found]) -> Selection:
    arranged = arrange(request, found, lambda key, entry: reader.value_and_lease(key, entry)[0])
    if request.count_only:
        return Selection(count=arranged.count)
    kvs = (reader.key_value(*item, keys_only=request.keys_only) for item in arranged.wanted)
    return Selection(kvs, arranged.more, arranged.count)


def _count_from_page(
    view: View, keys: tuple[bytes, bytes | None], page: list[Found], counts: RangeCounts, pace: Callable[[], None]
) -> int:
    """Returns how many keys there are from ``keys[0]`` to ``keys[1]``; ``page`` are the first of them."""
    start, end = keys
    behind = page[-1][0] + b"\0"
    total = counts.recall(view, start, end, pace)
    if total is None:
        total = len(page) + counts.count(view, behind, end, pace)
        counts.remember(view, start, end, total)
    else:
        counts.remember(view, behind, end, total - len(page))  # for the next page
    return total


def _paced(scan: Iterator[Found], at_a_time: int, pace: Callable[[], None]) -> Iterator[Found]:
    while step := list(islice(scan, at_a_time)):
        yield from step
        pace()
