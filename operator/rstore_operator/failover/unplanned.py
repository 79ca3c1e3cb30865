"""The unplanned failover as a state machine. Pure: state in, next state and at most one command out.

    Fencing ──majority promised──▶ Waiting ──grants have run out──▶ Promoting ──is primary──▶ Repointing ──▶ receipt
       ▲                              │                                 │
       └──── a higher epoch was promised meanwhile, or the chosen region is lost too: a new, higher epoch

It moves on as the planned switchover does (:mod:`rstore_operator.failover.planned`): the intent is persisted in
`.status`, conditional on the version that was read, before its command runs, and a crash is resumed from that alone.
What voters answered to a fence is kept in memory only; an operator that comes anew fences again, which is
idempotent, and waits anew.

Why two regions never acknowledge in two epochs at once: the old primary needs the grants of a majority; a majority has
promised the new epoch, so grants nothing to lower ones; the two share a voter, and its last grant has run out before
the promotion is recorded. The operator as witness promises by persisting the intent; its last grant may be of a
round that was offered just before, so it counts as running for one tenure after that.

``MOVES``: within one epoch the steps only go forward, and the only step that promotes names one region that never
changes. Going back to Fencing means a higher epoch: what was promoted in the one before is then fenced like any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from msgspec import structs
from rstore_api.domain.epochs import REVISION_JUMP
from rstore_api.domain.voters import WITNESS

from rstore_operator.facts.memory import Memory
from rstore_operator.facts.observed import FenceAnswer
from rstore_operator.facts.witness_tenure import CLOCK_MARGIN
from rstore_operator.failover.choice import NO_COPY, behind, last_known_revision, needed_absent, ranked
from rstore_operator.failover.loss_gate import NOTHING, Loss, expected_loss, loss_refusal
from rstore_operator.failover.lost import silence, writes_stopped_at
from rstore_operator.failover.planned import (
    FenceCommand,
    InvariantError,
    Progressed,
    PromoteCommand,
    check_step,
    is_over,
    is_primary,
    overtaken,
    overtaken_receipt,
    receipt_of,
    with_writes_resumed,
)
from rstore_operator.failover.scene import Clock, Rules, Scene
from rstore_operator.resource.state import (
    AUTOMATIC,
    FORCED,
    PLANNED,
    FailoverIntent,
    Step,
    StepTime,
    Trigger,
)

MOVES: dict[Step, frozenset[Step]] = {
    Step.FENCING: frozenset({Step.WAITING}),
    Step.WAITING: frozenset({Step.PROMOTING}),
    Step.PROMOTING: frozenset({Step.REPOINTING}),
    Step.REPOINTING: frozenset(),
}
RENEWABLE = frozenset({Step.FENCING, Step.WAITING, Step.PROMOTING})
MAX_STEPS = 32
"""Steps kept in an intent: one that is renewed again and again keeps the newest."""
RETRY_SECONDS = 0.2


def begin_unplanned(
    scene: Scene, mode: str, trigger: Trigger, to_region: str = "", *, reason: str = ""
) -> FailoverIntent:
    """The intent of a failover out of the present epoch. ``to_region`` is "" unless a person named one. A primary that
    answers and holds no tenure is not chosen again."""
    truth, now = scene.truth, scene.clock.now
    return FailoverIntent(
        trigger=trigger,
        from_region=truth.primary_region,
        to_region=to_region,
        asked_for=to_region,
        from_epoch=truth.epoch,
        epoch=scene.highest_epoch + 1,
        step=Step.FENCING,
        started_at=now,
        steps=(StepTime(Step.FENCING, now),),
        stopped_at=writes_stopped_at(scene),
        mode=mode,
        last_known_revision=last_known_revision(scene, truth.primary_region),
        reason=reason,
        cut_off=scene.without_primary,
    )


def convert(scene: Scene, intent: FailoverIntent, mode: str, to_region: str, *, reason: str) -> FailoverIntent:
    """The failover that a planned switchover turns into when the region it depends on is lost; its epoch is new.

    Whatever the switchover still promotes, by a command under way, is of the lower epoch, and fenced like any primary.
    """
    if intent.mode != PLANNED or intent.step is Step.REPOINTING:
        raise InvariantError(f"a {intent.mode} change of primary in {intent.step.value} is not turned into a failover")
    converted = structs.replace(
        intent,
        trigger=Trigger.ANNOTATION if mode == FORCED else Trigger.PRIMARY_LOST,
        to_region=to_region,
        asked_for=to_region or intent.asked_for,
        epoch=max(intent.epoch, scene.highest_epoch) + 1,
        step=Step.FENCING,
        steps=(*intent.steps, StepTime(Step.FENCING, scene.clock.now)),
        stopped_at=intent.stopped_at or intent.started_at,
        final_revision=None,
        promoted=None,
        aborted=False,
        reason=reason,
        mode=mode,
        last_known_revision=max(last_known_revision(scene, intent.from_region), intent.final_revision or 0),
    )
    check_renewal(intent, converted)
    return converted


def advance_unplanned(scene: Scene, intent: FailoverIntent, *, announced: bool) -> Progressed:
    """Move on as far as what was observed allows. ``announced`` is as in
    :func:`rstore_operator.failover.planned.advance`."""
    observed, now = scene.observed, scene.clock.now
    newer = overtaken(intent, observed)
    if newer is not None:
        return Progressed(None, receipt=overtaken_receipt(intent, newer, now))
    renewed = _renewed(scene, intent)
    if renewed is not None:
        check_renewal(intent, renewed)
        intent = renewed
    if intent is not scene.status.failover:  # not in `.status` yet
        scene = replace(scene, clock=replace(scene.clock, recorded_at_seconds=None))
    blocked = ""
    for _ in MOVES:  # every move leads to a later step, so this ends
        following, blocked = _follow(scene, intent)
        if following is None:
            break
        check_move(scene, intent, following)
        intent = following
    intent = with_writes_resumed(intent, observed, now)
    if announced and is_over(intent, now):
        return Progressed(None, receipt=receipt_of(intent, now))
    command = _command(scene, intent)
    check_command(intent, command)
    return Progressed(intent, command, blocked=blocked, requeue_seconds=_pause(scene, intent))


def answers(intent: FailoverIntent, memory: Memory) -> dict[str, FenceAnswer]:
    """The voters that this process has fenced for this very epoch."""
    return {name: answer for name, answer in memory.fences.items() if answer.epoch == intent.epoch}


def fenced(scene: Scene, intent: FailoverIntent) -> frozenset[str]:
    """The voters that have promised; the witness has once the intent is in `.status`, unless it does not know whether
    it promised this epoch, or a later one, before the status was lost."""
    promised = scene.clock.recorded_at_seconds is not None and not scene.witness_has_forgotten
    return frozenset(answers(intent, scene.memory)) | ({WITNESS} if promised else set())


def clear(scene: Scene, intent: FailoverIntent) -> frozenset[str]:
    """The fenced voters of which no grant to a lower epoch can run any more."""
    seconds, positions = scene.clock.seconds, answers(intent, scene.memory)
    running = {name for name, answer in positions.items() if seconds < answer.clear_at_seconds}
    if seconds < _witness_clear_at(scene.clock, scene.rules.tenure_ms):
        running.add(WITNESS)
    return fenced(scene, intent) - running


def _witness_clear_at(clock: Clock, tenure_ms: int) -> float:
    return (clock.recorded_at_seconds or 0.0) + tenure_ms / 1000 * CLOCK_MARGIN


def _renewed(scene: Scene, intent: FailoverIntent) -> FailoverIntent | None:
    """The same failover in a new epoch, where the present one cannot come to an end any more."""
    if intent.step not in RENEWABLE:
        return None
    chosen_is_lost = intent.step is Step.PROMOTING and _chosen_is_lost(scene, intent)
    above = [replica for replica in scene.observed.replicas() if replica.promised_epoch > intent.epoch]
    if intent.step is Step.PROMOTING:
        above = [replica for replica in above if replica.region == intent.to_region]
    if above:
        reason = f"{above[0].region} has promised epoch {above[0].promised_epoch} meanwhile"
    elif chosen_is_lost:
        reason = f"{intent.to_region} was lost before it was primary"
    else:
        return None
    steps = (*intent.steps, StepTime(Step.FENCING, scene.clock.now))[-MAX_STEPS:]
    asked_for = intent.asked_for or intent.to_region
    asked_is_lost = chosen_is_lost and asked_for == intent.to_region
    to_region = asked_for if intent.mode == FORCED and not asked_is_lost else ""
    return structs.replace(
        intent, epoch=max(intent.epoch, scene.highest_epoch) + 1, step=Step.FENCING, steps=steps, to_region=to_region,
        final_revision=None, reason=reason,
    )  # fmt: skip


def _chosen_is_lost(scene: Scene, intent: FailoverIntent) -> bool:
    """Whether the region that is being promoted has had no leader for the failover delay, or came back without data:
    no region is chosen that has not received anything."""
    quiet, chosen = silence(scene, intent.to_region, intent.epoch), scene.observed.leader(intent.to_region)
    return (chosen is not None and chosen.epoch == 0) or (quiet is not None and quiet.lost)


def _follow(scene: Scene, intent: FailoverIntent) -> tuple[FailoverIntent | None, str]:
    """The same intent one step further, or None and what it waits for in vain."""
    voters, clock = scene.voters, scene.clock
    if intent.step in (Step.FENCING, Step.WAITING):
        present = fenced(scene, intent) | scene.absent
        if not voters.decides(present):  # in Waiting: a new operator, or a new voter; they are fenced again
            return None, "" if clock.recorded_at_seconds is None else voters.shortfall(present)
        if intent.step is Step.FENCING:
            return _enter(intent, Step.WAITING, clock.now), ""
        if not voters.decides(clear(scene, intent) | scene.absent):
            return None, ""
        return _choose(scene, intent)
    if intent.step is Step.PROMOTING and is_primary(scene.observed, intent.to_region, intent.epoch):
        return _enter(structs.replace(intent, promoted=intent.to_region), Step.REPOINTING, clock.now), ""
    return None, ""


def _choose(scene: Scene, intent: FailoverIntent) -> tuple[FailoverIntent | None, str]:
    rules, clock = scene.rules, scene.clock
    positions = answers(intent, scene.memory)
    order = ranked(positions.values(), rules.priorities)
    if not order:
        return None, NO_COPY
    others = [answer for answer in order if not intent.cut_off or answer.region != intent.from_region]
    source = next((answer for answer in order if answer not in others), None)
    if order[0].data_epoch > intent.from_epoch:
        source = None  # an attempt before made another primary: this one does not hold all that is acknowledged
    chosen, called_off = (others or order)[0], "" if others else "no other region holds a copy of the store"
    if not others and source is not None:
        return _promoting(intent, source, NOTHING, rules, clock, aborted=called_off), ""
    if intent.mode == FORCED and intent.to_region:
        named = next((answer for answer in others if answer.region == intent.to_region), None)
        refusal = _refusal(named, intent, chosen, rules)
        if named is not None and not refusal:
            chosen = named
        elif chosen.region != intent.to_region:
            # The old primary is fenced already: nothing is served by leaving the store without one.
            called_off = f"{refusal}; {chosen.region} has most data and takes over instead"
    elif intent.mode == FORCED and intent.asked_for not in ("", chosen.region):
        called_off = f"{intent.reason}; {chosen.region} has most data and takes over instead"
    loss = expected_loss(
        intent.from_region, intent.from_epoch, intent.last_known_revision, chosen, positions.values(),
        scene.memory, scene.voters, rules, final=True,
    )  # fmt: skip
    absent = needed_absent(scene, clear(scene, intent))
    refusal = loss_refusal(loss, chosen.region, intent.from_region, intent.from_epoch, rules, absent)
    refusal = refusal or _held_elsewhere(intent, chosen, positions, rules)
    if refusal and source is not None:  # the store is not left without a primary
        return _promoting(intent, source, NOTHING, rules, clock, aborted=refusal), ""
    if refusal:
        return None, refusal
    return _promoting(intent, chosen, loss, rules, clock, aborted=called_off), ""


def _held_elsewhere(
    intent: FailoverIntent, chosen: FenceAnswer, positions: Mapping[str, FenceAnswer], rules: Rules
) -> str:
    """Why the choice has to wait for a region that was fenced, holds more, and is not known as a region of the store at
    this moment: it was to be removed, and has not answered since. "" when there is none, or the loss is accepted."""
    outside = [answer for name, answer in positions.items() if name not in rules.priorities]
    best = max(outside, key=lambda answer: (answer.data_epoch, answer.revision), default=chosen)
    if rules.loss_accepted or (best.data_epoch, best.revision) <= (chosen.data_epoch, chosen.revision):
        return ""
    return (
        f"{best.region}, which is not in spec.regions, is at revision {best.revision} of epoch {best.data_epoch}, "
        f"{chosen.region} at {chosen.revision} of {chosen.data_epoch}; bring {best.region} back, or accept the loss by "
        f'accept-data-loss: "{intent.from_epoch}"'
    )


def _promoting(
    intent: FailoverIntent, chosen: FenceAnswer, loss: Loss, rules: Rules, clock: Clock, *, aborted: str
) -> FailoverIntent:
    """The choice; ``aborted`` says why it is not what was asked for."""
    promoting = structs.replace(
        intent, to_region=chosen.region, final_revision=chosen.revision, aborted=bool(aborted),
        reason=aborted or intent.reason, revisions_lost=loss.revisions or 0,
        revisions_unacknowledged=loss.unacknowledged, acknowledged_kept=rules.semi_sync and loss.certain,
    )  # fmt: skip
    return _enter(promoting, Step.PROMOTING, clock.now)


def _refusal(named: FenceAnswer | None, intent: FailoverIntent, best: FenceAnswer, rules: Rules) -> str:
    """Why the region that a person named is not promoted; "" when it may be."""
    if rules.abort:
        return "called off on request"
    if named is None:
        return f"{intent.to_region} was not reached, or holds no copy of the store"
    return behind(named, best, intent.from_epoch, rules)


def _enter(intent: FailoverIntent, step: Step, now: datetime) -> FailoverIntent:
    return structs.replace(intent, step=step, steps=(*intent.steps, StepTime(step, now))[-MAX_STEPS:])


def _command(scene: Scene, intent: FailoverIntent) -> FenceCommand | PromoteCommand | None:
    if intent.step in (Step.FENCING, Step.WAITING):
        unfenced = sorted(scene.voters.regions - answers(intent, scene.memory).keys())
        leaders = {name: scene.observed.leader(name) for name in unfenced}
        missing = [name for name, leader in leaders.items() if leader is not None and leader.store_id]
        return FenceCommand(tuple(missing), intent.epoch) if missing else None
    if intent.step is Step.PROMOTING and intent.final_revision is not None:
        return PromoteCommand(intent.to_region, intent.epoch, intent.final_revision, REVISION_JUMP)
    return None


def _pause(scene: Scene, intent: FailoverIntent) -> float | None:
    """How long looking again is of no use; None when every moment counts."""
    clock = scene.clock
    if intent.step is Step.WAITING:
        moments = [answer.clear_at_seconds for answer in answers(intent, scene.memory).values()]
        if scene.voters.witness and clock.recorded_at_seconds is not None:
            moments.append(_witness_clear_at(clock, scene.rules.tenure_ms))
        ahead = [moment - clock.seconds for moment in moments if moment > clock.seconds]
        return min([RETRY_SECONDS, *ahead])
    return RETRY_SECONDS / 4 if intent.step is Step.FENCING else None


def check_move(scene: Scene, before: FailoverIntent, after: FailoverIntent) -> None:
    """Raises InvariantError unless the move is in the table, and a promotion has its majority and its wait."""
    check_step(before, after, MOVES)
    choice = (after.to_region, after.final_revision)
    if before.step is Step.PROMOTING and choice != (before.to_region, before.final_revision):
        raise InvariantError("the choice changed")
    if after.step is Step.PROMOTING:
        if after.final_revision is None or not after.to_region:
            raise InvariantError("promotion without a choice")
        if after.cut_off and after.to_region == after.from_region and not after.aborted:
            raise InvariantError("a primary that is cut off takes over from itself")
        if not scene.voters.decides(clear(scene, after) | scene.absent):
            raise InvariantError("promotion before a majority was fenced and its grants had run out")


def check_renewal(before: FailoverIntent, after: FailoverIntent) -> None:
    """Raises InvariantError unless the failover begins anew in a higher epoch."""
    if after.step is not Step.FENCING or after.epoch <= before.epoch or after.mode not in (AUTOMATIC, FORCED):
        raise InvariantError(f"no way back from {before.step.value} of {before.epoch} to epoch {after.epoch}")
    if (after.from_region, after.from_epoch) != (before.from_region, before.from_epoch):
        raise InvariantError("the region that is left changed")


def check_command(intent: FailoverIntent, command: FenceCommand | PromoteCommand | None) -> None:
    """Raises InvariantError unless the command is what this step allows."""
    if isinstance(command, FenceCommand):
        allowed = intent.step in (Step.FENCING, Step.WAITING)
    elif isinstance(command, PromoteCommand):
        choice = (intent.to_region, intent.final_revision)
        allowed = intent.step is Step.PROMOTING and (command.region, command.min_revision) == choice
        allowed = allowed and command.revision_jump == REVISION_JUMP
    else:
        return
    if not allowed or command.epoch != intent.epoch or intent.epoch <= intent.from_epoch:
        raise InvariantError(f"{command} is not allowed in {intent.step.value} of epoch {intent.epoch}")


def witness_promise(intent: FailoverIntent | None) -> int:
    """The epoch that is promised by persisting this intent in `.status`."""
    return 0 if intent is None or intent.mode == PLANNED else intent.epoch
