"""``rstore restore``: what is restored, and into what."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rstore_api.domain.epochs import REVISION_JUMP

from rstore_cli.archives import (
    AT_HELP,
    EndpointUrlOption,
    EpochOption,
    StoreIdOption,
    TemporaryOption,
    find_archive,
    place_of,
    target_of,
)
from rstore_cli.errors import UsageError
from rstore_cli.options import Output, OutputOption
from rstore_cli.restore.from_archive import Past, restore_from_archive
from rstore_cli.restore.from_etcd import restore_from_etcd
from rstore_cli.restore.in_place import restore_in_place
from rstore_cli.restore.into import Into
from rstore_cli.store_access import StoreAccess, on_store


@on_store(timeout_seconds=30.0, has_region=False)
async def restore(
    store: StoreAccess,
    from_etcd: Annotated[
        Path | None,
        typer.Option("--from-etcd", help="A file that `etcdctl snapshot save` wrote.", exists=True, dir_okay=False),
    ] = None,
    from_archive: Annotated[
        str | None,
        typer.Option(
            "--from-archive",
            metavar="DESTINATION|NAME",
            help="Where the archive of a store is: s3://bucket/prefix, gs://…, az://… or file:///folder; or the store "
            "itself, whose spec.backup says so.",
            show_default=False,
        ),
    ] = None,
    at: Annotated[str, typer.Option("--at", metavar="REVISION|TIME|latest", help=AT_HELP)] = "latest",
    in_place: Annotated[
        bool,
        typer.Option(
            "--in-place",
            help="Write what differs from the archive's state into a store that is in use. Without --yes it only shows "
            "what would be written.",
        ),
    ] = False,
    prefix: Annotated[
        list[str] | None,
        typer.Option("--prefix", help="With --in-place: only keys that begin so; may be repeated.", show_default=False),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="With --in-place: write it.")] = False,
    previewed: Annotated[
        int | None,
        typer.Option(
            "--previewed",
            metavar="REVISION",
            min=1,
            help="With --in-place --yes: the revision that the preview names. Keys that were written after it are left "
            "alone.",
            show_default=False,
        ),
    ] = None,
    store_id: StoreIdOption = None,
    epoch: EpochOption = None,
    endpoint_url: EndpointUrlOption = "",
    temporary_folder: TemporaryOption = None,
    bump_revision: Annotated[
        int | None,
        typer.Option(
            "--bump-revision",
            min=0,
            max=1 << 40,
            help="How far above the restored revision the store goes on, so that no client takes a revision for one "
            f"that the source had later. Default: {REVISION_JUMP}, and above everything that the archive has.",
            show_default=False,
        ),
    ] = None,
    skip_hash_check: Annotated[
        bool, typer.Option("--skip-hash-check", help="FILE is a copy of an etcd's data file, which has no hash.")
    ] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Fill a store in which nothing was written with a snapshot of an etcd, or with what a store was at a revision or a
    time: keys with their versions and revisions, and leases, which begin anew. Everything is compared afterwards.

    Clients see nothing of it before all is there. A write meanwhile makes it fail. With --in-place the keys of a store
    that is in use become what they were, as new revisions.
    """
    if (from_etcd is None) == (from_archive is None):
        raise UsageError("from what? Give either --from-etcd FILE or --from-archive DESTINATION")
    if in_place and from_archive is None:
        raise UsageError("--in-place takes the past state from an archive: --from-archive DESTINATION")
    if not in_place and (prefix or yes or previewed):
        raise UsageError("--prefix, --yes and --previewed belong to --in-place")
    into = Into(store, output)
    if from_etcd is not None:
        jump = REVISION_JUMP if bump_revision is None else bump_revision
        await restore_from_etcd(into, from_etcd, check_hash=not skip_hash_check, revision_jump=jump)
        return
    assert from_archive is not None
    target = target_of(at)
    own_id = str((await store.cluster.store(store.name)).get("status", {}).get("storeId", "")) or None
    place = await place_of(store.cluster, from_archive, endpoint_url, store_id or (own_id if in_place else None))
    without = None if in_place else own_id
    if without is not None and place.store_id == without and store_id is None:
        # Made anew, it has an archive of its own again, as empty as it is; what is meant is that of the store before.
        place = replace(place, store_id=None)
    archive = await find_archive(place, without=without)
    past = Past(archive, target, epoch, temporary_folder)
    if in_place:
        await restore_in_place(into, past, prefix or [], previewed=previewed, really=yes)
    else:
        await restore_from_archive(into, past, revision_jump=bump_revision)
