"""What a replica that was asked to stop waits for, so that its going loses nothing.

A region *ends* when the replicas that stay, in touch with each other, are no majority of its voters. A primary region
that ends takes no more writes; its leader goes once another region has committed all that it has, and its followers do
not go before that, since the leader needs them to lead. In all other cases a replica goes at once; a leader hands its
leadership on first.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum

from rstore_replica.raft.types import GroupStatus, Role
from rstore_replica.replication.config import EndingBounds
from rstore_replica.replication.sending.progress import RegionProgress


@dataclass(frozen=True)
class Standing:
    """All that the decision depends on, at one moment."""

    source: bool
    """Whether the region is the primary, or streams to those that are to follow it."""
    sole: bool
    """Whether the store has no other region."""
    leads: bool
    in_touch_with_leader: bool
    region_stays: bool
    """Whether a majority of the region stays without this replica."""
    released: bool
    """Whether the leader reports that no replica need stay for it."""
    demoted: bool
    """Whether the region has promised a higher epoch, so that a change of primary is under way."""
    uncommitted: bool
    """Whether entries of the log may yet be committed and acknowledged."""
    regions: tuple[RegionProgress, ...] = ()
    """The other regions, as this replica streams to them; empty where there are none."""


class Step(Enum):
    """What to do now."""

    WAIT = "wait"
    HAND_ON = "hand on"
    """Hand leadership to a replica that stays, then go."""
    GO = "go"


@dataclass(frozen=True)
class Decision:
    """The step and why. ``safe``: everything that was acknowledged is known to be in another region; ``last``: this
    leader is the end of a primary region; ``served``: others serve the calls that this replica still gets.
    """

    step: Step
    reason: str
    safe: bool = False
    last: bool = False
    served: bool = False


def region_stays(status: GroupStatus, in_touch: Collection[str], *, without_self: bool) -> bool:
    """Whether a majority of the voters was not asked to stop; of the others, those count that are ``in_touch``."""
    voters = {member.name for member in status.members} - set(status.learners)
    staying = (voters & set(in_touch)) | ({status.name} & voters if not without_self else set())
    return len(staying - set(status.leaving)) >= len(voters) // 2 + 1


def may_commit(status: GroupStatus, in_touch: Collection[str]) -> bool:
    """Returns whether the leader's log holds what is not applied yet, and may be soon, asked to stop or not."""
    voters = {member.name for member in status.members} - set(status.learners)
    majority = len(voters & {*in_touch, status.name}) >= len(voters) // 2 + 1
    return status.role is Role.LEADER and status.applied_index < status.last_index and majority


def is_safe(standing: Standing) -> bool:
    """Whether another region has committed everything that is acknowledged here; the gate for writes must be shut."""
    in_another_region = any(region.connected and region.lag_revisions == 0 for region in standing.regions)
    return standing.leads and not standing.uncommitted and in_another_region


def decide(
    standing: Standing,
    bounds: EndingBounds,
    *,
    waited_seconds: float,
    safe_seconds: float | None,
    handed_on: bool = False,
) -> Decision:
    """Returns what a replica does that was asked to stop ``waited_seconds`` ago.

    ``safe_seconds``: how long :func:`is_safe` has been true without a pause, None when it is not; ``handed_on``:
    leadership was offered to the others already.
    """
    if standing.region_stays:
        if standing.source and not standing.sole and waited_seconds < bounds.settle_seconds:
            return Decision(Step.WAIT, "others of the region may have been asked to stop as well")
        if standing.leads and not handed_on:
            return Decision(Step.HAND_ON, "other replicas of the region stay")
        return Decision(Step.GO, "other replicas of the region stay", served=True)
    if not standing.source:
        return Decision(Step.GO, "the region is not primary", safe=True, served=True)
    if standing.sole:
        return Decision(Step.GO, "there is no other region", last=standing.leads)
    if waited_seconds >= bounds.drain_seconds:
        reason = f"{bounds.drain_seconds:g} s have passed, and {_behind(standing)}"
        return Decision(Step.GO, reason, safe=safe_seconds is not None, last=standing.leads)
    if not standing.leads:
        return _follower(standing)
    if not any(region.connected for region in standing.regions):
        if waited_seconds < bounds.connect_seconds:
            return Decision(Step.WAIT, "no other region is connected")
        return Decision(Step.GO, f"no other region is connected: {_behind(standing)}", last=True)
    if safe_seconds is None:
        return Decision(Step.WAIT, "no other region holds everything yet")
    late = any(region.connected and region.lag_revisions for region in standing.regions)
    if late and safe_seconds < bounds.others_seconds:
        return Decision(Step.WAIT, "some regions do not hold everything yet", safe=True)
    if standing.demoted or safe_seconds < bounds.move_seconds:
        return Decision(Step.WAIT, "another region is to become primary", safe=True)
    return Decision(Step.GO, "another region holds everything", safe=True, last=True)


def _follower(standing: Standing) -> Decision:
    if standing.released:
        return Decision(Step.GO, "the leader waits for nothing any more")
    if not standing.in_touch_with_leader:
        return Decision(Step.GO, "the region has no leader that could send anything")
    return Decision(Step.WAIT, "the leader has not sent everything yet")


def _behind(standing: Standing) -> str:
    if not standing.regions:
        return "what other regions hold is not known here"
    return ", ".join(
        f"{region.region} lacks {region.lag_revisions} revisions"
        + ("" if region.connected else " and is not connected")
        for region in standing.regions
    )
