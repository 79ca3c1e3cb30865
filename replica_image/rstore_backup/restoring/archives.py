"""Which archives are in a destination, and which of them is meant."""

from __future__ import annotations

from dataclasses import dataclass

from rstore_backup.card import Card
from rstore_backup.errors import ArchiveError, WrongStore
from rstore_backup.objects import ObjectStore
from rstore_backup.restoring.catalogue import read_card
from rstore_backup.stores import Below


class NoArchive(ArchiveError):  # noqa: N818
    """The archive that is meant is not there, or there are several of which it could be."""


@dataclass(frozen=True)
class Archive:
    """The archive of one store."""

    objects: ObjectStore
    card: Card

    @property
    def described(self) -> str:
        """The store, for a person."""
        return f"{self.card.namespace}/{self.card.name} ({self.card.store_id})"


async def archives_in(root: ObjectStore, store_id: str | None = None) -> list[Archive]:
    """Returns the archives in a destination, in the order of their stores' ids; of ``store_id`` alone, if given.

    Raises WrongStore where there is none of that id, and what the object store raises.
    """
    if store_id is not None:
        objects = Below(root, store_id)
        return [Archive(objects, await read_card(objects, store_id))]
    found: list[Archive] = []
    for folder in await root.folders(""):
        objects = Below(root, folder)
        try:
            found.append(Archive(objects, await read_card(objects, folder)))
        except WrongStore:
            continue  # a folder of something else
    return found


def the_archive(found: list[Archive], *, source_name: str, without: str) -> Archive:
    """Returns the only archive of a store of that name, or namespace/name; "": of any. That of the store ``without`` is
    not meant. Raises NoArchive."""
    meant = [
        archive
        for archive in found
        if archive.card.store_id != without
        and source_name in ("", archive.card.name, f"{archive.card.namespace}/{archive.card.name}")
    ]
    of_name = f" of a store {source_name}" if source_name else ""
    if not meant:
        there = ", ".join(archive.described for archive in found if archive.card.store_id != without)
        raise NoArchive(f"there is no archive{of_name} in the destination; it has {there or 'none'}")
    if len(meant) > 1:
        there = ", ".join(archive.described for archive in meant)
        raise NoArchive(f"there are several archives{of_name} in the destination, name one by its id: {there}")
    return meant[0]
