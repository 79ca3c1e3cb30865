"""``rstore failover``: requests a change of primary, and follows it to its end.

The command only sets annotations, as one could with kubectl; the operator does the work.
:mod:`rstore_cli.following` decides from the object and its events how far it is.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Annotated, Any

import typer
from rstore_api.domain.kubernetes import ABORT_FAILOVER, FAILOVER_DRY_RUN, FAILOVER_MODE, FAILOVER_TO, GROUP

from rstore_cli.cluster import Cluster, event_time
from rstore_cli.commands import on_cluster
from rstore_cli.errors import CliError, UsageError
from rstore_cli.following import Progress, State, check_target, follow, not_over
from rstore_cli.options import Output, OutputOption, StoreName
from rstore_cli.output import emit, seconds, stderr, table
from rstore_cli.regions import pick_region, region_names
from rstore_cli.status import receipt_line

POLL_SECONDS = 0.1
EXPLANATION_SECONDS = 2.0
"""How long the command waits for the event that gives the reason of a failure."""


@on_cluster
async def failover(
    cluster: Cluster,
    name: StoreName,
    to: Annotated[str | None, typer.Option("--to", help="The region that becomes primary.", show_default=False)] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change nothing; report what would happen.")] = False,
    abort: Annotated[bool, typer.Option("--abort", help="Abort a switchover that has not promoted yet.")] = False,
    forced: Annotated[bool, typer.Option("--forced", help="Take over even if the primary does not answer.")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it is over.")] = True,
    timeout: Annotated[float, typer.Option("--timeout", min=1, help="Seconds to wait for that.")] = 120.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Move the primary to another region without losing a write (a planned switchover).

    With --forced the other region also takes over when the primary is lost. Writes that had not reached it are lost.
    Exit code 0 when the region is primary, 1 when it is not. The object's history keeps a receipt.
    """
    if forced and dry_run:
        raise UsageError("--dry-run needs no --forced", hint=f"rstore failover {name} --to REGION --dry-run")
    if abort and (to or dry_run or forced):
        raise UsageError("--abort goes alone", hint=f"rstore failover {name} --abort")
    if not abort and not to:
        raise UsageError("which region?", hint=f"rstore failover {name} --to REGION")
    before = await cluster.store(name)
    if abort:
        await _request(cluster, before, {ABORT_FAILOVER: "true"}, "", wait, timeout, output)
        return
    target = str(to)
    check_target(before, target, forced=forced, dry_run=dry_run)
    request = {FAILOVER_DRY_RUN if dry_run else FAILOVER_TO: target} | ({FAILOVER_MODE: "forced"} if forced else {})
    await _request(cluster, before, request, target, wait, timeout, output)


@on_cluster
async def promote(
    cluster: Cluster,
    name: StoreName,
    region: Annotated[str, typer.Argument(metavar="REGION", help="The region that becomes primary.")],
    output: OutputOption = Output.TABLE,
) -> None:
    """Make a region primary without losing a write: `rstore failover NAME --to REGION`, which has more options."""
    before = await cluster.store(name)
    check_target(before, region)
    await _request(cluster, before, {FAILOVER_TO: region}, region, True, 120.0, output)


debug = typer.Typer(name="debug", help="Ask what would happen, and change nothing.", no_args_is_help=True)


@debug.command("failover")
@on_cluster
async def debug_failover(cluster: Cluster, name: StoreName, output: OutputOption = Output.TABLE) -> None:
    """Ask about each other region whether it could become primary now, what would block it, and what would be lost."""
    before = await cluster.store(name)
    primary = before.get("status", {}).get("primaryRegion")
    answers: dict[str, str] = {}
    for region in region_names(before):
        if region != primary:
            check_target(before, region, dry_run=True)
            answers[region] = (await _follow(cluster, before, {FAILOVER_DRY_RUN: region}, region, 30.0)).message
    if not answers:
        raise CliError(f'store "{name}" has one region: there is none that could take over')
    rows = list(answers.items())
    emit({"answers": answers}, output, lambda console: console.print(table(("REGION", "ANSWER"), rows)))


