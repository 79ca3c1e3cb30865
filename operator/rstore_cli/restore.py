"""``rstore restore``: fills a new store with the data of an etcd, from a snapshot of it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rstore_api.client.importing import Difference, compare, fill
from rstore_api.domain.epochs import REVISION_JUMP
from rstore_api.etcd_files.bolt_reader import DamagedDatabase
from rstore_api.etcd_files.latest import EtcdSnapshot

from rstore_cli.cluster import Cluster
from rstore_cli.commands import on_cluster
from rstore_cli.connect import open_store
from rstore_cli.errors import CliError
from rstore_cli.options import (
    ClientOption,
    EndpointOption,
    Output,
    OutputOption,
    StoreName,
    TimeoutOption,
)
from rstore_cli.output import bars, emit, printable


@on_cluster
async def restore(
    cluster: Cluster,
    name: StoreName,
    from_etcd: Annotated[
        Path,
        typer.Option("--from-etcd", help="A file that `etcdctl snapshot save` wrote.", exists=True, dir_okay=False),
    ],
    bump_revision: Annotated[
        int,
        typer.Option(
            "--bump-revision",
            min=0,
            max=1 << 40,
            help="How far above the snapshot's revision the store goes on, so that no client takes a revision for one "
            "that the etcd had after the snapshot.",
        ),
    ] = REVISION_JUMP,
    skip_hash_check: Annotated[
        bool, typer.Option("--skip-hash-check", help="FILE is a copy of an etcd's data file, which has no hash.")
    ] = False,
    endpoint: EndpointOption = None,
    as_client: ClientOption = "",
    timeout: TimeoutOption = 30.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Fill a store in which nothing was written with a snapshot of an etcd: keys with their versions and revisions, and
    leases, which begin anew. Everything is compared afterwards.

    Clients see nothing of it before all is there. A write meanwhile makes it fail.
    """
    try:
        snapshot = await asyncio.to_thread(EtcdSnapshot, from_etcd, check_hash=not skip_hash_check)
    except (DamagedDatabase, OSError) as error:
        hint = "a copy of a data file, which has no hash, is taken with --skip-hash-check"
        raise CliError(f"{from_etcd} cannot be restored: {error}", hint="" if skip_hash_check else hint) from error
    with snapshot, bars() as progress:
        async with open_store(cluster, name, region=None, endpoints=endpoint, client_name=as_client) as client:
            filling = progress.add_task("restoring", total=len(snapshot))
            comparing = progress.add_task("comparing", total=len(snapshot))
            try:
                revision = await fill(
                    client,
                    snapshot,
                    revision_jump=bump_revision,
                    timeout_seconds=timeout,
                    advance=lambda keys: progress.advance(filling, keys),
                )
                difference = await compare(
                    client,
                    snapshot,
                    revision,
                    timeout_seconds=timeout,
                    advance=lambda keys: progress.advance(comparing, keys),
                )
            except DamagedDatabase as error:
                raise CliError(f"{from_etcd} is damaged: {error}", hint="nothing was restored") from error
    if difference is not None:
        raise CliError(f"the store is not what {from_etcd} is: {_described(difference)}")
    done = {
        "keys": len(snapshot),
        "leases": len(snapshot.leases),
        "etcdRevision": snapshot.revision,
        "revision": revision,
    }
    emit(
        done,
        output,
        lambda console: console.print(
            f"{len(snapshot)} keys and {len(snapshot.leases)} leases of revision {snapshot.revision} are in {name}, "
            f"compared key by key; it goes on from revision {revision}"
        ),
    )


def _described(difference: Difference) -> str:
    key = printable(difference.key)
    if difference.in_store is None:
        return f"{key} is missing"
    if difference.in_source is None:
        return f"{key} is in the store alone"
    return f"{key} is different"
