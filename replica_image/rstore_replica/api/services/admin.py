"""The Admin service: a table of methods, each answered by the region's controller, by the access rules, or by a
function about members."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import rstore_api
from rstore_api import methods
from rstore_api.methods import Method
from rstore_api.proto import rstore_pb2

from rstore_replica.api.access.control import AccessControl
from rstore_replica.api.calls import Calls
from rstore_replica.mvcc.commands.registry import COMMANDS
from rstore_replica.replication.administration.members import add_member, remove_member
from rstore_replica.replication.administration.regions import RegionController
from rstore_replica.replication.ports import RaftGroup
from rstore_replica.tls import CertificateStore


class AdminService:
    """What the operator and the command line ask of one replica."""

    def __init__(
        self,
        *,
        calls: Calls,
        controller: RegionController,
        group: RaftGroup,
        certificates: CertificateStore,
        access: AccessControl,
        not_ready_reason: Callable[[], str],
    ) -> None:
        """``not_ready_reason`` returns "" while the replica is ready."""
        self._certificates = certificates
        self._access = access
        self._calls = calls
        self._controller = controller
        self._not_ready_reason = not_ready_reason
        self._table: dict[Method[Any, Any], Callable[[Any], Awaitable[Any]]] = {
            methods.ADMIN_STATUS: self._status,
            methods.ADMIN_BOOTSTRAP: controller.bootstrap,
            methods.ADMIN_SET_TOPOLOGY: controller.set_topology,
            methods.ADMIN_DEMOTE: controller.demote,
            methods.ADMIN_PROMOTE: controller.promote,
            methods.ADMIN_FENCE: controller.fence,
            methods.ADMIN_WITNESS_GRANT: self._witness_grant,
            methods.ADMIN_TRANSFER_LEADERSHIP: controller.transfer_leadership,
            methods.ADMIN_ADD_MEMBER: partial(add_member, group),
            methods.ADMIN_REMOVE_MEMBER: partial(remove_member, group),
            methods.ADMIN_SET_ACCESS: access.set,
        }

    def add_to_server(self, server: Any) -> None:
        """Registers the service."""
        for method, answer in self._table.items():
            self._calls.serve(server, method, lambda request, _call, answer=answer: answer(request))  # type: ignore[misc]

    async def _status(self, _request: rstore_pb2.StatusRequest) -> rstore_pb2.StatusResponse:
        status = self._controller.status()
        reason = self._not_ready_reason()
        status.version = rstore_api.__version__
        status.feature_level = COMMANDS.level
        status.ready = not reason
        status.not_ready_reason = reason
        fingerprints = self._certificates.fingerprints()
        status.trusted_authorities.extend(fingerprints.authorities)
        status.certificate = fingerprints.certificate
        status.keeps_advertised_addresses = True
        status.access.CopyFrom(self._access.status())
        return status

    async def _witness_grant(self, request: rstore_pb2.WitnessGrantRequest) -> rstore_pb2.WitnessGrantResponse:
        return self._controller.witness_grant(request)
