"""Which annotations are requests that can be understood; what is wrong with the others.

``failover-to``, ``failover-mode`` and ``accept-data-loss`` are one request: where one of them is wrong none is carried
out, since a slip in the mode must not start another operation than the one that was meant.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from rstore_api.domain import kubernetes as names

from rstore_operator.facts.truth import Truth
from rstore_operator.resource.commands import FAILOVER_REQUEST, Commands, shown
from rstore_operator.resource.state import FORCED, PLANNED, FailoverIntent


@dataclass(frozen=True)
class Refusal:
    """Why an annotation is refused: the reason in one word, and the message for people."""

    annotation: str
    value: str
    reason: str
    message: str


@dataclass(frozen=True)
class Checked:
    """``commands`` are the requests that are left; ``removed`` are annotations that belong to a refused one, or to a
    change of primary that is over."""

    commands: Commands
    refusals: tuple[Refusal, ...] = ()
    removed: dict[str, str] = field(default_factory=dict)


def check(commands: Commands, regions: tuple[str, ...], truth: Truth, intent: FailoverIntent | None) -> Checked:
    """Check every request; ``intent`` is the change of primary under way, which a refusal does not call off."""
    refusals = list(_of_failover(commands, regions, truth, intent))
    removed: dict[str, str] = {}
    if refusals:
        removed = _parts(commands, intent)
    elif _is_over(commands, truth, intent):
        removed = {names.ACCEPT_DATA_LOSS: commands.accept_data_loss or ""}
    refusals += _others(commands, regions)
    gone = {*removed, *(refusal.annotation for refusal in refusals)}
    return Checked(commands.without(gone), tuple(refusals), removed)


def _parts(commands: Commands, intent: FailoverIntent | None) -> dict[str, str]:
    """The annotations of the request, without those that the change of primary under way was begun by."""
    begun_by = {}
    if intent is not None:
        begun_by = {names.FAILOVER_TO: intent.asked_for, names.ACCEPT_DATA_LOSS: str(intent.from_epoch)}
    return {name: value for name, value in commands.values(FAILOVER_REQUEST).items() if begun_by.get(name) != value}


def _of_failover(
    commands: Commands, regions: tuple[str, ...], truth: Truth, intent: FailoverIntent | None
) -> Iterator[Refusal]:
    target, mode, accepted = commands.failover_to, commands.failover_mode, commands.accept_data_loss
    if mode is not None and not commands.forced:
        message = f'failover-mode only takes the value "forced", not {shown(mode)}'
        yield Refusal(names.FAILOVER_MODE, mode, "InvalidAnnotation", message)
    elif mode is not None and target is None and intent is None:
        message = "failover-mode: forced needs failover-to, the region that is to take over"
        yield Refusal(names.FAILOVER_MODE, mode, "InvalidAnnotation", message)
    if target is not None and regions and target not in regions:
        message = f"failover-to: {shown(target)} is none of the regions ({', '.join(regions)})"
        yield Refusal(names.FAILOVER_TO, target, "UnknownRegion", message)
    if accepted is None:
        return
    if commands.accepted_epoch is None:
        epoch = f", {truth.epoch} now" if truth.epoch else ""
        message = f"accept-data-loss takes the epoch that is left{epoch}, not {shown(accepted)}"
        yield Refusal(names.ACCEPT_DATA_LOSS, accepted, "InvalidAnnotation", message)
    elif intent is None and commands.accepted_epoch > truth.epoch:
        present = f"the present one is {truth.epoch}" if truth.epoch else "the store is not running yet"
        message = f"accept-data-loss: there is no epoch {accepted} to leave, {present}"
        yield Refusal(names.ACCEPT_DATA_LOSS, accepted, "InvalidAnnotation", message)
    elif _is_over(commands, truth, intent) and target not in (None, truth.primary_region):
        message = f"accept-data-loss: epoch {accepted} is over, the present one is {truth.epoch}"
        yield Refusal(names.ACCEPT_DATA_LOSS, accepted, "InvalidAnnotation", message)


def _is_over(commands: Commands, truth: Truth, intent: FailoverIntent | None) -> bool:
    """Whether the loss was accepted for a failover that is over."""
    return intent is None and commands.accepted_epoch is not None and commands.accepted_epoch < truth.epoch


def _others(commands: Commands, regions: tuple[str, ...]) -> Iterator[Refusal]:
    if commands.paused_value is not None and not commands.paused:
        message = f'paused only takes the value "true", not {shown(commands.paused_value)}'
        yield Refusal(names.PAUSED, commands.paused_value, "InvalidAnnotation", message)
    if commands.abort_failover is not None and not commands.abort:
        message = f'abort-failover only takes the value "true", not {shown(commands.abort_failover)}'
        yield Refusal(names.ABORT_FAILOVER, commands.abort_failover, "InvalidAnnotation", message)
    if commands.dry_run is not None and regions and commands.dry_run not in regions:
        message = f"failover-dry-run: {shown(commands.dry_run)} is none of the regions ({', '.join(regions)})"
        yield Refusal(names.FAILOVER_DRY_RUN, commands.dry_run, "UnknownRegion", message)


def finished_requests(commands: Commands, intent: FailoverIntent) -> dict[str, str]:
    """Annotations that a change of primary has taken care of once it is at its last step."""
    finished: list[str] = []
    called_off = intent.mode == FORCED and intent.aborted and commands.failover_to == intent.asked_for
    if commands.failover_to is not None and (commands.failover_to == intent.to_region or called_off):
        finished += [names.FAILOVER_TO, names.FAILOVER_MODE]
    if intent.mode != PLANNED and commands.accepted_epoch == intent.from_epoch:
        finished.append(names.ACCEPT_DATA_LOSS)
    if intent.aborted or intent.mode != PLANNED:
        finished.append(names.ABORT_FAILOVER)
    return commands.values(finished)
