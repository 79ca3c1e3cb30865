"""What an operator process remembers between two looks at a store: one frozen value, and the step to the next one.

Nothing of it is needed to continue safely: a process that begins with an empty memory waits anew, and asks anew, where
it does not know. What must survive the process is persisted in `.status`, or by the regions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from rstore_operator.facts.absent import absent_since
from rstore_operator.facts.actions import Action, Demote, Notice
from rstore_operator.facts.catching_up import Standstill, standstill
from rstore_operator.facts.lacks import Lack, lacks_since, staying_regions
from rstore_operator.facts.observed import FenceAnswer, HashQuestion, HashRound, Observed, ReplicaStatus
from rstore_operator.resource.state import StoreStatus, WitnessTenure

COMPARE_SECONDS = 30.0
"""Objects are compared with what is wanted when one of them changed, and this often anyway."""

Problems = tuple[tuple[str, str], ...]
"""Reason and message of each thing that is wrong."""
MAX_UNPOSTED = 64
"""Events kept until they may be posted; later ones are dropped."""
Leadership = tuple[str, int, int]
"""Replica, term and epoch."""


@dataclass(frozen=True)
class Moment:
    """When a look was taken: wall time, which may be set, and seconds of this process' monotonic clock."""

    now: datetime
    seconds: float


@dataclass(frozen=True)
class HashMemory:
    """What is remembered of the comparisons of the replicas' data."""

    latest: HashRound | None = None
    """The newest round that has ended."""
    asked: HashQuestion | None = None
    asked_at: float = 0.0
    """When the newest round began; once it has ended, when that was."""
    took_seconds: float = 0.0
    complete: bool = False
    """Whether every replica that was asked answered."""
    away: frozenset[tuple[str, str]] = frozenset()
    """The replicas that were asked last and could not have been at some moment since."""
    revision: int = 0
    still_since: float = 0.0
    """Since when the revision that could be compared has been ``revision``."""


@dataclass(frozen=True)
class Memory:
    """Everything that is remembered. ``Memory()`` is that of a process that has not looked yet. Fields that end in
    ``_at`` are seconds of the monotonic clock."""

    moment: Moment = Moment(datetime.min.replace(tzinfo=UTC), 0.0)
    """The newest look."""
    silent_at: Mapping[str, float] = field(default_factory=dict)
    """By region, since when it has had no leader that answers."""
    last_leaders: Mapping[str, ReplicaStatus] = field(default_factory=dict)
    """By region, the newest answer of a leader."""
    tenure_seen_at: Mapping[str, float] = field(default_factory=dict)
    """By primary region, when its leader last reported that it holds its tenure."""
    without_tenure_at: Mapping[str, tuple[Leadership, float]] = field(default_factory=dict)
    """By primary region, the leader that has no tenure, and since when."""
    without_stream_at: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    """By region, the epoch whose primary sends it nothing, and since when."""
    lacking_at: Mapping[Lack, float] = field(default_factory=dict)
    """Since when pods have been missing or have not started, and when they were last there."""
    absent_at: Mapping[str, float] = field(default_factory=dict)
    """By region that votes, since when nothing of it has been in the cluster."""
    fences: Mapping[str, FenceAnswer] = field(default_factory=dict)
    """By region, what it answered this process when it was fenced for the change of primary under way."""
    intent_seen_at: tuple[int, float] | None = None
    """The epoch of the change of primary in `.status`, and when this process first saw it there."""
    witness_tenure_seen_at: tuple[WitnessTenure, float] = (WitnessTenure(), 0.0)
    """``status.witness_tenure``, and when this process first saw it so."""
    unrecorded_at: float | None = None
    """When this process last saw a store that is there and a status without its id, or first one that says so of an
    earlier moment; None: never."""
    stop_sent: tuple[int, datetime] | None = None
    """The epoch of the switchover under way, and the wall time when the old primary was first asked to stop."""
    standstill: Standstill | None = None
    """How far the target of a switchover has come, which waits for it."""
    failures: tuple[str, ...] = ()
    """What failed when the last plan was carried out."""
    watch_closely: frozenset[str] = frozenset()
    """Regions whose leaders decide about the next step; while there are any, the others are not asked."""
    problems: Problems | None = None
    """What the last comparison found wrong with the objects; None once one of them has changed."""
    behind: frozenset[str] = frozenset()
    """The regions whose StatefulSets did not have the newest pod template then."""
    compared_at: float = 0.0
    hashes: HashMemory = HashMemory()
    recorded_at: float = 0.0
    """When this process last wrote the status."""
    unposted: tuple[Notice, ...] = ()
    """Events that may be posted once nobody waits for the next step."""
    refusals: frozenset[str] = frozenset()
    """Kinds of refusals of the status that were reported by an event."""

    @property
    def silent_since(self) -> dict[str, datetime]:
        """By region, the wall time since which it has had no leader that answers."""
        return {name: self.moment.now - timedelta(seconds=self._since(at)) for name, at in self.silent_at.items()}

    @property
    def standstill_seconds(self) -> float:
        """For how long the target of a switchover has come no nearer to the revision that it needs."""
        return self._since(self.standstill[2]) if self.standstill is not None else 0.0

    @property
    def tenure_seen_seconds(self) -> dict[str, float]:
        """By primary region, how long ago its leader reported that it holds its tenure."""
        return {name: self._since(at) for name, at in self.tenure_seen_at.items()}

    @property
    def without_tenure_seconds(self) -> dict[str, float]:
        """By primary region, for how long its present leader has had no tenure."""
        return {name: self._since(at) for name, (_, at) in self.without_tenure_at.items()}

    @property
    def without_stream_seconds(self) -> dict[str, float]:
        """By region that answers, for how long the primary's leader has sent nothing to it."""
        return {name: self._since(at) for name, (_, at) in self.without_stream_at.items()}

    @property
    def lacking_seconds(self) -> dict[Lack, float]:
        """For how long pods have been missing or have not started, and how long ago they were last there."""
        return {lack: self._since(at) for lack, at in self.lacking_at.items()}

    @property
    def known_problems(self) -> Problems | None:
        """What is wrong with the objects where they need not be compared: none has changed and it was done not long
        ago, or there is no time for it."""
        if self.watch_closely:
            return self.problems or ()
        return self.problems if self._since(self.compared_at) < COMPARE_SECONDS else None

    def _since(self, at: float) -> float:
        return self.moment.seconds - at


