"""Makes the keys of a running store what they were: compares, and writes what differs."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from rstore_api.client import Client
from rstore_api.client.pages import pages
from rstore_api.errors import OutcomeUnknown, RequestTooLarge, RequestTooWide, TooManyOps, TooManyRequests, Unreachable
from rstore_api.proto.kv_pb2 import KeyValue

from rstore_backup.restoring.difference import Change, Comparison, Kind, outcome, transaction

ATTEMPTS = 8
"""Of one transaction: after an unknown outcome, or where only some of its keys are as they were seen."""
SHOWN_CHANGES = 20
"""Of a preview, and of conflicts."""

Range = tuple[bytes, bytes]
"""The first key and the one behind the last, as etcd's ranges are: ``b"\\0"`` for no end."""
EVERYTHING: Range = (b"\0", b"\0")
Wanted = Callable[[Range], Iterator[KeyValue]]
"""Returns the keys of the wanted state in a range, in order."""


@dataclass
class Preview:
    """How the store at ``revision`` differs from the wanted state."""

    revision: int
    counts: Counter[Kind] = field(default_factory=Counter)
    first: list[Change] = field(default_factory=list)
    same: int = 0
    leased: int = 0

    @property
    def total(self) -> int:
        """How many keys are to be written."""
        return sum(self.counts.values())


@dataclass
class Written:
    """What was done: how many keys are as wanted now, and which were left alone as somebody had written them."""

    made: int = 0
    conflicts: int = 0
    first_conflicts: list[Change] = field(default_factory=list)
    revision: int = 0
    """Of the last transaction."""


async def preview(
    client: Client, wanted: Wanted, ranges: Sequence[Range], *, revision: int, timeout_seconds: float
) -> Preview:
    """Returns how the store, as it was at ``revision``, differs from the wanted state. Writes nothing.

    Raises StoreError; Compacted where the store's revision is gone.
    """
    result = Preview(revision)
    async for changes, comparison in _differences(client, wanted, ranges, revision, timeout_seconds):
        result.counts.update(change.kind for change in changes)
        result.first += changes[: SHOWN_CHANGES - len(result.first)]
        if comparison.is_finished:
            result.same += comparison.same
            result.leased += comparison.leased
    return result


async def write(
    client: Client,
    wanted: Wanted,
    ranges: Sequence[Range],
    *,
    revision: int,
    timeout_seconds: float,
    advance: Callable[[int], None],
) -> Written:
    """Writes what differs between the store as it was at ``revision`` and the wanted state; a key that was written
    since is left alone. May be repeated with the same revision: what is done already is not done again.

    Raises StoreError; what was written before stays.
    """
    result = Written()
    async for changes, _ in _differences(client, wanted, ranges, revision, timeout_seconds):
        if changes:
            await _make(client, changes, result, timeout_seconds)
            advance(len(changes))
    return result


async def _make(client: Client, changes: Sequence[Change], result: Written, timeout_seconds: float) -> None:
    left = tuple(changes)
    for attempt in range(ATTEMPTS):
        try:
            answer = await client.txn(transaction(left), timeout_seconds=timeout_seconds)
        except (OutcomeUnknown, Unreachable, TooManyRequests):
            if attempt == ATTEMPTS - 1:
                raise
            await asyncio.sleep(0.1 * 2**attempt)
            continue
        except (TooManyOps, RequestTooLarge, RequestTooWide):
            if len(left) == 1:
                raise
            middle = len(left) // 2
            await _make(client, left[:middle], result, timeout_seconds)
            await _make(client, left[middle:], result, timeout_seconds)
            return
        done = outcome(left, answer)
        result.made += len(done.made)
        result.conflicts += len(done.conflicts)
        result.first_conflicts += done.conflicts[: SHOWN_CHANGES - len(result.first_conflicts)]
        result.revision = max(result.revision, answer.header.revision)
        left = done.open
        if not left:
            return
    raise OutcomeUnknown(f"{ATTEMPTS} attempts to write {left[0].key!r} and {len(left) - 1} other keys")


async def _differences(
    client: Client, wanted: Wanted, ranges: Sequence[Range], revision: int, timeout_seconds: float
) -> AsyncGenerator[tuple[list[Change], Comparison], None]:
    """Yields changes that fit into one transaction, perhaps none, and the comparison that they are of; it is finished
    with the last ones.
    """
    for start, end in ranges:
        comparison = await asyncio.to_thread(Comparison, wanted((start, end)))
        stored = pages(client, start=start, range_end=end, revision=revision, timeout_seconds=timeout_seconds)
        async with aclosing(stored):
            while not comparison.is_finished:
                if comparison.needs_page:
                    page = await anext(stored)
                    comparison.feed(page.kvs, is_last=page.is_last)
                yield await asyncio.to_thread(comparison.take), comparison
