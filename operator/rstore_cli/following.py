"""Decides from a store's object and its events how far a requested change of primary is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from rstore_api.domain.kubernetes import ABORT_FAILOVER, FAILOVER_DRY_RUN, PAUSED

from rstore_cli.errors import CliError
from rstore_cli.regions import region_names

ABORT_REFUSED = frozenset({"NothingToAbort", "TooLateToAbort", "InvalidAnnotation"})
DRY_RUN_ANSWERED = frozenset({"DryRun", "UnknownRegion"})
"""Reasons of the operator's events that answer a request."""


class State(StrEnum):
    """How far a request is."""

    WAITING = "Waiting"  # the operator has not begun
    RUNNING = "Running"
    DONE = "Done"
    FAILED = "Failed"


@dataclass(frozen=True)
class Progress:
    """How far a request is, and its receipt once it is over."""

    state: State
    step: str = ""
    message: str = ""
    receipt: dict[str, Any] | None = None


def check_target(store: dict[str, Any], target: str, *, forced: bool = False, dry_run: bool = False) -> None:
    """Raises CliError if the operator would refuse the request.

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
    """Returns how far the request is. ``news`` are the events since it was made, oldest first."""
    current = now.get("status") or {}
    running = current.get("failover") or {}
    asked = annotation in (now["metadata"].get("annotations") or {})
    earlier = {_receipt_key(receipt) for receipt in (before.get("status") or {}).get("history", [])}
    fresh = [receipt for receipt in current.get("history", []) if _receipt_key(receipt) not in earlier]
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
    """Returns the answer from its event, which is Normal if the switchover would be started."""
    for event in reversed(news):
        if event.get("reason") in DRY_RUN_ANSWERED:
            refused = event.get("type") == "Warning"
            return Progress(State.FAILED if refused else State.DONE, message=str(event.get("message", "")))
    return Progress(State.WAITING)


def _follow_abort(receipt: dict[str, Any] | None) -> Progress:
    """Returns whether a switchover that is over was aborted, or ended before that."""
    if receipt is None:
        return Progress(State.WAITING)
    if receipt.get("outcome") == "Aborted":
        return Progress(State.DONE, message=f"given up: {receipt.get('from')} stays primary", receipt=receipt)
    return Progress(State.FAILED, message=f"too late: {receipt.get('to')} is primary", receipt=receipt)


def _receipt_key(receipt: dict[str, Any]) -> tuple[str, str, str]:
    return str(receipt.get("epoch")), str(receipt.get("to")), str(receipt.get("startedAt"))


def not_over(now: dict[str, Any], annotation: str, how_long: str, step: str) -> CliError:
    """Returns an error that says what the request waits for, and how to withdraw it."""
    name = now["metadata"]["name"]
    if step:
        hint = f"`rstore status {name} -w` keeps watching, `rstore failover {name} --abort` gives it up"
        return CliError(f"{how_long}: the operator is at step {step}", hint=hint)
    conditions = (now.get("status") or {}).get("conditions", [])
    blocked = [c for c in conditions if c.get("type") == "FailoverBlocked" and c.get("status") == "True"]
    why = f"blocked, {blocked[0].get('message')}" if blocked else "the operator has not taken it up; is it running?"
    hint = f"the request stays; `kubectl annotate rstore {name} {annotation}-` takes it back"
    return CliError(f"{how_long}: {why}", hint=hint)
