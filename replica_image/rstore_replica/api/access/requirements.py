"""What each request of the client port needs of its caller's grant.

A method that is not in the tables needs :data:`~.grants.FULL`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from google.protobuf.message import Message
from rstore_api import methods
from rstore_api.proto import rpc_pb2

from rstore_replica.api.access.callers import Caller
from rstore_replica.api.access.grants import FULL, Grant
from rstore_replica.api.encoding import EncodedWrite
from rstore_replica.api.locks.rules import candidates_of

Check = Callable[[Grant, Any], bool]


class KeyRights(Protocol):
    """Says which keys may be read and changed."""

    def reads(self, key: bytes, range_end: bytes, /) -> bool: ...
    def changes(self, key: bytes, range_end: bytes, /) -> bool: ...


def _range(rights: KeyRights, request: rpc_pb2.RangeRequest) -> bool:
    return rights.reads(request.key, request.range_end)


def _put(rights: KeyRights, request: rpc_pb2.PutRequest) -> bool:
    return rights.changes(request.key, b"") and (not request.prev_kv or rights.reads(request.key, b""))


def _delete_range(rights: KeyRights, request: rpc_pb2.DeleteRangeRequest) -> bool:
    keys = request.key, request.range_end
    return rights.changes(*keys) and (not request.prev_kv or rights.reads(*keys))


def _txn(rights: KeyRights, request: rpc_pb2.TxnRequest) -> bool:
    """Both branches count, whichever is taken: else what a refusal depends on could be read from it."""
    return all(rights.reads(compare.key, compare.range_end) for compare in request.compare) and all(
        _operation(rights, operation) for branch in (request.success, request.failure) for operation in branch
    )


def _operation(rights: KeyRights, operation: rpc_pb2.RequestOp) -> bool:
    kind = operation.WhichOneof("request")
    if kind is None:
        return False
    request = getattr(operation, kind)
    return KEY_CHECKS[type(request)](rights, request)


KEY_CHECKS: Mapping[type[Message], Callable[[KeyRights, Any], bool]] = {
    rpc_pb2.RangeRequest: _range,
    rpc_pb2.PutRequest: _put,
    rpc_pb2.DeleteRangeRequest: _delete_range,
    rpc_pb2.TxnRequest: _txn,
}
"""By request, whether the keys that it names may be read and changed as it does."""


def _write(check: Check) -> Check:
    def checked(grant: Grant, write: EncodedWrite) -> bool:
        return check(grant, write.request)

    return checked


def _anything(_grant: Grant, _request: object) -> bool:
    return True


def _writes(grant: Grant, _request: object) -> bool:
    return grant.writes


CHECKS: Mapping[str, Check] = {
    methods.RANGE.path: _range,
    methods.PUT.path: _write(_put),
    methods.DELETE_RANGE.path: _write(_delete_range),
    methods.TXN.path: _write(_txn),
    methods.HASH.path: lambda grant, _request: grant.every_key,
    methods.HASH_KV.path: lambda grant, _request: grant.every_key,
    methods.WATCH.path: _anything,  # each watch of a stream is asked about, see may_watch
    # Of the keys of a lease the service asks, see services/lease.py.
    methods.LEASE_GRANT.path: _writes,
    methods.LEASE_REVOKE.path: _writes,
    methods.LEASE_KEEP_ALIVE.path: _writes,
    methods.LEASE_TIME_TO_LIVE.path: _anything,
    methods.LEASE_LEASES.path: _anything,
    methods.LOCK.path: lambda grant, request: grant.changes(*candidates_of(request.name)),
    methods.UNLOCK.path: lambda grant, request: grant.changes(request.key, b""),
    methods.CAMPAIGN.path: lambda grant, request: grant.changes(*candidates_of(request.name)),
    methods.PROCLAIM.path: lambda grant, request: grant.changes(request.leader.key, b""),
    methods.RESIGN.path: lambda grant, request: grant.changes(request.leader.key, b""),
    methods.LEADER.path: lambda grant, request: grant.reads(*candidates_of(request.name)),
    methods.OBSERVE.path: lambda grant, request: grant.reads(*candidates_of(request.name)),
    methods.AUTHENTICATE.path: _anything,
    # About the replica, not about keys.
    methods.STATUS.path: _anything,
    methods.ALARM.path: lambda _grant, request: request.action == rpc_pb2.AlarmRequest.GET,
    methods.MEMBER_LIST.path: _anything,
}
"""By method, whether a grant that is not full allows the request as its service takes it."""

OPEN_SERVICES = frozenset(
    {"grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection", "grpc.reflection.v1.ServerReflection"}
)
"""Services that have nothing of the data."""


def may_call(grant: Grant, path: str) -> bool:
    """Whether there are requests of this method, ``/package.Service/Method``, that the grant allows."""
    return grant is FULL or path in CHECKS or path.strip("/").partition("/")[0] in OPEN_SERVICES


def may_watch(caller: Caller, key: bytes, range_end: bytes) -> bool:
    """Whether the caller may watch these keys."""
    return caller.grant is not None and caller.grant.reads(key, range_end)


def allows(grant: Grant, path: str, request: object) -> bool:
    """Whether the grant allows this request, in the form in which the method's service takes it."""
    if grant is FULL:
        return True
    check = CHECKS.get(path)
    return check is not None and check(grant, request)
