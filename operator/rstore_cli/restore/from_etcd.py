"""``rstore restore --from-etcd``: fills a new store with the data of an etcd, from a snapshot of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from rstore_api.etcd_files.bolt_reader import DamagedDatabase
from rstore_api.etcd_files.latest import EtcdSnapshot

from rstore_cli.errors import CliError
from rstore_cli.output import bars, emit
from rstore_cli.restore.filling import fill_and_compare
from rstore_cli.restore.into import Into


async def restore_from_etcd(into: Into, path: Path, *, check_hash: bool, revision_jump: int) -> None:
    """Fills the store with the snapshot in a file, and prints what was done. Raises CliError, StoreError."""
    try:
        snapshot = await asyncio.to_thread(EtcdSnapshot, path, check_hash=check_hash)
    except (DamagedDatabase, OSError) as error:
        hint = "a copy of a data file, which has no hash, is taken with --skip-hash-check"
        raise CliError(f"{path} cannot be restored: {error}", hint=hint if check_hash else "") from error
    with snapshot, bars() as progress:
        async with into.store.open() as client:
            try:
                filled = await fill_and_compare(
                    client,
                    snapshot,
                    str(path),
                    revision_jump=revision_jump,
                    timeout_seconds=into.store.timeout_seconds,
                    progress=progress,
                )
            except DamagedDatabase as error:
                raise CliError(f"{path} is damaged: {error}", hint="nothing was restored") from error
    done = {
        "keys": len(snapshot),
        "leases": len(snapshot.leases),
        "etcdRevision": snapshot.revision,
        "revision": filled.revision,
    }
    emit(
        done,
        into.output,
        lambda console: console.print(
            f"{len(snapshot)} keys and {len(snapshot.leases)} leases of revision {snapshot.revision} are in "
            f"{into.store.name}, compared key by key; it goes on from revision {filled.revision}"
        ),
    )
