"""The Admin service: a thin face of the region's controller."""

from __future__ import annotations

from collections.abc import Callable

import rstore_api
from rstore_api import methods
from rstore_api.proto import rstore_pb2, rstore_pb2_grpc

from rstore_replica.api.calls import Calls, Context
from rstore_replica.api.routing.router import CallInfo
from rstore_replica.mvcc.commands.registry import COMMANDS
from rstore_replica.replication.administration.members import add_member, remove_member
from rstore_replica.replication.administration.regions import RegionController
from rstore_replica.replication.ports import RaftGroup
from rstore_replica.tls import CertificateStore


class AdminServicer(rstore_pb2_grpc.AdminServicer):
    """Every call is :class:`RegionController`'s method, or :mod:`.replication.members`'s function, of the same name."""

    def __init__(
        self,
        *,
        calls: Calls,
        controller: RegionController,
        group: RaftGroup,
        certificates: CertificateStore,
        not_ready_reason: Callable[[], str],
    ) -> None:
        """``not_ready_reason`` is "" when the replica is ready."""
        self._certificates = certificates
        self._calls = calls
        self._controller = controller
        self._group = group
        self._not_ready_reason = not_ready_reason

    async def Status(self, _request: rstore_pb2.StatusRequest, context: Context) -> rstore_pb2.StatusResponse:
        """What this replica knows."""

        async def body(_call: CallInfo) -> rstore_pb2.StatusResponse:
            status = self._controller.status()
            reason = self._not_ready_reason()
            status.version = rstore_api.__version__
            status.feature_level = COMMANDS.level
            status.ready = not reason
            status.not_ready_reason = reason
            fingerprints = self._certificates.fingerprints()
            status.trusted_authorities.extend(fingerprints.authorities)
            status.certificate = fingerprints.certificate
            return status

        return await self._calls.answer(methods.ADMIN_STATUS, context, body)

    async def Bootstrap(self, request: rstore_pb2.BootstrapRequest, context: Context) -> rstore_pb2.BootstrapResponse:
        """Give a fresh region its store id and topology."""

        async def body(_call: CallInfo) -> rstore_pb2.BootstrapResponse:
            return await self._controller.bootstrap(request)

        return await self._calls.answer(methods.ADMIN_BOOTSTRAP, context, body)

    async def SetTopology(
        self, request: rstore_pb2.SetTopologyRequest, context: Context
    ) -> rstore_pb2.SetTopologyResponse:
        """Tell the region where the others are."""

        async def body(_call: CallInfo) -> rstore_pb2.SetTopologyResponse:
            return await self._controller.set_topology(request)

        return await self._calls.answer(methods.ADMIN_SET_TOPOLOGY, context, body)

    async def Demote(self, request: rstore_pb2.DemoteRequest, context: Context) -> rstore_pb2.DemoteResponse:
        """Stop accepting writes in favour of a later epoch."""

        async def body(_call: CallInfo) -> rstore_pb2.DemoteResponse:
            return await self._controller.demote(request)

        return await self._calls.answer(methods.ADMIN_DEMOTE, context, body)

    async def Promote(self, request: rstore_pb2.PromoteRequest, context: Context) -> rstore_pb2.PromoteResponse:
        """Become primary of an epoch."""

        async def body(_call: CallInfo) -> rstore_pb2.PromoteResponse:
            return await self._controller.promote(request)

        return await self._calls.answer(methods.ADMIN_PROMOTE, context, body)

    async def Fence(self, request: rstore_pb2.FenceRequest, context: Context) -> rstore_pb2.FenceResponse:
        """Promise an epoch that is to come, and tell where the region stands."""

        async def body(_call: CallInfo) -> rstore_pb2.FenceResponse:
            return await self._controller.fence(request)

        return await self._calls.answer(methods.ADMIN_FENCE, context, body)

    async def WitnessGrant(
        self, request: rstore_pb2.WitnessGrantRequest, context: Context
    ) -> rstore_pb2.WitnessGrantResponse:
        """The operator grants a round of the tenure."""

        async def body(_call: CallInfo) -> rstore_pb2.WitnessGrantResponse:
            return self._controller.witness_grant(request)

        return await self._calls.answer(methods.ADMIN_WITNESS_GRANT, context, body)

    async def TransferLeadership(
        self, request: rstore_pb2.TransferLeadershipRequest, context: Context
    ) -> rstore_pb2.TransferLeadershipResponse:
        """Hand Raft leadership to another replica of the region."""

        async def body(_call: CallInfo) -> rstore_pb2.TransferLeadershipResponse:
            return await self._controller.transfer_leadership(request)

        return await self._calls.answer(methods.ADMIN_TRANSFER_LEADERSHIP, context, body)

    async def AddMember(self, request: rstore_pb2.AddMemberRequest, context: Context) -> rstore_pb2.MembersResponse:
        """Take a replica into the region's Raft group."""

        async def body(_call: CallInfo) -> rstore_pb2.MembersResponse:
            return await add_member(self._group, request)

        return await self._calls.answer(methods.ADMIN_ADD_MEMBER, context, body)

    async def RemoveMember(
        self, request: rstore_pb2.RemoveMemberRequest, context: Context
    ) -> rstore_pb2.MembersResponse:
        """Take a replica out of the region's Raft group."""

        async def body(_call: CallInfo) -> rstore_pb2.MembersResponse:
            return await remove_member(self._group, request)

        return await self._calls.answer(methods.ADMIN_REMOVE_MEMBER, context, body)
