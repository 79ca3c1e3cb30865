"""This region as a voter: grants the primary's tenure through its leader."""

from __future__ import annotations

from rstore_api import errors
from rstore_api.proto import rstore_pb2 as pb

from rstore_replica.raft.clock import Clock
from rstore_replica.replication.config import ReplicationConfig
from rstore_replica.replication.features import Features
from rstore_replica.replication.ports import RaftGroup, ReplicatedMachine
from rstore_replica.replication.roles import is_leader
from rstore_replica.replication.tenure.guarantees import ReceivedGuarantee
from rstore_replica.replication.tenure.rules import Granter, bound_to_agree_on


class Voter:
    """Grants by this replica while it leads its region. See ``rules.py``.

    A grant is remembered in memory alone: a replica that leads anew answers a full tenure for what its predecessor may
    have granted.
    """

    def __init__(
        self,
        *,
        machine: ReplicatedMachine,
        group: RaftGroup,
        clock: Clock,
        config: ReplicationConfig,
        features: Features,
    ) -> None:
        self._machine = machine
        self._group = group
        self._clock = clock
        self._config = config
        self._features = features
        self._granter = Granter(config.tenure_seconds)
        self._received = ReceivedGuarantee()

    async def grant(self, request: pb.GrantRequest) -> pb.GrantResponse:
        """Grants one more tenure, or refuses. Counts from now, before leadership is confirmed."""
        received_at = self._clock.monotonic()
        state = self._machine.state
        refusal = pb.GrantResponse(
            granted=False, round=request.round, promised_epoch=state.promised_epoch, region=self._config.region
        )
        if not state.store_id or request.store_id != state.store_id or not is_leader(self._group.status()):
            return refusal
        self._features.report(request.region, request.feature_level)
        try:
            await self._agree_on_bound()
            # Begins after the question came: a leader that is confirmed now led when it came, and knows every promise.
            await self._group.barrier(timeout_seconds=self._config.tenure_seconds)
        except errors.StoreError:
            return refusal
        # No await from here on: a promise that is committed later finds this grant, one committed before is seen.
        state = self._machine.state
        promised_epoch, term = state.promised_epoch, self._group.status().term
        granted_seconds = self._granter.grant(
            request.epoch,
            request.region,
            promised_epoch=promised_epoch,
            received_at=received_at,
            asked_seconds=request.duration_ms / 1000,
            bound_seconds=state.tenure_bound_ms / 1000,
        )
        if granted_seconds > 0:
            self._received.granted(
                request.epoch,
                request.round,
                request.in_sync_regions,
                version=request.topology_version,
                asked_term=request.voter_term,
                term=term,
            )
        return pb.GrantResponse(
            granted=granted_seconds > 0,
            round=request.round,
            promised_epoch=promised_epoch,
            region=self._config.region,
            duration_ms=int(granted_seconds * 1000),
            voter_term=term,
            feature_level=self._group.status().feature_level,
            learners=self._group.status().learners,
            data_epoch=state.epoch,
            revision=self._machine.revision,
        )

    async def _agree_on_bound(self) -> None:
        """See :func:`bound_to_agree_on`. Raises StoreError."""
        led_seconds = self._clock.monotonic() - (self._group.status().leader_since or self._clock.monotonic())
        own_ms = _milliseconds(self._config.tenure_seconds)
        bound_ms = bound_to_agree_on(self._machine.state.tenure_bound_ms, own_ms, led_seconds)
        if bound_ms is not None:
            entry = pb.LogEntry(tenure_bound=pb.TenureBound(duration_ms=bound_ms)).SerializeToString()
            await self._group.propose(entry, timeout_seconds=self._config.tenure_seconds)

    def remaining_seconds(self) -> float:
        """How long a grant of this region may still run, as far as its leader can know; a full tenure on others."""
        status = self._group.status()
        bound_seconds = self._machine.state.tenure_bound_ms / 1000
        if not is_leader(status) or status.leader_since is None:
            return max(self._config.tenure_seconds, bound_seconds)
        return self._granter.remaining(self._clock.monotonic(), status.leader_since, bound_seconds)

    def remaining_ms(self) -> int:
        """:meth:`remaining_seconds` in milliseconds, rounded up."""
        return _milliseconds(self.remaining_seconds())

    def guarantee(self) -> tuple[int, int]:
        """The epoch in which this leader granted last, and the guarantee it received then; see ``guarantees.py``."""
        status = self._group.status()
        current = self._machine.state.topology
        topology = (current.epoch, current.version) if current is not None else (0, 0)
        return self._received.in_term(status.term, topology) if is_leader(status) else (0, 0)

    def status(self) -> pb.GrantStatus | None:
        """Returns what was granted last by this replica as leader; None on any other replica."""
        status = self._group.status()
        if not is_leader(status):
            return None
        answer = pb.GrantStatus(remaining_ms=self.remaining_ms())
        if self._granter.epoch and self._granter.granted_at >= (status.leader_since or 0.0):
            answer.epoch = self._granter.epoch
            answer.age_ms = _milliseconds(self._clock.monotonic() - self._granter.granted_at)
            answer.in_sync_regions = self.guarantee()[1]
        return answer


def _milliseconds(seconds: float) -> int:
    """Rounded up: a grant must never look shorter than it is."""
    return max(0, -int(-seconds * 1000 // 1))
