"""Everything that was seen at one moment, immutable: what :mod:`rstore_operator.planner.plan` decides by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rstore_api.domain.epochs import History
from rstore_api.domain.hashes import HashAnswer
from rstore_api.domain.kubernetes import REGION_LABEL
from rstore_api.domain.topology import Topology

from rstore_operator.facts.archiver import NO_ARCHIVER, ArchiverObserved
from rstore_operator.facts.restorer import NO_RESTORER, RestorerObserved
from rstore_operator.resource.requested_base import RequestedBase
from rstore_operator.resource.state import NO_QUARANTINE, Quarantine, QuarantinedTail

ChildKey = tuple[str, str]
"""Kind and name of an object in the store's namespace."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a region is, as the primary's leader sees it."""

    region: str
    connected: bool
    acked_revision: int
    lag_revisions: int
    lag_bytes: int
    lag_seconds: float
    last_error: str = ""


@dataclass(frozen=True, slots=True)
class Staged:
    """What a region has of a snapshot that is not visible yet."""

    revision: int
    rows: int


@dataclass(frozen=True, slots=True)
class Tenure:
    """The primary leader's right to acknowledge, as it reports it. It asks for no grant of ours where
    ``witness_round`` is 0."""

    held: bool
    witness_round: int
    duration_ms: int
    in_sync_regions: int = 0
    """What the offered round reports: in how many other regions everything is that the primary acknowledges."""
    longest_ms: int = 0
    """The longest grant that the region has agreed on; for a while above ``duration_ms`` after that was lowered."""
    granted_version: int | None = None
    """The newest version of the epoch's topology of which a majority of the voters has granted a round, 0: none yet;
    None: its version of the replica does not report it."""
    missing_revision: int = 0
    """A revision of the epoch that another region holds and this one does not: it has lost data. 0: none is known."""
    held_ms: int | None = None
    """How long ago this leader first held its tenure of the epoch; None: it has not, or its version of the replica does
    not report it."""


@dataclass(frozen=True, slots=True)
class Granted:
    """What a region's leader has granted last; ``epoch`` 0: nothing since it leads."""

    epoch: int
    age_ms: int
    remaining_ms: int
    in_sync_regions: int = 0
    """What the newest round that was granted reported, as in :class:`Tenure`."""


@dataclass(frozen=True, slots=True)
class SyncStatus:
    """Whether the primary's leader acknowledges as SemiSync demands."""

    min_in_sync_regions: int
    in_sync: bool
    degraded: bool


@dataclass(frozen=True, slots=True)
class InForce:
    """The version of the access rules in force on a replica, and their digest once they are on its volume, else ""."""

    version: int
    digest: str
    anonymous: bool = False
    """Whether it asks clients for no certificates, and so enforces nothing."""


@dataclass(frozen=True, slots=True)
class FenceAnswer:
    """A voter that promised ``epoch``: where its data ends, and when (on this process' clock) no grant of it runs."""

    region: str
    epoch: int
    data_epoch: int
    revision: int
    clear_at_seconds: float
    in_sync_epoch: int = 0
    in_sync_regions: int = 0
    """What the newest round of the primary's tenure that it granted reported, and in which epoch; as in
    :class:`Tenure`."""
    history: History = ()


@dataclass(frozen=True, slots=True)
class ReplicaStatus:
    """What one replica answered to Admin.Status: applied, so committed, facts about its region."""

    name: str
    region: str
    store_id: str
    is_leader: bool
    leader: str
    term: int
    revision: int
    epoch: int
    promised_epoch: int
    primary: bool
    writable: bool
    commit_index: int = 0
    applied_index: int = 0
    compact_revision: int = 0
    history: History = ()
    topology: Topology | None = None
    progress: tuple[Progress, ...] = ()
    ready: bool = False
    not_ready_reason: str = ""
    tenure: Tenure | None = None
    granted: Granted | None = None
    sync: SyncStatus | None = None
    quarantine: Quarantine = NO_QUARANTINE
    tails: tuple[QuarantinedTail, ...] = ()
    staged: Staged | None = None
    ending: bool = False
    """Whether so many replicas of this primary region were asked to stop that it takes no writes any more."""
    ending_seconds: float = 0.0
    """For how many seconds it has taken no writes."""
    leaving: str = ""
    """What a region that leaves a diverged tail is doing, for a person."""
    members: tuple[str, ...] = ()
    """Replicas in the region's Raft group, as this one knows it; ``learners`` are those that do not count yet."""
    learners: tuple[str, ...] = ()
    joining: bool = False
    """Whether it belongs to no group yet; ``members`` are then those with which it would begin one."""
    version: str = ""
    """Of its software."""
    feature_level: int = 1
    """It knows every kind of command up to this level."""
    trusted_authorities: frozenset[str] = frozenset()
    """SHA-256 in hexadecimal of each authority it trusts, and of its own certificate; empty where it
    does not report them."""
    certificate: str = ""
    keeps_advertised_addresses: bool = False
    """Whether its version keeps the advertised addresses of a topology."""
    access: InForce | None = None
    """The access rules on this replica; None: its version knows none, so every certificate may do everything."""

    @property
    def lacks_tenure(self) -> bool:
        """Whether this leader of a primary region could acknowledge nothing when it answered."""
        return self.writable and self.tenure is not None and not self.tenure.held


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod of a region."""

    name: str
    region: str
    ip: str
    ready: bool
    terminating: bool = False
    problem: str = ""
    restarted_at: str = ""
    """The annotation of ``kubectl rollout restart`` that it was made with."""
    host: str = ""
    """The name that its replica's certificate has."""
    uid: str = ""
    resource_version: str = ""
    revision: str = ""
    """The revision of the StatefulSet's template that it was made from."""
    image: str = ""
    node: str = ""
    """The node that it was given to; "" until it has one."""
    grace_seconds: int = 0
    """How long it may take to end, once it is terminating."""


