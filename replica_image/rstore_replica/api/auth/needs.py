"""What each request needs of its user while auth is on: etcd's table, as of 3.5.29.

A method that is not in it is for users that have the role ``root``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rstore_api import methods
from rstore_api.methods import Method
from rstore_api.proto import rpc_pb2

from rstore_replica.api.access import requirements
from rstore_replica.api.auth.rights import Rights
from rstore_replica.api.leases.attaching import leases_in

KeysOf = Callable[[int], Iterable[bytes]]
"""Returns the keys that are attached to a lease."""
Check = Callable[[Rights, Any, KeysOf], bool]


def _anything(_rights: Rights, _request: object, _keys_of: KeysOf) -> bool:
    """Any user."""
    return True


def _keys(rights: Rights, request: Any, _keys_of: KeysOf) -> bool:
    return requirements.KEY_CHECKS[type(request)](rights, request)


def _write(rights: Rights, request: Any, keys_of: KeysOf) -> bool:
    """Also the keys of the leases that the request attaches to: they are deleted with what it writes."""
    return _keys(rights, request, keys_of) and all(
        rights.changes(key, b"") for lease in leases_in(request) for key in keys_of(lease)
    )


def _lease_revoke(rights: Rights, request: rpc_pb2.LeaseRevokeRequest, keys_of: KeysOf) -> bool:
    return all(rights.changes(key, b"") for key in keys_of(request.ID))


def _time_to_live(rights: Rights, request: rpc_pb2.LeaseTimeToLiveRequest, keys_of: KeysOf) -> bool:
    return not request.keys or all(rights.reads(key, b"") for key in keys_of(request.ID))


def _alarm(_rights: Rights, request: rpc_pb2.AlarmRequest, _keys_of: KeysOf) -> bool:
    return request.action == rpc_pb2.AlarmRequest.GET


def _user_get(rights: Rights, request: rpc_pb2.AuthUserGetRequest, _keys_of: KeysOf) -> bool:
    return request.name == rights.user


def _role_get(rights: Rights, request: rpc_pb2.AuthRoleGetRequest, _keys_of: KeysOf) -> bool:
    return request.role in rights.roles


CHECKS: Mapping[str, Check] = {
    methods.RANGE.path: _keys,
    methods.PUT.path: _write,
    methods.DELETE_RANGE.path: _keys,
    methods.TXN.path: _write,
    methods.LEASE_GRANT.path: _anything,
    methods.LEASE_REVOKE.path: _lease_revoke,
    methods.LEASE_KEEP_ALIVE.path: _anything,
    methods.LEASE_TIME_TO_LIVE.path: _time_to_live,
    methods.LEASE_LEASES.path: _anything,
    methods.MEMBER_LIST.path: _anything,
    methods.STATUS.path: _anything,
    methods.ALARM.path: _alarm,
    methods.USER_GET.path: _user_get,
    methods.ROLE_GET.path: _role_get,
}
"""By method, whether a user that is not root may ask for this."""
OPEN: frozenset[str] = frozenset({methods.AUTHENTICATE.path})
"""Methods that need no user."""
_ROUTED: tuple[Method[Any, Any], ...] = (
    methods.PUT,
    methods.DELETE_RANGE,
    methods.TXN,
    methods.COMPACT,
    methods.LEASE_GRANT,
    methods.LEASE_REVOKE,
    methods.LEASE_TIME_TO_LIVE,
    methods.LEASE_LEASES,
    methods.RENEW_LEASES,
    # Made of requests of the kinds above.
    methods.LOCK,
    methods.UNLOCK,
    methods.CAMPAIGN,
    methods.PROCLAIM,
    methods.RESIGN,
    methods.LEADER,
    methods.AUTH_ENABLE,
    methods.AUTH_DISABLE,
    methods.AUTH_STATUS,
    methods.USER_ADD,
    methods.USER_GET,
    methods.USER_LIST,
    methods.USER_DELETE,
    methods.USER_CHANGE_PASSWORD,
    methods.USER_GRANT_ROLE,
    methods.USER_REVOKE_ROLE,
    methods.ROLE_ADD,
    methods.ROLE_GET,
    methods.ROLE_LIST,
    methods.ROLE_DELETE,
    methods.ROLE_GRANT_PERMISSION,
    methods.ROLE_REVOKE_PERMISSION,
)
_ROUTED_PATHS = frozenset(method.path for method in _ROUTED)


def is_routed(path: str, request: Any) -> bool:
    """Returns whether the primary's leader carries out the request, and so asks what it needs; else the replica that
    has got it does.
    """
    return path in _ROUTED_PATHS or (path == methods.RANGE.path and not request.serializable)


def permits(rights: Rights, path: str, request: Any, keys_of: KeysOf) -> bool:
    """Returns whether a user with these rights may ask for this."""
    if rights.is_root:
        return True
    check = CHECKS.get(path)
    return check is not None and check(rights, request, keys_of)
