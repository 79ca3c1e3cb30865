"""Reads what a plan names, checks all of it, and makes the keys at the plan's revision of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import aclosing

from rstore_api import rows

from rstore_backup import bases, segments
from rstore_backup.errors import Damaged, ObjectMissing
from rstore_backup.line import Piece
from rstore_backup.objects import ObjectStore
from rstore_backup.restoring.catalogue import in_order
from rstore_backup.restoring.key_table import Impossible, KeyTable
from rstore_backup.restoring.plan import Plan
from rstore_backup.segments import Kind, Segment

IN_FLIGHT = 4
"""Objects that are read ahead: each is a few tens of MiB at most."""
Advance = Callable[[int], None]
"""Called with how many more objects are read."""


async def read_into(
    table: KeyTable, store: ObjectStore, plan: Plan, links: Mapping[str, str], *, advance: Advance
) -> None:
    """Fills an empty table with what there was at the plan's revision.

    ``links`` are the SHA-256 that segments must have, see Catalogue. Raises Damaged for the first object that is not
    what it should be, or is missing; TableUnusable; and what the object store raises.
    """

    async def get(name: str) -> tuple[str, bytes]:
        try:
            return name, await store.get(name)
        except ObjectMissing as error:
            raise Damaged(name, 0, "it is missing") from error

    if plan.base is not None:
        async with aclosing(in_order([part.name for part in plan.base.parts], get, in_flight=IN_FLIGHT)) as parts:
            async for name, data in parts:
                part = await asyncio.to_thread(bases.decode_part, name, data, plan.base)
                await asyncio.to_thread(table.apply, part.frames())
                advance(1)
    by_name = {piece.header.name: piece for piece in plan.pieces}
    revision = plan.after_revision
    async with aclosing(in_order(by_name, get, in_flight=IN_FLIGHT)) as pieces:
        async for name, data in pieces:
            segment = await asyncio.to_thread(read_segment, by_name[name], data, links)
            revision = await asyncio.to_thread(_take, table, segment, by_name[name], revision, plan)
            advance(1)
    table.revision = plan.revision


def read_segment(piece: Piece, data: bytes, links: Mapping[str, str]) -> Segment:
    """Returns a segment of a line, all of it checked. Raises Damaged."""
    name = piece.header.name
    segment = segments.decode(name, data)
    if segment.header != piece.header:
        raise Damaged(name, 0, "its header is another one than before: it was replaced")
    if links.get(name, segment.sha256) != segment.sha256:
        raise Damaged(name, 0, "its SHA-256 is not the one that the next segment follows: it was replaced")
    return segment


def _take(table: KeyTable, segment: Segment, piece: Piece, revision: int, plan: Plan) -> int:
    """Applies a segment's rows after ``revision``, up to the plan's; returns the last revision that is applied."""
    until = min(piece.until_revision, plan.revision)
    for record in segment.records:
        if record.last_revision <= revision or record.after_revision >= until:
            continue
        try:
            if record.kind is Kind.DELETED_RANGE:
                if record.last_revision <= until:
                    table.delete_range(record.deleted())
            else:
                frames = record.frames(segment.header.history)
                table.apply(frame for frame in frames if revision < frame[0] <= until)
        except (Impossible, rows.DamagedRows) as error:
            raise Damaged(segment.header.name, 0, str(error)) from error
        revision = max(revision, min(record.last_revision, until))
    return revision
