"""The planned switchover as a state machine. Pure: state in, next state and at most one command out.

    Demoting ──final revision known──▶ CatchingUp ──target holds it──▶ Promoting ──target is primary──▶ Repointing
        │                                  │                                                              ▲   │
        └────abort, timeout, standstill────┴────────▶ Reverting ──old primary is primary again────────────┘   └▶ receipt

The caller records the intent in status, conditional on the version it read, *before* it runs the command. So two
operators cannot both move on from a step, and one that crashed is resumed by feeding the recorded intent in again:
every command is idempotent for its epoch, and whether it took effect is read from the regions, never remembered.

Promoting and Reverting are the only steps that promote, for one epoch only one of them is ever recorded, and neither
is left before its region is seen to be primary. That is what keeps one epoch to one region (invariant I2).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from msgspec.structs import replace
from rstore_api.domain.epochs import parent_of

from rstore_operator.facts.observed import Observed, ReplicaStatus
from rstore_operator.resource.state import PLANNED, FailoverIntent, Outcome, Receipt, Step, StepTime, Trigger

MOVES: dict[Step, frozenset[Step]] = {
    Step.DEMOTING: frozenset({Step.CATCHING_UP, Step.REVERTING}),
    Step.CATCHING_UP: frozenset({Step.PROMOTING, Step.REVERTING}),
    Step.PROMOTING: frozenset({Step.REPOINTING}),
    Step.REVERTING: frozenset({Step.REPOINTING}),
    Step.REPOINTING: frozenset(),
}
TENURE_PATIENCE_SECONDS = 5.0
"""How long a new primary that everybody knows may be without a tenure before the change counts as over all the same."""
MIN_STANDSTILL_MS = 1000
"""A target is given this long to make progress also where a failover would begin without delay."""
ASKED = frozenset({Trigger.ANNOTATION, Trigger.SPEC})
"""Triggers by which a person names the region that is to take over."""
ABORTABLE = frozenset({Step.DEMOTING, Step.CATCHING_UP, Step.FENCING, Step.WAITING})


class InvariantError(Exception):
    """The planner was about to do what it must never do. Nothing is done; this is a bug."""


@dataclass(frozen=True)
class DemoteCommand:
    """Make ``region`` stop accepting writes in favour of ``epoch``."""

    region: str
    epoch: int


@dataclass(frozen=True)
class PromoteCommand:
    """Make ``region`` primary of ``epoch``, if it holds ``min_revision``."""

    region: str
    epoch: int
    min_revision: int
    revision_jump: int = 0


@dataclass(frozen=True)
class FenceCommand:
    """Make these voters promise ``epoch``."""

    regions: tuple[str, ...]
    epoch: int


Command = DemoteCommand | PromoteCommand | FenceCommand


@dataclass(frozen=True)
class Patience:
    """How long writers wait for a switchover, in milliseconds: until its promotion begins, and for a target that makes
    no progress; and for how long it has made none."""

    timeout_ms: int
    standstill_ms: int
    standstill_seconds: float = 0.0


@dataclass(frozen=True)
class Progressed:
    """The intent to record (None with a receipt: it is over) and the command to run once that is recorded."""

    intent: FailoverIntent | None
    command: Command | None = None
    receipt: Receipt | None = None
    blocked: str = ""
    """What stops an unplanned failover, and what would let it go on."""
    requeue_seconds: float | None = None
    """When looking again is of use; None: at once."""


def begin(
    trigger: Trigger, from_region: str, to_region: str, *, epoch: int, highest_epoch: int, now: datetime
) -> FailoverIntent:
    """The intent of a switchover out of ``epoch``; its own epoch is above every epoch that was ever seen."""
    if from_region == to_region:
        raise InvariantError(f"a switchover from {from_region} to itself")
    return FailoverIntent(
        mode=PLANNED,
        trigger=trigger,
        from_region=from_region,
        to_region=to_region,
        asked_for=to_region if trigger in ASKED else "",
        from_epoch=epoch,
        epoch=max(epoch, highest_epoch) + 1,
        step=Step.DEMOTING,
        started_at=now,
        steps=(StepTime(Step.DEMOTING, now),),
    )


def advance(
    intent: FailoverIntent,
    observed: Observed,
    *,
    now: datetime,
    patience: Patience,
    abort: bool,
    announced: bool,
    stop_sent_at: datetime | None = None,
) -> Progressed:
    """Move on as far as what was observed allows.

    ``abort`` asks to call it off (only possible before Promoting); ``announced`` says that every region that can be
    reached knows the new primary and that the request has been taken off the object; ``stop_sent_at`` is when this
    process first asked the old primary to stop, None when it did not.
    """
    newer = overtaken(intent, observed)
    if newer is not None:
        return Progressed(None, receipt=overtaken_receipt(intent, newer, now))
    for _ in Step:  # every move leads to a later step, so this ends
        following = _follow(intent, observed, now=now, patience=patience, abort=abort)
        if following is None:
            break
        if intent.step is Step.DEMOTING and stop_sent_at is not None and stop_sent_at >= intent.started_at:
            # A primary that was being stopped has taken no writes for longer.
            following = replace(following, stopped_at=min(intent.stopped_at or stop_sent_at, stop_sent_at))
        check_move(intent, following)
        intent = following
    intent = with_writes_resumed(intent, observed, now)
    if announced and is_over(intent, now):
        return Progressed(None, receipt=receipt_of(intent, now))
    command = _command(intent)
    check_command(intent, command)
    return Progressed(intent, command)


def overtaken(intent: FailoverIntent, observed: Observed) -> ReplicaStatus | None:
    """The primary that makes the intent a thing of the past: status was restored from an older copy, for example.

    None of the intent's commands could do anything any more, since every region refuses an epoch that has passed.
    """
    claims = [replica for replica in observed.replicas() if replica.primary and replica.epoch >= intent.epoch]
    newest = max(claims, key=lambda replica: replica.epoch, default=None)
    if newest is None or intent.step is Step.REPOINTING:
        return None
    awaited = {Step.PROMOTING: intent.to_region, Step.REVERTING: intent.from_region}.get(intent.step)
    return None if (newest.epoch, newest.region) == (intent.epoch, awaited) else newest


def overtaken_receipt(intent: FailoverIntent, primary: ReplicaStatus, now: datetime) -> Receipt:
    """The receipt of an intent that was overtaken; how long writes waited is not known.

    Where its own epoch has begun, in another region, it says in which and after which revision, so that what was lost
    then is counted here.
    """
    to_region, final_revision = intent.to_region, intent.final_revision
    elsewhere = (start for start in primary.history if start.region not in ("", intent.from_region))
    begun = next((start for start in elsewhere if start.epoch == intent.epoch), None)
    if begun is not None:
        to_region, final_revision = begun.region, parent_of(begun)
    return Receipt(
        trigger=intent.trigger,
        outcome=Outcome.SUCCEEDED if begun is not None or primary.region == to_region else Outcome.ABORTED,
        from_region=intent.from_region,
        to_region=to_region,
        asked_for=intent.asked_for,
        epoch=intent.epoch,
        started_at=intent.started_at,
        finished_at=now,
        steps=intent.steps,
        final_revision=final_revision,
        write_gap_seconds=0.0,
        reason=f"overtaken: {primary.region} is primary of epoch {primary.epoch} already",
        mode=intent.mode,
    )


def _follow(
    intent: FailoverIntent, observed: Observed, *, now: datetime, patience: Patience, abort: bool
) -> FailoverIntent | None:
    """The same intent one step further, or None when it stays."""
    if intent.step in ABORTABLE:
        final = intent.final_revision
        if final is None:
            final = final_revision(intent, observed)
        if abort:
            return _revert(intent, final, "aborted on request", now)
        # A target that is ready is promoted however late it is: the operator itself may have been away.
        if intent.step is Step.DEMOTING and final is not None:
            return _enter(replace(intent, final_revision=final), Step.CATCHING_UP, now)
        if intent.step is Step.CATCHING_UP and _holds(observed.leader(intent.to_region), intent):
            return _enter(intent, Step.PROMOTING, now)
        too_long = _too_long(intent, patience, now)
        return _revert(intent, final, too_long, now) if too_long else None
    if intent.step in (Step.PROMOTING, Step.REVERTING):
        region = intent.to_region if intent.step is Step.PROMOTING else intent.from_region
        if is_primary(observed, region, intent.epoch):
            return _enter(replace(intent, promoted=region), Step.REPOINTING, now)
    return None


def _enter(intent: FailoverIntent, step: Step, now: datetime) -> FailoverIntent:
    return replace(intent, step=step, steps=(*intent.steps, StepTime(step, now)))


def _revert(intent: FailoverIntent, final: int | None, reason: str, now: datetime) -> FailoverIntent:
    return _enter(replace(intent, aborted=True, reason=reason, final_revision=final), Step.REVERTING, now)


def _too_long(intent: FailoverIntent, patience: Patience, now: datetime) -> str:
    """Why the switchover is given up: it costs writers more than a failover would; "" while it does not."""
    if intent.step is Step.CATCHING_UP and patience.standstill_seconds * 1000 >= patience.standstill_ms:
        return (
            f"{intent.to_region} has come no nearer to revision {intent.final_revision} for "
            f"{patience.standstill_ms / 1000:g} s"
        )
    if (now - intent.started_at).total_seconds() * 1000 < patience.timeout_ms:
        return ""
    what = f"{intent.from_region} did not stop" if intent.step is Step.DEMOTING else f"{intent.to_region} is behind"
    return f"{what} after {patience.timeout_ms / 1000:g} s"


def final_revision(intent: FailoverIntent, observed: Observed) -> int | None:
    """The old primary's last revision, once it has promised the new epoch.

    A replica that has applied the promise has applied all that was before it in the region's log, and nothing of the
    old epoch is applied after it: whichever replica says so, its revision is final.
    """
    for replica in observed.region(intent.from_region).replicas:
        if replica.promised_epoch >= intent.epoch and replica.epoch == intent.from_epoch:
            return replica.revision
    return None


def _holds(leader: ReplicaStatus | None, intent: FailoverIntent) -> bool:
    """Whether the target has every revision, and the history of the epoch that ends."""
    if leader is None or intent.final_revision is None:
        return False
    return leader.revision >= intent.final_revision and leader.epoch == intent.from_epoch


def is_primary(observed: Observed, region: str, epoch: int) -> bool:
    """Whether any replica of the region has applied that it is primary of the epoch."""
    return any(replica.primary and replica.epoch == epoch for replica in observed.region(region).replicas)


def with_writes_resumed(intent: FailoverIntent, observed: Observed, now: datetime) -> FailoverIntent:
    """The same, with the moment since when the new primary acknowledges writes, once it is seen to hold its tenure.

    It is the moment of the look where the replica does not report for how long it has held it.
    """
    if intent.step is not Step.REPOINTING or intent.resumed_at is not None or intent.promoted is None:
        return intent
    leader = observed.leader(intent.promoted)
    if leader is None or not leader.writable or leader.epoch != intent.epoch or leader.lacks_tenure:
        return intent
    held_ms = leader.tenure.held_ms if leader.tenure is not None else None
    return replace(intent, resumed_at=now - timedelta(milliseconds=held_ms or 0))


def is_over(intent: FailoverIntent, now: datetime) -> bool:
    """Whether nothing is left to wait for once everybody knows the new primary: it acknowledges, or does not soon."""
    if intent.step is not Step.REPOINTING:
        return False
    return intent.resumed_at is not None or (now - promoted_at(intent)).total_seconds() >= TENURE_PATIENCE_SECONDS


def promoted_at(intent: FailoverIntent) -> datetime:
    """When the new primary was first seen to be primary."""
    return next(step.started_at for step in reversed(intent.steps) if step.name is Step.REPOINTING)


def _command(intent: FailoverIntent) -> Command | None:
    if intent.step is Step.DEMOTING:
        return DemoteCommand(intent.from_region, intent.epoch)
    if intent.step is Step.PROMOTING and intent.final_revision is not None:
        return PromoteCommand(intent.to_region, intent.epoch, intent.final_revision)
    if intent.step is Step.REVERTING:
        return PromoteCommand(intent.from_region, intent.epoch, intent.final_revision or 0)
    return None


def receipt_of(intent: FailoverIntent, now: datetime) -> Receipt:
    """The receipt of a change of primary, planned or not, that is over. Writes waited until the new primary held its
    tenure; until ``now`` at least, if it does not yet.
    """
    gap = (intent.resumed_at or now) - (intent.stopped_at or intent.started_at)
    return Receipt(
        trigger=intent.trigger,
        outcome=Outcome.ABORTED if intent.aborted else Outcome.SUCCEEDED,
        from_region=intent.from_region,
        to_region=intent.to_region,
        asked_for=intent.asked_for,
        epoch=intent.epoch,
        started_at=intent.started_at,
        finished_at=now,
        steps=intent.steps,
        final_revision=intent.final_revision,
        write_gap_seconds=max(0.0, round(gap.total_seconds(), 3)),
        revisions_lost=intent.revisions_lost,
        revisions_unacknowledged=intent.revisions_unacknowledged,
        acknowledged_kept=intent.acknowledged_kept,
        reason=intent.reason,
        mode=intent.mode,
    )


FIXED = ("trigger", "from_region", "from_epoch", "epoch", "started_at", "mode", "cut_off")
"""What no move changes."""


def check_step(before: FailoverIntent, after: FailoverIntent, moves: Mapping[Step, frozenset[Step]]) -> None:
    """Raises InvariantError unless the move is in the table and changes nothing that is fixed for every intent."""
    for name in FIXED:
        if getattr(before, name) != getattr(after, name):
            raise InvariantError(f"{name} changed from {getattr(before, name)!r} to {getattr(after, name)!r}")
    if after.step not in moves.get(before.step, frozenset()):
        raise InvariantError(f"no move leads from {before.step.value} to {after.step.value}")


def check_move(before: FailoverIntent, after: FailoverIntent) -> None:
    """Raises InvariantError unless the move is one of a switchover, whose target is fixed from the beginning."""
    check_step(before, after, MOVES)
    if after.to_region != before.to_region:
        raise InvariantError(f"to_region changed from {before.to_region!r} to {after.to_region!r}")
    if after.step is Step.PROMOTING and (after.final_revision is None or after.aborted):
        raise InvariantError("promotion without a final revision, or after an abort")
    if before.final_revision is not None and after.final_revision != before.final_revision:
        raise InvariantError("the final revision changed")


def check_command(intent: FailoverIntent, command: Command | None) -> None:
    """Raises InvariantError unless the command is what this step allows."""
    if isinstance(command, DemoteCommand):
        allowed = intent.step is Step.DEMOTING and command.region == intent.from_region
    elif isinstance(command, PromoteCommand):
        target = {Step.PROMOTING: intent.to_region, Step.REVERTING: intent.from_region}.get(intent.step)
        allowed = command.region == target and (
            intent.step is Step.REVERTING or command.min_revision == intent.final_revision
        )
    else:
        return
    if not allowed or command.epoch != intent.epoch or intent.epoch <= intent.from_epoch:
        raise InvariantError(f"{command} is not allowed in {intent.step.value} of epoch {intent.epoch}")
