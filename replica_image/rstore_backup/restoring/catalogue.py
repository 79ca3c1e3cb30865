"""What is in a store's archive: its bases, and the headers of its segments."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TypeVar

import msgspec
from rstore_api.domain.epochs import History

from rstore_backup import bases, card, names, sealed, segments
from rstore_backup.bases import Manifest
from rstore_backup.card import Card
from rstore_backup.errors import Damaged, ObjectMissing, WrongStore
from rstore_backup.line import Line, Listed, line
from rstore_backup.objects import ObjectStore
from rstore_backup.restoring.plan import Recoverable

IN_FLIGHT = 64
"""Requests of the object store at a time."""
HEAD_BYTES = 4 << 10
"""Of a segment, read for its header; more where that is longer."""

T = TypeVar("T")
ResultT = TypeVar("ResultT")
DocumentT = TypeVar("DocumentT", Manifest, segments.SegmentHeader)


@dataclass(frozen=True)
class Catalogue:
    """An archive's contents. ``damaged`` objects are not among the others."""

    card: Card
    segments: tuple[Listed, ...]
    bases: tuple[Manifest, ...]
    damaged: tuple[Damaged, ...] = ()
    segment_sizes: dict[str, int] = field(default_factory=dict)
    """Bytes of each segment, by name; also of those of which the header was not read."""

    def line(self, epoch: int | None = None) -> Line | None:
        """Returns the history that ends with the newest segment of an epoch, by default of the newest epoch."""
        return line(self.segments, epoch)

    def recoverable(self, epoch: int | None = None) -> Recoverable:
        """Returns what can be restored of that history."""
        return Recoverable.of(self.line(epoch), self.bases, epoch)

    @property
    def newest_revisions(self) -> tuple[int, ...]:
        """The last revision of each segment and base, of whatever branch."""
        return (
            *(listed.header.last_revision for listed in self.segments),
            *(base.revision for base in self.bases),
        )

    @property
    def links(self) -> dict[str, str]:
        """The SHA-256 of segments, by name, as those that follow them say."""
        previous = (listed.header.previous for listed in self.segments)
        return {link.name: link.sha256 for link in previous if link is not None}

    def without(self, damage: Damaged) -> Catalogue:
        """Returns the catalogue without a segment, or without the base of a part, that turned out to be damaged."""
        return replace(
            self,
            segments=tuple(listed for listed in self.segments if listed.header.name != damage.name),
            bases=tuple(base for base in self.bases if damage.name not in {part.name for part in base.parts}),
            damaged=(*self.damaged, damage),
        )


async def read_card(store: ObjectStore, store_id: str) -> Card:
    """Returns which store an archive is of. Raises WrongStore where there is no archive, Damaged, and what the object
    store raises.
    """
    try:
        return card.decode(await store.get(names.STORE), store_id)
    except ObjectMissing as error:
        raise WrongStore(f"there is no archive of store {store_id} ({names.STORE} is missing)") from error


async def read_catalogue(
    store: ObjectStore,
    store_id: str,
    *,
    needed: Callable[[Sequence[Manifest], Sequence[str]], Iterable[str]] = lambda _bases, every: every,
) -> Catalogue:
    """Returns what is in the archive of a store.

    ``needed`` chooses, knowing the bases, among the names of all segments those whose headers are read. Raises
    WrongStore, Damaged for an archive whose card is damaged, and what the object store raises.
    """
    own = await read_card(store, store_id)
    manifests: list[Manifest] = []
    damaged: list[Damaged] = []
    for entry in await store.list_after(names.BASES):
        if names.parse_manifest(entry.name) is not None:
            try:
                manifest = bases.decode_manifest(entry.name, await store.get(entry.name))
                manifests.append(_of_store(manifest, store_id, entry.name))
            except Damaged as error:
                damaged.append(error)
    objects = [entry for entry in await store.list_after(names.SEGMENTS) if names.parse_segment(entry.name)]
    chosen = sorted(set(needed(manifests, [entry.name for entry in objects])))
    listed: list[Listed] = []
    histories: dict[History, History] = {}

    async def read(name: str) -> Listed | Damaged | None:
        try:
            header = _of_store(await read_header(store, name), store_id, name)
            history = histories.setdefault(header.history, header.history)  # one for all: it has each epoch there was
            return Listed(msgspec.structs.replace(header, history=history))
        except ObjectMissing:
            return None  # retention has removed it since
        except Damaged as error:
            return error

    async with aclosing(in_order(chosen, read, in_flight=IN_FLIGHT)) as results:
        async for result in results:
            if isinstance(result, Damaged):
                damaged.append(result)
            elif result is not None:
                listed.append(result)
    sizes = {entry.name: entry.size_bytes for entry in objects}
    return Catalogue(own, tuple(listed), tuple(manifests), tuple(damaged), sizes)


