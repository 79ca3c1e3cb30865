"""Commands that something keeps applying are done once: the last value that was answered is remembered. Pure.

A tool that applies a manifest with ``failover-to`` in it puts the annotation back each time the operator has taken it
off. Such a command is done again only when its value has changed, or when somebody has asked for another primary since.
Who uses kubectl or rstore means it each time. Field managers tell the two apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from rstore_operator.planning.actions import Notice
from rstore_operator.resource import commands as names
from rstore_operator.resource.commands import Commands, shown
from rstore_operator.resource.managers import is_repeated_by_machine
from rstore_operator.resource.state import Answered, Outcome, Receipt, StoreStatus, Trigger

DONE = "Done"
_FINAL = frozenset({DONE, "AlreadyPrimary", "NothingToAbort", "TooLateToAbort"})
"""Answers after which the same command is not done again; what was refused may be possible later."""
_ASKED = frozenset({Trigger.ANNOTATION, Trigger.SPEC})
_PARTS = (names.FAILOVER_MODE, names.ACCEPT_DATA_LOSS)


@dataclass(frozen=True)
class Repeats:
    """``commands`` are those that are not repeated; ``removed`` are the annotations of the others."""

    commands: Commands
    removed: dict[str, str]
    answered: tuple[Answered, ...]
    notices: tuple[Notice, ...]


def requests_of(commands: Commands) -> dict[str, str]:
    """The requests on an object and their whole values."""
    found = {}
    if commands.failover_to is not None:
        parts = (commands.failover_to, commands.failover_mode, commands.accept_data_loss)
        found[names.FAILOVER_TO] = " ".join(part for part in parts if part is not None)
    if commands.dry_run is not None:
        found[names.FAILOVER_DRY_RUN] = commands.dry_run
    if commands.abort_failover is not None:
        found[names.ABORT_FAILOVER] = commands.abort_failover
    return {request: value[: Answered.MAX_VALUE] for request, value in found.items()}


def without_repeats(commands: Commands, managers: Mapping[str, str], status: StoreStatus) -> Repeats:
    """Take out the commands that have been done for the same machine before."""
    removed: dict[str, str] = {}
    notices = []
    answered = {one.request: one for one in status.answered}
    for request, value in requests_of(commands).items():
        known = answered.get(request)
        if known is None or known.value != value or known.answer not in _FINAL:
            continue
        if not is_repeated_by_machine(managers.get(request)) or _moved_since(known, status.history):
            continue
        removed |= _annotations(commands, request)
        if not known.repeated:
            answered[request] = replace(known, repeated=True)
            notices.append(Notice("RepeatedRequest", _message(request, known, managers[request])))
    return Repeats(_without(commands, removed), removed, tuple(answered.values()), tuple(notices))


def remember(
    answered: tuple[Answered, ...],
    commands: Commands,
    removed: Mapping[str, str],
    managers: Mapping[str, str],
    rejected: tuple[str, str] | None,
    *,
    epoch: int,
    now: datetime,
) -> tuple[Answered, ...]:
    """Add the answers to requests that are being taken off: ``rejected`` is why, where one was refused."""
    known = {one.request: one for one in answered}
    for request, value in requests_of(commands).items():
        if request not in removed or not is_repeated_by_machine(managers.get(request)):
            continue
        answer = rejected[0] if rejected is not None and request != names.FAILOVER_DRY_RUN else DONE
        before = known.get(request)
        if before is None or (before.value, before.answer, before.epoch) != (value, answer, epoch):
            known[request] = Answered(request, value, answer, epoch, now)
    return tuple(known.values())


def is_told(
    status: StoreStatus, commands: Commands, managers: Mapping[str, str], rejected: tuple[str, str] | None
) -> bool:
    """Whether that refusal was the answer to the same request of the same machine the last time."""
    if rejected is None:
        return False
    known = {one.request: one for one in status.answered}
    return any(
        request in known
        and (known[request].value, known[request].answer) == (value, rejected[0])
        and is_repeated_by_machine(managers.get(request))
        for request, value in requests_of(commands).items()
    )


def _moved_since(known: Answered, history: tuple[Receipt, ...]) -> bool:
    """Whether somebody has asked for another primary since, and got it."""
    target = known.value.partition(" ")[0]
    return known.request == names.FAILOVER_TO and any(
        receipt.epoch > known.epoch
        and receipt.trigger in _ASKED
        and receipt.outcome is Outcome.SUCCEEDED
        and receipt.to_region != target
        for receipt in history
    )


def _annotations(commands: Commands, request: str) -> dict[str, str]:
    values = {
        names.FAILOVER_TO: commands.failover_to,
        names.FAILOVER_MODE: commands.failover_mode,
        names.ACCEPT_DATA_LOSS: commands.accept_data_loss,
        names.FAILOVER_DRY_RUN: commands.dry_run,
        names.ABORT_FAILOVER: commands.abort_failover,
    }
    keys = (request, *_PARTS) if request == names.FAILOVER_TO else (request,)
    return {key: value for key in keys if (value := values[key]) is not None}


def _without(commands: Commands, removed: Mapping[str, str]) -> Commands:
    fields = {
        names.FAILOVER_TO: "failover_to",
        names.FAILOVER_MODE: "failover_mode",
        names.ACCEPT_DATA_LOSS: "accept_data_loss",
        names.FAILOVER_DRY_RUN: "dry_run",
        names.ABORT_FAILOVER: "abort_failover",
    }
    return replace(commands, **{fields[name]: None for name in removed})


def _message(request: str, known: Answered, manager: str) -> str:
    short = request.rpartition("/")[2]
    return (
        f"{short}: {shown(known.value)} was answered in epoch {known.epoch} ({known.answer}), and is not done again "
        f"each time {manager} applies it; take it out of what is applied, and ask by kubectl annotate or rstore"
    )
