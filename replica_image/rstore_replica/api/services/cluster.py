"""etcd's Cluster service: the replicas of every region."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Any

from rstore_api import methods
from rstore_api.domain.topology import ReplicaAddress
from rstore_api.errors import (
    LearnerNotReady,
    MemberNotFound,
    MemberNotLearner,
    MembersManaged,
    MemberUrlsInvalid,
    NotPrimary,
    PeerUrlExists,
)
from rstore_api.proto import rpc_pb2

from rstore_replica.api.calls import Calls
from rstore_replica.api.identity import Identity
from rstore_replica.api.members import are_valid_urls, members_of, with_own
from rstore_replica.api.ports import Group, Machine
from rstore_replica.api.routing.router import CallInfo, Router

HOW_TO_CHANGE = (
    "kubectl edit the ReplicatedStore: spec.replicas and spec.regions[].replicas say how many replicas a region has, "
    "spec.regions which regions there are"
)


class ClusterService:
    """Lists the members. They are changed through the store's Kubernetes object, not through this API."""

    def __init__(
        self,
        *,
        calls: Calls,
        router: Router,
        machine: Machine,
        group: Group,
        identity: Identity,
        replicas: Mapping[str, ReplicaAddress],
        scheme: str,
        learners: Callable[[], Collection[str]] = tuple,
        reported_learners: Callable[[str], Collection[str]] = lambda _region: (),
    ) -> None:
        """``replicas`` are those of this region, by name; ``learners`` of them do not vote yet, nor do
        ``reported_learners`` of another region, by its name; ``scheme`` is ``https`` or, without TLS, ``http``.
        """
        self._calls = calls
        self._router = router
        self._machine = machine
        self._group = group
        self._identity = identity
        self._replicas = replicas
        self._learners = learners
        self._reported_learners = reported_learners
        self._scheme = scheme

    def add_to_server(self, server: Any) -> None:
        """Registers the service."""
        self._calls.serve(server, methods.MEMBER_LIST, self.member_list)
        self._calls.serve(server, methods.MEMBER_ADD, self.member_add)
        self._calls.serve(server, methods.MEMBER_REMOVE, self.member_remove)
        self._calls.serve(server, methods.MEMBER_UPDATE, self.member_update)
        self._calls.serve(server, methods.MEMBER_PROMOTE, self.member_promote)

    async def member_list(self, request: rpc_pb2.MemberListRequest, call: CallInfo) -> rpc_pb2.MemberListResponse:
        """Lists every replica of every region: a linearizable list is what the primary's leader knows."""
        members = await self._primarys_list(request, call) if request.linearizable else self._members()
        response = rpc_pb2.MemberListResponse(members=members)
        self._identity.fill(response.header, revision=0)  # etcd states none here
        return response

    async def member_add(self, request: rpc_pb2.MemberAddRequest, _call: CallInfo) -> rpc_pb2.MemberAddResponse:
        """Always raises: MemberUrlsInvalid, PeerUrlExists, else MembersManaged."""
        urls = set(request.peerURLs)
        if not are_valid_urls(request.peerURLs):
            raise MemberUrlsInvalid
        if any(urls.intersection(member.peerURLs) for member in self._members()):
            raise PeerUrlExists
        raise MembersManaged(HOW_TO_CHANGE)

    async def member_remove(
        self, request: rpc_pb2.MemberRemoveRequest, _call: CallInfo
    ) -> rpc_pb2.MemberRemoveResponse:
        """Always raises: MemberNotFound or MembersManaged."""
        self._member(request.ID)
        raise MembersManaged(HOW_TO_CHANGE)

    async def member_update(
        self, request: rpc_pb2.MemberUpdateRequest, _call: CallInfo
    ) -> rpc_pb2.MemberUpdateResponse:
        """Always raises: MemberNotFound or MembersManaged."""
        self._member(request.ID)
        raise MembersManaged("the addresses of replicas are the names of their pods")

    async def member_promote(
        self, request: rpc_pb2.MemberPromoteRequest, _call: CallInfo
    ) -> rpc_pb2.MemberPromoteResponse:
        """Always raises: MemberNotFound, MemberNotLearner, or LearnerNotReady, as one that is ready is promoted
        without a request.
        """
        if not self._member(request.ID).isLearner:
            raise MemberNotLearner
        raise LearnerNotReady("it gets its vote by itself once it has caught up")

    async def _primarys_list(self, request: rpc_pb2.MemberListRequest, call: CallInfo) -> list[rpc_pb2.Member]:
        """Returns the list of the primary's leader, but this region's replicas as its own Raft group has them. In a
        region that hands nothing on, what is known here.
        """

        async def confirmed() -> rpc_pb2.MemberListResponse:
            await self._group.barrier(timeout_seconds=call.deadline - asyncio.get_running_loop().time())
            return rpc_pb2.MemberListResponse(members=self._members())

        try:
            primarys = await self._router.serve(methods.MEMBER_LIST, lambda: request, confirmed, call=call)
        except NotPrimary:
            if call.forwarded:
                raise
            return self._members()
        prefix = f"{self._identity.region}/"
        members = [member for member in primarys.members if not member.name.startswith(prefix)]
        members += [member for member in self._members() if member.name.startswith(prefix)]
        return sorted(members, key=lambda member: member.name)

    def _members(self) -> list[rpc_pb2.Member]:
        state, own = self._machine.state, self._identity.region
        others = state.topology.regions if state.topology is not None else ()
        return [
            member
            for region in with_own(others, own, self._replicas)
            for member in members_of(
                state.store_id,
                region,
                learners=self._learners() if region.name == own else self._reported_learners(region.name),
                scheme=self._scheme,
            )
        ]

    def _member(self, member_id: int) -> rpc_pb2.Member:
        for member in self._members():
            if member_id == member.ID:
                return member
        raise MemberNotFound
