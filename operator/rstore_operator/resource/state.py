"""The status of a ReplicatedStore as immutable values, and the intent of a change of primary.

The field names in camel case are those of ``.status``, which :mod:`rstore_operator.resource.state_json` reads and
writes. A default means that there is nothing to say, and is left out; one given by :func:`written` is not.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import Enum
from typing import Annotated, ClassVar, TypeVar

from msgspec import Meta, Struct, field
from rstore_backup.report import DrillResult

T = TypeVar("T")
Text = Annotated[str, Meta(min_length=1)]
Time = Annotated[datetime, Meta(tz=True)]
Seconds = Annotated[float, Meta(ge=0, le=1e12)]

UNKNOWN_TIME = datetime(1970, 1, 1, tzinfo=UTC)
"""Stands in place of a time that cannot be read."""
MAX_HISTORY = 10
"""Receipts kept in ``status.history``."""
PLANNED, AUTOMATIC, FORCED = "Planned", "Automatic", "Forced"
"""Modes of a change of primary."""


def written(default: T) -> T:
    """A default that is written to ``.status`` like any other value."""
    return field(default_factory=lambda: default)


class Stored(Struct, frozen=True, rename="camel", omit_defaults=True):
    """A part of ``.status``."""


class Phase(Enum):
    """One word for people about the whole store."""

    PENDING = "Pending"
    CREATING = "Creating"
    STEADY = "Steady"
    CHANGING = "Changing"
    SWITCHING_OVER = "SwitchingOver"
    ROLLING_OUT = "RollingOut"
    DEGRADED = "Degraded"
    PAUSED = "Paused"
    RESTORING = "Restoring"
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
    ROLLOUT = "Rollout"


class Outcome(Enum):
    """How a change of primary ended."""

    SUCCEEDED = "Succeeded"
    ABORTED = "Aborted"


class StepTime(Stored, frozen=True):
    """When a step began."""

    name: Step
    started_at: Time


class FailoverIntent(Stored, frozen=True, kw_only=True):
    """A change of primary that was decided. It is persisted in `.status` before its first action: the commit point."""

    trigger: Trigger
    from_region: str = field(name="from")
    to_region: str = field(name="to", default="")
    asked_for: str = ""
    """The region that a person named, by annotation or in the spec; it stays where another one has to take over."""
    from_epoch: int
    epoch: int
    step: Step
    started_at: Time
    steps: tuple[StepTime, ...] = ()
    stopped_at: Time | None = field(name="writesStoppedAt", default=None)
    """When the old primary was asked to stop, where that is known better than by the step's beginning."""
    resumed_at: Time | None = field(name="writesResumedAt", default=None)
    """Since when the new primary has held its tenure, so that it acknowledges writes, as far as it is known."""
    final_revision: int | None = None
    promoted: str | None = None
    aborted: bool = False
    reason: str = ""
    mode: str
    last_known_revision: int = 0
    """Unplanned: the newest revision that the old primary was ever seen to hold."""
    revisions_lost: int = 0
    revisions_unacknowledged: int = 0
    acknowledged_kept: bool = False
    """Unplanned: these three are as in :class:`Receipt`, once the choice is made."""
    cut_off: bool = False
    """Unplanned: the old primary was reached, and held no tenure; as it cannot acknowledge, another one is chosen."""


class Receipt(Stored, frozen=True):
    """What became of a change of primary. ``write_gap_seconds`` is an upper bound."""

    trigger: Trigger = written(Trigger.ANNOTATION)
    outcome: Outcome = written(Outcome.SUCCEEDED)
    from_region: str = field(name="from", default="")
    to_region: str = field(name="to", default="")
    epoch: int = written(0)
    started_at: Time = written(UNKNOWN_TIME)
    finished_at: Time = written(UNKNOWN_TIME)
    steps: tuple[StepTime, ...] = ()
    final_revision: int | None = None
    write_gap_seconds: Seconds = written(0.0)
    revisions_lost: int = written(0)
    """Revisions that the old primary acknowledged, or may have, and that the new one lacks."""
    reason: str = ""
    mode: str = ""
    asked_for: str = ""
    """The region that a person named; "" where nobody did."""
    revisions_unacknowledged: int = 0
    """Revisions that the new primary lacks and that were never acknowledged."""
    acknowledged_kept: bool = False
    """Whether, by SemiSync, everything that was acknowledged is in the new primary."""


