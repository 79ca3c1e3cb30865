"""The next step of a roll, from what is observed alone: a crash of the operator between two steps changes nothing.

Secondary regions come before the primary, those of least priority first. In a region followers come first, and the
leader last, once it has handed leadership on. A primary region of which one pod is all it has, or half, is left by a
switchover before. Each step waits until the whole store is as it should be, see :mod:`.whole`; so the first pod that
does not get ready stops the roll. A region's StatefulSet is given the newest template as the first step in it, so that
a pod which is lost before comes back as it was. Pods that are out of date and do not run are replaced at once, in any
region: that is a repair, and how a corrected template ends a roll that is stuck. Where pods fail by the template that
their region has, it is given the newest one before its turn, once no pod fails by that or has yet to show that it
starts. A volume of another StorageClass than the spec names
goes with its pod, see :mod:`rstore_operator.planning.moving`, and so does a volume to which a new pod cannot be
scheduled; only where the rest of its region is a majority. A claim that has no volume yet goes at once with its pod,
where it asks for another class: nothing is in it.

Before the store is created there is no order to keep: nothing but repairs is done, see :func:`plan_repair`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rstore_api.domain import names
from rstore_api.domain.kubernetes import FAILOVER_TO
from rstore_api.domain.voters import majority

from rstore_operator.facts.actions import DeletePod, HandOver, Target
from rstore_operator.facts.lacks import UNREADY, WAITING, Lack, why_not_started
from rstore_operator.facts.observed import Observed, Pod
from rstore_operator.planning.conditions.lacking_pods import NOT_CREATED, Lacking
from rstore_operator.planning.moving import is_away_from_volume
from rstore_operator.planning.rollout.revisions import RegionPods, disruptions_allowed
from rstore_operator.planning.rollout.turns import FREE, NO_CLAIM, Claim, Turn
from rstore_operator.planning.rollout.whole import why_not_whole
from rstore_operator.planning.scaling.beginning import waits_for_others

STUCK_SECONDS = 10.0
"""A pod that is out of date and runs is replaced once it has not been ready for this long."""
FAILED_SECONDS = 5.0
"""A new pod with a problem blocks the roll after this time; it may be gone at the next try."""
STRANDED_SECONDS = 10.0
"""A new pod that cannot be where its volume is gets another volume after this time."""
SLOW_SECONDS = 60.0
"""One that runs, or waits for a node or a volume, blocks it after this time."""


@dataclass(frozen=True)
class Blocked:
    """Why the roll does not go on by itself: for the condition. ``image_fails``: the container is to blame."""

    reason: str
    message: str
    image_fails: bool = False


@dataclass(frozen=True)
class NewTemplate:
    """The region's StatefulSet is given the newest pod template."""

    region: str


Step = HandOver | DeletePod | NewTemplate


@dataclass(frozen=True)
class Rollout:
    """The next step, at most one of ``step`` and ``leave_primary``; ``message`` is for people, "" when nothing
    rolls."""

    message: str = ""
    step: Step | None = None
    repairs: bool = False
    """Whether ``step`` helps pods that are of no use, whatever else goes on."""
    leave_primary: str = ""
    """Why a switchover away from the primary region has to come first."""
    blocked: Blocked | None = None
    restarting: frozenset[str] = frozenset()
    """Regions that lack a pod since it is being replaced."""
    claim: Claim = NO_CLAIM

    @property
    def under_way(self) -> bool:
        """Whether the next look is to come soon."""
        return bool(self.restarting or self.leave_primary)


NO_ROLLOUT = Rollout()


@dataclass(frozen=True)
class RolloutScene:
    """All that the decision depends on."""

    store: str
    regions: tuple[RegionPods, ...]
    primary: str
    epoch: int
    observed: Observed
    lacking_seconds: Mapping[Lack, float]
    lacking: Mapping[str, Lacking]
    shown: bool = False
    """Whether status shows a roll, so that its last pod belongs to it."""
    paused: bool = False
    not_now: str = ""
    """What else is being changed, so that the roll has to wait."""
    movable: bool = True
    """Whether the operator may move the primary by itself."""
    turn: Turn = FREE

    @property
    def in_order(self) -> tuple[RegionPods, ...]:
        """The regions in the order in which they are rolled."""
        return tuple(sorted(self.regions, key=lambda r: (r.name == self.primary, -r.spec.priority, r.name)))