async def read_header(store: ObjectStore, name: str) -> segments.SegmentHeader:
    """Returns a segment's header. Raises Damaged, ObjectMissing, and what the object store raises."""
    size = HEAD_BYTES
    while True:
        head = await store.get_range(name, 0, size)
        try:
            return segments.decode_header(name, head)
        except sealed.NeedsMore as error:
            if len(head) < size:
                raise Damaged(name, len(head), f"it was cut off: {error}, there are {len(head)}") from error
            size = error.size_bytes


async def links_to(store: ObjectStore, catalogue: Catalogue, header: segments.SegmentHeader) -> dict[str, str]:
    """Returns what :attr:`Catalogue.links` has, and what those segments say that may follow one directly, of which the
    headers were not read: nothing else tells that it was replaced. Raises what the object store raises.
    """
    places = sorted(place for name in catalogue.segment_sizes if (place := names.parse_segment(name)) is not None)
    following = [(header.epoch, header.last_revision + 1)]
    following += [next(of_epoch) for epoch, of_epoch in groupby(places, lambda place: place[0]) if epoch > header.epoch]
    read = {listed.header.name for listed in catalogue.segments} | {damage.name for damage in catalogue.damaged}
    links = catalogue.links
    for name in (names.segment(*place) for place in following if place in places):
        if name not in read:
            with suppress(Damaged, ObjectMissing):
                previous = (await read_header(store, name)).previous
                links |= {previous.name: previous.sha256} if previous is not None else {}
    return links


def _of_store(document: DocumentT, store_id: str, name: str) -> DocumentT:
    """Returns a header or manifest of this store. Raises Damaged when it is another's."""
    if document.store_id != store_id:
        raise Damaged(name, 0, f"it is of store {document.store_id}")
    return document


def headers_for(every: Sequence[str], *, from_revision: int, until_revision: int | None) -> list[str]:
    """Returns the names of the segments that may have rows after ``from_revision`` up to ``until_revision`` (None: to
    the last one), and of the newest of each epoch, which say what the history is.
    """
    by_epoch: dict[int, list[tuple[int, str]]] = {}
    for name in every:
        place = names.parse_segment(name)
        if place is not None:
            by_epoch.setdefault(place[0], []).append((place[1], name))
    chosen: list[str] = []
    for of_epoch in by_epoch.values():
        of_epoch.sort()
        for number, (first, name) in enumerate(of_epoch):
            is_newest = number + 1 == len(of_epoch)
            ends_before = not is_newest and of_epoch[number + 1][0] <= from_revision + 1
            begins_after = until_revision is not None and first > until_revision
            if is_newest or not (ends_before or begins_after):
                chosen.append(name)
    return chosen


async def in_order(
    items: Iterable[T],
    read: Callable[[T], Awaitable[ResultT]],
    *,
    in_flight: int,
    size_of: Callable[[T], int] = lambda _item: 0,
    ahead_bytes: int = 0,
) -> AsyncGenerator[ResultT, None]:
    """Yields what ``read`` returns for each item, in order, with up to ``in_flight`` of them under way or waiting,
    which have ``ahead_bytes`` together at most, unless a single one is larger.
    """
    waiting: deque[tuple[asyncio.Future[ResultT], int]] = deque()
    ahead = 0
    try:
        for item in items:
            size = size_of(item)
            while waiting and (len(waiting) == in_flight or ahead + size > ahead_bytes):
                ahead -= waiting[0][1]
                yield await waiting.popleft()[0]
            waiting.append((asyncio.ensure_future(read(item)), size))
            ahead += size
        while waiting:
            yield await waiting.popleft()[0]
    finally:
        for task, _ in waiting:
            task.cancel()
        await asyncio.gather(*(task for task, _ in waiting), return_exceptions=True)
