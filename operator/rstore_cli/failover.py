"""``rstore failover``: move the primary to another region, and say how it went.

The command only sets the annotation that anybody could set with kubectl; the operator does the work. What is here is
following it: a pure function decides from the object and its events whether it is done.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Annotated, Any

import typer
from rstore_api.domain.kubernetes import ABORT_FAILOVER, FAILOVER_DRY_RUN, FAILOVER_MODE, FAILOVER_TO, GROUP, PAUSED

from rstore_cli.cluster import Cluster, event_time
from rstore_cli.commands import on_cluster
from rstore_cli.connect import region_names
from rstore_cli.errors import CliError, UsageError
from rstore_cli.options import Output, OutputOption, StoreName
from rstore_cli.output import emit, seconds, stderr
from rstore_cli.status import receipt_line

ABORT_REFUSED = frozenset({"NothingToAbort", "TooLateToAbort", "InvalidAnnotation"})
DRY_RUN_ANSWERED = frozenset({"DryRun", "UnknownRegion"})
"""Reasons of the operator's events that answer a request."""
POLL_SECONDS = 0.1
EXPLANATION_SECONDS = 2.0
"""How long a failure without a reason waits for the event that gives one."""


class State(StrEnum):
    """How far a request is."""

    WAITING = "Waiting"  # the operator has not taken it up
    RUNNING = "Running"
    DONE = "Done"
    FAILED = "Failed"


@dataclass(frozen=True)
class Progress:
    """What is known now about a request that was made."""

    state: State
    step: str = ""
    message: str = ""
    receipt: dict[str, Any] | None = None


