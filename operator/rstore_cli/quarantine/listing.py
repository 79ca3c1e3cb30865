"""``rstore quarantine list``: shows the tails of every region, and which replicas have them."""

from __future__ import annotations

from typing import Any

import typer
from rich.console import Console

from rstore_cli.cluster import Cluster
from rstore_cli.commands import on_cluster
from rstore_cli.options import Output, OutputOption, StoreName
from rstore_cli.output import emit, size, table
from rstore_cli.quarantine.access import Access
from rstore_cli.quarantine.tails import Holding, RegionTail, tails_of

HEADERS = ("TAIL", "EPOCH", "FIRST", "LAST", "REVISIONS", "ROWS", "SIZE", "REPLACED BY EPOCH", "HELD BY")


@on_cluster
async def list_tails(
    cluster: Cluster,
    name: StoreName,
    output: OutputOption = Output.TABLE,
) -> None:
    """List the diverged tails in quarantine: revisions that a region had to itself when another became primary.

    Exit code 1 when no replica answered.
    """
    access = await Access.to(cluster, name)
    holdings = await access.holdings()
    tails = tails_of(holdings)
    problems = problems_of(holdings, tails)
    data = {"tails": [tail_data(tail) for tail in tails], "problems": problems}

    def render(console: Console) -> None:
        if tails:
            console.print(table(HEADERS, [_row(tail) for tail in tails]))
        else:
            console.print("no tails in quarantine")
        for problem in problems:
            console.print(problem, style="yellow")

    emit(data, output, render)
    if holdings and all(holding.problem for holding in holdings):
        raise typer.Exit(1)


def problems_of(holdings: list[Holding], tails: list[RegionTail]) -> list[str]:
    """Returns what is wrong with answers and tails, one line each."""
    problems = [f"{holding.replica}: {holding.problem}" for holding in holdings if holding.problem]
    leaving: dict[str, Any] = {holding.region: holding.leaving for holding in holdings if holding.leaving is not None}
    problems += [
        f"{region} is leaving its revisions above {tail.fork_revision} ({tail.phase}, {tail.exported_rows} rows so far)"
        for region, tail in sorted(leaving.items())
    ]
    for tail in tails:
        problems += list(tail.damage)
        if tail.record.unknown:
            problems.append(f"{tail.name} is no tail of its region any more; its file can be dropped")
        elif tail.lacking:
            problems.append(f"{tail.name} is not on {', '.join(tail.lacking)} yet; they get it from the others")
    return problems


def tail_data(tail: RegionTail) -> dict[str, Any]:
    """Returns one tail as plain data."""
    record = tail.record
    return {
        "name": tail.name,
        "region": tail.region,
        "file": tail.file,
        "epoch": record.epoch,
        "firstRevision": record.first_revision,
        "lastRevision": record.last_revision,
        "forkRevision": record.fork_revision,
        "revisions": record.revisions,
        "rows": record.count,
        "bytes": record.size_bytes,
        "replacedByEpoch": record.replaced_by_epoch,
        "heldBy": list(tail.holders),
        "missingOn": list(tail.lacking),
    }


def _row(tail: RegionTail) -> tuple[str, ...]:
    record = tail.record
    numbers = (record.epoch, record.first_revision, record.last_revision, record.revisions, record.count)
    holders = ", ".join(tail.holders) or "no replica that answered"
    return (tail.name, *map(str, numbers), size(record.size_bytes), str(record.replaced_by_epoch), holders)
