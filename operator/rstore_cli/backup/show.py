"""``rstore backup show``: one base or one segment."""

from __future__ import annotations

from typing import Annotated, Any

import typer
import yaml
from rstore_backup import bases, names, segments
from rstore_backup.errors import ObjectMissing
from rstore_backup.restoring.archives import Archive
from rstore_backup.restoring.plan import time_of

from rstore_cli.archives import Destination, EndpointUrlOption, StoreIdOption, find_archive, place_of
from rstore_cli.backup.described import base_data
from rstore_cli.cluster import Cluster
from rstore_cli.commands import on_cluster
from rstore_cli.errors import CliError, UsageError
from rstore_cli.options import Output, OutputOption
from rstore_cli.output import emit


@on_cluster
async def show(
    cluster: Cluster,
    destination: Destination,
    what: Annotated[
        str,
        typer.Argument(
            metavar="REVISION|SEGMENT",
            help="The revision of a base, or the name of a segment, such as "
            "segments/0000000000000001/0000000000000002.rsl.",
        ),
    ],
    store_id: StoreIdOption = None,
    endpoint_url: EndpointUrlOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Show one base or segment. A segment is read whole, and checked."""
    if not what.isdecimal() and names.parse_segment(what) is None:
        raise UsageError(
            f"{what} is neither the revision of a base nor the name of a segment",
            hint="`rstore backup list` shows the bases; names of segments are in messages about them",
        )
    archive = await find_archive(await place_of(cluster, destination, endpoint_url, store_id))
    try:
        data = await (_base(archive, int(what)) if what.isdecimal() else _segment(archive, what))
    except ObjectMissing as error:
        raise CliError(f"there is no base or segment {what} in the archive of {archive.described}") from error
    emit(data, output, lambda console: console.print(yaml.safe_dump(data, sort_keys=False, allow_unicode=True), end=""))


async def _base(archive: Archive, revision: int) -> dict[str, Any]:
    name = names.manifest(revision)
    manifest = bases.decode_manifest(name, await archive.objects.get(name))
    parts = [
        {"name": part.name, "sizeBytes": part.size_bytes, "rows": part.rows, "sha256": part.sha256}
        for part in manifest.parts
    ]
    return {"name": name, "storeId": manifest.store_id, **base_data(manifest), "parts": parts}


async def _segment(archive: Archive, name: str) -> dict[str, Any]:
    segment = segments.decode(name, await archive.objects.get(name))
    header = segment.header
    return {
        "name": name,
        "storeId": header.store_id,
        "epoch": header.epoch,
        "epochs": [
            {
                "epoch": start.epoch,
                "firstRevision": start.first_revision,
                "region": start.region,
                "parentRevision": start.parent_revision or start.first_revision - 1,
            }
            for start in header.history
        ],
        "afterRevision": header.after_revision,
        "firstRevision": header.first_revision,
        "lastRevision": header.last_revision,
        "rows": header.rows,
        "firstTime": time_of(header.first_time_ms),
        "lastTime": time_of(header.last_time_ms),
        "sizeBytes": segment.size_bytes,
        "sha256": segment.sha256,
        "previous": header.previous.name if header.previous is not None else None,
        "beginsBecause": header.begins_because,
    }
