"""Reads a whole archive: whether every object is what was written, and the rows lead from one base to the next."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from rstore_backup import bases, segments
from rstore_backup.bases import Manifest
from rstore_backup.errors import Damaged, ObjectMissing
from rstore_backup.line import Hole
from rstore_backup.objects import ObjectStore
from rstore_backup.restoring.catalogue import Catalogue, in_order, read_catalogue
from rstore_backup.restoring.key_table import KeyTable
from rstore_backup.restoring.plan import NotRestorable, Plan, Recoverable
from rstore_backup.restoring.reading import AHEAD_BYTES, IN_FLIGHT, read_into


@dataclass(frozen=True)
class Checked:
    """What was read, and what is wrong with it."""

    catalogue: Catalogue
    """Without what is damaged."""
    objects: int
    size_bytes: int
    compared_bases: tuple[int, ...]
    """Revisions of the bases that equal what the rows before them lead to."""
    different_bases: tuple[int, ...]

    @property
    def new_beginnings(self) -> tuple[Hole, ...]:
        """Where rows are missing that the archiver could not get any more; no damage."""
        line = self.catalogue.line()
        reasons = {listed.header.begins_because for listed in self.catalogue.segments}
        return tuple(hole for hole in (line.holes if line is not None else ()) if hole.reason in reasons)


async def verify(
    store: ObjectStore,
    store_id: str,
    *,
    directory: Path | None,
    begin: Callable[[int], None],
    advance: Callable[[int], None],
) -> Checked:
    """Reads every segment and every base of an archive, of all branches, and compares the newest base of the history
    with what the rows before it lead to.

    ``begin`` and ``advance`` get numbers of objects. Raises what the object store raises, WrongStore, TableUnusable.
    """
    catalogue = await read_catalogue(store, store_id)
    parts = {part.name: manifest for manifest in catalogue.bases for part in manifest.parts}
    begin(len(catalogue.segments) + len(parts))
    links, size, count = catalogue.links, 0, 0

    async def check(name: str) -> int | Damaged:
        try:
            data = await store.get(name)
            await asyncio.to_thread(_check, name, data, parts.get(name), links)
            return len(data)
        except ObjectMissing:
            return Damaged(name, 0, "it is missing")
        except Damaged as error:
            return error

    sizes = {part.name: part.size_bytes for manifest in catalogue.bases for part in manifest.parts}
    sizes |= {listed.header.name: catalogue.segment_sizes[listed.header.name] for listed in catalogue.segments}
    ahead = in_order(sizes, check, in_flight=IN_FLIGHT, size_of=sizes.__getitem__, ahead_bytes=AHEAD_BYTES)
    damaged: list[Damaged] = []
    async with aclosing(ahead) as results:
        async for result in results:
            advance(1)
            if isinstance(result, Damaged):
                damaged.append(result)
            else:
                count, size = count + 1, size + result
    for damage in damaged:
        catalogue = catalogue.without(damage)
    compared: list[int] = []
    different: list[int] = []
    for base in catalogue.recoverable().bases[-1:]:
        equal = await _equals_the_rows(store, catalogue, base, directory)
        if equal is not None:
            (compared if equal else different).append(base.revision)
    return Checked(catalogue, count, size, tuple(compared), tuple(different))


def _check(name: str, data: bytes, manifest: Manifest | None, links: dict[str, str]) -> None:
    if manifest is not None:
        deque(bases.decode_part(name, data, manifest).chunks(), maxlen=0)
        return
    segment = segments.opened(name, data)
    deque(segment.contents(), maxlen=0)
    if links.get(name, segment.sha256) != segment.sha256:
        raise Damaged(name, 0, "its SHA-256 is not the one that the next segment follows: it was replaced")


async def _equals_the_rows(
    store: ObjectStore, catalogue: Catalogue, base: Manifest, directory: Path | None
) -> bool | None:
    """Returns whether a base is what the rows from an earlier beginning lead to; None where there is none."""
    own = catalogue.recoverable()
    earlier = Recoverable(own.history, own.line, tuple(each for each in own.bases if each.revision < base.revision))
    try:
        by_rows = earlier.plan(base.revision)
    except NotRestorable:
        return None
    by_base = Plan(base, (), base.revision, base.revision, own.history)
    return await _hash_of(store, catalogue, by_rows, directory) == await _hash_of(store, catalogue, by_base, directory)


async def _hash_of(store: ObjectStore, catalogue: Catalogue, plan: Plan, directory: Path | None) -> int:
    with KeyTable(directory) as table:
        await read_into(table, store, plan, catalogue.links, catalogue.segment_sizes, advance=lambda _objects: None)
        return await asyncio.to_thread(table.hash)
