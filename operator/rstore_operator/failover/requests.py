"""Whether a switchover should begin: what annotations and the spec ask for, and what speaks against it. Pure.

What comes unplanned is in :mod:`rstore_operator.failover.rules`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from rstore_api.domain import kubernetes as names

from rstore_operator.facts.actions import Notice
from rstore_operator.facts.memory import Memory
from rstore_operator.facts.observed import Observed
from rstore_operator.facts.truth import Truth
from rstore_operator.facts.without_tenure import streams_to
from rstore_operator.failover.annotations import Checked
from rstore_operator.failover.lost import is_apart
from rstore_operator.failover.planned import ABORTABLE, begin
from rstore_operator.planning.hashes import warning_of
from rstore_operator.resource.commands import Commands
from rstore_operator.resource.state import AUTOMATIC, FailoverIntent, Outcome, Step, StoreStatus, Trigger

ANSWER_SECONDS = 5.0
"""A region that has been silent for less than this may just not have been heard yet."""


@dataclass
class Answer:
    """What the requests on an object come to; filled in by :func:`answer`."""

    intent: FailoverIntent | None = None
    preferred_primary: str = ""
    remove: dict[str, str] = field(default_factory=dict)
    notices: list[Notice] = field(default_factory=list)
    blocked: str = ""
    """Why the change of primary that is asked for, or needed, cannot begin yet."""
    blocked_reason: str = "SwitchoverBlocked"
    suspicious: bool = False
    """Whether the primary region is silent, so that it is looked at more often."""
    rejected: tuple[str, str] | None = None
    """Reason and message for the condition, when a request made no sense."""
    accepted: bool = False
    dry_run: tuple[bool, str] | None = None

    def reject(self, annotation: str, value: str, reason: str, message: str) -> None:
        """Answer an annotation with a Warning and take it off."""
        self.remove[annotation] = value
        self.notices.append(Notice(reason, message, warning=True))
        self.rejected = (
            (reason, message) if self.rejected is None else (self.rejected[0], f"{self.rejected[1]}; {message}")
        )

    def reject_request(self, commands: Commands, reason: str, message: str) -> None:
        """Answer ``failover-to`` with a Warning and take it off with all that belongs to it."""
        self.reject(names.FAILOVER_TO, commands.failover_to or "", reason, message)
        if commands.accept_data_loss is not None:
            self.remove[names.ACCEPT_DATA_LOSS] = commands.accept_data_loss
        if commands.failover_mode is not None:
            self.remove[names.FAILOVER_MODE] = commands.failover_mode


def answer(
    checked: Checked,
    spec_primary: str | None,
    observed: Observed,
    memory: Memory,
    truth: Truth,
    status: StoreStatus,
    now: datetime,
) -> Answer:
    """Answer every request on the object. ``spec_primary`` is None when the spec is invalid."""
    result = Answer(intent=status.failover, preferred_primary=status.preferred_primary)
    for refusal in checked.refusals:
        result.reject(refusal.annotation, refusal.value, refusal.reason, refusal.message)
        if refusal.annotation == names.FAILOVER_DRY_RUN:
            result.dry_run = (False, refusal.message)
    result.remove |= checked.removed
    commands = checked.commands
    _abort(commands, result)
    if commands.dry_run is not None:
        _dry_run(commands.dry_run, observed, memory, truth, status, result)
    if commands.paused:
        return result
    if status.failover is None:
        planned = takes_the_planned_way(commands, observed, memory, truth)
        if commands.failover_to is not None and planned:
            _annotation(commands, commands.failover_to, observed, memory, truth, status, now, result)
        if spec_primary is not None and truth.epoch:
            _spec(spec_primary, observed, truth, now, result)
    return result


def obstacles(to_region: str, observed: Observed, truth: Truth) -> str:
    """What speaks against a planned switchover just now; "" when nothing does."""
    source, target = observed.leader(truth.primary_region), observed.leader(to_region)
    if source is None:
        return f"the primary region {truth.primary_region} has no leader that answers"
    if not source.writable:
        return f"the primary region {truth.primary_region} does not accept writes"
    if target is None:
        return f"{to_region} has no leader that answers"
    if not target.store_id:
        return f"{to_region} has not been bootstrapped yet"
    if source.lacks_tenure and not streams_to(source, to_region):
        return (
            f"the primary region {truth.primary_region} holds no tenure, and its last revisions do not reach "
            f"{to_region}; bring back the network between them, or fail over by failover-mode: forced"
        )
    return ""


def _abort(commands: Commands, result: Answer) -> None:
    value = commands.abort_failover
    if value is None:
        return
    if result.intent is None:
        message = "there is no switchover to abort"
        result.reject(names.ABORT_FAILOVER, value, "NothingToAbort", message)
    elif result.intent.mode == AUTOMATIC and result.intent.step is not Step.REPOINTING:
        message = "an automatic failover is not called off: the old primary has lost its tenure"
        result.reject(names.ABORT_FAILOVER, value, "NothingToAbort", message)
    elif result.intent.step not in ABORTABLE and not result.intent.aborted:
        message = f"too late to abort: {result.intent.to_region} is being promoted, or is primary already"
        result.reject(names.ABORT_FAILOVER, value, "TooLateToAbort", message)


def _dry_run(
    to_region: str, observed: Observed, memory: Memory, truth: Truth, status: StoreStatus, result: Answer
) -> None:
    lost = observed.leader(truth.primary_region) is None or is_apart(to_region, observed, memory, truth)
    if truth.epoch and to_region != truth.primary_region and lost:
        return  # answered as an unplanned failover
    result.remove[names.FAILOVER_DRY_RUN] = to_region
    if to_region == truth.primary_region:
        blocked = f"{to_region} is primary already"
    else:
        blocked = "a switchover is under way" if status.failover else obstacles(to_region, observed, truth)
    if blocked:
        result.dry_run = (False, f"a switchover to {to_region} would be refused: {blocked}")
    else:
        source = observed.leader(truth.primary_region)
        behind = [item for item in (source.progress if source else ()) if item.region == to_region]
        lag = behind[0] if behind else None
        seconds = lag.lag_seconds if lag else 0.0
        missing = f"{lag.lag_revisions} revisions, {lag.lag_bytes} bytes" if lag else "unknown"
        message = (
            f"a switchover from {truth.primary_region} to {to_region} would begin epoch {truth.highest_epoch + 1}, "
            f"lose nothing, and stop writes for about {seconds + 0.2:.1f} s (still to be sent: {missing})"
            + warning_of(status, to_region)
        )
        result.dry_run = (True, message)
    result.notices.append(Notice("DryRun", result.dry_run[1], warning=not result.dry_run[0]))


def _annotation(
    commands: Commands,
    to_region: str,
    observed: Observed,
    memory: Memory,
    truth: Truth,
    status: StoreStatus,
    now: datetime,
    result: Answer,
) -> None:
    def refuse(reason: str, message: str) -> None:
        result.reject_request(commands, reason, f"failover-to: {message}")

    if not truth.epoch:
        refuse("NotBootstrapped", "the store is not running yet")
    elif to_region == truth.primary_region:
        last = status.history[-1] if status.history else None
        if last and last.epoch == truth.epoch and last.outcome is Outcome.SUCCEEDED and _recent(last.finished_at, now):
            result.remove[names.FAILOVER_TO] = to_region  # left over from the switchover that just ended
        else:
            refuse("AlreadyPrimary", f"{to_region} is primary already")
    elif obstacle := obstacles(to_region, observed, truth):
        silent = [memory.silent_since.get(region) for region in (truth.primary_region, to_region)]
        waited_seconds = [(now - since).total_seconds() for since in silent if since is not None]
        waited_seconds += [memory.without_tenure_seconds.get(truth.primary_region, ANSWER_SECONDS)]
        if any(seconds < ANSWER_SECONDS for seconds in waited_seconds):
            result.blocked = obstacle  # an operator that has just begun, or an election: not the last word
        else:
            refuse("SwitchoverRefused", obstacle)
    else:
        _begin(Trigger.ANNOTATION, to_region, truth, now, result)


def _recent(moment: datetime, now: datetime) -> bool:
    return (now - moment).total_seconds() < 10


def _spec(spec_primary: str, observed: Observed, truth: Truth, now: datetime, result: Answer) -> None:
    """Editing ``spec.primaryRegion`` is a switchover, once for each edit."""
    if spec_primary == result.preferred_primary:
        return
    if not result.preferred_primary or spec_primary == truth.primary_region:
        result.preferred_primary = spec_primary
    elif result.intent is None:
        result.blocked = obstacles(spec_primary, observed, truth)
        if not result.blocked:
            result.preferred_primary = spec_primary
            _begin(Trigger.SPEC, spec_primary, truth, now, result)


def _begin(trigger: Trigger, to_region: str, truth: Truth, now: datetime, result: Answer) -> None:
    result.intent = begin(
        trigger,
        truth.primary_region,
        to_region,
        epoch=truth.epoch,
        highest_epoch=max(truth.highest_epoch, truth.promised_epoch),
        now=now,
    )
    assert result.intent.step is Step.DEMOTING
    result.accepted = True


def takes_the_planned_way(commands: Commands, observed: Observed, memory: Memory, truth: Truth) -> bool:
    """Whether a forced failover need not be one: the primary can hand over, and nobody accepted to lose anything."""
    source = observed.leader(truth.primary_region)
    accepted = commands.accepted_epoch == truth.epoch
    target = commands.failover_to or ""
    hands_over = source is not None and source.writable and not is_apart(target, observed, memory, truth)
    return not commands.forced or (hands_over and not accepted)
