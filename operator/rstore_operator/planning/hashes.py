"""Do all replicas hold the same data? When to ask for HashKV, at which revision, and what the answers mean.

Asked are all replicas that follow the present epoch, at the newest revision that every region of them has applied.
A region of an older epoch may still hold a tail that another will never have; it is compared once it has left it.
A difference is reported, never repaired.
"""

from __future__ import annotations

from dataclasses import replace

from msgspec import structs
from rstore_api.domain.hashes import Verdict, compare, format_hash

from rstore_operator.facts.memory import HashMemory
from rstore_operator.facts.observed import HashQuestion, HashRound, Observed, ReplicaStatus
from rstore_operator.facts.truth import Truth
from rstore_operator.resource.state import RegionHash, RegionStatus, StoreStatus

DIVERGED = "Diverged"
"""The condition's type."""
AGAIN_SECONDS = 2.0
"""No two rounds are closer together than this."""
REST_FACTOR = 20
"""After a round nothing is hashed for this many times as long as it took, so hashing takes 5 % of the time at most."""
MAX_REST_SECONDS = 1800.0
STILL_SECONDS = 5.0
"""A store without writes for this time is compared before the interval is over, and then left alone."""


def question(observed: Observed, status: StoreStatus) -> HashQuestion | None:
    """What could be compared now; None when there are no two replicas to compare."""
    regions = [region.name for region in status.regions if region.phase != "Removing"]
    left_out = {name: _obstacle(observed.leader(name), status) for name in regions}
    leaders = {name: leader for name in regions if not left_out[name] and (leader := observed.leader(name)) is not None}
    floor = max((leader.compact_revision for leader in leaders.values()), default=0)
    for name, leader in leaders.items():
        if leader.revision < floor:
            left_out[name] = f"it has revision {leader.revision}, others have compacted up to {floor}"
    leaders = {name: leader for name, leader in leaders.items() if not left_out[name]}
    if not leaders:
        return None
    revision = min(leader.revision for leader in leaders.values())
    targets = frozenset(
        (name, replica.name)
        for name, leader in leaders.items()
        for replica in observed.region(name).replicas
        if replica.epoch == status.epoch
        and replica.compact_revision <= revision
        and replica.name not in leader.learners
    )
    if len(targets) < 2:
        return None
    return HashQuestion(status.epoch, revision, targets, tuple((name, why) for name, why in left_out.items() if why))


def _obstacle(leader: ReplicaStatus | None, status: StoreStatus) -> str:
    if leader is None:
        return "no leader answers"
    if not status.epoch or leader.store_id != status.store_id or leader.epoch != status.epoch:
        return f"it does not follow epoch {status.epoch} of the store"
    return ""


def look(memory: HashMemory, asked: HashQuestion | None, now: float) -> HashMemory:
    """The memory after a look that showed what could be ``asked``."""
    present = asked.targets if asked is not None else frozenset()
    if memory.asked is not None:
        memory = replace(memory, away=memory.away | (memory.asked.targets - present))
    if asked is not None and asked.revision != memory.revision:
        memory = replace(memory, revision=asked.revision, still_since=now)
    return memory


def due(
    memory: HashMemory, asked: HashQuestion | None, status: StoreStatus, *, interval_seconds: float, now: float
) -> bool:
    """Whether to ask now. ``interval_seconds`` 0: never.

    At once when the epoch changed or somebody came back; else when the revision has moved, or the last answers left
    something open, and the interval is over. A store that stands still and was found equal is left alone.
    """
    if asked is None or interval_seconds <= 0 or status.failover is not None:
        return False
    condition = status.condition(DIVERGED)
    diverged = condition is not None and condition.status == "True"
    last = memory.asked
    if last is None:
        equal = {region.name for region in status.regions if _equal_at(region, asked.revision)}
        return diverged or not asked.regions <= equal
    since = now - memory.asked_at
    if since < max(AGAIN_SECONDS, min(MAX_REST_SECONDS, REST_FACTOR * memory.took_seconds)):
        return False
    if asked.epoch != last.epoch or asked.targets - last.targets or asked.targets & memory.away:
        return True
    moved = asked.revision != last.revision
    if moved and now - memory.still_since >= STILL_SECONDS:
        return True
    return since >= interval_seconds and (moved or diverged or not memory.complete)