def plan_rollout(scene: RolloutScene) -> Rollout:
    """Decide about the next step."""
    outdated = [pod for region in scene.regions for pod in region.outdated]
    unfinished = [region for region in scene.in_order if region.unfinished]
    restarting = frozenset(region.name for region in scene.regions if region.restarting)
    if not unfinished and not (scene.shown and restarting):
        return plan_repair(scene)
    rolled = next((region for region in scene.in_order if region.restarting), None) or unfinished[0]
    failure = _blocked(scene)
    blocked = failure or _stays(scene)
    waits, leave = "", ""
    step: Step | None = None if scene.paused else _repair(scene, failure)
    repairs = step is not None
    if scene.paused:
        waits = "the end of the pause"
    elif not repairs:
        waits = scene.not_now or _waits(scene)
        step = _stranded(scene)
        if step is None and not waits and unfinished:
            rolled = unfinished[0]
            if _has_to_be_left(rolled, scene):
                pods = "one pod is all" if rolled.spec.replicas == 1 else "all pods are needed"
                leave = "" if blocked is not None else f"{pods} of {rolled.name}, which is to be rolled"
            else:
                step = _next(rolled)
    done = sum(pod.ready and not pod.terminating for pod in rolled.updated)
    texts = [f"rolling {rolled.name}: {done} of {rolled.spec.replicas} pods"]
    texts += [blocked.message] if blocked is not None else [f"waits for {waits}"] if waits else []
    return Rollout(
        message="; ".join(texts),
        step=step,
        repairs=repairs,
        leave_primary=leave,
        blocked=blocked,
        restarting=restarting if blocked is None else frozenset(),
        claim=Claim(
            wanted=not scene.paused,
            begun=any(region.updated for region in scene.regions),
            blocked=blocked is not None,
            image_fails=blocked is not None and blocked.image_fails,
            image=_image(scene),
            progress=(",".join(sorted(pod.uid for pod in outdated)), len(restarting)),
        ),
    )


def plan_repair(scene: RolloutScene) -> Rollout:
    """Decide about the next repair where nothing rolls, as in a store that has not been created: what keeps its pods
    from starting may just have been corrected."""
    step = None if scene.paused else _repair(scene, None)
    return Rollout(step=step, repairs=True) if step is not None else NO_ROLLOUT


def _image(scene: RolloutScene) -> str:
    """The image that the roll brings to pods that have another one; "" when it changes no image."""
    brought = {region.image for region in scene.regions if any(pod.image != region.image for pod in region.outdated)}
    return min(brought, default="")


# ---------------------------------------------------------------------------------------------- what is in the way
def _waits(scene: RolloutScene, without: str = "") -> str:
    """What has to be waited for before another pod goes, or the pod ``without``: as it does not run, it is what the
    budget of its region has allowed already."""
    why = why_not_whole(scene.in_order, scene.observed, scene.primary, scene.epoch, without=without)
    if why:
        return why
    for region in scene.in_order:
        budget = scene.observed.children.get(("PodDisruptionBudget", names.region_object(scene.store, region.name)))
        if region.outdated and not without and not disruptions_allowed(budget):
            return f"the PodDisruptionBudget of {region.name}, which allows no disruption"
    return "" if scene.turn.granted else f"its turn: {scene.turn.why}"


def _blocked(scene: RolloutScene) -> Blocked | None:
    """The first pod of the newest template that does not get ready, and why."""
    failures = (_failure(region, region.updated, scene) for region in scene.in_order if not region.behind)
    return next((failure for failure in failures if failure is not None), None)


def _failure(region: RegionPods, pods: Iterable[Pod], scene: RolloutScene) -> Blocked | None:
    """The first of these pods that has not got ready for too long, or one that cannot be created, and why."""
    for pod in pods:
        if pod.ready or pod.terminating:
            continue
        why = why_not_started(pod, scene.observed)
        waited = scene.lacking_seconds.get((WAITING, pod.name), 0.0)
        starts_on_node = bool(pod.node) and bool(pod.problem)
        if why and waited >= (FAILED_SECONDS if starts_on_node else SLOW_SECONDS):
            return Blocked("PodNotStarted", f"{pod.name}: {why}", image_fails=starts_on_node)
        if not why and scene.lacking_seconds.get((UNREADY, pod.name), 0.0) >= SLOW_SECONDS:
            answer = next((one for one in region.seen.replicas if one.name == pod.name), None)
            why = answer.not_ready_reason if answer is not None else ""
            text = f"{pod.name} runs and does not get ready" + (f": {why}" if why else "")
            return Blocked("PodNotReady", text, image_fails=True)
    lacking = scene.lacking.get(region.name)
    if region.missing and lacking is not None and lacking.reason == NOT_CREATED and lacking.lasts:
        return Blocked(NOT_CREATED, lacking.text)
    return None


def _has_to_be_left(region: RegionPods, scene: RolloutScene) -> bool:
    """Whether another region has to be primary before a pod of this one goes."""
    return region.name == scene.primary and region.stops_without_one and len(scene.regions) > 1


def _stays(scene: RolloutScene) -> Blocked | None:
    """What is left is the primary region, and only a person may move the primary."""
    region = next((region for region in scene.in_order if region.unfinished), None)
    if region is None or scene.movable or not _has_to_be_left(region, scene):
        return None
    others = [other.name for other in reversed(scene.in_order) if other.name != scene.primary]
    return Blocked(
        "PrimaryStays",
        f"{region.name} is primary and stops while one of its pods is replaced, and spec.failover.policy is Manual: "
        f"move the primary by `rstore failover {scene.store} --to {others[0]}`, or by the annotation "
        f"{FAILOVER_TO}={others[0]}{''.join(f' or {name}' for name in others[1:])}; the rollout then goes on by itself",
    )


