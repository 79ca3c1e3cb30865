"""From how many replicas a region has to how many it should have, one safe step at a time.

Growing: one more pod; when it answers, it is taken into the region's Raft group, where it counts once it has caught up;
then the next. Shrinking: the last replica is taken out of the group, having handed on leadership and if a majority of
the others is ready, and only then does its pod go; then the next. Who belongs to the group is what the group says;
nothing else is remembered.

Where nobody leads, as many pods run as the group has members: fewer might not elect a leader, and without one nothing
can be changed. A region that never had a group, see :mod:`.beginning`, and is to have fewer replicas begins with one,
which needs nobody, and grows from there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rstore_api.domain.limits import MAX_REPLICAS
from rstore_api.domain.voters import majority

from rstore_operator.facts.observed import RegionObserved, ReplicaStatus


@dataclass(frozen=True)
class Scaling:
    """The next step. ``pods`` is how many should run now; at most one of ``add``, ``remove`` and ``hand_over_to`` names
    a replica."""

    pods: int
    add: str = ""
    remove: str = ""
    hand_over_to: str = ""
    message: str = ""
    """What is going on, for people; "" when nothing is."""


def plan_scaling(
    stateful_set: str, wanted: int, running: int, region: RegionObserved, *, begins: bool = False
) -> Scaling:
    """The next step. ``running`` is how many pods should run by what was decided before; ``begins``: the region has no
    group, and never had one."""
    leader = region.leader
    members = _ordinals(stateful_set, leader.members if leader else ())
    if leader is None or not members:
        count = max(running, min(_named(stateful_set, region), MAX_REPLICAS))
        if begins and wanted < count:
            count = 1
        message = "" if count == wanted else f"{count} replicas, {wanted} wanted: waiting for a leader that answers"
        return Scaling(count, message=message)
    last = max(members)
    what = f"{len(members)} replicas, {wanted} wanted: "
    pods = _ordinals(stateful_set, (pod.name for pod in region.pods))
    if last >= wanted:
        victim = f"{stateful_set}-{last}"
        if max(pods, default=0) > last:
            return Scaling(last + 1, message=f"{what}waiting for the end of {stateful_set}-{max(pods)}")
        if victim == leader.name:
            heir = _heir(stateful_set, victim, region, leader.learners, leader.members)
            message = f"{what}{victim} hands leadership on" if heir else f"{what}waiting for a replica that could lead"
            return Scaling(last + 1, hand_over_to=heir, message=message)
        unready = _unready_without(victim, region, leader)
        if unready:  # or without its data yet
            return Scaling(last + 1, message=f"{what}waiting for {', '.join(unready)} to be ready")
        return Scaling(last + 1, remove=victim, message=f"{what}{victim} is taken out")
    if leader.learners:
        return Scaling(last + 1, message=f"{what}{', '.join(leader.learners)} is catching up")
    missing = [ordinal for ordinal in range(wanted) if ordinal not in members]
    if not missing:
        return Scaling(wanted)
    new = f"{stateful_set}-{missing[0]}"
    answers = any(replica.name == new for replica in region.replicas)
    return Scaling(
        max(last, missing[0]) + 1,
        add=new if answers else "",
        message=f"{what}{new} is taken in" if answers else f"{what}waiting for {new} to start",
    )


def _named(stateful_set: str, region: RegionObserved) -> int:
    """How many pods it takes to run every member that the replicas that answer know of."""
    members = (replica for replica in region.replicas if not replica.joining)
    names = (name for replica in members for name in (*replica.members, *replica.learners))
    return max(_ordinals(stateful_set, names), default=-1) + 1


def _unready_without(victim: str, region: RegionObserved, leader: ReplicaStatus) -> list[str]:
    """The replicas for which ``victim`` has to stay, sorted: learners that are catching up, and those that are not
    ready where the rest would be no majority without ``victim``."""
    staying, learners = set(leader.members) - {victim}, set(leader.learners) - {victim}
    ready = {pod.name for pod in region.pods if pod.ready and not pod.terminating} & staying
    return sorted(learners or (staying - ready if len(ready) < majority(len(staying)) else ()))


def _heir(
    stateful_set: str, victim: str, region: RegionObserved, learners: tuple[str, ...], members: tuple[str, ...]
) -> str:
    """The ready replica of the lowest ordinal that can lead."""
    able = {pod.name for pod in region.pods if pod.ready and not pod.terminating} & set(members)
    ordinals = _ordinals(stateful_set, able - set(learners) - {victim})
    return f"{stateful_set}-{min(ordinals)}" if ordinals else ""


def _ordinals(stateful_set: str, names: Iterable[str]) -> frozenset[int]:
    suffixes = (name.removeprefix(f"{stateful_set}-") for name in names if name.startswith(f"{stateful_set}-"))
    return frozenset(int(suffix) for suffix in suffixes if suffix.isdecimal())
