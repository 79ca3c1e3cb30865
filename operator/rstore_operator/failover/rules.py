"""Whether an unplanned failover, or a failback, should begin: by itself, by annotation, out of a switchover. Pure.

It completes the answers of :mod:`rstore_operator.failover.requests`. A switchover that loses the region it depends
on (the source while it is demoted and caught up with, the target while it is promoted) turns into a failover in a
new epoch by the same rules as if nothing had been under way; when that region comes back before, the switchover
just goes on.
"""

from __future__ import annotations

from datetime import timedelta

from rstore_api.domain import kubernetes as names
from rstore_api.domain.voters import WITNESS

from rstore_operator.facts.actions import Notice
from rstore_operator.facts.observed import FenceAnswer
from rstore_operator.facts.witness_tenure import CLOCK_MARGIN
from rstore_operator.failover.choice import ranked
from rstore_operator.failover.ending import move_away
from rstore_operator.failover.loss_gate import Loss, expected_loss, loss_refusal
from rstore_operator.failover.lost import cut_off, silence, unfinished, unrenewed_seconds
from rstore_operator.failover.planned import begin
from rstore_operator.failover.requests import Answer, obstacles
from rstore_operator.failover.scene import Scene
from rstore_operator.failover.unplanned import begin_unplanned, convert
from rstore_operator.planning.hashes import warning_of
from rstore_operator.resource.state import (
    AUTOMATIC,
    FORCED,
    PLANNED,
    FailoverIntent,
    Outcome,
    Step,
    Trigger,
)

FAILBACK_AFTER_SECONDS = 10.0
"""How long after a failover the primary moves back at the earliest."""
FAILBACK_LAG_SECONDS = 1.0
SUSPICIOUS_SECONDS = 10.0
"""For so long a primary without its tenure is looked at often."""


def consider(scene: Scene, reply: Answer) -> None:
    """Complete ``reply``: begin a failover, turn a switchover into one, or say what stops it."""
    _dry_run(scene, reply)
    if scene.commands.paused or not scene.truth.epoch:
        return
    if reply.intent is None:
        if scene.commands.forced and scene.commands.failover_to is not None:
            if names.FAILOVER_TO not in reply.remove:
                _forced(scene, scene.commands.failover_to, reply)
        else:
            move_away(scene, reply)
            if reply.intent is None:
                _automatic(scene, reply)
        _finish(scene, reply)
        _failback(scene, reply)
    elif reply.intent is scene.status.failover and reply.intent.mode == PLANNED:
        _rescue(scene, reply.intent, reply)
    if names.FAILOVER_TO in reply.remove and scene.commands.failover_mode is not None:
        reply.remove[names.FAILOVER_MODE] = scene.commands.failover_mode


# ------------------------------------------------------------------------------------------ beginning
def _forced(scene: Scene, target: str, reply: Answer) -> None:
    truth = scene.truth

    def refuse(reason: str, message: str) -> None:
        reply.reject_request(scene.commands, reason, f"failover-to, forced: {message}")

    if target == truth.primary_region:
        last = scene.status.history[-1] if scene.status.history else None
        if last is not None and last.epoch == truth.epoch and last.to_region == target:
            reply.remove[names.FAILOVER_TO] = target  # left over from the failover that just ended
        else:
            refuse("AlreadyPrimary", f"{target} is primary already")
        return
    shortfall = scene.voters.shortfall(_reachable(scene))
    if shortfall:
        reply.blocked, reply.blocked_reason = f"forced failover to {target}: {shortfall}", "NoMajority"
        return
    order = _positions(scene)
    named = next((found for found in order if found.region == target), None)
    if named is None:
        refuse("FailoverRefused", f"{target} has no leader that answers, or holds no copy of the store")
        return
    best = order[0]
    behind = (named.data_epoch, named.revision) < (best.data_epoch, best.revision)
    if behind and not scene.rules.loss_accepted:
        refuse(
            "FailoverRefused",
            f"{best.region} holds more (revision {best.revision} of epoch {best.data_epoch}; {target} {named.revision} "
            f'of {named.data_epoch}); name {best.region}, or accept the loss by accept-data-loss: "{truth.epoch}"',
        )
        return
    _start(scene, FORCED, Trigger.ANNOTATION, target, reply)