class Condition(Stored, frozen=True):
    """One aspect of the state, as Kubernetes has it; ``status`` is "True", "False" or "Unknown"."""

    type: str = written("")
    status: Text = written("Unknown")
    reason: str = written("")
    message: str = written("")
    observed_generation: int = written(0)
    last_transition_time: Time = written(UNKNOWN_TIME)


class QuarantinedTail(Stored, frozen=True):
    """Revisions up to ``epoch`` that a returned region had to itself, kept in a file on its volumes."""

    epoch: int
    first_revision: int
    last_revision: int
    rows: int
    size_bytes: int = field(name="bytes")
    file: str = written("")
    replaced_by_epoch: int = written(0)
    revisions: int = written(0)
    fork_revision: int = written(0)


class Quarantine(Stored, frozen=True):
    """All diverged tails that a region keeps, counted."""

    tails: int = written(0)
    rows: int = written(0)
    size_bytes: int = field(name="bytes", default_factory=lambda: 0)


NO_QUARANTINE = Quarantine()


class RegionHash(Stored, frozen=True):
    """A region's HashKV where it was compared last; ``differs`` from the other regions'."""

    revision: Annotated[int, Meta(ge=1)]
    value: Text
    differs: bool = written(False)


class RegionStatus(Stored, frozen=True):
    """What is shown of one region."""

    name: str
    role: Text = written("Unknown")
    phase: Text = written("Pending")
    replicas: int = written(0)
    ready_replicas: int = written(0)
    leader: str = ""
    term: int = 0
    commit_index: int = 0
    applied_index: int = 0
    revision: int = 0
    acked_revision: int = written(0)
    lag_revisions: int = written(0)
    lag_bytes: int = written(0)
    lag_seconds: Seconds = written(0.0)
    connected: bool = written(False)
    message: str = ""
    quarantine: Quarantine = NO_QUARANTINE
    quarantined: tuple[QuarantinedTail, ...] = ()
    """The newest of its diverged tails."""
    hash: RegionHash | None = None


class Summary(Stored, frozen=True):
    """Texts for ``kubectl get``."""

    regions: str = ""
    replicas: str = ""
    lag: str = ""
    version: str = ""
    """The versions of the replicas' software."""
    primary_since: Time | None = None
    """When the primary became so; None where it has been from the beginning."""


class WitnessTenure(Stored, frozen=True):
    """What the operator may have granted as witness, in milliseconds; the rules are in
    :mod:`rstore_operator.facts.witness_tenure`."""

    grants_ms: int = written(0)
    """The longest that may be granted."""
    runs_ms: int = written(0)
    """The longest that may have been granted and still run."""
    change: int = written(0)
    """Counts the changes, so that each differs from every other."""


class SentTopology(Stored, frozen=True):
    """The regions in a topology that the primary of ``epoch`` holds or may have been sent; the rules are in
    :mod:`rstore_operator.planner.electorate`. ``mode`` is that of its writes, SemiSync or Async; "" where an earlier
    version of the operator wrote it."""

    epoch: int = written(0)
    version: int = written(0)
    regions: tuple[str, ...] = written(())
    mode: str = ""


class Answered(Stored, frozen=True):
    """The last answer to a kind of request by something that keeps applying a manifest; the rules are in
    :mod:`rstore_operator.failover.answered`."""

    MAX_VALUE: ClassVar[int] = 200

    request: str = ""
    """The annotation."""
    manager: str = ""
    """The field manager that set it."""
    value: str = ""
    answer: str = ""
    """The answer in one word."""
    epoch: int = written(0)
    at: Time = written(UNKNOWN_TIME)
    repeated: bool = False
    """Whether it was applied again since."""


class BackupBase(Stored, frozen=True):
    """The newest base in the archive."""

    revision: int = written(0)
    at: Time = written(UNKNOWN_TIME)
    """When it was finished."""
    size_bytes: int = field(name="bytes", default_factory=lambda: 0)


class BackupDrill(Stored, frozen=True):
    """The last drill: the archive was restored, and compared with a region."""

    time: Time = written(UNKNOWN_TIME)
    """When it began."""
    result: DrillResult = written(DrillResult.FAILED)
    revision: int = 0
    """That was restored; 0: none was."""
    keys: int = 0
    rto_seconds: Seconds = written(0.0)
    """How long the restore took; 0 where there was none."""
    rpo_seconds: Seconds = written(0.0)
    """How old the newest state in the archive was when the drill began."""
    region: str = ""
    """That it was compared with; "": with none."""
    message: str = ""
    request: str = ""
    """The last request that a drill has answered."""


