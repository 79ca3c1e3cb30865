"""``rstore backup list``: which stores' archives are in a destination, and what can be restored of them."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rstore_backup.restoring.archives import Archive
from rstore_backup.restoring.catalogue import Catalogue, read_catalogue
from rstore_backup.restoring.plan import missing, time_of

from rstore_cli.archives import Destination, EndpointUrlOption, StoreIdOption, archives_in, place_of
from rstore_cli.backup.described import base_data, branches_data, holes_data, spans_data
from rstore_cli.cluster import Cluster
from rstore_cli.commands import on_cluster
from rstore_cli.options import Output, OutputOption
from rstore_cli.output import emit, size, stderr, table


@on_cluster
async def list_archives(
    cluster: Cluster,
    destination: Destination,
    store_id: StoreIdOption = None,
    endpoint_url: EndpointUrlOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """List the archives in a destination: of each store its bases, from which revision and time until which a restore
    is possible, where rows are missing, and branches that a failover has lost.
    """
    archives = await archives_in(await place_of(cluster, destination, endpoint_url, store_id))
    catalogues = [(archive, await read_catalogue(archive.objects, archive.card.store_id)) for archive in archives]
    data = {"archives": [_data(archive, catalogue) for archive, catalogue in catalogues]}
    emit(data, output, lambda console: _print(console, catalogues))


def _data(archive: Archive, catalogue: Catalogue) -> dict[str, Any]:
    recoverable = catalogue.recoverable()
    return {
        "storeId": archive.card.store_id,
        "namespace": archive.card.namespace,
        "name": archive.card.name,
        "segments": len(catalogue.segments),
        "segmentBytes": sum(catalogue.segment_sizes.values()),
        "bases": [base_data(base) for base in sorted(catalogue.bases, key=lambda base: base.revision)],
        "restorable": spans_data(recoverable.spans()),
        "holes": holes_data(recoverable.line),
        "branches": branches_data(recoverable.line),
        "damaged": [str(damage) for damage in catalogue.damaged],
    }


def _print(console: Console, catalogues: list[tuple[Archive, Catalogue]]) -> None:
    for number, (archive, catalogue) in enumerate(catalogues):
        if number:
            console.print()
        sizes = sum(catalogue.segment_sizes.values())
        console.print(f"{archive.described}: {len(catalogue.segments)} segments of {size(sizes)}")
        bases = sorted(catalogue.bases, key=lambda base: base.revision)
        rows = [
            (str(base.revision), str(base.epoch), time_of(base.time_ms), str(base.rows), size(base.size_bytes))
            for base in bases
        ]
        if rows:
            console.print(table(("BASE", "EPOCH", "TIME", "ROWS", "SIZE"), rows))
        recoverable = catalogue.recoverable()
        spans = [
            (
                str(span.first_revision),
                str(span.last_revision),
                time_of(span.first_time_ms),
                time_of(span.last_time_ms),
            )
            for span in recoverable.spans()
        ]
        if spans:
            console.print(table(("RESTORABLE FROM", "UNTIL", "FROM TIME", "UNTIL TIME"), spans))
        else:
            stderr().print("nothing can be restored: there is no base, and no rows from the beginning on", style="red")
        if recoverable.line is not None:
            for hole in recoverable.line.holes:
                console.print(missing(hole))
            for branch in recoverable.line.branches:
                console.print(
                    f"epoch {branch.epoch} had revisions up to {branch.last_revision} that are lost since revision "
                    f"{branch.fork_revision}: --epoch {branch.epoch}"
                )
        for damage in catalogue.damaged:
            stderr().print(f"damaged: {damage}", style="red")
