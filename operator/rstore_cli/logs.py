"""``rstore logs``: the logs of a store's replicas, each line with the name of its pod."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from rstore_cli.cluster import Cluster
from rstore_cli.commands import on_cluster
from rstore_cli.errors import CliError, NotFoundError
from rstore_cli.options import StoreName
from rstore_cli.output import stderr


@on_cluster
async def logs(
    cluster: Cluster,
    name: StoreName,
    region: Annotated[
        str | None, typer.Option("--region", help="Of this region only. Default: all.", show_default=False)
    ] = None,
    tail: Annotated[int, typer.Option("--tail", min=0, help="Lines of each replica, the newest ones.")] = 100,
    previous: Annotated[
        bool, typer.Option("-p", "--previous", help="Of the container before the last restart.")
    ] = False,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with what comes, until interrupted.")] = False,
) -> None:
    """Print the logs of a store's replicas, and of its archiver. Each line begins with the name of its pod."""
    await cluster.store(name)
    pods = await cluster.pod_names(name, region)
    if not pods:
        where = f'region "{region}" of store "{name}"' if region else f'store "{name}"'
        raise NotFoundError(f"{where} has no pods", hint=f"`rstore status {name}` shows its regions")
    lacking = []

    async def show(pod: str) -> None:
        try:
            async for line in cluster.log_lines(pod, tail=tail, previous=previous, follow=follow):
                print(f"{pod}  {line}", flush=follow)
        except CliError as error:
            lacking.append(pod)
            stderr().print(f"{pod}: {error.message}", style="yellow")

    try:
        if follow:
            await asyncio.gather(*map(show, pods))
        else:
            for pod in pods:
                await show(pod)
    except asyncio.CancelledError:  # how asyncio.run passes an interrupt on
        stderr().print("stopped following")
        return
    if len(lacking) == len(pods):
        raise CliError("no replica's log could be read", hint=f"`kubectl get pods` shows the pods of {name}")
