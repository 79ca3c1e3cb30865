"""``rstore migrate``: copies a running etcd into a new store, and follows it until the clients move."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress, TaskID
from rstore_api.client import Client, TlsFiles
from rstore_api.client.migrating import Migration, MigrationError
from rstore_api.dialling.stream import LinkBrokenError
from rstore_api.domain.epochs import REVISION_JUMP
from rstore_api.errors import Compacted
from rstore_api.etcd_files.bolt_reader import DamagedDatabase
from rstore_api.etcd_files.latest import EtcdSnapshot

from rstore_cli.errors import CliError, UsageError
from rstore_cli.options import Output, OutputOption
from rstore_cli.output import bars, emit, stderr
from rstore_cli.store_access import StoreAccess, on_store


@on_store(timeout_seconds=None, has_region=False)
async def migrate(
    store: StoreAccess,
    source: Annotated[
        list[str], typer.Option("--from", metavar="HOST:PORT", help="An endpoint of the etcd; may be repeated.")
    ],
    from_cacert: Annotated[Path | None, typer.Option("--from-cacert", help="The CA of the etcd's certificate.")] = None,
    from_cert: Annotated[Path | None, typer.Option("--from-cert", help="A client certificate for the etcd.")] = None,
    from_key: Annotated[Path | None, typer.Option("--from-key", help="The key of --from-cert.")] = None,
    switch: Annotated[
        bool,
        typer.Option(
            "--switch",
            help="Once the store has everything: have the etcd refuse puts (by its alarm NOSPACE), take what came "
            "last, compare all keys, and end. Without it the store follows the etcd until Ctrl-C.",
        ),
    ] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Copy a running etcd into a store in which nothing was written: a snapshot first, then each change as it comes,
    with values, versions, leases and their order. Nothing else may write to the store meanwhile.

    May be stopped at any time, and goes on from there when it is started again.
    """
    given = [from_cacert, from_cert, from_key]
    if any(given) and not all(given):
        raise UsageError("--from-cacert, --from-cert and --from-key belong together")
    tls = TlsFiles(from_cacert, from_cert, from_key) if from_cacert and from_cert and from_key else None
    try:
        etcd = Client([one.removeprefix("https://").removeprefix("http://") for one in source], tls=tls)
    except ValueError as error:
        raise UsageError(str(error), hint="--from is host:port, for example 10.0.0.7:2379") from error
    async with etcd, store.open() as target:
        migration = Migration(etcd, target)
        try:
            if not await migration.find():
                await _begin(migration)
            revision = await _follow(migration, switch=switch)
        except (MigrationError, LinkBrokenError, DamagedDatabase) as error:
            raise CliError(str(error)) from error
        except Compacted as error:
            hint = "begin again with an empty store"
            raise CliError(f"the etcd has compacted what the store lacks: {error}", hint=hint) from error
        except asyncio.CancelledError:
            stderr().print(
                f"stopped at revision {migration.revision} of the etcd; start it again with the same options to go on"
            )
            raise
    emit(
        {"etcdRevision": revision, "switched": True},
        output,
        lambda console: console.print(
            f"{store.name} has everything up to revision {revision} of the etcd, compared key by key. "
            f"The etcd refuses puts: move its clients to {store.name}"
        ),
    )


async def _begin(migration: Migration) -> None:
    with tempfile.TemporaryDirectory(prefix="rstore-migrate-") as directory, bars() as progress:
        path = Path(directory) / "snapshot.db"
        saving = progress.add_task("snapshot of the etcd, bytes", total=None)
        await migration.save_snapshot(path, lambda count: progress.advance(saving, count))
        with await asyncio.to_thread(EtcdSnapshot, path) as snapshot:
            filling = progress.add_task("keys", total=len(snapshot))
            await migration.begin(
                snapshot, revision_jump=REVISION_JUMP, advance=lambda count: progress.advance(filling, count)
            )


async def _follow(migration: Migration, *, switch: bool) -> int:
    """Follows the etcd; with ``switch`` until the store has everything of a frozen one. Returns its revision then."""
    with bars() as progress:
        task = progress.add_task("following, revision", total=await migration.newest())
        if switch:
            comparing = progress.add_task("comparing", total=None)
            return await migration.switch(
                lambda reached: _show(progress, task, migration, reached),
                lambda count: progress.advance(comparing, count),
            )
        async for reached in migration.follow():
            _show(progress, task, migration, reached)
        raise MigrationError("the etcd sends no more changes")


def _show(progress: Progress, task: TaskID, migration: Migration, reached: int) -> None:
    progress.update(task, completed=reached, total=max(migration.source_revision, reached))