@debug.command("fence")
@on_cluster
async def debug_fence(
    cluster: Cluster,
    name: StoreName,
    region: Annotated[
        str | None,
        typer.Argument(metavar="[REGION]", help="Default: the primary.", show_default=False),
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Ask whether the primary region would be fenced now, so that another one takes over by itself, and why or why not.
    Of another REGION: whether it could become primary now, and why or why not.
    """
    before = await cluster.store(name)
    asked = pick_region(before, region)
    answer = await _follow(cluster, before, {FAILOVER_DRY_RUN: asked}, asked, 30.0)
    data = {"region": asked, "possible": answer.state is State.DONE, "answer": answer.message}
    emit(data, output, lambda console: console.print(answer.message))


async def _request(
    cluster: Cluster,
    before: dict[str, Any],
    annotations: dict[str, str],
    target: str,
    wait: bool,
    timeout_seconds: float,
    output: Output,
) -> None:
    name = before["metadata"]["name"]
    if not wait:
        await cluster.annotate(name, annotations)
        text = f"asked; `rstore status {name} -w` shows how it goes"
        requested = {key.removeprefix(f"{GROUP}/"): value for key, value in annotations.items()}
        emit({"requested": requested}, output, lambda console: console.print(text))
        return
    _finish(name, await _follow(cluster, before, annotations, target, timeout_seconds), output)


async def _follow(
    cluster: Cluster, before: dict[str, Any], annotations: dict[str, str], target: str, timeout_seconds: float
) -> Progress:
    """Sets the annotations and returns what came of it; raises CliError when it is not over in time."""
    name, uid = before["metadata"]["name"], before["metadata"].get("uid", "")
    annotation = next(iter(annotations))
    seen = {_event_key(event) for event in await cluster.events(name, uid)}
    started = time.monotonic()
    await cluster.annotate(name, annotations)
    progress, now = Progress(State.WAITING), before
    shown = ""
    failed_since: float | None = None
    with stderr().status("waiting for the operator") as spinner:
        while time.monotonic() - started < timeout_seconds:
            # The object first: events that explain what it says are younger than it.
            now = await cluster.store(name)
            news = [event for event in await cluster.events(name, uid) if _event_key(event) not in seen]
            progress = follow(before, now, annotation, target, news)
            if progress.step and progress.step != shown:
                shown = progress.step
                spinner.update(shown)
                stderr().print(f"{time.monotonic() - started:6.2f}s  {shown}")
            if progress.state is State.FAILED and not progress.message:
                failed_since = failed_since or time.monotonic()
                if time.monotonic() - failed_since >= EXPLANATION_SECONDS:
                    progress = replace(progress, message=f"{target} is not primary")
                    break
            elif progress.state in (State.DONE, State.FAILED):
                break
            await asyncio.sleep(POLL_SECONDS)
        else:
            raise not_over(now, annotation, f"not over after {seconds(timeout_seconds)}", shown)
    return progress


def _finish(name: str, progress: Progress, output: Output) -> None:
    if progress.state is State.FAILED and output is Output.TABLE:
        raise CliError(progress.message, hint=f"`kubectl describe rstore {name}` shows events and conditions")
    data = {"state": progress.state.value, "message": progress.message, "receipt": progress.receipt}

    def render(console: Any) -> None:
        console.print(progress.message)
        if progress.receipt:
            console.print(receipt_line(progress.receipt).strip())

    emit(data, output, render)
    if progress.state is State.FAILED:
        raise typer.Exit(1)


def _event_key(event: dict[str, Any]) -> tuple[str, str, str]:
    """Returns what identifies one occurrence: an event that repeats keeps its name and changes its count and time."""
    return event["metadata"]["name"], str(event.get("count", "")), event_time(event)