def remember(memory: Memory, store: str, observed: Observed, status: StoreStatus, moment: Moment) -> Memory:
    """The memory after a look at ``store`` that showed ``observed`` and ``status``."""
    seconds = moment.seconds
    epoch = status.failover.epoch if status.failover is not None else 0
    intent_seen_at = memory.intent_seen_at
    if intent_seen_at is None or intent_seen_at[0] != epoch:
        intent_seen_at = (epoch, seconds) if epoch else None
    unrecorded = not status.store_id and any(replica.store_id for replica in observed.replicas())
    unrecorded = unrecorded or (status.promises_lost and memory.unrecorded_at is None)
    tenure_known = memory.witness_tenure_seen_at[0] == status.witness_tenure
    staying = staying_regions(observed, status)
    absent_at = absent_since(memory.absent_at, store, observed, status, seconds)
    return replace(
        memory,
        moment=moment,
        silent_at=_silent(memory, observed, status, absent_at, seconds),
        last_leaders=_newest_leaders(memory.last_leaders, observed),
        tenure_seen_at={**memory.tenure_seen_at, **_with_tenure(observed, seconds)},
        without_tenure_at=_without_tenure(memory.without_tenure_at, observed, seconds),
        without_stream_at=_without_stream(memory.without_stream_at, observed, seconds),
        lacking_at=lacks_since(memory.lacking_at, store, staying, observed, seconds),
        absent_at=absent_at,
        fences={name: answer for name, answer in memory.fences.items() if answer.epoch == epoch},
        intent_seen_at=intent_seen_at,
        witness_tenure_seen_at=memory.witness_tenure_seen_at if tenure_known else (status.witness_tenure, seconds),
        unrecorded_at=seconds if unrecorded else memory.unrecorded_at,
        stop_sent=memory.stop_sent if memory.stop_sent is not None and memory.stop_sent[0] == epoch else None,
        standstill=standstill(memory.standstill, observed, status, seconds),
    )


def looked_again(memory: Memory, observed: Observed, moment: Moment) -> Memory:
    """The memory after a look at a store at rest that showed the same regions, pods and leaders as the one before."""
    return replace(
        memory,
        moment=moment,
        last_leaders=_newest_leaders(memory.last_leaders, observed),
        tenure_seen_at={**memory.tenure_seen_at, **_with_tenure(observed, moment.seconds)},
        lacking_at=dict.fromkeys(memory.lacking_at, moment.seconds),
    )


