"""etcd's Cluster service: the replicas of this region."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from rstore_api import methods
from rstore_api.domain.topology import ReplicaAddress
from rstore_api.proto import rpc_pb2

from rstore_replica.api.calls import Calls
from rstore_replica.api.identity import Identity, stable_id
from rstore_replica.api.ports import Machine
from rstore_replica.api.routing.router import CallInfo


class ClusterService:
    """MemberList; members are changed through the store's Kubernetes object, not through this API."""

    def __init__(
        self,
        *,
        calls: Calls,
        machine: Machine,
        identity: Identity,
        replicas: Mapping[str, ReplicaAddress],
        scheme: str,
        learners: Callable[[], Collection[str]] = tuple,
    ) -> None:
        """``learners`` do not vote yet; ``scheme`` is ``https`` or, without TLS, ``http``."""
        self._calls = calls
        self._machine = machine
        self._identity = identity
        self._replicas = replicas
        self._learners = learners
        self._scheme = scheme

    def add_to_server(self, server: Any) -> None:
        """Registers the service."""
        self._calls.serve(server, methods.MEMBER_LIST, self.member_list)

    def _members(self) -> list[rpc_pb2.Member]:
        learners = self._learners()
        return [
            rpc_pb2.Member(
                ID=stable_id(replica.name),
                name=replica.name,
                peerURLs=[f"{self._scheme}://{replica.peer_address}"],
                clientURLs=[f"{self._scheme}://{replica.client_address}"],
                isLearner=replica.name in learners,
            )
            for replica in self._replicas.values()
        ]

    async def member_list(self, _request: rpc_pb2.MemberListRequest, _call: CallInfo) -> rpc_pb2.MemberListResponse:
        """Lists every replica of the region with its peer and client URL."""
        response = rpc_pb2.MemberListResponse(members=self._members())
        self._identity.fill(response.header, revision=self._machine.revision)
        return response
