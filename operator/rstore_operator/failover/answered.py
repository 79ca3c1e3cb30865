"""Commands that something keeps applying are done once: the last value that was answered is remembered.

A tool that applies a manifest with ``failover-to`` in it puts the annotation back each time the operator has taken it
off. Such a command is done again only when its value has changed, or when somebody has asked for another primary since.
The names of field managers say which of them apply manifests. Others are taken to do so, too, once they have put back
a command that was done and had nothing left to do, until they have been quiet for a while. Our command line is meant
each time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from msgspec import structs
from rstore_api.domain import kubernetes as names

from rstore_operator.facts.actions import Notice
from rstore_operator.failover.planned import ASKED
from rstore_operator.resource.commands import FAILOVER_REQUEST, Commands, shown
from rstore_operator.resource.managers import Setter
from rstore_operator.resource.state import Answered, Outcome, Receipt, StoreStatus

DONE = "Done"
_FINAL = frozenset({DONE, "AlreadyPrimary", "NothingToAbort", "TooLateToAbort"})
"""Answers after which the same command is not done again; what was refused may be possible later."""
_MOOT = "AlreadyPrimary"
"""The answer to a command that has nothing left to do."""
_MAX_ANSWERED = 8
_QUIET = timedelta(minutes=10)
"""A command that was put back needlessly counts as a new wish after this time without being put back."""
_SEEN_EVERY = timedelta(seconds=60)
"""The time at which a repeated command was last seen is persisted at most this often."""


@dataclass(frozen=True)
class Repeats:
    """``commands`` are those that are not repeated; ``removed`` are the annotations of the others."""

    commands: Commands
    removed: dict[str, str]
    answered: tuple[Answered, ...]
    notices: tuple[Notice, ...]


def requests_of(commands: Commands) -> dict[str, str]:
    """The requests on an object and their whole values."""
    requests = (names.FAILOVER_TO, names.FAILOVER_DRY_RUN, names.ABORT_FAILOVER)
    values = {request: commands.values(_annotations_of(request)) for request in requests}
    return {
        request: " ".join(parts.values())[: Answered.MAX_VALUE] for request, parts in values.items() if request in parts
    }


def _annotations_of(request: str) -> tuple[str, ...]:
    return FAILOVER_REQUEST if request == names.FAILOVER_TO else (request,)


def without_repeats(
    commands: Commands, setters: Mapping[str, Setter], status: StoreStatus, *, epoch: int, now: datetime
) -> Repeats:
    """Take out the commands that have been done before, and were put back by something that keeps applying them."""
    removed: dict[str, str] = {}
    notices = []
    answered = {(one.request, one.manager): one for one in status.answered}
    for request, value in requests_of(commands).items():
        setter = setters.get(request)
        last = answered.get((request, setter.manager)) if setter is not None else None
        if setter is None or last is None or last.value != value or last.answer not in _FINAL:
            continue
        if not _is_kept(last, setter, now) or _moved_since(last, status.history):
            continue
        removed |= commands.values(_annotations_of(request))
        moved = epoch > last.epoch and status.failover is None
        if not last.repeated or moved:
            notices.append(Notice("RepeatedRequest", _message(request, last)))
        if not last.repeated or moved or now - last.at > _SEEN_EVERY:
            answered[request, setter.manager] = structs.replace(
                last, repeated=True, at=now, epoch=epoch if moved else last.epoch
            )
    return Repeats(commands.without(removed), removed, tuple(answered.values()), tuple(notices))


def remember(
    answered: tuple[Answered, ...],
    commands: Commands,
    removed: Mapping[str, str],
    setters: Mapping[str, Setter],
    rejected: tuple[str, str] | None,
    *,
    epoch: int,
    now: datetime,
) -> tuple[Answered, ...]:
    """Add the answers to requests that are being taken off: ``rejected`` is why, where one was refused."""
    answers = {(one.request, one.manager): one for one in answered}
    for request, value in requests_of(commands).items():
        setter = setters.get(request)
        if request not in removed or setter is None or setter.is_person:
            continue
        key = (request, setter.manager)
        answer = rejected[0] if rejected is not None and request != names.FAILOVER_DRY_RUN else DONE
        before = answers.get(key)
        again = before is not None and before.value == value and before.answer in _FINAL
        repeated = again and answer == _MOOT
        if before is None or repeated or (before.value, before.answer, before.epoch) != (value, answer, epoch):
            answers[key] = Answered(request, setter.manager, value, answer, epoch, now, repeated=repeated)
    newest = sorted(answers.values(), key=lambda one: one.at)[-_MAX_ANSWERED:]
    return tuple(one for one in answers.values() if one in newest)


def is_told(
    status: StoreStatus, commands: Commands, setters: Mapping[str, Setter], rejected: tuple[str, str] | None
) -> bool:
    """Whether that refusal was the answer to the same request of a manifest the last time."""
    if rejected is None:
        return False
    reported = {(one.request, one.manager, one.value, one.answer) for one in status.answered}
    return any(
        request in setters
        and setters[request].applies_manifests
        and (request, setters[request].manager, value, rejected[0]) in reported
        for request, value in requests_of(commands).items()
    )


def _is_kept(last: Answered, setter: Setter, now: datetime) -> bool:
    """Whether something keeps putting that command back."""
    if setter.is_person:
        return False
    return setter.applies_manifests or (last.repeated and now - last.at < _QUIET)


def _moved_since(last: Answered, history: tuple[Receipt, ...]) -> bool:
    """Whether somebody has asked for another primary since, and got it."""
    target = last.value.partition(" ")[0]
    return last.request == names.FAILOVER_TO and any(
        receipt.epoch > last.epoch
        and receipt.trigger in ASKED
        and receipt.outcome is Outcome.SUCCEEDED
        and receipt.to_region != target
        for receipt in history
    )


def _message(request: str, last: Answered) -> str:
    short = request.rpartition("/")[2]
    return (
        f"{short}: {shown(last.value)} was answered in epoch {last.epoch} ({last.answer}), and is not done again "
        f"each time {last.manager} applies it; take it out of what is applied, and ask by kubectl annotate or rstore"
    )
