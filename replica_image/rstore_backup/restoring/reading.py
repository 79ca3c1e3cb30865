"""Reads what a plan names, checks all of it, and makes the keys at the plan's revision of it.

In memory are the objects that are read ahead, as they are in the object store, and of the one that is taken a piece of
its rows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import aclosing

from rstore_backup import bases, segments
from rstore_backup.errors import Damaged, ObjectMissing
from rstore_backup.line import Piece
from rstore_backup.objects import ObjectStore
from rstore_backup.restoring.catalogue import in_order
from rstore_backup.restoring.key_table import Impossible, KeyTable
from rstore_backup.restoring.plan import Plan
from rstore_backup.segments import Opened

IN_FLIGHT = 32
AHEAD_BYTES = 16 << 20
"""Of objects that are read ahead: so many of them, and so many bytes, or one that is larger."""
Advance = Callable[[int], None]
"""Called with how many more objects are read."""


async def read_into(
    table: KeyTable,
    store: ObjectStore,
    plan: Plan,
    links: Mapping[str, str],
    sizes: Mapping[str, int],
    *,
    advance: Advance,
) -> None:
    """Fills an empty table with what there was at the plan's revision.

    ``links`` are the SHA-256 that segments must have, ``sizes`` their bytes, see Catalogue. Raises Damaged for the
    first object that is not what it should be, or is missing; TableUnusable; and what the object store raises.
    """

    async def get(name: str) -> tuple[str, bytes]:
        try:
            return name, await store.get(name)
        except ObjectMissing as error:
            raise Damaged(name, 0, "it is missing") from error

    async def read(sizes: Mapping[str, int], take: Callable[[str, bytes], None]) -> None:
        ahead = in_order(sizes, get, in_flight=IN_FLIGHT, size_of=sizes.__getitem__, ahead_bytes=AHEAD_BYTES)
        async with aclosing(ahead) as objects:
            async for name, data in objects:
                await asyncio.to_thread(take, name, data)
                advance(1)

    def take_part(name: str, data: bytes) -> None:
        for frames in bases.decode_part(name, data, plan.base).chunks():
            table.apply(frames)

    revision = plan.after_revision
    by_name = {piece.header.name: piece for piece in plan.pieces}

    def take_segment(name: str, data: bytes) -> None:
        nonlocal revision
        revision = _take(table, opened_segment(by_name[name], data, links), by_name[name], revision, plan)

    if plan.base is not None:
        await read({part.name: part.size_bytes for part in plan.base.parts}, take_part)
    await read({name: sizes.get(name, 0) for name in by_name}, take_segment)
    table.revision = plan.revision


def opened_segment(piece: Piece, data: bytes, links: Mapping[str, str]) -> Opened:
    """Returns a segment of a line. Raises Damaged."""
    name = piece.header.name
    segment = segments.opened(name, data)
    if segment.header != piece.header:
        raise Damaged(name, 0, "its header is another one than before: it was replaced")
    if links.get(name, segment.sha256) != segment.sha256:
        raise Damaged(name, 0, "its SHA-256 is not the one that the next segment follows: it was replaced")
    return segment


def _take(table: KeyTable, segment: Opened, piece: Piece, revision: int, plan: Plan) -> int:
    """Applies a segment's rows after ``revision``, up to the plan's; returns the last revision that is applied."""
    until = min(piece.until_revision, plan.revision)
    for record, changes in segment.contents():
        if record.last_revision <= revision or record.after_revision >= until:
            continue
        if isinstance(changes, list):
            table.apply(frame for frame in changes if revision < frame[0] <= until)
        elif record.last_revision <= until:
            try:
                table.delete_range(changes)
            except Impossible as error:
                raise Damaged(segment.header.name, 0, str(error)) from error
        revision = max(revision, min(record.last_revision, until))
    return revision