def _equal_at(region: RegionStatus, revision: int) -> bool:
    return region.hash is not None and region.hash.revision == revision and not region.hash.differs


def asking(memory: HashMemory, asked: HashQuestion, now: float) -> HashMemory:
    """The memory when a round begins."""
    return replace(memory, asked=asked, asked_at=now, took_seconds=0.0, complete=False, away=frozenset())


def answered(memory: HashMemory, round_: HashRound, now: float) -> HashMemory:
    """The memory when that round has ended."""
    complete = all(answer.hash is not None for answer in round_.answers)
    took_seconds = now - memory.asked_at
    return replace(
        memory, latest=round_, took_seconds=took_seconds, asked_at=now, complete=complete
    )  # fmt: skip


def next_round(
    memory: HashMemory,
    observed: Observed,
    status: StoreStatus,
    *,
    interval_seconds: float,
    under_way: bool,
    now: float,
) -> tuple[HashMemory, HashQuestion | None]:
    """The memory after a look, and the round that begins now, if one is due and none is ``under_way``. ``status`` is
    what follows from what was ``observed``."""
    asked = question(observed, status)
    memory = look(memory, asked, now)
    if under_way or asked is None or not due(memory, asked, status, interval_seconds=interval_seconds, now=now):
        return memory, None
    return asking(memory, asked, now), asked


# ------------------------------------------------------------------------------------------ what the answers mean
def judge(round_: HashRound | None, truth: Truth, status: StoreStatus) -> Verdict | None:
    """The verdict to persist; None without one, or when the store has moved to another epoch meanwhile."""
    if round_ is None or round_.epoch != truth.epoch or status.failover is not None:
        return None
    verdict = compare(round_.revision, round_.answers, truth.primary_region)
    if verdict is None:
        return None
    missing = [f"{answer.replica} ({answer.problem})" for answer in round_.answers if answer.hash is None]
    missing += [f"{region} ({why})" for region, why in round_.left_out]
    return replace(verdict, text=f"{verdict.text}; not compared: {', '.join(missing)}") if missing else verdict


def with_hashes(
    regions: tuple[RegionStatus, ...], before: StoreStatus, verdict: Verdict | None
) -> tuple[RegionStatus, ...]:
    """Regions with their newest known hash; one that was not asked keeps what it had."""
    shown = []
    for region in regions:
        earlier = before.region(region.name)
        hash_ = earlier.hash if earlier is not None else None
        if verdict is not None and region.name in verdict.hashes:
            value = format_hash(verdict.hashes[region.name])
            hash_ = RegionHash(verdict.revision, value, region.name in verdict.differing)
        shown.append(structs.replace(region, hash=hash_))
    return tuple(shown)


def differing_regions(status: StoreStatus) -> frozenset[str]:
    """Regions whose data was found to differ from the others' and was not found equal since."""
    return frozenset(region.name for region in status.regions if region.hash is not None and region.hash.differs)


def warning_of(status: StoreStatus, region: str) -> str:
    """Return what to add to a sentence about this region as primary; "" when nothing is known against it."""
    shown = status.region(region)
    if shown is None or shown.hash is None or not shown.hash.differs:
        return ""
    return f"; beware: at revision {shown.hash.revision} {region} held other data than the others (condition Diverged)"


def divergence(regions: tuple[RegionStatus, ...], verdict: Verdict | None) -> tuple[bool, str] | None:
    """Whether regions differ, and the text for it; None when there is nothing new to say.

    A region that was found to differ and could not be asked again still differs.
    """
    if verdict is None:
        return None
    if not verdict.equal:
        return True, verdict.text
    still = any(region.hash is not None and region.hash.differs for region in regions)
    return None if still else (False, verdict.text)
