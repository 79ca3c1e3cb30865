"""The paths of etcd's JSON gateway, and the method behind each: the ``google.api.http`` options of etcd's protocols."""

from __future__ import annotations

from collections.abc import Mapping

PREFIX = "/v3/"

_SERVICES: Mapping[str, Mapping[str, str]] = {
    "etcdserverpb.KV": {
        "Range": "kv/range",
        "Put": "kv/put",
        "DeleteRange": "kv/deleterange",
        "Txn": "kv/txn",
        "Compact": "kv/compaction",
    },
    "etcdserverpb.Watch": {"Watch": "watch"},
    "etcdserverpb.Lease": {
        "LeaseGrant": "lease/grant",
        "LeaseRevoke": "lease/revoke kv/lease/revoke",
        "LeaseKeepAlive": "lease/keepalive",
        "LeaseTimeToLive": "lease/timetolive kv/lease/timetolive",
        "LeaseLeases": "lease/leases kv/lease/leases",
    },
    "etcdserverpb.Cluster": {
        "MemberAdd": "cluster/member/add",
        "MemberRemove": "cluster/member/remove",
        "MemberUpdate": "cluster/member/update",
        "MemberList": "cluster/member/list",
        "MemberPromote": "cluster/member/promote",
    },
    "etcdserverpb.Maintenance": {
        "Alarm": "maintenance/alarm",
        "Status": "maintenance/status",
        "Defragment": "maintenance/defragment",
        "Hash": "maintenance/hash",
        "HashKV": "maintenance/hashkv",
        "Snapshot": "maintenance/snapshot",
        "MoveLeader": "maintenance/transfer-leadership",
        "Downgrade": "maintenance/downgrade",
    },
    "etcdserverpb.Auth": {
        "AuthEnable": "auth/enable",
        "AuthDisable": "auth/disable",
        "AuthStatus": "auth/status",
        "Authenticate": "auth/authenticate",
        "UserAdd": "auth/user/add",
        "UserGet": "auth/user/get",
        "UserList": "auth/user/list",
        "UserDelete": "auth/user/delete",
        "UserChangePassword": "auth/user/changepw",
        "UserGrantRole": "auth/user/grant",
        "UserRevokeRole": "auth/user/revoke",
        "RoleAdd": "auth/role/add",
        "RoleGet": "auth/role/get",
        "RoleList": "auth/role/list",
        "RoleDelete": "auth/role/delete",
        "RoleGrantPermission": "auth/role/grant",
        "RoleRevokePermission": "auth/role/revoke",
    },
    "v3lockpb.Lock": {"Lock": "lock/lock", "Unlock": "lock/unlock"},
    "v3electionpb.Election": {
        "Campaign": "election/campaign",
        "Proclaim": "election/proclaim",
        "Leader": "election/leader",
        "Observe": "election/observe",
        "Resign": "election/resign",
    },
}

ROUTES: Mapping[str, str] = {
    f"{PREFIX}{path}": f"/{service}/{method}"
    for service, methods in _SERVICES.items()
    for method, paths in methods.items()
    for path in paths.split()
}
"""Path of the gateway to path of the method, ``/package.Service/Method``."""

STREAMS_OF_REQUESTS = frozenset({"/etcdserverpb.Watch/Watch", "/etcdserverpb.Lease/LeaseKeepAlive"})
"""Methods whose requests come one after the other in the body."""
