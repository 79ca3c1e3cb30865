"""``rstore backup now``: one base more, besides those of the schedule."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer

from rstore_cli.archives import check_archived
from rstore_cli.cluster import Cluster
from rstore_cli.commands import on_cluster
from rstore_cli.errors import CliError
from rstore_cli.options import Output, OutputOption, StoreName
from rstore_cli.output import emit, size, stderr

LOOK_SECONDS = 1.0


@on_cluster
async def now(
    cluster: Cluster,
    name: StoreName,
    retain: Annotated[
        bool, typer.Option("--retain", help="Keep the ReplicatedStoreBackup when the store is deleted.")
    ] = False,
    wait: Annotated[float, typer.Option("--wait", min=0, help="Seconds to wait until it is complete.")] = 600.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Have the archiver make a base now, and wait for it.

    It is a ReplicatedStoreBackup, which stays, and so does the base, whether or not the command waits for it. The exit
    code is 1 when it fails, or is not complete in time.
    """
    check_archived(name, await cluster.store(name))
    made = await cluster.request_base(name, retain)
    asked = str(made["metadata"]["name"])
    try:
        async with asyncio.timeout(wait):
            status = await _ended(cluster, asked)
    except TimeoutError:
        status = await _status(cluster, asked)
        why = status.get("error") or "the operator has not taken it up; is it running?"
        if status.get("phase") == "Running":
            why = "it is being made"
        hint = f"`kubectl get rstorebackup {asked}` shows how it goes on"
        raise CliError(f"{asked} is not complete after {wait:g} s: {why}", hint=hint) from None
    if status["phase"] == "Failed":
        raise CliError(
            f"{asked} has failed: {status.get('error', '')}",
            hint="what has failed is not tried again: repeat the command once the cause is gone",
        )
    text = f"{asked}: base at revision {status.get('revision')}, {size(int(status.get('bytes', 0)))}"
    emit({"name": asked, **status}, output, lambda console: console.print(text))


async def _ended(cluster: Cluster, name: str) -> dict[str, Any]:
    shown = ""
    while True:
        status = await _status(cluster, name)
        if status.get("phase") in ("Completed", "Failed"):
            return status
        text = f"{status.get('phase', 'Pending')}{': ' if status.get('error') else ''}{status.get('error', '')}"
        if text != shown:
            stderr().print(f"{name}: {text}")
            shown = text
        await asyncio.sleep(LOOK_SECONDS)


async def _status(cluster: Cluster, name: str) -> dict[str, Any]:
    return dict((await cluster.requested_base(name)).get("status") or {})