CLAIM = "PersistentVolumeClaim"


@dataclass(frozen=True, slots=True)
class Claim:
    """The PersistentVolumeClaim of a replica's volume. Sizes are quantities, "" where there is none yet."""

    name: str
    requested: str
    capacity: str
    bound: bool
    resource_version: str = ""
    terminating: bool = False
    message: str = ""
    """What its conditions report of a change of size that is under way."""
    refusal: str = ""
    """Why the API server refused a larger size not long ago."""
    storage_class: str = ""
    uid: str = ""
    created_at: str = ""
    """As the API server writes it: later ones sort later."""


@dataclass(frozen=True, slots=True)
class RegionObserved:
    """A region: its pods, and the answers of their replicas."""

    name: str
    pods: tuple[Pod, ...] = ()
    replicas: tuple[ReplicaStatus, ...] = ()

    @property
    def leader(self) -> ReplicaStatus | None:
        """The replica that leads (the one of the highest term, should two claim it)."""
        leaders = [replica for replica in self.replicas if replica.is_leader]
        return max(leaders, key=lambda replica: replica.term) if leaders else None

    @property
    def ready_pods(self) -> int:
        """Pods that are ready and not on their way out."""
        return sum(pod.ready and not pod.terminating for pod in self.pods)

    def pod(self, name: str) -> Pod | None:
        """The pod of that name."""
        return next((pod for pod in self.pods if pod.name == name), None)


@dataclass(frozen=True, slots=True)
class HashQuestion:
    """A comparison worth making: replicas by region and name, and why regions are left out."""

    epoch: int
    revision: int
    targets: frozenset[tuple[str, str]]
    left_out: tuple[tuple[str, str], ...] = ()

    @property
    def regions(self) -> frozenset[str]:
        """Regions that take part."""
        return frozenset(region for region, _ in self.targets)


@dataclass(frozen=True, slots=True)
class HashRound:
    """What replicas answered when they were asked for their hash at one revision, in ``epoch``."""

    epoch: int
    revision: int
    answers: tuple[HashAnswer, ...]
    left_out: tuple[tuple[str, str], ...] = ()
    """Regions that were not asked, and why."""


@dataclass(frozen=True, slots=True)
class Observed:
    """Everything that one look showed. ``children`` are live objects that are ours, ``foreign`` the names that somebody
    else's objects have, with their owners, ``orphans`` objects of this store that nobody controls."""

    regions: Mapping[str, RegionObserved] = field(default_factory=dict)
    children: Mapping[ChildKey, Mapping[str, Any]] = field(default_factory=dict)
    foreign: Mapping[ChildKey, str] = field(default_factory=dict)
    orphans: Mapping[ChildKey, Mapping[str, Any]] = field(default_factory=dict)
    free: frozenset[ChildKey] | None = None
    """Names that were asked for and that nobody has; None: every name that is not in the others."""
    claims: Mapping[str, Claim] = field(default_factory=dict)
    """The claims of volumes with the store's label, by name."""
    elsewhere: frozenset[str] = frozenset()
    """Regions whose objects are in another cluster, so that ``children`` and ``claims`` have none of them."""
    left_behind: Mapping[str, str] = field(default_factory=dict)
    """Pods of a deleted store of the same name that have not ended: the node of each, by name."""
    refusals: Mapping[ChildKey, str] = field(default_factory=dict)
    """Why pods of a StatefulSet could not be created, or a claim is not bound, by that object, as its newest event
    reports."""
    archiver: ArchiverObserved = NO_ARCHIVER
    restorer: RestorerObserved = NO_RESTORER
    requested_bases: tuple[RequestedBase, ...] = ()
    unanswered_seconds: Mapping[str, float] = field(default_factory=dict)
    """By replica that has not answered the newest questions, how long ago the first of them was asked."""

    def region(self, name: str) -> RegionObserved:
        """Return that region; empty when nothing was seen of it."""
        return self.regions.get(name) or RegionObserved(name)

    def leader(self, region: str) -> ReplicaStatus | None:
        """The leader of that region, if it answered."""
        return self.region(region).leader

    def replicas(self) -> tuple[ReplicaStatus, ...]:
        """Every replica that answered."""
        return tuple(replica for region in self.regions.values() for replica in region.replicas)

    def live_regions(self) -> frozenset[str]:
        """Regions for which a StatefulSet of ours exists."""
        return frozenset(
            child["metadata"].get("labels", {}).get(REGION_LABEL, "")
            for (kind, _), child in self.children.items()
            if kind == "StatefulSet"
        ) - {""}
