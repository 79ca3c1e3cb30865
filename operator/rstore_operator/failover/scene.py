"""All that is given to a decision on when the primary may have to be replaced."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from rstore_operator.facts.memory import Memory
from rstore_operator.facts.observed import Observed, Progress
from rstore_operator.facts.truth import Truth
from rstore_operator.facts.without_tenure import is_stuck
from rstore_operator.facts.witness_tenure import CLOCK_MARGIN
from rstore_operator.failover.voting import Electorate
from rstore_operator.planning.hashes import differing_regions
from rstore_operator.planning.scaling.topology import held_sync, sync_of
from rstore_operator.resource.commands import Commands
from rstore_operator.resource.model import FailoverSpec, StoreSpec
from rstore_operator.resource.state import BootstrapPhase, Receipt, StoreStatus


@dataclass(frozen=True)
class Rules:
    """What the spec and the object's annotations say about this failover."""

    priorities: Mapping[str, int]
    """The regions that may become primary; the lowest number first."""
    tenure_ms: int
    max_data_loss_bytes: int | None = None
    """Of last known lag; None: without limit. In SemiSync 0 means that nothing acknowledged may be missing."""
    semi_sync: bool = False
    witness_in_sync_regions: int = 0
    """What the primary reported last to the operator, as witness, in the epoch that is left."""
    loss_accepted: bool = False
    abort: bool = False


@dataclass(frozen=True)
class Clock:
    """Wall time for what is persisted, monotonic seconds for what is waited for; ``recorded_at_seconds`` is when this
    process first saw the intent's epoch in `.status`, None when it has not."""

    now: datetime
    seconds: float
    recorded_at_seconds: float | None = None


AFTER_ALL_OTHERS = 1 << 32
"""Added to a priority number, it is above all that a spec may give."""


@dataclass(frozen=True)
class Scene:
    """All that these decisions depend on."""

    commands: Commands
    spec: StoreSpec | None
    regions: tuple[str, ...]
    observed: Observed
    memory: Memory
    truth: Truth
    status: StoreStatus
    voters: Electorate
    rules: Rules
    clock: Clock
    absent: frozenset[str] = frozenset()
    """Regions that left the spec and of which nothing is left in the cluster, whose last grants have run out: they
    need not be fenced."""
    leave_primary: str = ""
    """Why a roll needs another region to be primary; "" when it does not."""
    rolling: bool = False
    """Whether pods are being replaced, or are about to be."""

    @property
    def failover(self) -> FailoverSpec:
        """The spec's rules; the defaults while it is invalid, but nothing happens by itself then."""
        return self.spec.failover if self.spec else FailoverSpec(policy="Manual")

    @property
    def witness_has_forgotten(self) -> bool:
        """Whether the status was lost, and with it what the operator promised and granted as witness: something may
        still run that was granted before, or one of the spec's regions, which has not answered since, may know of a
        later epoch that was promised."""
        unrecorded_at = self.memory.unrecorded_at
        if unrecorded_at is None:
            return False
        if self.clock.seconds - unrecorded_at < self.rules.tenure_ms / 1000 * CLOCK_MARGIN:
            return True
        return not self.voters.regions & set(self.rules.priorities) <= self.memory.last_leaders.keys()

    @property
    def is_restoring(self) -> bool:
        """Whether the store is being filled from an archive: there is nothing yet that another region could have, and
        what comes in is for the first epoch alone."""
        bootstrap = self.status.bootstrap
        return bootstrap is not None and bootstrap.phase is BootstrapPhase.RESTORING

    @property
    def named(self) -> str:
        """The region that ``failover-to`` names."""
        return self.commands.failover_to or ""

    @property
    def last_receipt(self) -> Receipt | None:
        """The receipt of the last change of primary."""
        return self.status.history[-1] if self.status.history else None

    @property
    def highest_epoch(self) -> int:
        """The highest epoch that was ever seen, in use or promised."""
        return max(self.truth.highest_epoch, self.truth.promised_epoch)

    def progress(self, region: str) -> Progress | None:
        """How far the region is, as the primary's leader reports it."""
        source = self.observed.leader(self.truth.primary_region)
        return next((item for item in (source.progress if source else ()) if item.region == region), None)

    @property
    def without_primary(self) -> bool:
        """Whether the primary answers and cannot acknowledge, so that a failover is to choose among the others."""
        return is_stuck(self.truth.primary_region, self.memory)


def rules_of(spec: StoreSpec | None, commands: Commands, observed: Observed, memory: Memory, from_epoch: int,
             regions: tuple[str, ...], status: StoreStatus) -> Rules:  # fmt: skip
    """What the spec and the annotations say. The tenure is the longest that the witness may have granted
    according to ``status``, or that any replica reported to use.

    Of regions that hold equally much, those found to hold other data than the rest come last.
    Whether the store is SemiSync is what the primary was sent, not what the spec says since then; where ``status`` does
    not record that, the spec's mode, or without a valid spec that of the regions.
    """
    failover = spec.failover if spec else FailoverSpec()
    priorities = dict.fromkeys(regions, 10)
    if spec is not None:
        priorities |= {region.name: region.priority for region in spec.regions}
    priorities |= {name: priorities[name] + AFTER_ALL_OTHERS for name in differing_regions(status) & priorities.keys()}
    sent_modes = {sent.mode for sent in status.sent_topologies} - {""}
    wanted = sync_of(spec.replication) if spec is not None else held_sync(observed)
    semi_sync = "SemiSync" in sent_modes if sent_modes else wanted is not None
    replicas = (*observed.replicas(), *memory.last_leaders.values())
    reported = [replica.tenure for replica in replicas if replica.tenure is not None]
    tenures = [max(tenure.duration_ms, tenure.longest_ms) for tenure in reported]
    return Rules(
        priorities=priorities,
        tenure_ms=max([failover.lease_duration_ms, status.witness_tenure.runs_ms, *tenures]),
        max_data_loss_bytes=0 if semi_sync and failover.max_data_loss_bytes is None else failover.max_data_loss_bytes,
        semi_sync=semi_sync,
        witness_in_sync_regions=status.in_sync_regions if status.epoch == from_epoch and status.in_sync_round else 0,
        loss_accepted=commands.accepted_epoch == from_epoch,
        abort=commands.abort,
    )
