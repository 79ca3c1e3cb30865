"""What a Range returns of the keys that were found: filtered, in the order asked for, cut at the limit.

A sort target without an order sorts ascending what the limit let through, as etcd does.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from operator import itemgetter
from typing import Any

from rstore_api.errors import AnswerTooLarge
from rstore_api.proto.rpc_pb2 import RangeRequest

from rstore_replica.mvcc.data.layout import unpack_entry
from rstore_replica.mvcc.data.walks import Found

SORT_KEYS = 1024
"""Sorted in one step, in which no other thread runs."""
MAX_ANSWER_BYTES = 64 << 20
"""Keys and values that one Range returns, or puts in order."""

_Ranked = tuple[Any, Found]
"""What is sorted by, and the key."""

_REVISION, _, _CREATE_REVISION, _VERSION = range(4)
_RANKS = {RangeRequest.VERSION: _VERSION, RangeRequest.CREATE: _CREATE_REVISION, RangeRequest.MOD: _REVISION}


@dataclass(frozen=True)
class Arranged:
    """What is returned, whether the limit left something out, and how many keys were found before filters."""

    wanted: Iterable[Found]
    more: bool
    count: int


def check_size(size_bytes: int) -> None:
    """Raises AnswerTooLarge."""
    if size_bytes > MAX_ANSWER_BYTES:
        raise AnswerTooLarge(f"more than {MAX_ANSWER_BYTES >> 20} MiB; read the range in parts, with a limit")


def must_see_all(request: RangeRequest) -> bool:
    """Returns whether the limit counts only after all keys of the range have been looked at."""
    return request.sort_order != RangeRequest.NONE or _filters(request)


def arrange(request: RangeRequest, found: Iterable[Found], value_of: Callable[[bytes, bytes], bytes]) -> Arranged:
    """Filters, orders and cuts what was found. ``value_of`` returns the value of a key with its entry.

    Where a small limit counts, only what it lets through is kept, however much is found. Raises AnswerTooLarge.
    """
    all_found = _Counted(found)
    passing = _Counted(item for item in all_found if _passes(request, item[1])) if _filters(request) else all_found
    limit = request.limit if request.limit > 0 else None
    wanted = _first(request, passing, limit, value_of)
    deque(passing, 0)  # what is behind the limit counts, too
    return Arranged(wanted, limit is not None and passing.count > limit, all_found.count)


class _Counted:
    """Counts the items that it passes on."""

    def __init__(self, items: Iterable[Found]) -> None:
        self._items = iter(items)
        self.count = 0

    def __iter__(self) -> Iterator[Found]:
        for item in self._items:
            self.count += 1
            yield item


def _first(
    request: RangeRequest, found: Iterable[Found], limit: int | None, value_of: Callable[[bytes, bytes], bytes]
) -> Iterable[Found]:
    """Returns the first ``limit`` of what was found, in the order asked for; of equal ones those that came first."""
    descending, target = request.sort_order == RangeRequest.DESCEND, request.sort_target
    is_small = limit is not None and limit <= SORT_KEYS
    if target == RangeRequest.KEY:
        if not descending:
            return list_bounded(islice(found, limit))
        last = deque(found, limit) if is_small else list_bounded(found)
        return islice(reversed(last), limit)
    ranked: Iterable[_Ranked]
    if target == RangeRequest.VALUE:
        ranked = ((value_of(*item), item) for item in found)
    else:
        field = _RANKS[target]
        ranked = ((unpack_entry(item[1])[field], item) for item in found)
    if is_small:
        return [item for _, item in _best(ranked, limit or 0, descending=descending)]
    return (item for _, item in islice(_sorted(_list_ranked(ranked), descending=descending), limit))


def _best(ranked: Iterable[_Ranked], limit: int, *, descending: bool) -> list[_Ranked]:
    """Sorts, and keeps no more meanwhile than some that the limit will not let through."""
    best: list[_Ranked] = []
    size_bytes = 0
    for item in ranked:
        best.append(item)
        size_bytes += _ranked_bytes(item)
        if len(best) >= limit + SORT_KEYS or size_bytes > MAX_ANSWER_BYTES:
            best.sort(key=itemgetter(0), reverse=descending)
            del best[limit:]
            size_bytes = sum(map(_ranked_bytes, best))
            check_size(size_bytes)
    best.sort(key=itemgetter(0), reverse=descending)
    return best[:limit]


def _sorted(ranked: list[_Ranked], *, descending: bool) -> Iterable[_Ranked]:
    """Sorts in small steps. What is equal stays in its order."""
    runs = [
        sorted(ranked[start : start + SORT_KEYS], key=itemgetter(0), reverse=descending)
        for start in range(0, len(ranked), SORT_KEYS)
    ]
    return heapq.merge(*runs, key=itemgetter(0), reverse=descending)


def list_bounded(found: Iterable[Found]) -> list[Found]:
    """Returns all that was found. Raises AnswerTooLarge."""
    listed, size_bytes = [], 0
    for item in found:
        size_bytes += len(item[0]) + len(item[1])
        check_size(size_bytes)
        listed.append(item)
    return listed


def _list_ranked(ranked: Iterable[_Ranked]) -> list[_Ranked]:
    listed, size_bytes = [], 0
    for item in ranked:
        size_bytes += _ranked_bytes(item)
        check_size(size_bytes)
        listed.append(item)
    return listed


def _ranked_bytes(item: _Ranked) -> int:
    rank, (key, entry) = item
    return len(key) + len(entry) + (len(rank) if isinstance(rank, bytes) else 0)


def _filters(request: RangeRequest) -> bool:
    return bool(
        request.min_mod_revision
        or request.max_mod_revision
        or request.min_create_revision
        or request.max_create_revision
    )


def _passes(request: RangeRequest, entry: bytes) -> bool:
    modified, _, created, _ = unpack_entry(entry)
    return (
        (not request.max_mod_revision or modified <= request.max_mod_revision)
        and (not request.min_mod_revision or modified >= request.min_mod_revision)
        and (not request.max_create_revision or created <= request.max_create_revision)
        and (not request.min_create_revision or created >= request.min_create_revision)
    )
