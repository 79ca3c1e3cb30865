"""A plan that asked for nothing, and how long it stands: while the next looks show the same, nothing is planned anew.

Time alone changes a decision only where something waits, and a plan with which something waits does not stand: see
:func:`may_stand`. Numbers that move under load, such as revisions, change what status shows and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from operator import attrgetter

from rstore_operator.facts.lacks import PRESENT
from rstore_operator.facts.memory import Memory
from rstore_operator.facts.observed import Granted, Observed, Pod, Progress, RegionObserved, ReplicaStatus, Tenure
from rstore_operator.planning.conditions.in_sync import IN_SYNC_LAG_SECONDS
from rstore_operator.resource.significance import NUMBERS_EVERY_SECONDS, without_numbers
from rstore_operator.resource.state import Phase, StoreStatus

STANDS_SECONDS = 30.0
"""How long a plan stands at most, in a process with few stores: what neither the primary's leader nor a watch shows,
such as another region's new leader, or a change of the object while its watch hangs, is noticed by then."""


@dataclass(frozen=True)
class Rest:
    """A plan that stands."""

    status: StoreStatus
    """What it decided, as it is persisted but for numbers."""
    regions: Mapping[str, RegionObserved]
    """What it was made from."""
    until_seconds: float
    numbers_until_seconds: float
    """Until when it stands though numbers have moved: then status may be written again."""
    asked: str
    """The replica that is asked while the plan stands: the leader of the primary region. It reports whether it holds
    its tenure, which others grant, and whether every other region follows it."""

    @property
    def pods(self) -> tuple[Pod, ...]:
        """The pods of all regions."""
        return tuple(pod for region in self.regions.values() for pod in region.pods)

    def asks(self, pod: Pod) -> bool:
        """Whether the pod's replica is asked while the plan stands."""
        return pod.name == self.asked


def may_stand(memory: Memory, observed: Observed, status: StoreStatus) -> bool:
    """Whether nothing waits for time to pass: every region answers, the primary holds its tenure and sends to all
    others, no pod is missing, nothing has failed, and no change of primary is under way or asked for."""
    waits = (
        memory.silent_at,
        memory.without_tenure_at,
        memory.without_stream_at,
        memory.absent_at,
        [name for lack, name in memory.lacking_at if lack != PRESENT],
        memory.failures,
        memory.problems != (),
        memory.watch_closely,
        observed.unanswered_seconds,
        status.failover,
        status.pending_request,
        status.witness_tenure.runs_ms != status.witness_tenure.grants_ms,
        status.observed_at,
    )
    return status.phase is Phase.STEADY and not any(waits)


def rest_after(
    persisted: StoreStatus,
    decided: StoreStatus,
    observed: Observed,
    memory: Memory,
    *,
    spread: float = 1.0,
    stands_seconds: float = STANDS_SECONDS,
) -> Rest | None:
    """Returns the plan that ``decided`` this status as one that stands from now on; None where the status that is
    ``persisted`` differs in more than numbers, or no primary's leader can be asked.

    It is a plan that stands by ``Plan.stands``, for ``stands_seconds`` at most. ``spread``, from 0 to 1, differs by
    store: it stands the longer the larger that is, so that stores which came to rest together are not planned together
    ever after.
    """
    primary = observed.leader(decided.primary_region)
    if primary is None or without_numbers(persisted) != without_numbers(decided):
        return None
    now = memory.moment.seconds
    numbers_until = memory.recorded_at + NUMBERS_EVERY_SECONDS
    until = now + stands_seconds * (1 + spread) / 2
    until = until if persisted == decided else numbers_until
    return Rest(decided, observed.regions, until, numbers_until, primary.name)


def look_again(rest: Rest, statuses: Mapping[str, ReplicaStatus], now_seconds: float) -> Rest | None:
    """Returns the plan after a look that showed these statuses, by replica; None when it stands no longer."""
    until_seconds = rest.until_seconds
    regions = {}
    for name, region in rest.regions.items():
        replicas = []
        for before in region.replicas:
            after = statuses.get(before.name)
            if after is None or not is_as_before(before, after):
                return None
            if _shown(before) != _shown(after):
                until_seconds = min(until_seconds, rest.numbers_until_seconds)
            replicas.append(after)
        regions[name] = replace(region, replicas=tuple(replicas))
    return replace(rest, regions=regions, until_seconds=until_seconds) if now_seconds < until_seconds else None


def _all_but(kind: type, *moving: str) -> attrgetter[tuple[object, ...]]:
    return attrgetter(*(one.name for one in fields(kind) if one.name not in moving))


_OF_STATUS = _all_but(
    ReplicaStatus, "revision", "commit_index", "applied_index", "compact_revision", "progress", "tenure", "granted"
)
_OF_PROGRESS = _all_but(Progress, "acked_revision", "lag_revisions", "lag_bytes", "lag_seconds")
_OF_TENURE = _all_but(Tenure, "witness_round", "held_ms")
_OF_GRANT = _all_but(Granted, "age_ms", "remaining_ms")
"""A grant is renewed as long as the primary reports that it holds its tenure."""


def is_as_before(before: ReplicaStatus, after: ReplicaStatus) -> bool:
    """Returns whether two answers of a replica differ in nothing but numbers on which nothing depends while nothing
    waits."""
    return before is after or (_OF_STATUS(before) == _OF_STATUS(after) and _parts(before) == _parts(after))


def _parts(status: ReplicaStatus) -> tuple[object, ...]:
    tenure, granted = status.tenure, status.granted
    return (
        (_OF_TENURE(tenure), bool(tenure.witness_round)) if tenure is not None else None,
        _OF_GRANT(granted) if granted is not None else None,
        [(_OF_PROGRESS(item), item.lag_seconds > IN_SYNC_LAG_SECONDS) for item in status.progress],
    )


def _shown(status: ReplicaStatus) -> tuple[object, ...]:
    """The numbers of an answer that the store's status shows."""
    lags = ((item.acked_revision, item.lag_revisions, item.lag_bytes, item.lag_seconds) for item in status.progress)
    return (status.revision, status.commit_index, status.applied_index, *lags)
