"""The tables of ``abort-failover`` and ``failover-to``."""

from __future__ import annotations

from rstore_operator.failover.choice import behind, candidates, obstacles, shortfall, too_far
from rstore_operator.failover.lost import is_apart
from rstore_operator.failover.planned import ABORTABLE
from rstore_operator.failover.rules.decisions import Begin, Decision, Done, Refuse, Rule, Wait, first, switchover
from rstore_operator.failover.scene import Scene
from rstore_operator.failover.unplanned import begin_unplanned
from rstore_operator.resource.state import AUTOMATIC, FORCED, Outcome, Step, Trigger

ANSWER_SECONDS = 5.0
"""A region that has been silent for less than this may just not have answered yet."""
LEFT_OVER_SECONDS = 10.0
"""For this long after a switchover its request counts as answered by it."""


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


def store_is_not_running(scene: Scene) -> Decision | None:
    """No region is primary yet: refused."""
    return None if scene.truth.epoch else Refuse("NotBootstrapped", "the store is not running yet")


def store_is_restored(scene: Scene) -> Decision | None:
    """The store is being restored: refused."""
    if not scene.is_restoring:
        return None
    return Refuse("Restoring", "the store is being restored, and its primary stays where it is until then")


def left_over(scene: Scene) -> Decision | None:
    """The change of primary that was asked for has just ended: done."""
    target, last = scene.named, scene.last_receipt
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
    target = scene.named
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


def target_is_far(scene: Scene) -> Decision | None:
    """Writers would wait long for the named region, and the switchover is not forced: waits until it is close."""
    why = "" if scene.commands.forced else too_far(scene, scene.named)
    return Wait("TargetBehind", f"{why}; the switchover begins once it is close") if why else None


def switchover_begins(scene: Scene) -> Decision | None:
    """The primary can hand over to the named region: a switchover begins."""
    if not takes_the_planned_way(scene) or _planned_obstacle(scene):
        return None
    return Begin(switchover(scene, Trigger.ANNOTATION, scene.named))


def forced_lacks_voters(scene: Scene) -> Decision | None:
    """Forced, and fewer voters than a majority can be reached: waits."""
    missing = shortfall(scene)
    return Wait("NoMajority", f"forced failover to {scene.named}: {missing}") if missing else None


def named_has_no_copy(scene: Scene) -> Decision | None:
    """Forced, and the named region does not answer or holds no copy: refused."""
    if any(position.region == scene.named for position in candidates(scene)):
        return None
    return Refuse("FailoverRefused", f"{scene.named} has no leader that answers, or holds no copy of the store")


def named_is_behind(scene: Scene) -> Decision | None:
    """Forced, and another region holds more than the named one, the loss of which is not accepted: refused."""
    order = candidates(scene)
    named = next(position for position in order if position.region == scene.named)
    refusal = behind(named, order[0], scene.truth.epoch, scene.rules)
    return Refuse("FailoverRefused", refusal) if refusal else None


def forced_begins(scene: Scene) -> Decision | None:
    """Forced: a failover to the named region begins."""
    return Begin(begin_unplanned(scene, FORCED, Trigger.ANNOTATION, scene.named))


ABORT: tuple[Rule, ...] = (nothing_to_abort, automatic_is_not_aborted, too_late_to_abort)
SWITCHOVER: tuple[Rule, ...] = (
    store_is_not_running, store_is_restored, left_over, already_primary, switchover_waits, switchover_refused,
    target_is_far, switchover_begins,
)  # fmt: skip
FORCED_FAILOVER: tuple[Rule, ...] = (
    store_is_not_running, store_is_restored, left_over, already_primary, forced_lacks_voters, named_has_no_copy,
    named_is_behind, forced_begins,
)  # fmt: skip


def request(scene: Scene) -> Decision | None:
    """What ``failover-to`` comes to; a forced one takes the planned way where that is possible."""
    decision = first(SWITCHOVER, scene) if takes_the_planned_way(scene) else None
    if decision is None and scene.commands.forced:
        decision = first(FORCED_FAILOVER, scene)
    return decision


def takes_the_planned_way(scene: Scene) -> bool:
    """Whether a forced failover need not be one: the primary can hand over, and nobody accepted to lose anything."""
    if not scene.commands.forced:
        return True
    source = scene.observed.leader(scene.truth.primary_region)
    apart = is_apart(scene, scene.named)
    accepted = scene.commands.accepted_epoch == scene.truth.epoch
    return source is not None and source.writable and not apart and not accepted


def _planned_obstacle(scene: Scene) -> str:
    return obstacles(scene, scene.named)


def _just_silent(scene: Scene) -> bool:
    """Whether a region is silent for so short that its silence may be an election, or an operator that just began."""
    primary, now = scene.truth.primary_region, scene.clock.now
    silent_since = [scene.memory.silent_since.get(region) for region in (primary, scene.named)]
    seconds = [(now - since).total_seconds() for since in silent_since if since is not None]
    seconds.append(scene.memory.without_tenure_seconds.get(primary, ANSWER_SECONDS))
    return min(seconds) < ANSWER_SECONDS