@on_cluster
async def failover(
    cluster: Cluster,
    name: StoreName,
    to: Annotated[
        str | None, typer.Option("--to", help="The region that is to be primary.", show_default=False)
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change nothing; ask what would happen.")] = False,
    abort: Annotated[bool, typer.Option("--abort", help="Give up a switchover that has not promoted yet.")] = False,
    forced: Annotated[bool, typer.Option("--forced", help="Also when the primary cannot be asked.")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Follow it until it is over.")] = True,
    timeout: Annotated[float, typer.Option("--timeout", min=1, help="Seconds to follow it.")] = 120.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Move the primary to another region without losing a write (a planned switchover).

    With --forced the other region also takes over when the primary is lost; what had not reached it is missing then.
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


def check_target(store: dict[str, Any], target: str, *, forced: bool = False, dry_run: bool = False) -> None:
    """Refuse at once what the operator would refuse. Raises CliError.

    A forced failover may take over from a switchover that is stuck because a region was lost.
    """
    if not dry_run and (store["metadata"].get("annotations") or {}).get(PAUSED) == "true":
        raise CliError(
            f'store "{store["metadata"]["name"]}" is paused: nothing is changed',
            hint=f"`kubectl annotate rstore {store['metadata']['name']} {PAUSED}-` lets the operator act again",
        )
    name, regions = store["metadata"]["name"], region_names(store)
    others = [region for region in regions if region != store.get("status", {}).get("primaryRegion")]
    if target not in regions:
        raise CliError(
            f'store "{name}" has no region "{target}"', hint=f"it could move to: {', '.join(others) or 'none'}"
        )
    if target not in others:
        raise CliError(
            f'"{target}" is the primary of "{name}" already', hint=f"it could move to: {', '.join(others) or 'none'}"
        )
    running = store.get("status", {}).get("failover") or {}
    if running and not forced:
        raise CliError(
            f"a change of primary to {running.get('to')} is under way (step {running.get('step')})",
            hint=f"wait for it, or `rstore failover {name} --abort`",
        )


def follow(
    before: dict[str, Any], now: dict[str, Any], annotation: str, target: str, news: Sequence[dict[str, Any]]
) -> Progress:
    """Where the request stands. ``news`` are the events since it was made, oldest first."""
    current = now.get("status") or {}
    running = current.get("failover") or {}
    asked = annotation in (now["metadata"].get("annotations") or {})
    known = {_receipt_key(receipt) for receipt in (before.get("status") or {}).get("history", [])}
    fresh = [receipt for receipt in current.get("history", []) if _receipt_key(receipt) not in known]
    receipt = max(fresh, key=lambda one: int(one.get("epoch", 0)), default=None)
    if annotation == FAILOVER_DRY_RUN:
        return _follow_dry_run(news)
    refusal = next(
        (event for event in news if annotation == ABORT_FAILOVER and event.get("reason") in ABORT_REFUSED), None
    )
    if refusal is not None:
        return Progress(State.FAILED, message=str(refusal.get("message", "")))
    if running:
        return Progress(State.RUNNING, step=str(running.get("step", "")))
    if asked:
        return Progress(State.WAITING)
    if annotation == ABORT_FAILOVER:
        return _follow_abort(receipt)
    if current.get("primaryRegion") == target:
        return Progress(State.DONE, message=f"{target} is primary", receipt=receipt)
    warnings = [str(event.get("message", "")) for event in news if event.get("type") == "Warning"]
    if receipt is not None or warnings:
        reason = (receipt or {}).get("reason") or (warnings or [""])[-1]
        return Progress(State.FAILED, message=str(reason), receipt=receipt)
    return Progress(State.WAITING)


def _follow_dry_run(news: Sequence[dict[str, Any]]) -> Progress:
    """The answer is an event of its own: Normal when the switchover would be started."""
    for event in reversed(news):
        if event.get("reason") in DRY_RUN_ANSWERED:
            refused = event.get("type") == "Warning"
            return Progress(State.FAILED if refused else State.DONE, message=str(event.get("message", "")))
    return Progress(State.WAITING)


def _follow_abort(receipt: dict[str, Any] | None) -> Progress:
    """The switchover is over: was it given up, or did it end before that?"""
    if receipt is None:
        return Progress(State.WAITING)
    if receipt.get("outcome") == "Aborted":
        return Progress(State.DONE, message=f"given up: {receipt.get('from')} stays primary", receipt=receipt)
    return Progress(State.FAILED, message=f"too late: {receipt.get('to')} is primary", receipt=receipt)


def _receipt_key(receipt: dict[str, Any]) -> tuple[str, str, str]:
    return str(receipt.get("epoch")), str(receipt.get("to")), str(receipt.get("startedAt"))


async def _request(
    cluster: Cluster,
    before: dict[str, Any],
    annotations: dict[str, str],
    target: str,
    wait: bool,
    timeout_seconds: float,
    output: Output,
) -> None:
    name, uid = before["metadata"]["name"], before["metadata"].get("uid", "")
    annotation = next(iter(annotations))
    seen = {_event_key(event) for event in await cluster.events(name, uid)}
    started = time.monotonic()
    await cluster.annotate(name, annotations)
    if not wait:
        text = f"asked; `rstore status {name} -w` shows how it goes"
        requested = {key.removeprefix(f"{GROUP}/"): value for key, value in annotations.items()}
        emit({"requested": requested}, output, lambda console: console.print(text))
        return
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
            raise _not_over(now, annotation, f"not over after {seconds(timeout_seconds)}", shown)
    _finish(name, progress, output)


def _not_over(now: dict[str, Any], annotation: str, how_long: str, step: str) -> CliError:
    """What a request waits for, and how to take it back."""
    name = now["metadata"]["name"]
    if step:
        hint = f"`rstore status {name} -w` keeps watching, `rstore failover {name} --abort` gives it up"
        return CliError(f"{how_long}: the operator is at step {step}", hint=hint)
    conditions = (now.get("status") or {}).get("conditions", [])
    blocked = [c for c in conditions if c.get("type") == "FailoverBlocked" and c.get("status") == "True"]
    why = f"blocked, {blocked[0].get('message')}" if blocked else "the operator has not taken it up; is it running?"
    hint = f"the request stays; `kubectl annotate rstore {name} {annotation}-` takes it back"
    return CliError(f"{how_long}: {why}", hint=hint)


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
    """An event that happens again keeps its name and changes its count and time."""
    return event["metadata"]["name"], str(event.get("count", "")), event_time(event)
