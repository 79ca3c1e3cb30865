"""Segments and bases of made-up stores, for tests."""

from __future__ import annotations

from collections.abc import Sequence

from rstore_api import rows
from rstore_api.domain.epochs import EpochStart, History
from rstore_backup.line import Listed
from rstore_backup.segments import Kind, Link, Record, SegmentHeader

STORE_ID = "5f0c2f2e-2b1b-4a37-9a55-9c6f1f0e7a11"
FIRST: History = (EpochStart(1, 2, "east"),)
FAILED_OVER: History = (*FIRST, EpochStart(2, 1_000_005, "west", 4))
"""Epoch 2 leaves epoch 1 at revision 4, with a jump."""


def put(revision: int, key: bytes = b"key", value: bytes = b"value", sub: int = 0) -> rows.Row:
    return rows.Row(revision, sub, key, value, revision, 1)


def record(after: int, *changes: rows.Row, time_ms: int = 1000) -> Record:
    return Record(Kind.ROWS, time_ms, after, changes[-1].revision, rows.pack_batch(changes))


def header(
    after: int,
    first: int,
    last: int,
    *,
    history: History = FIRST,
    previous: Link | None = None,
    rows_count: int | None = None,
    because: str = "",
) -> SegmentHeader:
    """A segment with a row for each revision; one that begins a line when it names no ``previous``."""
    return SegmentHeader(
        STORE_ID,
        history,
        after,
        first,
        last,
        last - first + 1 if rows_count is None else rows_count,
        1000,
        2000,
        previous,
        "" if previous else because or "the archive was empty",
    )


def opening(after: int, at: int, history: History, previous: Link | None = None) -> SegmentHeader:
    return header(after, at, at, history=history, previous=previous, rows_count=0)


def listed(headers: Sequence[SegmentHeader]) -> list[Listed]:
    """Each with a digest that those that name it say."""
    digests = {each.previous.name: each.previous.sha256 for each in headers if each.previous is not None}
    return [Listed(each, digests.get(each.name, "")) for each in headers]


def link(before: SegmentHeader, sha256: str = "aa") -> Link:
    return Link(before.name, sha256)
