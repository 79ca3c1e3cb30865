"""``rstore maintenance``: whether the operator changes anything about a store."""

from __future__ import annotations

import typer
from rstore_api.domain.kubernetes import PAUSED

from rstore_cli.cluster import Cluster
from rstore_cli.commands import on_cluster
from rstore_cli.options import Output, OutputOption, StoreName
from rstore_cli.output import emit

app = typer.Typer(
    name="maintenance",
    help="Have the operator change nothing about a store for a while; reads, writes and elections go on.",
    no_args_is_help=True,
)


@app.command("set")
@on_cluster
async def begin(cluster: Cluster, name: StoreName, output: OutputOption = Output.TABLE) -> None:
    """Pause the store: the operator observes and reports, and changes nothing.

    A primary region that is lost meanwhile is not replaced.
    """
    await _set(cluster, name, "true", f'"{name}" is paused: a lost primary is not replaced until `unset`', output)


@app.command("unset")
@on_cluster
async def end(cluster: Cluster, name: StoreName, output: OutputOption = Output.TABLE) -> None:
    """Let the operator act on the store again."""
    await _set(cluster, name, None, f'the operator acts on "{name}" again', output)


async def _set(cluster: Cluster, name: str, value: str | None, text: str, output: Output) -> None:
    await cluster.annotate(name, {PAUSED: value})
    emit({"paused": value == "true"}, output, lambda console: console.print(text))
