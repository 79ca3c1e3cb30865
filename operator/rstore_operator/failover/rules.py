"""What a request or a fault comes to: ordered tables of rules. Pure.

A rule is a function of the scene; its docstring says what it decides. In each table the first rule that decides wins. A
table that begins a change of primary is the last one: the tables after it are not asked. The dry run asks the table of
``failover-to``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

from msgspec import structs
from rstore_api.domain import kubernetes as names

from rstore_operator.facts.actions import Notice
from rstore_operator.facts.observed import Observed, Progress
from rstore_operator.facts.truth import Truth
from rstore_operator.facts.without_tenure import streams_to
from rstore_operator.facts.witness_tenure import CLOCK_MARGIN
from rstore_operator.failover.annotations import Checked, Refusal
from rstore_operator.failover.choice import NO_COPY, behind, candidates, last_known_revision, loss_in, shortfall
from rstore_operator.failover.lost import Silence, cut_off, ending, is_apart, silence, unfinished, unrenewed_seconds
from rstore_operator.failover.planned import ABORTABLE, begin
from rstore_operator.failover.scene import Scene
from rstore_operator.failover.unplanned import begin_unplanned, convert
from rstore_operator.planning.hashes import warning_of
from rstore_operator.resource.state import AUTOMATIC, FORCED, PLANNED, FailoverIntent, Outcome, Receipt, Step, Trigger

ANSWER_SECONDS = 5.0
"""A region that has been silent for less than this may just not have answered yet."""
LEFT_OVER_SECONDS = 10.0
"""For this long after a switchover its request counts as answered by it."""
FAILBACK_AFTER_SECONDS = 10.0
"""How long after a failover the primary moves back at the earliest."""
FAILBACK_LAG_SECONDS = 1.0
SUSPICIOUS_SECONDS = 10.0
"""A primary without its tenure is looked at often for this long."""
RETRY_AFTER_SECONDS = 30.0
"""After a move out of an ending region that was given up, the next one begins not before this."""
CLOSE_SECONDS = 1.0
"""Regions that are behind by less than this count as equally near."""


@dataclass(frozen=True)
class Begin:
    """A change of primary begins. ``reported``: the condition RequestAccepted says so."""

    intent: FailoverIntent
    reported: bool = True


@dataclass(frozen=True)
class Refuse:
    """The request is answered with a Warning and taken off."""

    reason: str
    message: str


@dataclass(frozen=True)
class Wait:
    """Something is wanted and cannot begin yet; the condition FailoverBlocked says why."""

    reason: str
    message: str


@dataclass(frozen=True)
class Done:
    """The request has been carried out already, and is taken off."""

    message: str


Decision = Begin | Refuse | Wait | Done
Rule = Callable[[Scene], Decision | None]


@dataclass(frozen=True)
class Answer:
    """What all requests and faults come to."""

    intent: FailoverIntent | None
    preferred_primary: str
    remove: Mapping[str, str] = field(default_factory=dict)
    notices: tuple[Notice, ...] = ()
    blocked: str = ""
    """Why the change of primary that is asked for, or needed, cannot begin yet."""
    blocked_reason: str = ""
    suspicious: bool = False
    """Whether the primary region may have to be replaced soon, so that it is looked at more often."""
    rejected: tuple[str, str] | None = None
    """Reason and message for the condition, when a request was refused."""
    accepted: bool = False
    dry_run: tuple[bool, str] | None = None


# ------------------------------------------------------------------------------------------ abort-failover
def nothing_to_abort(scene: Scene) -> Decision | None:
    """No change of primary is under way: refused."""
    return None if scene.status.failover else Refuse("NothingToAbort", "there is no switchover to abort")


def automatic_is_not_aborted(scene: Scene) -> Decision | None:
    """The failover under way is automatic: refused, the old primary has lost its tenure."""
    intent = scene.status.failover
    if intent is None or intent.mode != AUTOMATIC or intent.step is Step.REPOINTING:
        return None
    return Refuse("NothingToAbort", "an automatic failover is not called off: the old primary has lost its tenure")


def too_late_to_abort(scene: Scene) -> Decision | None:
    """The new primary is being promoted: refused."""
    intent = scene.status.failover
    if intent is None or intent.step in ABORTABLE or intent.aborted:
        return None
    message = f"too late to abort: {intent.to_region} is being promoted, or is primary already"
    return Refuse("TooLateToAbort", message)


# ------------------------------------------------------------------------------------------ failover-to
def store_is_not_running(scene: Scene) -> Decision | None:
    """No region is primary yet: refused."""
    return None if scene.truth.epoch else Refuse("NotBootstrapped", "the store is not running yet")


def left_over(scene: Scene) -> Decision | None:
    """The change of primary that was asked for has just ended: done."""
    target, last = _target(scene), _last(scene)
    if target != scene.truth.primary_region or last is None or last.epoch != scene.truth.epoch:
        return None
    if takes_the_planned_way(scene):
        age_seconds = (scene.clock.now - last.finished_at).total_seconds()
        own = last.outcome is Outcome.SUCCEEDED and age_seconds < LEFT_OVER_SECONDS
    else:
        own = last.to_region == target
    return Done(f"{target} is primary already") if own else None


def already_primary(scene: Scene) -> Decision | None:
    """The named region is primary: refused."""
    target = _target(scene)
    return Refuse("AlreadyPrimary", f"{target} is primary already") if target == scene.truth.primary_region else None


def switchover_waits(scene: Scene) -> Decision | None:
    """A switchover is not possible, for less than 5 s: waits. A forced one goes on to the rules of the forced."""
    obstacle = _planned_obstacle(scene)
    if not obstacle or scene.commands.forced or not _just_silent(scene):
        return None
    return Wait("SwitchoverBlocked", obstacle)


def switchover_refused(scene: Scene) -> Decision | None:
    """A switchover is not possible: refused."""
    obstacle = _planned_obstacle(scene)
    return Refuse("SwitchoverRefused", obstacle) if obstacle and not _just_silent(scene) else None


def switchover_begins(scene: Scene) -> Decision | None:
    """The primary can hand over to the named region: a switchover begins."""
    if not takes_the_planned_way(scene) or _planned_obstacle(scene):
        return None
    return Begin(_switchover(scene, Trigger.ANNOTATION, _target(scene)))


def forced_lacks_voters(scene: Scene) -> Decision | None:
    """Forced, and fewer voters than a majority can be reached: waits."""
    missing = shortfall(scene)
    return Wait("NoMajority", f"forced failover to {_target(scene)}: {missing}") if missing else None


def named_has_no_copy(scene: Scene) -> Decision | None:
    """Forced, and the named region does not answer or holds no copy: refused."""
    if any(position.region == _target(scene) for position in candidates(scene)):
        return None
    return Refuse("FailoverRefused", f"{_target(scene)} has no leader that answers, or holds no copy of the store")


def named_is_behind(scene: Scene) -> Decision | None:
    """Forced, and another region holds more than the named one, the loss of which is not accepted: refused."""
    order = candidates(scene)
    named = next(position for position in order if position.region == _target(scene))
    refusal = behind(named, order[0], scene.truth.epoch, scene.rules)
    return Refuse("FailoverRefused", refusal) if refusal else None


def forced_begins(scene: Scene) -> Decision | None:
    """Forced: a failover to the named region begins."""
    return Begin(_failover(scene, FORCED, Trigger.ANNOTATION, _target(scene)))


# ------------------------------------------------------------------------------------------ spec.primaryRegion
def edited_primary(scene: Scene) -> Decision | None:
    """``spec.primaryRegion`` was edited: a switchover begins, or waits until it can."""
    home = scene.spec.primary_region if scene.spec else ""
    if not scene.status.preferred_primary or home in (scene.status.preferred_primary, scene.truth.primary_region):
        return None
    blocked = obstacles(home, scene.observed, scene.truth)
    return Wait("SwitchoverBlocked", blocked) if blocked else Begin(_switchover(scene, Trigger.SPEC, home))


# ------------------------------------------------------------------------------------------ the primary is ending
def leave_ending_region(scene: Scene) -> Decision | None:
    """The primary region is being stopped: a switchover begins to the connected region that is nearest."""
    primary, last = scene.truth.primary_region, _last(scene)
    why, target = ending(primary, scene.observed), _nearest(scene)
    if not why or target is None or scene.failover.policy != "Automatic":
        return None
    given_up = last is not None and last.outcome is Outcome.ABORTED and last.from_region == primary
    if given_up and last is not None and (scene.clock.now - last.finished_at).total_seconds() < RETRY_AFTER_SECONDS:
        return None
    intent, source = _switchover(scene, Trigger.PRIMARY_STOPPING, target), scene.observed.leader(primary)
    if source is not None and source.ending:
        stopped_at = scene.clock.now - timedelta(seconds=source.ending_seconds)
        intent = structs.replace(intent, stopped_at=stopped_at)
    return Begin(structs.replace(intent, reason=why), reported=False)


# ------------------------------------------------------------------------------------------ lost, or cut off
def policy_is_manual(scene: Scene) -> Decision | None:
    """The primary region is lost or cut off, and the policy is Manual: waits for a person."""
    primary = scene.truth.primary_region
    if scene.failover.policy == "Automatic" or not _is_missed(scene):
        return None
    if _silence(scene) is not None:
        return Wait(
            "PolicyManual",
            f"{primary} is lost and spec.failover.policy is Manual; fail over by failover-to with "
            "failover-mode: forced",
        )
    return Wait(
        "PolicyManual",
        f"{primary} is cut off from a majority of the regions and spec.failover.policy is Manual; bring back the "
        "network, or fail over by failover-to with failover-mode: forced",
    )


def failover_lacks_voters(scene: Scene) -> Decision | None:
    """The primary region is lost or cut off, and fewer voters than a majority can be reached: waits."""
    missing = shortfall(scene) if _is_missed(scene) else ""
    return Wait("NoMajority", missing) if missing else None


def tenure_in_doubt(scene: Scene) -> Decision | None:
    """The operator does not reach the primary region, and others may still see its tenure renewed: waits."""
    quiet = _silence(scene)
    return Wait("TenureInDoubt", quiet.doubt) if quiet and not quiet.lost and _is_missed(scene) else None


def no_copy(scene: Scene) -> Decision | None:
    """The primary region is lost or cut off, and no region that answers holds a copy: waits."""
    return Wait("NoCopy", NO_COPY) if _is_missed(scene) and not candidates(scene) else None


def loss_gate_is_shut(scene: Scene) -> Decision | None:
    """The primary region is lost or cut off, and the best region may lack more than may be lost: waits."""
    refusal = loss_in(scene, candidates(scene)[0])[1] if _is_missed(scene) else ""
    return Wait("DataLoss", refusal) if refusal else None


def failover_begins(scene: Scene) -> Decision | None:
    """The primary region is lost or cut off: a failover begins."""
    if not _is_missed(scene):
        return None
    if _silence(scene) is not None:
        return Begin(_failover(scene, AUTOMATIC, Trigger.PRIMARY_LOST))
    reason = f"{scene.truth.primary_region} is cut off: {_cut_off(scene)}"
    return Begin(_failover(scene, AUTOMATIC, Trigger.TENURE_LOST, reason=reason))


# ------------------------------------------------------------------------------------------ unfinished, failback
def finish_what_was_begun(scene: Scene) -> Decision | None:
    """Regions promised an epoch that nobody brings about: a failover begins, whatever the policy, or waits for voters.

    The old primary is chosen again if it has most data.
    """
    reason = unfinished(
        scene.truth, scene.observed, scene.memory, scene.voters, delay_ms=scene.failover.failover_delay_ms,
        now=scene.clock.now,
    )  # fmt: skip
    if not reason:
        return None
    missing = shortfall(scene)
    if missing:
        return Wait("NoMajority", missing)
    intent = _failover(scene, AUTOMATIC, Trigger.PRIMARY_LOST, reason=reason)
    return Begin(structs.replace(intent, cut_off=False))


def failback(scene: Scene) -> Decision | None:
    """The region that is preferred is whole and close again after a change that nobody asked for: a switchover back
    begins, once."""
    last, truth = _last(scene), scene.truth
    if scene.spec is None or scene.failover.failback != "Automatic" or last is None:
        return None
    home = scene.spec.primary_region
    unasked = last.mode != PLANNED or last.trigger is Trigger.PRIMARY_STOPPING
    if last.outcome is not Outcome.SUCCEEDED or not unasked or home == last.to_region:
        return None
    if last.to_region != truth.primary_region or obstacles(home, scene.observed, truth):
        return None
    lag, wanted = _progress(scene, home), scene.spec.region(home)
    whole = wanted is not None and scene.observed.region(home).ready_pods >= wanted.replicas
    close = lag is not None and lag.connected and lag.lag_seconds < FAILBACK_LAG_SECONDS
    rested = (scene.clock.now - last.finished_at).total_seconds() >= FAILBACK_AFTER_SECONDS
    return Begin(_switchover(scene, Trigger.FAILBACK, home)) if whole and close and rested else None


# ------------------------------------------------------------------------------------------ a switchover under way
def switchover_loses_its_region(scene: Scene) -> Decision | None:
    """A switchover lost the region it depends on: it turns into a failover, or waits for voters. When that region comes
    back before, the switchover goes on."""
    intent = scene.status.failover
    if intent is None or intent.mode != PLANNED or intent.step is Step.REPOINTING:
        return None
    needed, epoch = intent.from_region, intent.from_epoch
    if intent.step is Step.PROMOTING:
        needed, epoch = intent.to_region, intent.epoch
    forced = (
        scene.commands.forced and _target(scene) in scene.regions and scene.observed.leader(needed) is None
    )  # fmt: skip
    quiet = _silence_of(scene, needed, epoch)
    if not forced and (quiet is None or not quiet.lost or scene.failover.policy != "Automatic"):
        return None
    missing = shortfall(scene)
    if missing:
        return Wait("NoMajority", missing)
    converted = convert(
        intent,
        FORCED if forced else AUTOMATIC,
        _target(scene) if forced else "",
        highest_epoch=_highest_epoch(scene),
        clock=scene.clock,
        last_known_revision=last_known_revision(scene, intent.from_region),
        reason=f"{needed} was lost while the switchover was {intent.step.value}",
    )
    return Begin(converted, reported=False)


ABORT: tuple[Rule, ...] = (nothing_to_abort, automatic_is_not_aborted, too_late_to_abort)
SWITCHOVER: tuple[Rule, ...] = (
    store_is_not_running, left_over, already_primary, switchover_waits, switchover_refused, switchover_begins,
)  # fmt: skip
FORCED_FAILOVER: tuple[Rule, ...] = (
    left_over, already_primary, forced_lacks_voters, named_has_no_copy, named_is_behind, forced_begins,
)  # fmt: skip
SPEC: tuple[Rule, ...] = (edited_primary,)
ENDING: tuple[Rule, ...] = (leave_ending_region,)
LOST: tuple[Rule, ...] = (
    policy_is_manual, failover_lacks_voters, tenure_in_doubt, no_copy, loss_gate_is_shut, failover_begins,
)  # fmt: skip
UNFINISHED: tuple[Rule, ...] = (finish_what_was_begun,)
FAILBACK: tuple[Rule, ...] = (failback,)
UNDER_WAY: tuple[Rule, ...] = (switchover_loses_its_region,)


def first(rules: tuple[Rule, ...], scene: Scene) -> Decision | None:
    """The decision of the first rule that decides."""
    return next((decision for rule in rules if (decision := rule(scene)) is not None), None)


def request(scene: Scene) -> Decision | None:
    """What ``failover-to`` comes to; a forced one takes the planned way where that is possible."""
    decision = first(SWITCHOVER, scene) if takes_the_planned_way(scene) else None
    if decision is None and scene.commands.forced and scene.truth.epoch:
        decision = first(FORCED_FAILOVER, scene)
    return decision


def decide(scene: Scene, checked: Checked) -> Answer:
    """Answer every request on the object, and say what faults come to. A request that was taken off by its check is
    not in ``scene``."""
    commands, status, refusals = scene.commands, scene.status, list(checked.refusals)
    remove, notices = dict(checked.removed), []
    dry_run = next(((False, one.message) for one in refusals if one.annotation == names.FAILOVER_DRY_RUN), None)
    if commands.abort_failover is not None and isinstance(aborted := first(ABORT, scene), Refuse):
        refusals.append(Refusal(names.ABORT_FAILOVER, commands.abort_failover, aborted.reason, aborted.message))
    if commands.dry_run is not None:
        dry_run = _dry_run(scene, commands.dry_run)
        remove[names.FAILOVER_DRY_RUN] = commands.dry_run
        notices.append(Notice("DryRun", dry_run[1], warning=not dry_run[0]))
    asked, decisions = _decisions(scene)
    if isinstance(asked, Refuse):
        kind = "failover-to" if takes_the_planned_way(scene) else "failover-to, forced"
        refusals.append(Refusal(names.FAILOVER_TO, _target(scene), asked.reason, f"{kind}: {asked.message}"))
        parts = {names.ACCEPT_DATA_LOSS: commands.accept_data_loss, names.FAILOVER_MODE: commands.failover_mode}
        remove |= {name: value for name, value in parts.items() if value is not None}
    elif isinstance(asked, Done):
        parts = {names.FAILOVER_TO: commands.failover_to, names.FAILOVER_MODE: commands.failover_mode}
        remove |= {name: value for name, value in parts.items() if value is not None}
    begun = next((decision for decision in decisions if isinstance(decision, Begin)), None)
    waits = [decision for decision in decisions if isinstance(decision, Wait)] if begun is None else []
    return Answer(
        intent=begun.intent if begun else status.failover,
        preferred_primary=_preferred(scene, begun),
        remove=remove | {refusal.annotation: refusal.value for refusal in refusals},
        notices=(*(Notice(one.reason, one.message, warning=True) for one in refusals), *notices),
        blocked=waits[-1].message if waits else "",
        blocked_reason=waits[-1].reason if waits else "",
        suspicious=_suspicious(scene),
        rejected=(refusals[0].reason, "; ".join(one.message for one in refusals)) if refusals else None,
        accepted=begun is not None and begun.reported,
        dry_run=dry_run,
    )


def _decisions(scene: Scene) -> tuple[Decision | None, list[Decision]]:
    """What ``failover-to`` comes to, and all that is decided until something begins."""
    commands, asked = scene.commands, None
    if commands.paused:
        return None, []
    if scene.status.failover is not None:
        rescued = first(UNDER_WAY, scene) if scene.truth.epoch else None
        return None, [rescued] if rescued else []
    decisions: list[Decision] = []
    if commands.failover_to is not None:
        asked = request(scene)
        decisions += [asked] if asked else []
    for table in _tables(scene):
        if any(isinstance(decision, Begin) for decision in decisions):
            break
        decision = first(table, scene)
        decisions += [decision] if decision else []
    return asked, decisions


def _tables(scene: Scene) -> tuple[tuple[Rule, ...], ...]:
    """What may begin without an annotation: nothing without a valid spec, and less while somebody forces a failover."""
    if scene.spec is None or not scene.truth.epoch:
        return ()
    forcing = scene.commands.forced and scene.commands.failover_to is not None
    return (SPEC, UNFINISHED, FAILBACK) if forcing else (SPEC, ENDING, LOST, UNFINISHED, FAILBACK)


def _preferred(scene: Scene, begun: Begin | None) -> str:
    """The ``spec.primaryRegion`` that has been carried out."""
    before = scene.status.preferred_primary
    if scene.commands.paused or scene.status.failover is not None or scene.spec is None or not scene.truth.epoch:
        return before
    home = scene.spec.primary_region
    by_spec = begun is not None and begun.intent.trigger is Trigger.SPEC
    return home if not before or home == scene.truth.primary_region or by_spec else before


def _suspicious(scene: Scene) -> bool:
    """Whether the primary region may have to be replaced soon."""
    primary = scene.truth.primary_region
    if LOST not in _tables(scene) or scene.commands.paused or scene.status.failover is not None:
        return False
    without_seconds = scene.memory.without_tenure_seconds.get(primary)
    limit_seconds = SUSPICIOUS_SECONDS + scene.failover.failover_delay_ms / 1000
    lacking = without_seconds is not None and without_seconds < limit_seconds
    return lacking or _silence(scene) is not None or bool(ending(primary, scene.observed))


# ------------------------------------------------------------------------------------------ dry run
def _dry_run(scene: Scene, target: str) -> tuple[bool, str]:
    """Whether ``failover-to`` with that region would begin a change of primary now, and what it would cost."""
    truth, under_way = scene.truth, scene.status.failover is not None
    lost = scene.observed.leader(truth.primary_region) is None or is_apart(target, scene.observed, scene.memory, truth)
    forced = bool(truth.epoch) and target != truth.primary_region and lost
    mode = "forced" if forced else None
    asked = replace(scene, commands=replace(scene.commands, failover_to=target, failover_mode=mode))
    decision = request(asked)
    blocked = "" if decision is None or isinstance(decision, Begin) else decision.message
    if not forced:
        blocked = "a switchover is under way" if under_way and target != truth.primary_region else blocked
        if blocked:
            return False, f"a switchover to {target} would be refused: {blocked}"
        lag = _progress(scene, target)
        missing = f"{lag.lag_revisions} revisions, {lag.lag_bytes} bytes" if lag else "unknown"
        return True, (
            f"a switchover from {truth.primary_region} to {target} would begin epoch {truth.highest_epoch + 1}, "
            f"lose nothing, and stop writes for about {(lag.lag_seconds if lag else 0.0) + 0.2:.1f} s (still to be "
            f"sent: {missing})" + warning_of(scene.status, target)
        )
    order = candidates(scene)
    winner = order[0].region if order else "nobody"
    named = next((position for position in order if position.region == target), None)
    blocked = "a change of primary is under way" if under_way else blocked
    if named is None or under_way or isinstance(decision, Wait):
        return False, f"a failover to {target} would be blocked: {blocked}; {winner} would win"
    loss, gate = loss_in(scene, named)
    blocked = gate or blocked
    why = "holds no tenure and is cut off" if scene.without_primary else "cannot be asked"
    return not blocked, (
        f"{truth.primary_region} {why}; a forced failover to {target} would begin epoch "
        f"{truth.highest_epoch + 1}, may lose {loss}, and writes would go on after about "
        f"{_longest_grant_seconds(scene) + 0.5:.1f} s; by itself {winner} would win"
        + (f"; blocked: {blocked}" if blocked else "")
        + warning_of(scene.status, target)
    )


def _longest_grant_seconds(scene: Scene) -> float:
    asked = scene.voters.regions - ({scene.truth.primary_region} if scene.without_primary else set())
    leaders = [scene.observed.leader(name) for name in asked]
    running = [leader.granted.remaining_ms for leader in leaders if leader is not None and leader.granted is not None]
    if scene.voters.witness:
        running.append(scene.rules.tenure_ms)
    return max(running, default=scene.rules.tenure_ms) / 1000 * CLOCK_MARGIN


# ------------------------------------------------------------------------------------------ what rules ask
def takes_the_planned_way(scene: Scene) -> bool:
    """Whether a forced failover need not be one: the primary can hand over, and nobody accepted to lose anything."""
    if not scene.commands.forced:
        return True
    source = scene.observed.leader(scene.truth.primary_region)
    apart = is_apart(_target(scene), scene.observed, scene.memory, scene.truth)
    accepted = scene.commands.accepted_epoch == scene.truth.epoch
    return source is not None and source.writable and not apart and not accepted


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


def _planned_obstacle(scene: Scene) -> str:
    return obstacles(_target(scene), scene.observed, scene.truth)


def _just_silent(scene: Scene) -> bool:
    """Whether a region is silent for so short that its silence may be an election, or an operator that just began."""
    primary, now = scene.truth.primary_region, scene.clock.now
    silent_since = [scene.memory.silent_since.get(region) for region in (primary, _target(scene))]
    seconds = [(now - since).total_seconds() for since in silent_since if since is not None]
    seconds.append(scene.memory.without_tenure_seconds.get(primary, ANSWER_SECONDS))
    return min(seconds) < ANSWER_SECONDS


def _silence_of(scene: Scene, region: str, epoch: int) -> Silence | None:
    delay_ms = scene.failover.failover_delay_ms
    return silence(
        region, epoch, scene.observed, scene.memory, scene.voters, delay_ms=delay_ms, now=scene.clock.now
    )  # fmt: skip


def _silence(scene: Scene) -> Silence | None:
    return _silence_of(scene, scene.truth.primary_region, scene.truth.epoch)


def _cut_off(scene: Scene) -> str:
    cut = cut_off(
        scene.truth, scene.observed, scene.memory, scene.voters, last=_last(scene),
        delay_ms=scene.failover.failover_delay_ms,
    )  # fmt: skip
    return str(cut) if cut else ""


def _is_missed(scene: Scene) -> bool:
    """Whether the primary region has been without a leader that answers for the failover delay, or is cut off."""
    quiet = _silence(scene)
    if quiet is None:
        return bool(_cut_off(scene))
    waited_ms = (scene.clock.now - quiet.since).total_seconds() * 1000
    return waited_ms >= scene.failover.failover_delay_ms and (quiet.lost or not quiet.electing)


def _nearest(scene: Scene) -> str | None:
    """The region to move to: close behind the primary, then the lowest priority number, then the name."""
    source = scene.observed.leader(scene.truth.primary_region)
    lags = {item.region: item.lag_seconds for item in (source.progress if source is not None else ())}

    def rank(name: str) -> tuple[float, int, str]:
        return 0.0 if lags[name] < CLOSE_SECONDS else lags[name], scene.rules.priorities[name], name

    able = [
        name
        for name in scene.regions
        if name != scene.truth.primary_region
        and name in lags
        and name in scene.rules.priorities
        and streams_to(source, name)
        and not obstacles(name, scene.observed, scene.truth)
        and not ending(name, scene.observed)
    ]
    return min(able, key=rank, default=None)


def _progress(scene: Scene, region: str) -> Progress | None:
    source = scene.observed.leader(scene.truth.primary_region)
    return next((item for item in (source.progress if source else ()) if item.region == region), None)


def _target(scene: Scene) -> str:
    return scene.commands.failover_to or ""


def _last(scene: Scene) -> Receipt | None:
    return scene.status.history[-1] if scene.status.history else None


def _highest_epoch(scene: Scene) -> int:
    return max(scene.truth.highest_epoch, scene.truth.promised_epoch)


def _switchover(scene: Scene, trigger: Trigger, to_region: str) -> FailoverIntent:
    return begin(
        trigger, scene.truth.primary_region, to_region, epoch=scene.truth.epoch, highest_epoch=_highest_epoch(scene),
        now=scene.clock.now,
    )  # fmt: skip


def _failover(scene: Scene, mode: str, trigger: Trigger, to_region: str = "", *, reason: str = "") -> FailoverIntent:
    """A primary that holds no tenure is not chosen again."""
    truth, stopped_at = scene.truth, scene.memory.silent_since.get(scene.truth.primary_region)
    if scene.without_primary:
        unrenewed = timedelta(seconds=unrenewed_seconds(truth, scene.observed, scene.memory, scene.voters))
        stopped_at = scene.clock.now - unrenewed
    return begin_unplanned(
        mode, trigger, truth.primary_region, to_region, epoch=truth.epoch, highest_epoch=_highest_epoch(scene),
        clock=scene.clock, stopped_at=stopped_at, last_known_revision=last_known_revision(scene, truth.primary_region),
        reason=reason, cut_off=scene.without_primary,
    )  # fmt: skip
