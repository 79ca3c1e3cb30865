"""etcd's Auth service: the primary's leader changes users and roles, and any replica of any region checks passwords."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from rstore_api import methods
from rstore_api.errors import AuthFailed, AuthNotEnabled, NoPasswordUser, NoPrimary, RoleNotFound, UserNotFound
from rstore_api.methods import Method, RequestT
from rstore_api.proto import rpc_pb2
from rstore_api.proto.rstore_pb2 import AuthChange, AuthChanged, AuthSwitch, AuthUser, WriteRequest

from rstore_replica.api.auth.guard import Guard
from rstore_replica.api.auth.passwords import Passwords
from rstore_replica.api.batcher import Batcher
from rstore_replica.api.calls import Calls
from rstore_replica.api.identity import Identity
from rstore_replica.api.ports import Group, ReadPoint
from rstore_replica.api.routing.router import CallInfo, Router
from rstore_replica.mvcc.data.auth import TOKEN_KEY_BYTES, AuthRecords
from rstore_replica.mvcc.machine import Machine
from rstore_replica.mvcc.requests.auth import password_hash_of

AnswerT = TypeVar("AnswerT", bound=Any)
PasswordRequestT = TypeVar("PasswordRequestT", rpc_pb2.AuthUserAddRequest, rpc_pb2.AuthUserChangePasswordRequest)


class AuthService:
    """Users, roles, the switch, and tokens."""

    def __init__(
        self,
        *,
        calls: Calls,
        router: Router,
        batcher: Batcher,
        machine: Machine,
        group: Group,
        identity: Identity,
        guard: Guard,
        passwords: Passwords,
        tenure_held: Callable[[int], bool] = lambda _epoch: True,
        read_point: ReadPoint | None = None,
    ) -> None:
        """``tenure_held`` says whether something read in an epoch may be answered as the newest at this moment, and
        ``read_point`` which revision is the newest that may be shown; see ``Acknowledging.read_point``.
        """
        self._calls = calls
        self._router = router
        self._batcher = batcher
        self._machine = machine
        self._group = group
        self._identity = identity
        self._guard = guard
        self._passwords = passwords
        self._tenure_held = tenure_held
        self._read_point = read_point

    def add_to_server(self, server: Any) -> None:
        """Registers the service."""
        self._calls.serve(server, methods.AUTHENTICATE, self.authenticate)
        self._calls.serve(server, methods.AUTH_ENABLE, self.enable)
        self._calls.serve(server, methods.USER_ADD, self.user_add)
        self._calls.serve(server, methods.USER_CHANGE_PASSWORD, self.user_change_password)
        changes: tuple[tuple[Method[Any, Any], str], ...] = (
            (methods.AUTH_DISABLE, "disable"),
            (methods.USER_DELETE, "user_delete"),
            (methods.USER_GRANT_ROLE, "user_grant_role"),
            (methods.USER_REVOKE_ROLE, "user_revoke_role"),
            (methods.ROLE_ADD, "role_add"),
            (methods.ROLE_DELETE, "role_delete"),
            (methods.ROLE_GRANT_PERMISSION, "role_grant_permission"),
            (methods.ROLE_REVOKE_PERMISSION, "role_revoke_permission"),
        )
        for method, name in changes:
            self._calls.serve(server, method, self._changing(method, name))
        reads: tuple[tuple[Method[Any, Any], Callable[[AuthRecords, Any], Any]], ...] = (
            (methods.AUTH_STATUS, _status),
            (methods.USER_GET, _user),
            (methods.USER_LIST, _users),
            (methods.ROLE_GET, _role),
            (methods.ROLE_LIST, _roles),
        )
        for method, read in reads:
            self._calls.serve(server, method, self._reading(method, read))

    def close(self) -> None:
        """Ends the threads."""
        self._passwords.close()

    # ------------------------------------------------------------------ changes

    async def enable(self, request: rpc_pb2.AuthEnableRequest, call: CallInfo) -> rpc_pb2.AuthEnableResponse:
        """Turns auth on, with a new key for tokens."""
        switch = AuthSwitch(token_key=secrets.token_bytes(TOKEN_KEY_BYTES))
        return await self._change(methods.AUTH_ENABLE, request, AuthChange(enable=switch), call)

    async def user_add(self, request: rpc_pb2.AuthUserAddRequest, call: CallInfo) -> rpc_pb2.AuthUserAddResponse:
        """Adds a user."""
        if not request.options.no_password and request.name:
            await self._hash(request, call)
        request.password = ""
        return await self._change(methods.USER_ADD, request, AuthChange(user_add=request), call)

    async def user_change_password(
        self, request: rpc_pb2.AuthUserChangePasswordRequest, call: CallInfo
    ) -> rpc_pb2.AuthUserChangePasswordResponse:
        """Gives a user another password; the tokens from before are refused."""
        await self._hash(request, call)
        request.password = ""
        change = AuthChange(user_change_password=request)
        return await self._change(methods.USER_CHANGE_PASSWORD, request, change, call)

    async def _hash(self, request: PasswordRequestT, call: CallInfo) -> None:
        """Hashes the password here, so that neither the log nor another replica gets it."""
        if request.password or not request.hashedPassword:
            request.hashedPassword = await self._passwords.hash(request.password, call.client)
        password_hash_of(request.hashedPassword)

    def _changing(self, method: Method[Any, Any], name: str) -> Callable[[Any, CallInfo], Awaitable[Any]]:
        async def change(request: Any, call: CallInfo) -> Any:
            return await self._change(method, request, AuthChange(**{name: request}), call)

        return change

    async def _change(
        self, method: Method[RequestT, AnswerT], request: RequestT, change: AuthChange, call: CallInfo
    ) -> AnswerT:
        async def local() -> AnswerT:
            changed = await self._batcher.submit(WriteRequest(auth=change), AuthChanged, deadline=call.deadline)
            response: AnswerT = method.response()
            self._identity.fill(response.header, revision=changed.header.revision)
            return response

        return await self._router.serve(method, lambda: request, local, call=call)

    # ------------------------------------------------------------------ reads

    def _reading(
        self, method: Method[Any, Any], read: Callable[[AuthRecords, Any], Any]
    ) -> Callable[[Any, CallInfo], Awaitable[Any]]:
        async def serve(request: Any, call: CallInfo) -> Any:
            return await self._router.serve(
                method, lambda: request, lambda: self._read_confirmed(read, request, call), call=call
            )

        return serve

    async def _read_confirmed(self, read: Callable[[AuthRecords, Any], Any], request: Any, call: CallInfo) -> Any:
        """Returns what ``read`` makes of users and roles at the newest revision that may be shown, as of keys."""
        await self._group.barrier(timeout_seconds=max(0.0, call.deadline - _now()))
        state = self._machine.state
        if not state.writable:
            raise NoPrimary("a change of primary is under way")
        at = None if self._read_point is None else await self._read_point(state.epoch, 0, call.deadline - _now())
        if not self._tenure_held(state.epoch):
            raise NoPrimary("the tenure has run out: too few regions can be reached")
        response = self._machine.read_auth(lambda records: read(records, request), at)
        self._identity.fill(response.header, revision=self._machine.revision if at is None else at)
        return response

    # ------------------------------------------------------------------ tokens

    async def authenticate(self, request: rpc_pb2.AuthenticateRequest, call: CallInfo) -> rpc_pb2.AuthenticateResponse:
        """Gives a user a token for its password. A replica that would refuse asks the primary's leader, which knows the
        newest users; so does one that has no users yet.
        """

        async def local() -> rpc_pb2.AuthenticateResponse:
            return await self._authenticate_here(request, call)

        if not self._router.serves_here:
            try:
                return await local()
            except (AuthFailed, AuthNotEnabled, NoPasswordUser):
                pass
        return await self._router.serve(methods.AUTHENTICATE, lambda: request, local, call=call)

    async def _authenticate_here(
        self, request: rpc_pb2.AuthenticateRequest, call: CallInfo
    ) -> rpc_pb2.AuthenticateResponse:
        user = self._with_password(request.name)
        if not await self._passwords.matches(request.password, user.password_hash, call.client):
            raise AuthFailed
        if self._with_password(request.name).password_hash != user.password_hash:
            raise AuthFailed  # it was changed meanwhile
        token = self._guard.token_of(request.name, user.password_revision)
        response = rpc_pb2.AuthenticateResponse(token=token)
        self._identity.fill(response.header, revision=self._machine.revision)
        return response

    def _with_password(self, name: str) -> AuthUser:
        """Returns a user that may authenticate. Raises AuthNotEnabled, AuthFailed, NoPasswordUser."""
        if not self._machine.auth.enabled:
            raise AuthNotEnabled
        user = self._machine.read_auth(lambda records: records.user(name))
        if user is None:
            raise AuthFailed
        if user.no_password:
            raise NoPasswordUser
        return user


def _now() -> float:
    return asyncio.get_running_loop().time()


def _status(records: AuthRecords, _request: rpc_pb2.AuthStatusRequest) -> rpc_pb2.AuthStatusResponse:
    switch = records.switch()
    return rpc_pb2.AuthStatusResponse(enabled=switch.enabled, authRevision=switch.revision)


def _user(records: AuthRecords, request: rpc_pb2.AuthUserGetRequest) -> rpc_pb2.AuthUserGetResponse:
    user = records.user(request.name)
    if user is None:
        raise UserNotFound
    return rpc_pb2.AuthUserGetResponse(roles=user.roles)


def _users(records: AuthRecords, _request: rpc_pb2.AuthUserListRequest) -> rpc_pb2.AuthUserListResponse:
    return rpc_pb2.AuthUserListResponse(users=records.users())


def _role(records: AuthRecords, request: rpc_pb2.AuthRoleGetRequest) -> rpc_pb2.AuthRoleGetResponse:
    role = records.role(request.role)
    if role is None:
        raise RoleNotFound
    return rpc_pb2.AuthRoleGetResponse(perm=role.permissions)


def _roles(records: AuthRecords, _request: rpc_pb2.AuthRoleListRequest) -> rpc_pb2.AuthRoleListResponse:
    return rpc_pb2.AuthRoleListResponse(roles=records.roles())