class BackupStatus(Stored, frozen=True):
    """What is in the store's archive, as the archiver reported last."""

    region: str = ""
    """Whose rows are archived."""
    archived_revision: int = written(0)
    lag_revisions: int = written(0)
    lag_seconds: Seconds = written(0.0)
    first_recoverable_revision: int = 0
    first_recoverable: Time | None = None
    """From this moment on the store can be restored at any moment up to ``last_recoverable``."""
    last_recoverable: Time | None = None
    last_base: BackupBase | None = None
    hole: str = ""
    """What was lost to the archive before ``first_recoverable``, and why; "" when nothing was."""
    last_drill: BackupDrill | None = None
    error: str = ""
    """What the archiver cannot do."""


class BootstrapPhase(Enum):
    """What has become of ``spec.bootstrap``. All but the first are final."""

    RESTORING = "Restoring"
    COMPLETED = "Completed"
    IGNORED = "Ignored"
    """The store had data, or ran, before."""


class BootstrapStatus(Stored, frozen=True):
    """Which past state the store begins with. What is restored is recorded before the first key is in the store."""

    phase: BootstrapPhase = written(BootstrapPhase.RESTORING)
    store_id: str = ""
    """Of the store whose archive it is; "" until it is settled what is restored."""
    store: str = ""
    """Its namespace and name, with a slash between them."""
    archived_revision: int = 0
    archived_epoch: int = 0
    revision: int = 0
    """From which the store goes on."""
    keys: int = 0
    progress: str = ""
    """What is done at the moment, and how much of it in per cent."""
    started_at: Time | None = None
    completed_at: Time | None = None
    message: str = ""
    """Why it is ignored."""


class OperatorName(Stored, frozen=True):
    """An installation of the operator, named by the Lease under which its processes act in turn."""

    namespace: str
    lease: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.lease}"


class PendingRequest(Stored, frozen=True):
    """A request that waits until it can be carried out."""

    value: str = ""
    """The values of its annotations."""
    since: Time = written(UNKNOWN_TIME)


class StoreStatus(Stored, frozen=True):
    """All of ``.status``."""

    phase: Phase = written(Phase.PENDING)
    operator: OperatorName | None = None
    """The installation that runs the store; others leave it alone while that one's Lease is renewed."""
    observed_at: Time | None = None
    """When the store was observed last, to OBSERVED_EVERY_SECONDS; None while nothing is wrong with it."""
    store_id: str = ""
    primary_region: str = ""
    preferred_primary: str = ""
    epoch: int = 0
    promised_epoch: int = 0
    in_sync_regions: int = 0
    """What the primary's leader reported last, in ``epoch``: in how many other regions everything is that it
    acknowledges. It counts as the report of the operator, where that is witness of the tenure."""
    in_sync_round: int = 0
    """The round of the tenure in which it began to report so; 0 where the operator is no witness."""
    witness_tenure: WitnessTenure = field(name="witnessLease", default=WitnessTenure())
    promises_lost: bool = False
    """The status was lost, and with it what the operator promised as witness; until every region has answered since, it
    grants and promises nothing."""
    sent_topologies: tuple[SentTopology, ...] = field(name="toldRegions", default=())
    answered: tuple[Answered, ...] = ()
    pending_request: PendingRequest | None = None
    feature_level: int = 0
    """The level of commands that every replica of the store knows; 0 until all have answered at once."""
    observed_generation: int = written(0)
    summary: Summary = Summary()
    conditions: tuple[Condition, ...] = ()
    regions: tuple[RegionStatus, ...] = ()
    backup: BackupStatus | None = None
    bootstrap: BootstrapStatus | None = None
    failover: FailoverIntent | None = None
    history: tuple[Receipt, ...] = ()

    def condition(self, kind: str) -> Condition | None:
        """The condition of that type."""
        return next((condition for condition in self.conditions if condition.type == kind), None)

    def region(self, name: str) -> RegionStatus | None:
        """What is shown of that region."""
        return next((region for region in self.regions if region.name == name), None)
