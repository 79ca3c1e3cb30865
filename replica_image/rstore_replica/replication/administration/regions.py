"""What the operator can ask of a region: the logic of the Admin service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from rstore_api import errors
from rstore_api.domain.epochs import epoch_of
from rstore_api.domain.limits import TAILS_SHOWN
from rstore_api.domain.topology import Topology
from rstore_api.logs import get_logger
from rstore_api.messages import history_messages, topology_message, topology_of
from rstore_api.proto import rstore_pb2 as pb

from rstore_replica.raft.clock import Clock
from rstore_replica.raft.types import GroupStatus
from rstore_replica.replication.acknowledging import Acknowledging
from rstore_replica.replication.config import ReplicationConfig
from rstore_replica.replication.messages import leaving_message, quarantine_counts, quarantined_message
from rstore_replica.replication.ports import RaftGroup, RegionStateView, ReplicatedMachine
from rstore_replica.replication.receiving.tail import finish_undoing
from rstore_replica.replication.roles import is_leader, leader_address
from rstore_replica.replication.sending.progress import Progress
from rstore_replica.replication.tenure.keeper import TenureKeeper
from rstore_replica.replication.tenure.voter import Voter

log = get_logger(__name__)

_MAX_WAITING_CALLS = 64


class WriteGate:
    """Whether this replica's region takes new writes, asked before a write is proposed.

    It is shut for good by the replicated state, and at once, ahead of that state, while a demotion is being committed.
    A write that slipped through is still refused by the state machine: the gate only spares clients the detour.
    """

    def __init__(self, machine: ReplicatedMachine) -> None:
        self._machine = machine
        self._demotions = 0
        self.ending_since: float | None = None
        """Clock reading since which the region takes no writes because so many replicas were asked to stop."""

    @property
    def ending(self) -> bool:
        """Whether so many of the region's replicas were asked to stop that it takes no writes any more."""
        return self.ending_since is not None

    @property
    def open(self) -> bool:
        """Whether writes may be proposed now."""
        return self.writable and not self.ending

    @property
    def writable(self) -> bool:
        """Whether the region is the primary and not being demoted."""
        return self._demotions == 0 and self._machine.state.writable

    @property
    def refusal(self) -> str:
        """Why the gate is shut, for clients; only asked when it is."""
        return "the primary region is being stopped" if self.writable else "a change of primary is under way"

    @property
    def epoch(self) -> int:
        """The epoch to propose them in."""
        return self._machine.state.epoch

    def __enter__(self) -> None:
        """Shuts the gate until :meth:`__exit__`."""
        self._demotions += 1

    def __exit__(self, *_: object) -> None:
        self._demotions -= 1


