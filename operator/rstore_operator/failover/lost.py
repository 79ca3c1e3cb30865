"""Why the primary region has to be left: it is lost, cut off from the others, fenced and forgotten, or ending.

A primary that is cut off is one whose leader the operator reaches and the other regions do not: nobody renews its
tenure. One that is ending has so many replicas that were asked to stop that no majority of its Raft group stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from rstore_api.domain.voters import WITNESS, majority

from rstore_operator.facts.observed import Observed, ReplicaStatus
from rstore_operator.facts.without_tenure import streams_to
from rstore_operator.failover.scene import Scene
from rstore_operator.resource.state import PLANNED, Outcome

ELECTION_SECONDS = 5.0
"""A region has this long to elect a leader while a majority of its replicas answers."""


@dataclass(frozen=True)
class Silence:
    """A region without a leader that answers. ``lost`` when that, and a tenure that is not renewed, lasted long enough.

    ``doubt`` says what speaks against it as yet.
    """

    since: datetime
    lost: bool
    doubt: str = ""
    electing: bool = False


def silence(scene: Scene, region: str, epoch: int) -> Silence | None:
    """Judge the region that has, or is being given, ``epoch``; grants to lower ones say nothing about it.

    None when the region has a leader that answers and holds the store's data, or when it is not known for how long it
    has had none."""
    observed, voters, delay_ms = scene.observed, scene.voters, scene.failover.failover_delay_ms
    since, leader = scene.memory.silent_since.get(region), observed.leader(region)
    if since is None or (leader is not None and leader.store_id):
        return None
    waited_seconds = (scene.clock.now - since).total_seconds()
    seen = observed.region(region)
    if leader is None and waited_seconds < ELECTION_SECONDS and len(seen.replicas) > len(seen.pods) // 2:
        return Silence(since, False, f"{region} is electing a leader", electing=True)
    if waited_seconds * 1000 < delay_ms:
        return Silence(since, False, f"no leader of {region} answers, for less than {delay_ms / 1000:g} s")
    witnesses = set(scene.absent)
    witnesses |= {
        name for name in voters.regions - {region} if _sees_no_renewal(observed.leader(name), epoch, delay_ms=delay_ms)
    }
    if voters.witness:
        witnesses.add(WITNESS)  # grants only to a leader that answers
    if not voters.decides(witnesses):
        seeing = ", ".join(sorted(witnesses - {WITNESS}))
        who = f"only {seeing} reports" if seeing else "no other region reports"
        doubt = f"no leader of {region} answers the operator, but {who} that its tenure is not renewed any more"
        return Silence(since, False, f"{doubt}; a majority of the voters has to")
    return Silence(since, True)


def primary_silence(scene: Scene) -> Silence | None:
    """Judge the primary region."""
    return silence(scene, scene.truth.primary_region, scene.truth.epoch)


def _sees_no_renewal(leader: ReplicaStatus | None, epoch: int, *, delay_ms: int) -> bool:
    """Whether that region's leader has granted nothing for ``delay_ms``; one that has just begun to lead may not know
    what was granted."""
    if leader is None or leader.granted is None:
        return False
    if leader.granted.epoch == 0:
        return leader.granted.remaining_ms == 0
    return leader.granted.epoch < epoch or leader.granted.age_ms >= delay_ms


@dataclass(frozen=True)
class CutOff:
    """Voters that did renew the tenure of this epoch, the last of them ``seconds`` ago."""

    regions: tuple[str, ...]
    seconds: float

    def __str__(self) -> str:
        return f"is cut off: it holds no tenure, which {', '.join(self.regions)} renewed last {self.seconds:.1f} s ago"


@dataclass(frozen=True)
class LostData:
    """The primary asks nobody to renew its tenure, since a region holds this revision of its own epoch and it does
    not.
    """

    revision: int

    def __str__(self) -> str:
        return f"has lost revision {self.revision}, which another region holds"


def cut_off(scene: Scene) -> CutOff | LostData | None:
    """Judge the primary region; None unless its leader answers, holds no tenure, and a majority has not renewed it, or
    another region holds what it has lost.

    Only voters that granted in this very epoch count, or before the switchover that came to nothing and gave the region
    this epoch. A primary that was made so while the regions do not reach each other never gets a tenure, and is not
    replaced again and again.
    """
    delay_ms, without_seconds = scene.failover.failover_delay_ms, scene.memory.without_tenure_seconds
    if not scene.without_primary or without_seconds[scene.truth.primary_region] * 1000 < delay_ms:
        return None
    leader = scene.observed.leader(scene.truth.primary_region)
    if leader is not None and leader.tenure is not None and leader.tenure.missing_revision:
        return LostData(leader.tenure.missing_revision)
    ages = grant_ages_ms(scene, since_epoch=1 if _stayed(scene) else scene.truth.epoch)
    late = {name: age_ms for name, age_ms in ages.items() if age_ms >= delay_ms}
    return CutOff(tuple(sorted(late)), min(late.values()) / 1000) if scene.voters.decides(late) else None


def writes_stopped_at(scene: Scene) -> datetime | None:
    """Since when the primary has acknowledged nothing, at the earliest; None when nobody knows.

    That is since a majority granted last, as the voters remember also when the operator was away; where none remembers,
    since this process has had no answer. A primary that answers without the tenure has had none for as long as seen;
    one that reported its tenure had it then.
    """
    primary, memory, now = scene.truth.primary_region, scene.memory, scene.clock.now
    ages = sorted(grant_ages_ms(scene, since_epoch=scene.truth.epoch).values())
    seconds = []
    if ages:
        needed = max((majority(len(board)) - 1 for board in scene.voters.boards), default=1)
        seconds.append(ages[min(max(needed, 1), len(ages)) - 1] / 1000)
    elif primary in memory.silent_since:
        seconds.append((now - memory.silent_since[primary]).total_seconds())
    if primary in memory.without_tenure_seconds:
        seconds.append(memory.without_tenure_seconds[primary])
    if not seconds:
        return None
    held_seconds = memory.tenure_seen_seconds.get(primary, max(seconds))
    return now - timedelta(seconds=min(max(seconds), held_seconds))


def _stayed(scene: Scene) -> bool:
    """Whether the present epoch is that of a switchover after which the old primary was primary again."""
    last, truth = scene.last_receipt, scene.truth
    aborted = (PLANNED, truth.epoch, truth.primary_region, Outcome.ABORTED)
    return last is not None and (last.mode, last.epoch, last.from_region, last.outcome) == aborted


def grant_ages_ms(scene: Scene, *, since_epoch: int) -> dict[str, int]:
    """How long ago the other regions granted last, where they did in that epoch or later."""
    leaders = {name: scene.observed.leader(name) for name in scene.voters.regions - {scene.truth.primary_region}}
    return {
        name: leader.granted.age_ms
        for name, leader in leaders.items()
        if leader is not None and leader.granted is not None and leader.granted.epoch >= since_epoch
    }


def is_apart(scene: Scene, region: str) -> bool:
    """Whether the primary has been without its tenure for long, and nothing it holds reaches the region."""
    return scene.without_primary and not streams_to(scene.observed.leader(scene.truth.primary_region), region)


def unfinished(scene: Scene) -> str:
    """Why the present epoch cannot go on though no change of primary is persisted in `.status`; "" when that is not so.

    A region that has promised a higher epoch grants the primary nothing and takes nothing from it. One that does not
    answer may be primary of that epoch: it counts as lost after the failover delay.
    """
    epoch = scene.truth.epoch
    leaders = {name: scene.observed.leader(name) for name in sorted(scene.voters.regions)}
    above = [name for name, leader in leaders.items() if leader is not None and leader.promised_epoch > epoch]
    for name in (name for name, leader in leaders.items() if leader is None):
        since = scene.memory.silent_since.get(name)
        if since is None or (scene.clock.now - since).total_seconds() * 1000 < scene.failover.failover_delay_ms:
            return ""
    if not above:
        return ""
    return f"{', '.join(above)} promised an epoch above {epoch}, and no change of primary was recorded"


def ending(region: str, observed: Observed) -> str:
    """Why no majority of the region's Raft group will stay, for a person; "" when one will, or nobody knows."""
    leader = observed.leader(region)
    if leader is None:
        return ""
    pods = {pod.name: pod for pod in observed.region(region).pods}
    voters = set(leader.members) - set(leader.learners)
    going = sorted(name for name in voters if name in pods and pods[name].terminating)
    answering = {replica.name for replica in observed.region(region).replicas}
    staying = (voters & answering) - set(going)
    if going and len(staying) < majority(len(voters)):
        return f"{', '.join(going)} of {region} {'is' if len(going) == 1 else 'are'} being stopped"
    return f"replicas of {region} were asked to stop" if leader.ending else ""