def _automatic(scene: Scene, reply: Answer) -> None:
    primary = scene.truth.primary_region
    quiet = silence(
        primary,
        scene.truth.epoch,
        scene.observed,
        scene.memory,
        scene.voters,
        delay_ms=scene.failover.failover_delay_ms,
        now=scene.clock.now,
    )
    if scene.spec is None:
        return
    if quiet is None:
        _replace_cut_off(scene, reply)
        return
    reply.suspicious = True
    waited_ms = (scene.clock.now - quiet.since).total_seconds() * 1000
    if waited_ms < scene.failover.failover_delay_ms or (not quiet.lost and quiet.electing):
        return
    if scene.failover.policy != "Automatic":
        reply.blocked_reason = "PolicyManual"
        reply.blocked = (
            f"{primary} is lost and spec.failover.policy is Manual; fail over by failover-to with failover-mode: forced"
        )
        return
    reply.blocked, reply.blocked_reason = _obstacle(scene, quiet.lost, quiet.doubt)
    if not reply.blocked:
        _start(scene, AUTOMATIC, Trigger.PRIMARY_LOST, "", reply)


def _finish(scene: Scene, reply: Answer) -> None:
    """Bring a failover to its end that somebody has begun, whatever the policy: without it the store stays as it is.

    The old primary is chosen again if it has most data.
    """
    if reply.intent is not None or scene.spec is None:
        return
    delay_ms = scene.failover.failover_delay_ms
    reason = unfinished(scene.truth, scene.observed, scene.memory, scene.voters, delay_ms=delay_ms, now=scene.clock.now)
    if not reason:
        return
    shortfall = scene.voters.shortfall(_reachable(scene))
    if shortfall:
        reply.blocked, reply.blocked_reason = shortfall, "NoMajority"
    else:
        _start(scene, AUTOMATIC, Trigger.PRIMARY_LOST, "", reply, reason=reason, cut_off=False)


def _replace_cut_off(scene: Scene, reply: Answer) -> None:
    """The primary's leader answers; whether it is cut off from the other regions, and replaced for that."""
    primary, delay_ms = scene.truth.primary_region, scene.failover.failover_delay_ms
    without_seconds = scene.memory.without_tenure_seconds.get(primary)
    reply.suspicious = without_seconds is not None and without_seconds < SUSPICIOUS_SECONDS + delay_ms / 1000
    last = scene.status.history[-1] if scene.status.history else None
    found = cut_off(scene.truth, scene.observed, scene.memory, scene.voters, last=last, delay_ms=delay_ms)
    if found is None:
        return
    if scene.failover.policy != "Automatic":
        reply.blocked_reason = "PolicyManual"
        reply.blocked = (
            f"{primary} is cut off from a majority of the regions and spec.failover.policy is Manual; bring back the "
            "network, or fail over by failover-to with failover-mode: forced"
        )
        return
    reply.blocked, reply.blocked_reason = _obstacle(scene, True, "")
    if not reply.blocked:
        _start(scene, AUTOMATIC, Trigger.TENURE_LOST, "", reply, reason=f"{primary} is cut off: {found}")


def _obstacle(scene: Scene, lost: bool, doubt: str) -> tuple[str, str]:
    """What stops a failover just now, and the reason in a word."""
    shortfall = scene.voters.shortfall(_reachable(scene))
    if shortfall:
        return shortfall, "NoMajority"
    if not lost:
        return doubt, "TenureInDoubt"
    order = _positions(scene)
    if not order:
        return "none of the regions that can be reached holds a copy of the store", "NoCopy"
    loss = _loss(scene, order[0])
    truth = scene.truth
    refusal = loss_refusal(loss, order[0].region, truth.primary_region, truth.epoch, scene.rules)
    return refusal, "DataLoss" if refusal else ""