class RegionController:
    """Bootstrap, topology, demotion, promotion, leadership transfer and status of this replica's region.

    What changes something is answered by the region's leader only, one call at a time; others raise NotLeader with
    the leader's peer address. Every such call may raise NotLeader, NoLeader and TooManyRequests (nothing was
    proposed) and OutcomeUnknown (it may happen yet; asking again is safe, each call is idempotent).
    """

    def __init__(
        self,
        *,
        machine: ReplicatedMachine,
        group: RaftGroup,
        clock: Clock,
        config: ReplicationConfig,
        progress: Progress,
        on_role_change: Callable[[], None],
        transfers: Callable[[], tuple[pb.SnapshotTransfer, ...]],
        tenure: TenureKeeper,
        voter: Voter,
        acknowledging: Acknowledging,
    ) -> None:
        self._machine = machine
        self._group = group
        self._clock = clock
        self._config = config
        self._progress = progress
        self._on_role_change = on_role_change
        self._transfers = transfers
        self._tenure = tenure
        self._voter = voter
        self._acknowledging = acknowledging
        self._turn = asyncio.Lock()
        self._waiting = 0
        self.write_gate = WriteGate(machine)

    async def bootstrap(self, request: pb.BootstrapRequest) -> pb.BootstrapResponse:
        """Gives the region its store id and topology; on the primary region, epoch 1 as well.

        Repeated for the same store it changes nothing. Raises WrongStore for another one, InvalidRequest.
        """
        if not request.store_id:
            raise errors.InvalidRequest("a store id is required")
        _checked(request.topology)
        async with self._alone():
            await self._catch_up()
            await self._propose(pb.LogEntry(bootstrap=request))
            state = self._machine.state
            log.info("bootstrapped", store_id=state.store_id, epoch=state.epoch, primary=state.primary)
            return pb.BootstrapResponse(store_id=state.store_id, epoch=state.epoch)

    async def set_topology(self, request: pb.SetTopologyRequest) -> pb.SetTopologyResponse:
        """Gives the region the addresses of the others and the primary's name; ignored when not newer than what it has.

        Raises NotBootstrapped, WrongStore, InvalidRequest.
        """
        topology = _checked(request.topology)
        async with self._alone():
            await self._catch_up()
            self._require_store(request.store_id)
            current = self._machine.state.topology
            if current is not None and topology.age <= current.age:
                return pb.SetTopologyResponse(changed=False)
            await self._propose(pb.LogEntry(topology=request.topology))
            return pb.SetTopologyResponse(changed=self._machine.state.topology == topology)

    async def demote(self, request: pb.DemoteRequest) -> pb.DemoteResponse:
        """Stops accepting writes, commits the promise of ``request.epoch`` and returns the final revision.

        The promise takes its place in the log behind everything proposed before it, so what was in flight is
        drained; what comes behind it is refused by the state machine. Repeated for the same epoch it returns the same.
        If the promise is not committed the region goes on as it was. Raises NotBootstrapped, WrongStore, NotPrimary,
        StaleEpoch.
        """
        async with self._alone():
            await self._catch_up()
            state = self._require_store(request.store_id)
            if not state.primary:
                raise errors.NotPrimary(f"the primary region is {_primary_of(state)}")
            if request.epoch <= state.epoch or request.epoch < state.promised_epoch:
                raise errors.StaleEpoch(
                    f"epoch {request.epoch} is to follow, but the region is at {state.epoch} "
                    f"and has promised {state.promised_epoch}"
                )
            with self.write_gate:
                await self._propose(pb.LogEntry(promise=pb.Promise(epoch=request.epoch)))
                state = self._machine.state
                if not state.primary or state.promised_epoch != request.epoch:
                    raise errors.StaleEpoch(f"epoch {state.promised_epoch} has been promised meanwhile")
                # The state refuses writes from here on, so nothing can move the revision any more.
                final_revision = self._machine.revision
            log.info("demoted", epoch=state.epoch, next_epoch=request.epoch, final_revision=final_revision)
            return pb.DemoteResponse(epoch=state.epoch, final_revision=final_revision)

    async def promote(self, request: pb.PromoteRequest) -> pb.PromoteResponse:
        """Makes this region primary of ``request.epoch``.

        Raises NotBootstrapped, WrongStore, Behind (it does not hold ``min_revision``), StaleEpoch (a higher epoch is
        promised or this one has passed), InvalidRequest. Repeated for the same epoch it returns the same.
        """
        topology = _checked(request.topology)
        if topology.primary_region != self._config.region or topology.epoch != request.epoch:
            raise errors.InvalidRequest(
                f"the topology must name {self._config.region} as primary of epoch {request.epoch}"
            )
        async with self._alone():
            await self._catch_up()
            state = self._require_store(request.store_id)
            await finish_undoing(self._machine, self._group, self._config)
            already = state.primary and state.epoch == request.epoch
            current = state.topology
            if current is not None and current.epoch >= request.epoch and current.primary_region != self._config.region:
                raise errors.StaleEpoch(f"the primary region of epoch {current.epoch} is {current.primary_region}")
            if not already and self._machine.revision < request.min_revision:
                raise errors.Behind(f"it holds revision {self._machine.revision}, {request.min_revision} is required")
            first_revision = await self._propose(pb.LogEntry(promotion=request))
            if not isinstance(first_revision, int):
                raise errors.StoreError(f"promotion was answered with {first_revision!r}")
            log.info("promoted", epoch=request.epoch, first_revision=first_revision)
            return pb.PromoteResponse(epoch=request.epoch, first_revision=first_revision)

    async def fence(self, request: pb.FenceRequest) -> pb.FenceResponse:
        """Commits the promise of ``request.epoch``, so that nothing is granted to lower epochs any more, and returns
        where the region stands and how long what it has granted may still run. Repeated for the same epoch it does the
        same.

        Raises NotBootstrapped, WrongStore, StaleEpoch (a higher epoch is promised), InvalidRequest.
        """
        if request.epoch < 1:
            raise errors.InvalidRequest("an epoch is required")
        async with self._alone():
            await self._catch_up()
            state = self._require_store(request.store_id)
            with self.write_gate:
                if state.promised_epoch < request.epoch:
                    await self._propose(pb.LogEntry(promise=pb.Promise(epoch=request.epoch)))
                state = self._machine.state
            if state.promised_epoch != request.epoch:
                raise errors.StaleEpoch(f"epoch {state.promised_epoch} is promised")
            remaining_ms = self._voter.remaining_ms()
            in_sync_epoch, in_sync_regions = self._voter.guarantee()
            log.info("fenced", epoch=request.epoch, revision=self._machine.revision, remaining_ms=remaining_ms)
            return pb.FenceResponse(
                region=self._config.region,
                promised_epoch=state.promised_epoch,
                epoch=epoch_of(state.history),
                revision=self._machine.revision,
                remaining_grant_ms=remaining_ms,
                history=history_messages(state.history),
                in_sync_epoch=in_sync_epoch,
                in_sync_regions=in_sync_regions,
            )

    def witness_grant(self, request: pb.WitnessGrantRequest) -> pb.WitnessGrantResponse:
        """The witness grants a round of the tenure that Status offered. Raises NotBootstrapped, WrongStore."""
        self._require_leader()
        self._require_store(request.store_id)
        return pb.WitnessGrantResponse(counted=self._tenure.witness_granted(request.epoch, request.round))

    async def transfer_leadership(self, request: pb.TransferLeadershipRequest) -> pb.TransferLeadershipResponse:
        """Hands Raft leadership to ``request.target``, or to the most up to date replica when it is empty.

        Raises InvalidRequest when the target is not a replica of this region.
        """
        status = self._require_leader()
        if request.target and request.target not in {member.name for member in status.members}:
            raise errors.InvalidRequest(f"{request.target} is not a replica of region {self._config.region}")
        leader = await self._group.transfer_leadership(
            request.target or None, timeout_seconds=self._config.propose_seconds
        )
        self._on_role_change()
        return pb.TransferLeadershipResponse(leader=leader)

    def status(self) -> pb.StatusResponse:
        """Everything known here about this replica, its region and, on the source's leader, the other regions.

        Answered by every replica from what it has applied. ``version`` and readiness are the server's to fill in.
        """
        group = self._group.status()
        state, staged = self._machine.state, self._machine.staged
        return pb.StatusResponse(
            store_id=state.store_id,
            region=self._config.region,
            replica=self._config.replica,
            is_leader=is_leader(group),
            leader=group.leader or "",
            term=group.term,
            commit_index=group.commit_index,
            applied_index=group.applied_index,
            revision=self._machine.revision,
            compact_revision=self._machine.compact_revision,
            epoch=state.epoch,
            promised_epoch=state.promised_epoch,
            primary=state.primary,
            writable=self.write_gate.writable,
            ending=self.write_gate.ending,
            ending_ms=self._ending_ms(),
            history=history_messages(state.history),
            topology=topology_message(state.topology) if state.topology is not None else None,
            progress=[
                pb.RegionProgress(
                    region=region.region,
                    connected=region.connected,
                    acked_revision=region.acked_revision,
                    lag_revisions=region.lag_revisions,
                    lag_bytes=region.lag_bytes,
                    lag_seconds=region.lag_seconds,
                    last_error=region.last_error,
                )
                for region in self._progress.snapshot(self._clock.monotonic())
            ],
            members=[member.name for member in group.members],
            learners=group.learners,
            joining=group.joining,
            db_size_bytes=self._machine.db_size_bytes,
            quarantined=[quarantined_message(tail) for tail in self._machine.quarantined[-TAILS_SHOWN:]],
            quarantine=quarantine_counts(self._machine.quarantined),
            leaving=leaving_message(state.leaving),
            tenure=self._tenure.status(),
            granted=self._voter.status(),
            staged=staged.message() if staged is not None else None,
            transfers=self._transfers(),
            sync=self._acknowledging.status(),
        )

    def _ending_ms(self) -> int:
        since = self.write_gate.ending_since
        return 0 if since is None else round((self._clock.monotonic() - since) * 1000)

    def _require_leader(self) -> GroupStatus:
        status = self._group.status()
        if status.leader is None:
            raise errors.NoLeader
        if not is_leader(status):
            raise errors.NotLeader(f"the leader is {status.leader}", leader=leader_address(status))
        return status

    async def _catch_up(self) -> None:
        """Confirms leadership and applies what is committed, so that decisions are made on the present state."""
        self._require_leader()
        await self._group.barrier(timeout_seconds=self._config.propose_seconds)

    def _require_store(self, store_id: str) -> RegionStateView:
        state = self._machine.state
        if not state.store_id:
            raise errors.NotBootstrapped
        if store_id != state.store_id:
            raise errors.WrongStore(f"it belongs to {state.store_id}")
        return state

    async def _propose(self, entry: pb.LogEntry) -> object:
        try:
            result = await self._group.propose(entry.SerializeToString(), timeout_seconds=self._config.propose_seconds)
        finally:
            self._on_role_change()
        if isinstance(result, errors.StoreError):
            raise result
        return result

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """One call after the other; raises TooManyRequests when too many wait."""
        self._require_leader()
        if self._waiting >= _MAX_WAITING_CALLS:
            raise errors.TooManyRequests("too many administrative calls wait for each other")
        self._waiting += 1
        try:
            async with self._turn:
                yield
        finally:
            self._waiting -= 1


def _primary_of(state: RegionStateView) -> str:
    return (state.topology.primary_region if state.topology is not None else "") or "not known"


def _checked(message: pb.Topology) -> Topology:
    """The topology; raises InvalidRequest unless it names an epoch, distinct regions and one of them primary."""
    topology = topology_of(message)
    names = topology.region_names
    if topology.epoch < 1:
        raise errors.InvalidRequest("a topology with an epoch is required")
    if not all(names) or len(set(names)) != len(names):
        raise errors.InvalidRequest("the topology's regions must have distinct names")
    if topology.primary_region not in names:
        raise errors.InvalidRequest(f"the primary region {topology.primary_region!r} is not one of the regions")
    for region in topology.regions:
        if any(not replica.peer_address for replica in region.replicas):
            raise errors.InvalidRequest(f"a replica of region {region.name} has no peer address")
    return topology
