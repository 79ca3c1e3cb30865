"""etcd's Maintenance service, as far as it is served: Alarm, Status, HashKV, always about this replica."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import rstore_api
from rstore_api import methods
from rstore_api.errors import NotSupported
from rstore_api.proto import rpc_pb2

from rstore_replica.api.calls import Calls
from rstore_replica.api.identity import Identity, stable_id
from rstore_replica.api.ports import Group, Machine
from rstore_replica.api.routing.router import CallInfo
from rstore_replica.api.turns import Turns

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
    ) -> None:
        """``not_ready_reason`` is "" when the replica is ready."""
        self._calls = calls
        self._machine = machine
        self._group = group
        self._identity = identity
        self._not_ready_reason = not_ready_reason
        self._hashing = Turns(places=MAX_HASHES, places_per_client=1, max_waiting=MAX_WAITING_HASHES)

    def add_to_server(self, server: Any) -> None:
        """Registers the service."""
        self._calls.serve(server, methods.ALARM, self.alarm)
        self._calls.serve(server, methods.STATUS, self.status)
        self._calls.serve(server, methods.HASH_KV, self.hash_kv)

    async def alarm(self, request: rpc_pb2.AlarmRequest, _call: CallInfo) -> rpc_pb2.AlarmResponse:
        """Lists the NOSPACE alarm while quota or disk is full. It comes and goes with the space, not by request."""
        if request.action != rpc_pb2.AlarmRequest.GET:
            raise NotSupported("alarms end by themselves, once deleting and compacting has made space")
        wanted = request.alarm in (rpc_pb2.AlarmType.NONE, rpc_pb2.AlarmType.NOSPACE)
        response = rpc_pb2.AlarmResponse()
        if wanted and self._machine.write_limits(0).no_space:
            response.alarms.add(memberID=self._identity.member_id, alarm=rpc_pb2.AlarmType.NOSPACE)
        self._identity.fill(response.header, revision=self._machine.revision)
        return response

    async def status(self, _request: rpc_pb2.StatusRequest, _call: CallInfo) -> rpc_pb2.StatusResponse:
        """Returns Raft position, database size, and why the replica is not ready, if it is not."""
        status = self._group.status()
        size_bytes = self._machine.db_size_bytes
        reason = self._not_ready_reason()
        response = rpc_pb2.StatusResponse(
            version=rstore_api.__version__,
            dbSize=size_bytes,
            dbSizeInUse=size_bytes,
            leader=stable_id(status.leader or ""),
            raftIndex=status.commit_index,
            raftTerm=status.term,
            raftAppliedIndex=status.applied_index,
            errors=[reason] if reason else [],
        )
        self._identity.fill(response.header, revision=self._machine.revision)
        return response

    async def hash_kv(self, request: rpc_pb2.HashKVRequest, call: CallInfo) -> rpc_pb2.HashKVResponse:
        """Returns the hash of the live keys as of a revision: equal on every replica that has reached it."""
        async with self._hashing.turn(call.client):
            hashed = await self._machine.hash_kv(request.revision)
        response = rpc_pb2.HashKVResponse(
            hash=hashed.hash, hash_revision=hashed.hash_revision, compact_revision=hashed.compact_revision
        )
        self._identity.fill(response.header, revision=self._machine.revision)
        return response
