"""The client of one replica's Admin service (port 2380), for the operator and the command line."""

from __future__ import annotations

from rstore_api.client.replica import ReplicaClient
from rstore_api.methods import (
    ADMIN_ADD_MEMBER,
    ADMIN_BOOTSTRAP,
    ADMIN_DEMOTE,
    ADMIN_FENCE,
    ADMIN_PROMOTE,
    ADMIN_REMOVE_MEMBER,
    ADMIN_SET_TOPOLOGY,
    ADMIN_STATUS,
    ADMIN_TRANSFER_LEADERSHIP,
    ADMIN_WITNESS_GRANT,
)
from rstore_api.proto import rstore_pb2


class AdminClient(ReplicaClient):
    """Calls one replica, once; retrying and following a leader hint is the caller's decision.

    Every method takes its timeout in seconds (it covers dialling too) and raises a StoreError: Unreachable when
    nothing was sent, NotLeader (``error.leader`` is the leader's peer address) when another replica must be asked,
    OutcomeUnknown when the connection broke after sending; every Admin call is idempotent and may be repeated.
    """

    async def status(self, *, timeout_seconds: float = 2.0) -> rstore_pb2.StatusResponse:
        """What the replica knows; any replica answers."""
        return await self._endpoint.call(ADMIN_STATUS, rstore_pb2.StatusRequest(), timeout_seconds=timeout_seconds)

    async def bootstrap(
        self, store_id: str, topology: rstore_pb2.Topology, *, promised_epoch: int = 0, timeout_seconds: float = 5.0
    ) -> rstore_pb2.BootstrapResponse:
        """Give a fresh region its store id, and make it promise ``promised_epoch``. Raises WrongStore when it has
        another id.
        """
        request = rstore_pb2.BootstrapRequest(store_id=store_id, topology=topology, promised_epoch=promised_epoch)
        return await self._endpoint.call(ADMIN_BOOTSTRAP, request, timeout_seconds=timeout_seconds)

    async def set_topology(
        self, store_id: str, topology: rstore_pb2.Topology, *, timeout_seconds: float = 5.0
    ) -> rstore_pb2.SetTopologyResponse:
        """Tell the region where the others are; an older topology is ignored."""
        request = rstore_pb2.SetTopologyRequest(store_id=store_id, topology=topology)
        return await self._endpoint.call(ADMIN_SET_TOPOLOGY, request, timeout_seconds=timeout_seconds)

    async def demote(self, store_id: str, epoch: int, *, timeout_seconds: float = 10.0) -> rstore_pb2.DemoteResponse:
        """Stop the primary in favour of ``epoch``; its final revision comes back."""
        request = rstore_pb2.DemoteRequest(store_id=store_id, epoch=epoch)
        return await self._endpoint.call(ADMIN_DEMOTE, request, timeout_seconds=timeout_seconds)

    async def promote(
        self,
        store_id: str,
        epoch: int,
        min_revision: int,
        topology: rstore_pb2.Topology,
        *,
        revision_jump: int = 0,
        timeout_seconds: float = 10.0,
    ) -> rstore_pb2.PromoteResponse:
        """Make the region primary of ``epoch``. Raises Behind or StaleEpoch when it may not be.

        ``revision_jump`` is for a failover: that many revisions are left out before the epoch's first.
        """
        request = rstore_pb2.PromoteRequest(
            store_id=store_id,
            epoch=epoch,
            min_revision=min_revision,
            topology=topology,
            revision_jump=revision_jump,
        )
        return await self._endpoint.call(ADMIN_PROMOTE, request, timeout_seconds=timeout_seconds)

    async def fence(self, store_id: str, epoch: int, *, timeout_seconds: float = 5.0) -> rstore_pb2.FenceResponse:
        """Have the region promise ``epoch`` and tell where it stands. Raises StaleEpoch when it has promised more."""
        request = rstore_pb2.FenceRequest(store_id=store_id, epoch=epoch)
        return await self._endpoint.call(ADMIN_FENCE, request, timeout_seconds=timeout_seconds)

    async def witness_grant(
        self, store_id: str, epoch: int, round_number: int, *, timeout_seconds: float = 2.0
    ) -> rstore_pb2.WitnessGrantResponse:
        """Grant the round that Status offered, as witness; ``counted`` is false when it came too late."""
        request = rstore_pb2.WitnessGrantRequest(store_id=store_id, epoch=epoch, round=round_number)
        return await self._endpoint.call(ADMIN_WITNESS_GRANT, request, timeout_seconds=timeout_seconds)

    async def transfer_leadership(
        self, target: str = "", *, timeout_seconds: float = 5.0
    ) -> rstore_pb2.TransferLeadershipResponse:
        """Hand Raft leadership to the named replica ("" = whoever is most up to date)."""
        request = rstore_pb2.TransferLeadershipRequest(target=target)
        return await self._endpoint.call(ADMIN_TRANSFER_LEADERSHIP, request, timeout_seconds=timeout_seconds)

    async def add_member(
        self, name: str, peer_address: str, *, timeout_seconds: float = 5.0
    ) -> rstore_pb2.MembersResponse:
        """Take a replica into the region's group; it counts when it is no more among the learners. Idempotent."""
        request = rstore_pb2.AddMemberRequest(name=name, peer_address=peer_address)
        return await self._endpoint.call(ADMIN_ADD_MEMBER, request, timeout_seconds=timeout_seconds)

    async def remove_member(self, name: str, *, timeout_seconds: float = 5.0) -> rstore_pb2.MembersResponse:
        """Take a replica out of the region's group. Idempotent."""
        request = rstore_pb2.RemoveMemberRequest(name=name)
        return await self._endpoint.call(ADMIN_REMOVE_MEMBER, request, timeout_seconds=timeout_seconds)