def _rescue(scene: Scene, intent: FailoverIntent, reply: Answer) -> None:
    """A switchover whose region is lost."""
    if intent.step is Step.REPOINTING:
        return
    needed, epoch = intent.from_region, intent.from_epoch
    if intent.step is Step.PROMOTING:
        needed, epoch = intent.to_region, intent.epoch
    target = scene.commands.failover_to or ""
    forced = scene.commands.forced and target in scene.regions and scene.observed.leader(needed) is None
    quiet = silence(
        needed,
        epoch,
        scene.observed,
        scene.memory,
        scene.voters,
        delay_ms=scene.failover.failover_delay_ms,
        now=scene.clock.now,
    )
    if not forced and (quiet is None or not quiet.lost or scene.failover.policy != "Automatic"):
        return
    shortfall = scene.voters.shortfall(_reachable(scene))
    if shortfall:
        reply.blocked, reply.blocked_reason = shortfall, "NoMajority"
        return
    reply.intent = convert(
        intent,
        FORCED if forced else AUTOMATIC,
        target if forced else "",
        highest_epoch=max(scene.truth.highest_epoch, scene.truth.promised_epoch),
        clock=scene.clock,
        last_known_revision=_last_known(scene, intent.from_region),
        reason=f"{needed} was lost while the switchover was {intent.step.value}",
    )


def _failback(scene: Scene, reply: Answer) -> None:
    """Back to the preferred region, after a change of primary that nobody asked for; tried once, so that it cannot go
    back and forth.
    """
    if reply.intent is not None or scene.spec is None or scene.failover.failback != "Automatic":
        return
    home, last = scene.spec.primary_region, scene.status.history[-1] if scene.status.history else None
    if last is None or last.outcome is not Outcome.SUCCEEDED or home == last.to_region:
        return
    if last.mode == PLANNED and last.trigger is not Trigger.PRIMARY_STOPPING:
        return
    if last.to_region != scene.truth.primary_region or obstacles(home, scene.observed, scene.truth):
        return
    source = scene.observed.leader(scene.truth.primary_region)
    lag = next((item for item in (source.progress if source else ()) if item.region == home), None)
    region, wanted = scene.observed.region(home), scene.spec.region(home)
    whole = wanted is not None and region.ready_pods >= wanted.replicas
    close = lag is not None and lag.connected and lag.lag_seconds < FAILBACK_LAG_SECONDS
    rested = (scene.clock.now - last.finished_at).total_seconds() >= FAILBACK_AFTER_SECONDS
    if not (whole and close and rested):
        return
    truth = scene.truth
    highest = max(truth.highest_epoch, truth.promised_epoch)
    reply.intent = begin(
        Trigger.FAILBACK, truth.primary_region, home, epoch=truth.epoch, highest_epoch=highest, now=scene.clock.now
    )
    reply.accepted = True


def _start(
    scene: Scene, mode: str, trigger: Trigger, target: str, reply: Answer, *, reason: str = "",
    cut_off: bool | None = None,
) -> None:  # fmt: skip
    """``cut_off``: whether the primary is not to be chosen again; None: not while it holds no tenure."""
    truth = scene.truth
    stopped_at = scene.memory.silent_since.get(truth.primary_region)
    if scene.without_primary:
        unrenewed = timedelta(seconds=unrenewed_seconds(truth, scene.observed, scene.memory, scene.voters))
        stopped_at = scene.clock.now - unrenewed
    reply.intent = begin_unplanned(
        mode,
        trigger,
        truth.primary_region,
        target,
        epoch=truth.epoch,
        highest_epoch=max(truth.highest_epoch, truth.promised_epoch),
        clock=scene.clock,
        stopped_at=stopped_at,
        last_known_revision=_last_known(scene, truth.primary_region),
        reason=reason,
        cut_off=scene.without_primary if cut_off is None else cut_off,
    )
    reply.accepted = True


