"""Whether the primary region is lost, as far as the operator and the other regions can tell. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from rstore_api.domain.voters import WITNESS

from rstore_operator.facts.memory import Memory
from rstore_operator.facts.observed import Observed, ReplicaStatus
from rstore_operator.failover.voting import Electorate

ELECTION_SECONDS = 5.0
"""A region of which a majority of replicas answers is electing a leader, and is given this long for it."""


@dataclass(frozen=True)
class Silence:
    """A region without a leader that answers. ``lost`` when that, and a tenure that is not renewed, lasted long enough.

    ``doubt`` says what speaks against it as yet.
    """

    since: datetime
    lost: bool
    doubt: str = ""
    electing: bool = False


def silence(
    region: str, epoch: int, observed: Observed, memory: Memory, voters: Electorate, *, delay_ms: int, now: datetime
) -> Silence | None:
    """Judge the region that has, or is being given, ``epoch``; grants to lower ones say nothing about it.

    None when the region has a leader that answers and holds the store's data, or when it is not known for how long it
    has had none."""
    since, leader = memory.silent_since.get(region), observed.leader(region)
    if since is None or (leader is not None and leader.store_id):
        return None
    waited_seconds = (now - since).total_seconds()
    seen = observed.region(region)
    if leader is None and waited_seconds < ELECTION_SECONDS and len(seen.replicas) > len(seen.pods) // 2:
        return Silence(since, False, f"{region} is electing a leader", electing=True)
    if waited_seconds * 1000 < delay_ms:
        return Silence(since, False, f"no leader of {region} answers, for less than {delay_ms / 1000:g} s")
    witnesses = {
        name for name in voters.regions - {region} if _sees_no_renewal(observed.leader(name), epoch, delay_ms=delay_ms)
    }
    if voters.witness:
        witnesses.add(WITNESS)  # grants only to a leader that answers
    if not voters.decides(witnesses):
        seeing = ", ".join(sorted(witnesses - {WITNESS})) or "no region"
        return Silence(since, False, f"that the tenure is not renewed is seen by {seeing} only, not by a majority")
    return Silence(since, True)


def _sees_no_renewal(leader: ReplicaStatus | None, epoch: int, *, delay_ms: int) -> bool:
    """Whether that region's leader has granted nothing for so long; a young one may not know what was granted."""
    if leader is None or leader.granted is None:
        return False
    if leader.granted.epoch == 0:
        return leader.granted.remaining_ms == 0
    return leader.granted.epoch < epoch or leader.granted.age_ms >= delay_ms
