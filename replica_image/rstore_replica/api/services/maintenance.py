"""etcd's Maintenance service, as far as it is served: Alarm, Status, HashKV, always about this replica."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import rstore_api
from rstore_api import methods
from rstore_api.domain import etcd_version
from rstore_api.errors import NoLeader, NotReady, NotSupported
from rstore_api.proto import rpc_pb2

from rstore_replica.api.calls import Calls
from rstore_replica.api.identity import Identity, stable_id
from rstore_replica.api.ports import Group, Machine
from rstore_replica.api.routing.router import CallInfo
from rstore_replica.api.turns import Turns
from rstore_replica.raft.types import GroupStatus

VERSION_KEY = "rstore-version"
"""Trailing metadata of Status: the version of this replica, where ``version`` is that of the etcd that is offered."""

MAX_HASHES = 2
"""At a time; each takes up to half of the event loop's time."""
MAX_WAITING_HASHES = 64


class MaintenanceService:
    """Answers without asking another replica."""

    def __init__(
        self,
        *,
        calls: Calls,
        machine: Machine,
        group: Group,
        identity: Identity,
        not_ready_reason: Callable[[], str],
        quota_bytes: int,
    ) -> None:
        """``not_ready_reason`` is "" when the replica is ready."""
        self._calls = calls
        self._machine = machine
        self._group = group
        self._identity = identity
        self._not_ready_reason = not_ready_reason
        self._quota_bytes = quota_bytes
        self._hashing = Turns(places=MAX_HASHES, places_per_client=1, max_waiting=MAX_WAITING_HASHES)

    def add_to_server(self, server: Any) -> None:
        """Registers the service."""
        self._calls.serve(server, methods.ALARM, self.alarm)
        self._calls.serve(server, methods.STATUS, self.status, metadata=((VERSION_KEY, rstore_api.__version__),))
        self._calls.serve(server, methods.HASH_KV, self.hash_kv)

    async def alarm(self, request: rpc_pb2.AlarmRequest, _call: CallInfo) -> rpc_pb2.AlarmResponse:
        """Lists the NOSPACE alarm while quota or disk is full. It comes and goes with the space, not by request."""
        if request.action != rpc_pb2.AlarmRequest.GET:
            raise NotSupported("alarms end by themselves, once deleting and compacting has made space")
        wanted = request.alarm in (rpc_pb2.AlarmType.NONE, rpc_pb2.AlarmType.NOSPACE)
        response = rpc_pb2.AlarmResponse(alarms=self._alarms() if wanted else ())
        self._identity.fill(response.header, revision=self._machine.revision)
        return response

    def _alarms(self) -> list[rpc_pb2.AlarmMember]:
        if not self._machine.write_limits(0).no_space:
            return []
        return [rpc_pb2.AlarmMember(memberID=self._identity.member_id, alarm=rpc_pb2.AlarmType.NOSPACE)]

    async def status(self, _request: rpc_pb2.StatusRequest, _call: CallInfo) -> rpc_pb2.StatusResponse:
        """Returns the version of etcd that is offered, Raft position, sizes of the database, and what is wrong."""
        status = self._group.status()
        response = rpc_pb2.StatusResponse(
            version=etcd_version.SERVER_VERSION,
            storageVersion=etcd_version.CLUSTER_VERSION,
            dbSize=self._machine.db_size_bytes,
            dbSizeInUse=self._machine.db_in_use_bytes,
            dbSizeQuota=self._quota_bytes,
            leader=stable_id(status.leader or ""),
            raftIndex=status.commit_index,
            raftTerm=status.term,
            raftAppliedIndex=status.applied_index,
            isLearner=self._identity.replica in status.learners,
            errors=self._errors(status),
            downgradeInfo=rpc_pb2.DowngradeInfo(),
        )
        self._identity.fill(response.header, revision=self._machine.revision)
        return response

    def _errors(self, status: GroupStatus) -> list[str]:
        """Returns etcd's texts for what etcd has, too, then why the replica is not ready for another reason."""
        errors = [] if status.leader else [NoLeader.text]
        errors += [f"memberID:{alarm.memberID} alarm:{_name_of(alarm)} " for alarm in self._alarms()]
        reason = self._not_ready_reason()
        if reason and status.leader:
            errors.append(f"{NotReady.text}: {reason}")
        return errors

    async def hash_kv(self, request: rpc_pb2.HashKVRequest, call: CallInfo) -> rpc_pb2.HashKVResponse:
        """Returns the hash of the live keys as of a revision: equal on every replica that has reached it."""
        async with self._hashing.turn(call.client):
            hashed = await self._machine.hash_kv(request.revision)
        response = rpc_pb2.HashKVResponse(
            hash=hashed.hash, hash_revision=hashed.hash_revision, compact_revision=hashed.compact_revision
        )
        self._identity.fill(response.header, revision=self._machine.revision)
        return response


def _name_of(alarm: rpc_pb2.AlarmMember) -> str:
    return rpc_pb2.AlarmType.Name(alarm.alarm)