# ------------------------------------------------------------------------------------------ dry run
def _dry_run(scene: Scene, reply: Answer) -> None:
    """What a failover would come to while the primary cannot hand over; otherwise it was answered as a switchover."""
    target, truth = scene.commands.dry_run, scene.truth
    if target is None or names.FAILOVER_DRY_RUN in reply.remove:
        return
    reply.remove[names.FAILOVER_DRY_RUN] = target
    order = _positions(scene)
    shortfall = scene.voters.shortfall(_reachable(scene))
    if scene.status.failover is not None:
        blocked = "a change of primary is under way"
    elif shortfall:
        blocked = shortfall
    elif target not in [found.region for found in order]:
        blocked = f"{target} has no leader that answers, or holds no copy of the store"
    else:
        blocked = ""
    winner = order[0].region if order else "nobody"
    if blocked:
        text = f"a failover to {target} would be blocked: {blocked}; {winner} would win"
    else:
        named = next(found for found in order if found.region == target)
        loss = _loss(scene, named)
        refusal = loss_refusal(loss, target, truth.primary_region, truth.epoch, scene.rules)
        if (named.data_epoch, named.revision) < (order[0].data_epoch, order[0].revision):
            refusal = refusal or f'it is behind {winner}; accept-data-loss: "{truth.epoch}" is needed'
        why = "holds no tenure and is cut off" if scene.without_primary else "cannot be asked"
        text = (
            f"{truth.primary_region} {why}; a forced failover to {target} would begin epoch "
            f"{truth.highest_epoch + 1}, may lose {loss}, and writes would go on after about "
            f"{_longest_grant_seconds(scene) + 0.5:.1f} s; by itself {winner} would win"
            + (f"; blocked: {refusal}" if refusal else "")
            + warning_of(scene.status, target)
        )
        blocked = refusal
    reply.dry_run = (not blocked, text)
    reply.notices.append(Notice("DryRun", text, warning=bool(blocked)))


def _longest_grant_seconds(scene: Scene) -> float:
    asked = scene.voters.regions - ({scene.truth.primary_region} if scene.without_primary else set())
    leaders = [scene.observed.leader(name) for name in asked]
    running = [leader.granted.remaining_ms for leader in leaders if leader is not None and leader.granted is not None]
    if scene.voters.witness:
        running.append(scene.rules.tenure_ms)
    return max(running, default=scene.rules.tenure_ms) / 1000 * CLOCK_MARGIN


# ------------------------------------------------------------------------------------------ what is known
def _reachable(scene: Scene) -> frozenset[str]:
    """Voters that could be fenced now."""
    leaders = {name: scene.observed.leader(name) for name in scene.voters.regions}
    return frozenset(name for name, leader in leaders.items() if leader is not None and leader.store_id) | {WITNESS}


def _positions(scene: Scene) -> list[FenceAnswer]:
    """Those that may become primary, best first."""
    without = scene.truth.primary_region if scene.without_primary else ""
    return [found for found in ranked(_standing(scene), scene.rules.priorities) if found.region != without]


def _standing(scene: Scene) -> list[FenceAnswer]:
    """Where the regions that answer stand; not final before they are fenced."""
    found = []
    for name in scene.regions:
        leader = scene.observed.leader(name)
        if leader is not None and leader.store_id:
            told = (leader.granted.epoch, leader.granted.in_sync_regions) if leader.granted is not None else (0, 0)
            found.append(FenceAnswer(name, 0, leader.epoch, leader.revision, 0.0, *told, leader.history))
    return found


def _loss(scene: Scene, target: FenceAnswer) -> Loss:
    truth = scene.truth
    known = _last_known(scene, truth.primary_region)
    return expected_loss(
        truth.primary_region, truth.epoch, known, target, _standing(scene), scene.memory, scene.voters, scene.rules,
        final=False,
    )  # fmt: skip


def _last_known(scene: Scene, region: str) -> int:
    """The newest revision that the region was ever heard to hold; 0 when it was never heard of."""
    heard, shown = scene.memory.last_leaders.get(region), scene.status.region(region)
    seen = [replica.revision for replica in scene.observed.region(region).replicas]
    return max([0, *seen, *([heard.revision] if heard else []), *([shown.revision] if shown else [])])
