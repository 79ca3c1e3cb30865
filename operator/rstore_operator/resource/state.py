"""The status of a ReplicatedStore as immutable values, and the intent of a change of primary. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import ClassVar

MAX_HISTORY = 10
"""Receipts kept in ``status.history``."""
PLANNED, AUTOMATIC, FORCED = "Planned", "Automatic", "Forced"
"""Modes of a change of primary."""


class Phase(Enum):
    """One word for people about the whole store."""

    PENDING = "Pending"
    CREATING = "Creating"
    STEADY = "Steady"
    SWITCHING_OVER = "SwitchingOver"
    DEGRADED = "Degraded"
    PAUSED = "Paused"
    INVALID = "Invalid"


class Step(Enum):
    """What a change of primary is doing. The tables of moves are in :mod:`rstore_operator.failover.planned`
    (planned) and in :mod:`rstore_operator.failover.unplanned`."""

    DEMOTING = "Demoting"
    CATCHING_UP = "CatchingUp"
    PROMOTING = "Promoting"
    REVERTING = "Reverting"
    REPOINTING = "Repointing"
    FENCING = "Fencing"
    WAITING = "Waiting"


class Trigger(Enum):
    """What asked for a change of primary."""

    ANNOTATION = "Annotation"
    SPEC = "Spec"
    PRIMARY_LOST = "PrimaryLost"
    TENURE_LOST = "LeaseLost"
    FAILBACK = "Failback"
    PRIMARY_STOPPING = "PrimaryStopping"


class Outcome(Enum):
    """How a change of primary ended."""

    SUCCEEDED = "Succeeded"
    ABORTED = "Aborted"


@dataclass(frozen=True)
class StepTime:
    """When a step began."""

    name: Step
    started_at: datetime


@dataclass(frozen=True)
class FailoverIntent:
    """A change of primary that was decided. Recorded in status before its first action: the commit point."""

    trigger: Trigger
    from_region: str
    to_region: str
    from_epoch: int
    epoch: int
    step: Step
    started_at: datetime
    steps: tuple[StepTime, ...] = ()
    stopped_at: datetime | None = None
    """When the old primary was asked to stop, where that is known better than by the step's beginning."""
    resumed_at: datetime | None = None
    """When the new primary was first seen to hold its tenure, so that it acknowledges writes."""
    final_revision: int | None = None
    promoted: str | None = None
    aborted: bool = False
    reason: str = ""
    mode: str = "Planned"
    last_known_revision: int = 0
    """Unplanned: the newest revision that the old primary was ever heard to hold."""
    revisions_lost: int = 0
    cut_off: bool = False
    """Unplanned: the old primary was reached, and held no tenure; as it cannot acknowledge, another one is chosen."""


@dataclass(frozen=True)
class Receipt:
    """What became of a change of primary. ``write_gap_seconds`` is an upper bound."""

    trigger: Trigger
    outcome: Outcome
    from_region: str
    to_region: str
    epoch: int
    started_at: datetime
    finished_at: datetime
    steps: tuple[StepTime, ...]
    final_revision: int | None
    write_gap_seconds: float
    revisions_lost: int = 0
    reason: str = ""
    mode: str = "Planned"


@dataclass(frozen=True)
class Condition:
    """One aspect of the state, as Kubernetes has it; ``status`` is "True", "False" or "Unknown"."""

    type: str
    status: str
    reason: str
    message: str
    observed_generation: int
    last_transition_time: datetime


@dataclass(frozen=True)
class QuarantinedTail:
    """Revisions up to ``epoch`` that a returned region had to itself, kept in a file on its volumes."""

    epoch: int
    first_revision: int
    last_revision: int
    rows: int
    size_bytes: int
    file: str = ""
    replaced_by_epoch: int = 0
    revisions: int = 0


@dataclass(frozen=True)
class Quarantine:
    """All diverged tails that a region keeps, counted."""

    tails: int = 0
    rows: int = 0
    size_bytes: int = 0


NO_QUARANTINE = Quarantine()


@dataclass(frozen=True)
class RegionHash:
    """A region's HashKV where it was compared last; ``differs`` from the other regions'."""

    revision: int
    value: str
    differs: bool = False


@dataclass(frozen=True)
class RegionStatus:
    """What is shown of one region."""

    name: str
    role: str = "Unknown"
    phase: str = "Pending"
    replicas: int = 0
    ready_replicas: int = 0
    leader: str = ""
    term: int = 0
    commit_index: int = 0
    applied_index: int = 0
    revision: int = 0
    acked_revision: int = 0
    lag_revisions: int = 0
    lag_bytes: int = 0
    lag_seconds: float = 0.0
    connected: bool = False
    message: str = ""
    quarantine: Quarantine = NO_QUARANTINE
    quarantined: tuple[QuarantinedTail, ...] = ()
    """The newest of them."""
    hash: RegionHash | None = None


@dataclass(frozen=True)
class Summary:
    """Texts for ``kubectl get``."""

    regions: str = ""
    replicas: str = ""
    lag: str = ""


@dataclass(frozen=True)
class WitnessTenure:
    """What the operator may have granted as witness, in milliseconds; the rules are in
    :mod:`rstore_operator.facts.witness_tenure`."""

    grants_ms: int = 0
    """The longest that may be granted."""
    runs_ms: int = 0
    """The longest that may have been granted and still run."""
    change: int = 0
    """Counts the changes, so that each is told from every other."""


@dataclass(frozen=True)
class ToldRegions:
    """The regions in a topology that the primary of ``epoch`` holds or may have been sent; the rules are in
    :mod:`rstore_operator.planner.electorate`."""

    epoch: int
    version: int
    regions: tuple[str, ...]


@dataclass(frozen=True)
class Answered:
    """The last answer to a kind of request by something that keeps applying a manifest; the rules are in
    :mod:`rstore_operator.failover.repeats`."""

    MAX_VALUE: ClassVar[int] = 200

    request: str
    """The annotation."""
    manager: str
    """The field manager that set it."""
    value: str
    answer: str
    """In one word."""
    epoch: int
    at: datetime
    repeated: bool = False
    """Whether it was applied again since."""


@dataclass(frozen=True)
class StoreStatus:
    """All of ``.status``."""

    phase: Phase = Phase.PENDING
    store_id: str = ""
    primary_region: str = ""
    preferred_primary: str = ""
    epoch: int = 0
    promised_epoch: int = 0
    in_sync_regions: int = 0
    """What the primary's leader said last, in ``epoch``: in how many other regions everything is that it acknowledges.
    The operator's word as witness of the tenure, where it is one."""
    in_sync_round: int = 0
    """The round of the tenure in which it began to say so; 0 where the operator is no witness."""
    witness_tenure: WitnessTenure = WitnessTenure()
    told_regions: tuple[ToldRegions, ...] = ()
    answered: tuple[Answered, ...] = ()
    observed_generation: int = 0
    summary: Summary = Summary()
    conditions: tuple[Condition, ...] = ()
    regions: tuple[RegionStatus, ...] = ()
    failover: FailoverIntent | None = None
    history: tuple[Receipt, ...] = ()

    def condition(self, kind: str) -> Condition | None:
        """The condition of that type."""
        return next((condition for condition in self.conditions if condition.type == kind), None)

    def region(self, name: str) -> RegionStatus | None:
        """What is shown of that region."""
        return next((region for region in self.regions if region.name == name), None)
