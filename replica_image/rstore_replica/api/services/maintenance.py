"""etcd's Maintenance service, but for Snapshot: about this replica, but for alarms, which are those of all."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import rstore_api
from rstore_api import methods
from rstore_api.domain import etcd_version
from rstore_api.errors import (
    BadLeaderTransferee,
    DeadlineExceeded,
    InvalidDowngradeTarget,
    LeaderTransferTimedOut,
    NoInflightDowngrade,
    NoLeader,
    NotLeader,
    NotReady,
    NotSupported,
    WrongDowngradeVersion,
)
from rstore_api.proto import rpc_pb2

from rstore_replica.api.alarms.store_alarms import StoreAlarms
from rstore_replica.api.calls import Calls
from rstore_replica.api.identity import Identity
from rstore_replica.api.ports import Group, Machine
from rstore_replica.api.routing.router import CallInfo
from rstore_replica.api.turns import Turns
from rstore_replica.raft.types import GroupStatus, Role

VERSION_KEY = "rstore-version"
"""Trailing metadata of Status: the version of this replica, where ``version`` is that of the etcd that is offered."""

MAX_HASHES = 2
"""At a time; each takes up to half of the event loop's time."""
MAX_WAITING_HASHES = 64
NEVER_COMPACTED = -1
"""etcd's compact revision in an answer of HashKV before the first compaction."""
TRANSFER_TIMEOUT_SECONDS = 5.0

_VERSION = re.compile(r"\d+\.\d+(\.\d+)?")


class MaintenanceService:
    """Answers for this replica; asks others only for their alarms."""

    def __init__(
        self,
        *,
        calls: Calls,
        alarms: StoreAlarms,
        machine: Machine,
        group: Group,
        identity: Identity,
        not_ready_reason: Callable[[], str],
        quota_bytes: int,
    ) -> None:
        """``not_ready_reason`` is "" when the replica is ready."""
        self._calls = calls
        self._alarms = alarms
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
        self._calls.serve(server, methods.DEFRAGMENT, self.defragment)
        self._calls.serve(server, methods.HASH, self.hash)
        self._calls.serve(server, methods.HASH_KV, self.hash_kv)
        self._calls.serve(server, methods.MOVE_LEADER, self.move_leader)
        self._calls.serve(server, methods.DOWNGRADE, self.downgrade)

    async def alarm(self, request: rpc_pb2.AlarmRequest, call: CallInfo) -> rpc_pb2.AlarmResponse:
        """Lists the NOSPACE alarms of every member that answers; to another member those of this replica alone.

        An alarm comes and goes with the space, so DEACTIVATE only answers which of those it names are on. Raises
        NotSupported for ACTIVATE.
        """
        if request.action == rpc_pb2.AlarmRequest.ACTIVATE:
            raise NotSupported("alarms come and go by themselves, with the space there is")
        alarms = self.own_alarms() if call.forwarded else await self.alarms()
        if request.action == rpc_pb2.AlarmRequest.DEACTIVATE:
            alarms = [alarm for alarm in alarms if alarm.memberID == request.memberID]
        wanted = request.alarm in (rpc_pb2.AlarmType.NONE, rpc_pb2.AlarmType.NOSPACE)
        response = rpc_pb2.AlarmResponse(alarms=alarms if wanted else ())
        self._identity.fill(response.header, revision=self._machine.revision)
        return response

    async def alarms(self) -> list[rpc_pb2.AlarmMember]:
        """Returns the alarms of every member that answers."""
        return [*self.own_alarms(), *await self._alarms.of_others()]

    def own_alarms(self) -> list[rpc_pb2.AlarmMember]:
        """Returns the alarms of this replica."""
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
            leader=self._identity.id_of(status.leader),
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
        errors += [f"memberID:{alarm.memberID} alarm:{_name_of(alarm)} " for alarm in self.own_alarms()]
        reason = self._not_ready_reason()
        if reason and status.leader:
            errors.append(f"{NotReady.text}: {reason}")
        return errors

    async def defragment(self, _request: rpc_pb2.DefragmentRequest, _call: CallInfo) -> rpc_pb2.DefragmentResponse:
        """Does nothing: pages that compaction has freed are used again as they are, and the file never shrinks."""
        return rpc_pb2.DefragmentResponse()  # without a header, as from etcd

    async def move_leader(self, request: rpc_pb2.MoveLeaderRequest, call: CallInfo) -> rpc_pb2.MoveLeaderResponse:
        """Hands the leadership of this region to another voter of it.

        Raises NotLeader, BadLeaderTransferee, LeaderTransferTimedOut, TooManyRequests while it is being handed over
        already, NotReady when that replica was asked to stop.
        """
        status = self._group.status()
        if status.role is not Role.LEADER:
            raise NotLeader(f"the leader is {status.leader}" if status.leader else "")
        voters = (member.name for member in status.members if member.name not in status.learners)
        target = next((name for name in voters if self._identity.id_of(name) == request.targetID), None)
        if target is None:
            raise BadLeaderTransferee(f"{request.targetID:x} is no voter of region {self._identity.region}")
        remaining = call.deadline - asyncio.get_running_loop().time()
        try:
            await self._group.transfer_leadership(target, timeout_seconds=min(remaining, TRANSFER_TIMEOUT_SECONDS))
        except DeadlineExceeded as error:
            raise LeaderTransferTimedOut(error.detail) from error
        return rpc_pb2.MoveLeaderResponse()  # without a header, as from etcd

    async def downgrade(self, request: rpc_pb2.DowngradeRequest, _call: CallInfo) -> rpc_pb2.DowngradeResponse:
        """Always raises, as etcd does where it cannot go back: WrongDowngradeVersion, InvalidDowngradeTarget, or
        NoInflightDowngrade.
        """
        if request.action == rpc_pb2.DowngradeRequest.CANCEL:
            raise NoInflightDowngrade
        if not _VERSION.fullmatch(request.version):
            raise WrongDowngradeVersion
        raise InvalidDowngradeTarget("the version of replicas is the operator's, see docs/operations.md")

    async def hash(self, _request: rpc_pb2.HashRequest, call: CallInfo) -> rpc_pb2.HashResponse:
        """Returns the hash of the live keys as they are now, in place of that of etcd's file."""
        async with self._hashing.turn(call.client):
            hashed = await self._machine.hash_kv(0)
        response = rpc_pb2.HashResponse(hash=hashed.hash)
        self._identity.fill(response.header, revision=hashed.hash_revision)
        return response

    async def hash_kv(self, request: rpc_pb2.HashKVRequest, call: CallInfo) -> rpc_pb2.HashKVResponse:
        """Returns the hash of the live keys as of a revision: equal on every replica that has reached it."""
        async with self._hashing.turn(call.client):
            hashed = await self._machine.hash_kv(request.revision)
        response = rpc_pb2.HashKVResponse(
            hash=hashed.hash,
            hash_revision=hashed.hash_revision,
            compact_revision=hashed.compact_revision or NEVER_COMPACTED,
        )
        self._identity.fill(response.header, revision=self._machine.revision)
        return response


def _name_of(alarm: rpc_pb2.AlarmMember) -> str:
    return rpc_pb2.AlarmType.Name(alarm.alarm)
