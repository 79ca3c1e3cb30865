"""Removes what is not kept any longer."""

from __future__ import annotations

from rstore_api.logs import get_logger

from rstore_backup import names
from rstore_backup.archiver.rules import Pruning, not_needed
from rstore_backup.objects import ObjectStore

_log = get_logger(__name__)


async def prune(store: ObjectStore, decided: Pruning) -> None:
    """Removes bases, and then what only they needed. What dies in between leaves an archive that is whole: a base goes
    with its manifest, and the segments behind it, oldest first, are of no use to any other.
    """
    for manifest in decided.bases:
        await store.delete(names.manifest(manifest.revision))
    oldest = names.base(decided.revision)
    for info in await store.list_after(names.BASES):
        # Parts without a manifest, too: of bases that were removed, or never finished.
        if info.name.rpartition("/")[0] < oldest:
            await store.delete(info.name)
    listed = [info.name for info in await store.list_after(names.SEGMENTS)]
    removed = not_needed(listed, decided.epoch, decided.revision)
    for name in removed:
        await store.delete(name)
    _log.info("pruned", bases=len(decided.bases), segments=len(removed), before_revision=decided.revision)
