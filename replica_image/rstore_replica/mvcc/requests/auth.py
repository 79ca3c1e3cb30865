"""Changes of etcd's users and roles, with etcd's rules.

Each is a revision without events, for its rows go to the other regions in the order of revisions. Passwords come
hashed. Who may ask for a change was decided before; see ``rstore_replica/api/auth``.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from typing import Any

from rstore_api.domain.limits import (
    MAX_AUTH_NAME_BYTES,
    MAX_PERMISSIONS_OF_ROLE,
    MAX_ROLES,
    MAX_ROLES_OF_USER,
    MAX_USERS,
)
from rstore_api.errors import (
    InvalidAuthManagement,
    InvalidRequest,
    PermissionNotGiven,
    PermissionNotGranted,
    RoleAlreadyExists,
    RoleEmpty,
    RoleNotFound,
    RoleNotGranted,
    RootRoleNotExist,
    RootUserNotExist,
    TooManyRequests,
    UserAlreadyExists,
    UserEmpty,
    UserNotFound,
)
from rstore_api.proto import rpc_pb2 as rpc
from rstore_api.proto.rstore_pb2 import AuthChange, AuthChanged, AuthRole, AuthSwitch, AuthUser

from rstore_replica.mvcc.data.auth import SWITCH_KEY, TOKEN_KEY_BYTES, AuthRecords, role_key, user_key
from rstore_replica.mvcc.data.writer import Writer
from rstore_replica.mvcc.requests.permissions import ROOT, is_range, with_permission, without_permission

_BCRYPT_HASH = re.compile(rb"\$2[abxy]\$(0[4-9]|1[0-4])\$[./A-Za-z0-9]{53}")
"""The cost is bounded, as each check of the password takes time by it."""


def execute(writer: Writer, change: AuthChange) -> AuthChanged:
    """Carries out one change; it is a revision unless all is as it asks for already. Raises etcd's errors."""
    kind = change.WhichOneof("change")
    if kind is None:
        raise InvalidRequest("a change of users and roles without a change")
    _CHANGES[kind](writer, writer.auth(), getattr(change, kind))
    writer.end_revision()
    answer = AuthChanged()
    answer.header.revision = writer.revision
    return answer


def password_hash_of(encoded: str) -> bytes:
    """Returns the bcrypt hash in ``hashedPassword``. Raises InvalidRequest when it is none."""
    try:
        password_hash = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest("hashedPassword is not base64") from error
    if not _BCRYPT_HASH.fullmatch(password_hash):
        raise InvalidRequest("hashedPassword is not a bcrypt hash with a cost of 4 to 14")
    return password_hash


def _enable(writer: Writer, records: AuthRecords, request: AuthSwitch) -> None:
    switch = records.switch()
    if switch.enabled:
        return
    root = records.user(ROOT)
    if root is None:
        raise RootUserNotExist
    if ROOT not in root.roles:
        raise RootRoleNotExist
    if len(request.token_key) != TOKEN_KEY_BYTES:
        raise InvalidRequest(f"a key of tokens has {TOKEN_KEY_BYTES} bytes")
    _put_switch(writer, AuthSwitch(enabled=True, revision=switch.revision, token_key=request.token_key))


def _disable(writer: Writer, records: AuthRecords, _request: rpc.AuthDisableRequest) -> None:
    switch = records.switch()
    if switch.enabled:
        _put_switch(writer, AuthSwitch(revision=switch.revision + 1))


def _user_add(writer: Writer, records: AuthRecords, request: rpc.AuthUserAddRequest) -> None:
    if not request.name:
        raise UserEmpty
    _check_name(request.name, "user")
    if records.user(request.name) is not None:
        raise UserAlreadyExists
    if len(records.users()) >= MAX_USERS:
        raise TooManyRequests(f"there are {MAX_USERS} users, and may be no more")
    no_password = request.options.no_password
    user = AuthUser(name=request.name, no_password=no_password)
    if not no_password:
        user.password_hash = password_hash_of(request.hashedPassword)
    user.password_revision = _commit(writer, records)
    _put_user(writer, user)


def _user_delete(writer: Writer, records: AuthRecords, request: rpc.AuthUserDeleteRequest) -> None:
    if request.name == ROOT and records.switch().enabled:
        raise InvalidAuthManagement
    _user(records, request.name)
    writer.delete_auth(user_key(request.name))
    _commit(writer, records)


def _user_change_password(writer: Writer, records: AuthRecords, request: rpc.AuthUserChangePasswordRequest) -> None:
    user = _user(records, request.name)
    if not user.no_password:
        user.password_hash = password_hash_of(request.hashedPassword)
    user.password_revision = _commit(writer, records)
    _put_user(writer, user)


