"""Reads what an archive ends with: all that a writer needs to go on with it."""

from __future__ import annotations

import asyncio

from rstore_api.domain.epochs import History, epoch_at

from rstore_backup import bases, card, names, sealed, segments
from rstore_backup.archiver.builder import Tip
from rstore_backup.bases import Manifest
from rstore_backup.card import Card
from rstore_backup.errors import Damaged, DestinationInvalid, ObjectExists, ObjectMissing, WrongStore
from rstore_backup.objects import ObjectInfo, ObjectStore
from rstore_backup.segments import Link, SegmentHeader

MAX_REQUESTS = 16
"""Manifests that are read at a time."""


async def claim(store: ObjectStore, wanted: Card) -> None:
    """Begins the archive, or makes sure that it is that store's. Raises WrongStore; DestinationInvalid where objects
    can be replaced.
    """
    try:
        for _ in range(2):
            await store.create(names.STORE, card.encode(wanted))
        raise DestinationInvalid(
            "this object store replaces what is to be created only (it ignores If-None-Match): it cannot be used"
        )
    except ObjectExists:
        try:
            card.decode(await store.get(names.STORE), wanted.store_id)
        except Damaged as error:
            raise WrongStore(str(error)) from error


async def read_tip(store: ObjectStore) -> Tip:
    """Returns what the line of the newest epoch ends with."""
    folders = await store.folders(names.SEGMENTS)
    if not folders:
        return Tip()
    newest = await _newest_of(store, folders[-1])
    if newest is None:
        return Tip()
    try:
        segment = segments.decode(newest.name, await store.get(newest.name))
    except (Damaged, ObjectMissing) as error:
        return Tip(damage=f"the newest segment cannot be read: {error}")
    header = segment.header
    because = await _line_because(store, header)
    return Tip(
        header.history, header.last_revision, header.last_time_ms, header.line_from_revision, segment.link, because
    )


async def _line_because(store: ObjectStore, header: SegmentHeader) -> str:
    """Returns what the segment says with which the line begins; "" where it is not there any more."""
    if header.begins_because:
        return header.begins_because
    begins = header.line_from_revision
    name = names.segment(epoch_at(header.history, begins), begins)
    try:
        return segments.decode(name, await store.get(name)).header.begins_because
    except (Damaged, ObjectMissing):
        return ""


async def link_at(store: ObjectStore, history: History, revision: int) -> Link | None:
    """Returns the segment that has a revision of a history, None when there is none."""
    folder = f"{names.SEGMENTS}/{epoch_at(history, revision):016x}"
    before: ObjectInfo | None = None
    for info in await store.list_after(folder):
        place = names.parse_segment(info.name)
        if place is not None and place[1] <= revision:
            before = info
    if before is None:
        return None
    digest = await store.get_range(before.name, before.size_bytes - sealed.DIGEST_BYTES, sealed.DIGEST_BYTES)
    return Link(before.name, digest.hex())


async def read_manifests(store: ObjectStore) -> tuple[Manifest, ...]:
    """Returns the bases that there are, in order of their revisions; one that is damaged is none."""
    places = asyncio.Semaphore(MAX_REQUESTS)

    async def read(folder: str) -> Manifest | None:
        name = f"{folder}/{names.MANIFEST}"
        async with places:
            try:
                return bases.decode_manifest(name, await store.get(name))
            except (ObjectMissing, Damaged):
                return None

    manifests = await asyncio.gather(*(read(folder) for folder in await store.folders(names.BASES)))
    return tuple(sorted(filter(None, manifests), key=lambda manifest: manifest.revision))


async def _newest_of(store: ObjectStore, folder: str) -> ObjectInfo | None:
    """Returns the newest segment in an epoch's folder. Behind the newest base there are few, so looks there first."""
    for base in reversed(await store.folders(names.BASES)):
        listed = await store.list_after(folder, f"{folder}/{base.rpartition('/')[2]}")
        segments_of = [info for info in listed if names.parse_segment(info.name)]
        if segments_of:
            return segments_of[-1]
        break
    listed = [info for info in await store.list_after(folder) if names.parse_segment(info.name)]
    return listed[-1] if listed else None
