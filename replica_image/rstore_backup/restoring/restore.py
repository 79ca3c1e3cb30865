"""From an archive and a target to the keys: plans, reads, and plans anew without a base that is damaged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rstore_api.domain.epochs import epoch_of

from rstore_backup import names
from rstore_backup.bases import Manifest
from rstore_backup.errors import Damaged, ObjectMissing
from rstore_backup.line import Piece
from rstore_backup.objects import ObjectStore
from rstore_backup.restoring.catalogue import Catalogue, headers_for, links_to, read_catalogue
from rstore_backup.restoring.key_table import KeyTable
from rstore_backup.restoring.plan import (
    AtRevision,
    AtTime,
    Latest,
    NotRestorable,
    Plan,
    Recoverable,
    Target,
    described,
    jump_above,
    revision_at,
)
from rstore_backup.restoring.reading import opened_segment, read_into


@dataclass(frozen=True)
class Restorable:
    """The keys of a past state. ``table`` is to be closed."""

    table: KeyTable
    plan: Plan
    revision_jump: int
    """So far above its revision a new store goes on."""
    unusable: tuple[Damaged, ...]
    """What was found to be damaged and was not needed."""


async def restorable(
    store: ObjectStore,
    store_id: str,
    target: Target,
    *,
    epoch: int | None = None,
    directory: Path | None = None,
    max_bytes: int | None = None,
    begin: Callable[[int], None],
    advance: Callable[[int], None],
) -> Restorable:
    """Returns the state that an archive has at a target, on the line of ``epoch`` (default: of the newest one).

    A base that is damaged is passed over where one before it will do. ``begin`` is called with how many objects are to
    be read, ``advance`` with how many more have been. ``directory`` is where the temporary file is, which takes at
    most ``max_bytes``.

    Raises NotRestorable, which says what can be restored instead; WrongStore, TableUnusable; and what the object store
    raises.
    """
    catalogue = await read_catalogue(store, store_id, needed=partial(_headers_needed, target))
    try:
        plan = await _plan(store, catalogue, target, epoch)
    except NotRestorable:  # more than the headers of what is needed has to be known
        catalogue = await read_catalogue(store, store_id)
        plan = await _plan(store, catalogue, target, epoch)
    damaged: list[Damaged] = []
    while True:
        begin((len(plan.base.parts) if plan.base is not None else 0) + len(plan.pieces))
        table = KeyTable(directory, max_bytes=max_bytes)  # in no thread, so that it is not lost when this is cancelled
        try:
            links = await links_to(store, catalogue, plan.pieces[-1].header) if plan.pieces else {}
            await read_into(table, store, plan, links, catalogue.segment_sizes, advance=advance)
            return Restorable(table, plan, jump_above(plan, catalogue.newest_revisions), catalogue.damaged)
        except Damaged as error:
            table.close()
            damaged.append(error)
            catalogue = await read_catalogue(store, store_id)
            for damage in damaged:
                catalogue = catalogue.without(damage)
            try:
                plan = catalogue.recoverable(epoch).plan(plan.revision)
            except NotRestorable:
                raise _not_restorable(catalogue, error, epoch) from error
        except BaseException:
            table.close()
            raise


def _headers_needed(target: Target, bases: Sequence[Manifest], every: Sequence[str]) -> Sequence[str]:
    """Returns the segments from the newest base on that is not after the target."""
    match target:
        case AtRevision(revision):
            before, until = [base.revision for base in bases if base.revision <= revision], revision
            return headers_for(every, from_revision=max(before, default=0), until_revision=until)
        case AtTime(time_ms):
            before = [base.revision for base in bases if base.time_ms <= time_ms]
        case Latest():
            before = [base.revision for base in bases]
    return headers_for(every, from_revision=max(before, default=0), until_revision=None)


async def _plan(store: ObjectStore, catalogue: Catalogue, target: Target, epoch: int | None) -> Plan:
    recoverable = catalogue.recoverable(epoch)
    match target:
        case AtRevision(revision):
            pass
        case AtTime(time_ms):
            place = recoverable.at_time(time_ms)
            revision = place if isinstance(place, int) else await _revision_in(store, catalogue, place, time_ms, epoch)
        case Latest():
            revision = recoverable.last_revision
    _check_line(catalogue, recoverable, target, epoch)
    return recoverable.plan(revision)


async def _revision_in(store: ObjectStore, catalogue: Catalogue, piece: Piece, time_ms: int, epoch: int | None) -> int:
    try:
        segment = opened_segment(piece, await store.get(piece.header.name), catalogue.links)
        return revision_at((record for record, _ in segment.contents()), piece, time_ms)
    except ObjectMissing:
        raise NotRestorable(f"{piece.header.name} was removed at this moment; try again") from None
    except Damaged as error:
        raise _not_restorable(catalogue.without(error), error, epoch) from error


def _check_line(catalogue: Catalogue, recoverable: Recoverable, target: Target, epoch: int | None) -> None:
    """Raises NotRestorable when a damaged segment may be a part of the history that is asked for and nobody could see
    that in what would be restored: it is of a later epoch, or, where the latest state is wanted, comes last.
    """
    newest = epoch_of(recoverable.history)
    for base in catalogue.bases if epoch is None else ():
        if base.epoch > newest:
            raise NotRestorable(
                f"there is a base of epoch {base.epoch}, and no segment of that epoch that can be read; --epoch "
                f"{base.epoch} restores bases of it, --epoch {newest} what there was before it"
            )
    for damage in catalogue.damaged:
        place = names.parse_segment(damage.name)
        base_revision = names.parse_manifest(damage.name) or 0
        if isinstance(target, Latest) and epoch is None and base_revision > recoverable.last_revision:
            raise _not_restorable(catalogue, damage, epoch)
        if place is None or (epoch is not None and place[0] > epoch):
            continue
        if place[0] > newest > 0:
            raise NotRestorable(
                f"{damage}; so it is not known where epoch {place[0]} begins. --epoch {newest} restores what there was "
                f"before it, with what a failover may have lost"
            )
        if place[0] == newest and isinstance(target, Latest) and place[1] > recoverable.last_revision:
            raise _not_restorable(catalogue, damage, epoch)


def _not_restorable(catalogue: Catalogue, damage: Damaged, epoch: int | None) -> NotRestorable:
    spans = catalogue.recoverable(epoch).spans()
    can = ", and ".join(described(span) for span in spans) or "nothing"
    return NotRestorable(f"{damage}; the archive can restore {can}")