def planned(
    memory: Memory, *, problems: Problems | None, behind: frozenset[str], watch_closely: frozenset[str]
) -> Memory:
    """The memory after a plan. ``problems`` is None where what is done changes what was compared."""
    compared = memory.known_problems is None
    return replace(
        memory,
        problems=problems,
        behind=behind,
        compared_at=memory.moment.seconds if compared else memory.compared_at,
        watch_closely=watch_closely,
    )


def acting(memory: Memory, actions: Iterable[Action], now: datetime) -> Memory:
    """The memory when ``actions`` begin to be carried out at the wall time ``now``."""
    demoted = next((action.epoch for action in actions if isinstance(action, Demote)), None)
    return replace(memory, stop_sent=(demoted, now)) if demoted and memory.stop_sent is None else memory


def acted(memory: Memory, fences: Iterable[FenceAnswer], failures: Iterable[str]) -> Memory:
    """The memory after a plan was carried out, with what fenced voters answered and what failed."""
    return replace(
        memory,
        fences={**memory.fences, **{answer.region: answer for answer in fences}},
        failures=tuple(failures),
    )


def to_post(memory: Memory, notices: Iterable[Notice]) -> Memory:
    """The memory with more events to post."""
    return replace(memory, unposted=(*memory.unposted, *notices)[:MAX_UNPOSTED])


def _silent(
    memory: Memory, observed: Observed, status: StoreStatus, absent: Iterable[str], seconds: float
) -> dict[str, float]:
    """Since when regions are silent: from when their last leader was first asked what it has not answered. Regions
    that are ``absent`` are silent, whatever is left of them in the status."""
    regions = {*observed.regions, *(region.name for region in status.regions if region.leader or region.revision)}
    regions |= {*absent, status.primary_region} - {""}
    silent = {}
    for name in regions:
        if not _answers(name, observed, status):
            leader = memory.last_leaders.get(name)
            waited = observed.unanswered_seconds.get(leader.name, 0.0) if leader is not None else 0.0
            silent[name] = memory.silent_at.get(name, seconds - waited)
    return silent


def _answers(region: str, observed: Observed, status: StoreStatus) -> bool:
    """Whether a leader answers. A primary region that has come back without its data counts as gone."""
    leader = observed.leader(region)
    had_data = region == status.primary_region and bool(status.store_id)
    return leader is not None and (bool(leader.store_id) or not had_data)


def _newest_leaders(before: Mapping[str, ReplicaStatus], observed: Observed) -> dict[str, ReplicaStatus]:
    """A leader without data does not replace one that had it: what the region held then is what a failover may
    lose."""
    leaders = {name: region.leader for name, region in observed.regions.items()}
    kept = {name: leader for name, leader in before.items() if leader.store_id}
    newest = {name: leader for name, leader in leaders.items() if leader and (leader.store_id or name not in kept)}
    return {**before, **newest}


def _with_tenure(observed: Observed, seconds: float) -> dict[str, float]:
    """The regions whose leaders hold their tenure by an answer that is not an old one."""
    leaders = {name: region.leader for name, region in observed.regions.items()}
    return {
        name: seconds
        for name, leader in leaders.items()
        if leader is not None and leader.writable and leader.tenure is not None and leader.tenure.held
        if leader.name not in observed.unanswered_seconds
    }


def _without_tenure(
    before: Mapping[str, tuple[Leadership, float]], observed: Observed, seconds: float
) -> dict[str, tuple[Leadership, float]]:
    after = {}
    for name, region in observed.regions.items():
        leader = region.leader
        if leader is not None and leader.lacks_tenure:
            leadership = (leader.name, leader.term, leader.epoch)
            earlier = before.get(name)
            after[name] = earlier if earlier is not None and earlier[0] == leadership else (leadership, seconds)
    return after


def _without_stream(
    before: Mapping[str, tuple[int, float]], observed: Observed, seconds: float
) -> dict[str, tuple[int, float]]:
    leaders = [region.leader for region in observed.regions.values() if region.leader is not None]
    source = max((leader for leader in leaders if leader.primary), key=lambda leader: leader.epoch, default=None)
    if source is None:
        return {}
    connected = {item.region for item in source.progress if item.connected}
    after = {}
    for leader in leaders:
        if leader.store_id and leader.region != source.region and leader.region not in connected:
            earlier = before.get(leader.region)
            after[leader.region] = earlier if earlier and earlier[0] == source.epoch else (source.epoch, seconds)
    return after
