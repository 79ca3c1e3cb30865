"""``rstore restore --from-archive``: fills a new store with what a store was at a revision or a time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.progress import Progress
from rstore_backup.restoring.archives import Archive
from rstore_backup.restoring.plan import Target
from rstore_backup.restoring.restore import Restorable, restorable

from rstore_cli.output import bars, emit, stderr
from rstore_cli.restore.filling import fill_and_compare
from rstore_cli.restore.into import Into


@dataclass(frozen=True)
class Past:
    """Which state of the past."""

    archive: Archive
    target: Target
    epoch: int | None
    folder: Path | None


@asynccontextmanager
async def read_past(past: Past, progress: Progress) -> AsyncIterator[Restorable]:
    """Yields the state that an archive has, with a bar while it is read. Raises ArchiveError."""
    reading = progress.add_task("reading", total=None)
    restored = await restorable(
        past.archive.objects,
        past.archive.card.store_id,
        past.target,
        epoch=past.epoch,
        directory=past.folder,
        begin=lambda objects: progress.reset(reading, total=objects),
        advance=lambda objects: progress.advance(reading, objects),
    )
    with restored.table:
        for damage in restored.unusable:
            stderr().print(f"warning: {damage} (not needed)", style="yellow")
        yield restored


async def restore_from_archive(into: Into, past: Past, *, revision_jump: int | None) -> None:
    """Fills the store, and prints what was done. Raises ArchiveError, CliError, StoreError."""
    with bars() as progress:
        async with read_past(past, progress) as restored, into.store.open() as client:
            table, card = restored.table, past.archive.card
            filled = await fill_and_compare(
                client,
                table,
                past.archive.described,
                revision_jump=restored.revision_jump if revision_jump is None else revision_jump,
                timeout_seconds=into.store.timeout_seconds,
                progress=progress,
            )
            keys, leases, records = len(table), len(table.leases), len(table.auth)
    how = "compared key by key" if filled.compared else "not compared, since etcd's auth is on there now"
    done = {
        "storeId": card.store_id,
        "archivedRevision": restored.plan.revision,
        "keys": keys,
        "leases": leases,
        "usersAndRoles": records,
        "compared": filled.compared,
        "revision": filled.revision,
    }
    emit(
        done,
        into.output,
        lambda console: console.print(
            f"{keys} keys and {leases} leases of {past.archive.described} at revision {restored.plan.revision} are in "
            f"{into.store.name}, {how}; it goes on from revision {filled.revision}"
        ),
    )