def _user_grant_role(writer: Writer, records: AuthRecords, request: rpc.AuthUserGrantRoleRequest) -> None:
    user = _user(records, request.user)
    if request.role != ROOT:
        _role(records, request.role)
    if request.role in user.roles:
        return
    if len(user.roles) >= MAX_ROLES_OF_USER:
        raise TooManyRequests(f"a user has at most {MAX_ROLES_OF_USER} roles")
    _commit(writer, records)
    _put_user(writer, _with_roles(user, [*user.roles, request.role]))


def _user_revoke_role(writer: Writer, records: AuthRecords, request: rpc.AuthUserRevokeRoleRequest) -> None:
    if request.name == ROOT and request.role == ROOT and records.switch().enabled:
        raise InvalidAuthManagement
    user = _user(records, request.name)
    if request.role not in user.roles:
        raise RoleNotGranted
    _commit(writer, records)
    _put_user(writer, _with_roles(user, [role for role in user.roles if role != request.role]))


def _role_add(writer: Writer, records: AuthRecords, request: rpc.AuthRoleAddRequest) -> None:
    if not request.name:
        raise RoleEmpty
    _check_name(request.name, "role")
    if records.role(request.name) is not None:
        raise RoleAlreadyExists
    if len(records.roles()) >= MAX_ROLES:
        raise TooManyRequests(f"there are {MAX_ROLES} roles, and may be no more")
    _commit(writer, records)
    _put_role(writer, AuthRole(name=request.name))


def _role_delete(writer: Writer, records: AuthRecords, request: rpc.AuthRoleDeleteRequest) -> None:
    if request.role == ROOT and records.switch().enabled:
        raise InvalidAuthManagement
    _role(records, request.role)
    users = [records.user(name) for name in records.users()]
    _commit(writer, records)
    writer.delete_auth(role_key(request.role))
    for user in users:
        if user is not None and request.role in user.roles:
            _put_user(writer, _with_roles(user, [role for role in user.roles if role != request.role]))


def _role_grant_permission(writer: Writer, records: AuthRecords, request: rpc.AuthRoleGrantPermissionRequest) -> None:
    if not request.HasField("perm"):
        raise PermissionNotGiven
    if not is_range(request.perm.key, request.perm.range_end):
        raise InvalidAuthManagement
    role = _role(records, request.name)
    permissions = with_permission(role.permissions, request.perm)
    if len(permissions) > MAX_PERMISSIONS_OF_ROLE:
        raise TooManyRequests(f"a role has at most {MAX_PERMISSIONS_OF_ROLE} permissions")
    _commit(writer, records)
    _put_role(writer, AuthRole(name=role.name, permissions=permissions))


def _role_revoke_permission(writer: Writer, records: AuthRecords, request: rpc.AuthRoleRevokePermissionRequest) -> None:
    role = _role(records, request.role)
    permissions = without_permission(role.permissions, request.key, request.range_end)
    if len(permissions) == len(role.permissions):
        raise PermissionNotGranted
    _commit(writer, records)
    _put_role(writer, AuthRole(name=role.name, permissions=permissions))


_CHANGES: Mapping[str, Callable[[Writer, AuthRecords, Any], None]] = {
    "enable": _enable,
    "disable": _disable,
    "user_add": _user_add,
    "user_delete": _user_delete,
    "user_change_password": _user_change_password,
    "user_grant_role": _user_grant_role,
    "user_revoke_role": _user_revoke_role,
    "role_add": _role_add,
    "role_delete": _role_delete,
    "role_grant_permission": _role_grant_permission,
    "role_revoke_permission": _role_revoke_permission,
}


def _commit(writer: Writer, records: AuthRecords) -> int:
    """Counts one more change, and returns the revision of users and roles after it."""
    switch = records.switch()
    switch.revision += 1
    _put_switch(writer, switch)
    return switch.revision


def _put_switch(writer: Writer, switch: AuthSwitch) -> None:
    writer.put_auth(SWITCH_KEY, switch.SerializeToString(deterministic=True))


def _put_user(writer: Writer, user: AuthUser) -> None:
    writer.put_auth(user_key(user.name), user.SerializeToString(deterministic=True))


def _put_role(writer: Writer, role: AuthRole) -> None:
    writer.put_auth(role_key(role.name), role.SerializeToString(deterministic=True))


def _with_roles(user: AuthUser, roles: list[str]) -> AuthUser:
    changed = AuthUser()
    changed.CopyFrom(user)
    del changed.roles[:]
    changed.roles.extend(sorted(roles))
    return changed


def _user(records: AuthRecords, name: str) -> AuthUser:
    user = records.user(name)
    if user is None:
        raise UserNotFound
    return user


def _role(records: AuthRecords, name: str) -> AuthRole:
    role = records.role(name)
    if role is None:
        raise RoleNotFound
    return role


def _check_name(name: str, of: str) -> None:
    if len(name.encode()) > MAX_AUTH_NAME_BYTES:
        raise InvalidRequest(f"the name of a {of} has at most {MAX_AUTH_NAME_BYTES} bytes")
