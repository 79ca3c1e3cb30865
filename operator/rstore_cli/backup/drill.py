"""``rstore backup drill``: tries now whether the archive can be restored."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rstore_api.domain.kubernetes import DRILL_REQUESTED_AT, PAUSED

from rstore_cli.archives import check_archived
from rstore_cli.cluster import Cluster
from rstore_cli.commands import on_cluster
from rstore_cli.errors import CliError
from rstore_cli.options import Output, OutputOption, StoreName
from rstore_cli.output import emit, seconds

LOOK_SECONDS = 1.0


@on_cluster
async def drill(
    cluster: Cluster,
    name: StoreName,
    wait: Annotated[float, typer.Option("--wait", min=0, help="Seconds to wait until it has ended.")] = 1800.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Have the archiver restore the archive into a temporary file, compare it with the store, and measure the time.

    The exit code is 1 when that has failed. Nothing in the store or the archive changes.
    """
    check_archived(name, store := await cluster.store(name))
    if (store["metadata"].get("annotations") or {}).get(PAUSED) == "true":
        raise CliError(f'store "{name}" is paused', hint=f"`rstore maintenance unset {name}` ends that")
    request = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    await cluster.annotate(name, {DRILL_REQUESTED_AT: request})
    try:
        async with asyncio.timeout(wait):
            made = await _answer(cluster, name, request)
    except TimeoutError:
        conditions = ((await cluster.store(name)).get("status") or {}).get("conditions") or ()
        why = next((f": {item.get('message')}" for item in conditions if item.get("type") == "BackupHealthy"), "")
        hint = f"`rstore status {name}` shows its result once it has ended"
        raise CliError(f"the drill has not ended after {wait:g} s{why}", hint=hint) from None
    emit(made, output, lambda console: console.print(line_of(made)))
    if made.get("result") != "Succeeded":
        raise typer.Exit(1)


async def _answer(cluster: Cluster, name: str, request: str) -> dict[str, Any]:
    while True:
        status = (await cluster.store(name)).get("status") or {}
        last = (status.get("backup") or {}).get("lastDrill") or {}
        if last.get("request") == request:
            return dict(last)
        await asyncio.sleep(LOOK_SECONDS)


def line_of(last: dict[str, Any]) -> str:
    """Returns what a drill has shown."""
    text = f"{last.get('result')}: {last.get('message', '')}"
    if last.get("revision"):
        text += f"; restored in {seconds(last.get('rtoSeconds', 0))} (RTO)"
    return f"{text}; the newest archived state was {seconds(last.get('rpoSeconds', 0))} old (RPO)"