# ---------------------------------------------------------------------------------------------- steps
def _repair(scene: RolloutScene, blocked: Blocked | None) -> DeletePod | NewTemplate | None:
    """The next pod that is out of date and of no use, or the next region all of whose pods are out of date and where
    one fails. ``blocked`` is why the newest template does, where it does."""
    for region in scene.in_order:
        if region.behind:
            if _is_proven(scene, blocked) and _failure(region, region.seen.pods, scene) is not None:
                return NewTemplate(region.name)
            continue
        for pod in region.seen.pods:
            if pod.name in region.unbound and not (pod.node or pod.terminating):
                return _delete_unbound(region, pod)
            if not scene.epoch and _waits_in_vain(pod, region):
                why = "it waits for replicas that are not wanted any more"
                return DeletePod(region.name, pod.name, pod.uid, pod.resource_version, why)
        for pod in region.outdated:
            if not region.is_of_old_template(pod) or pod.ready or pod.terminating:
                continue
            if _is_of_no_use(pod, region, scene):  # its volume may be of use
                return DeletePod(
                    region.name, pod.name, pod.uid, pod.resource_version, "it is out of date and not ready"
                )
    return None


def _delete_unbound(region: RegionPods, pod: Pod) -> DeletePod:
    claim = region.unbound[pod.name]
    wanted = f'"{region.spec.storage_class}"' if region.spec.storage_class is not None else "the default one"
    why = f'no volume of StorageClass "{claim.storage_class}" was made for it, {wanted} is wanted'
    return DeletePod(
        region.name, pod.name, pod.uid, pod.resource_version, why, claim.name, claim.uid, claim.resource_version
    )


def _waits_in_vain(pod: Pod, region: RegionPods) -> bool:
    """Whether the only pod of a region would begin a group with others, of which none is left. It reads at its start
    with whom."""
    if pod.terminating or len(region.seen.pods) != 1 or region.spec.replicas != 1:
        return False
    return any(replica.name == pod.name and waits_for_others(replica, [pod.name]) for replica in region.seen.replicas)


def _is_proven(scene: RolloutScene, blocked: Blocked | None) -> bool:
    """Whether nothing speaks against the newest template: no pod of it fails by it, or is starting."""
    if blocked is not None:
        return not blocked.image_fails
    return not any(region.restarting for region in scene.regions if not region.behind)


def _is_of_no_use(pod: Pod, region: RegionPods, scene: RolloutScene) -> bool:
    """Whether nothing is lost with the pod. One that runs may belong to a majority that is there."""
    if not pod.ip or why_not_started(pod, scene.observed):
        return True
    if scene.lacking_seconds.get((UNREADY, pod.name), 0.0) < STUCK_SECONDS:
        return False
    if region.missing or any(other.terminating for other in region.seen.pods):
        return False  # one after the other
    others = {other.name for other in region.seen.pods if other.ready} & region.voters
    return region.seen.leader is None or len(others) >= majority(len(region.voters))


def _stranded(scene: RolloutScene) -> DeletePod | None:
    """A pod of the newest template that its placement keeps away from its volume, where all else is whole and the rest
    of its region is a majority: it goes with its volume."""
    if scene.not_now:
        return None
    for region in scene.in_order:
        for pod in region.updated:
            claim = scene.observed.claims.get(names.claim_of(pod.name))
            if pod.terminating or pod.node or claim is None or region.stops_without_one:
                continue
            waited = scene.lacking_seconds.get((WAITING, pod.name), 0.0)
            if waited < STRANDED_SECONDS or not is_away_from_volume(pod.problem) or _waits(scene, without=pod.name):
                continue
            why = "its placement allows no node on which its volume can be used"
            return DeletePod(region.name, pod.name, pod.uid, pod.resource_version, why, claim.name, claim.uid)
    return None


def _next(region: RegionPods) -> Step:
    """The next step in a region all of whose pods are ready: followers first, from the highest ordinal on."""
    if region.behind:
        return NewTemplate(region.name)
    leader = region.seen.leader
    assert leader is not None
    followers = [pod for pod in region.outdated if pod.name != leader.name]
    if followers:
        return _delete(region, max(followers, key=_ordinal))
    leading = next(pod for pod in region.outdated if pod.name == leader.name)
    heirs = [pod for pod in region.updated if pod.name in region.voters]
    if heirs:
        return HandOver(region.name, Target.of(leading), min(heirs, key=_ordinal).name)
    return _delete(region, leading)


def _ordinal(pod: Pod) -> int:
    return int(pod.name.rpartition("-")[2])


def _delete(region: RegionPods, pod: Pod) -> DeletePod:
    old = region.old_volume(pod)
    if old is None:
        return DeletePod(region.name, pod.name, pod.uid, pod.resource_version, "it is out of date")
    why = f'its volume is of StorageClass "{old.storage_class}", "{region.spec.storage_class}" is wanted'
    return DeletePod(region.name, pod.name, pod.uid, pod.resource_version, why, old.name, old.uid)
