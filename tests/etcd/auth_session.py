"""Users and roles of a server, etcd's or ours, asked in the same way; each call names its user."""

from __future__ import annotations

from typing import Any

import grpc
from etcd.servers import ANSWER_SECONDS, Answer, Server
from rstore_api import methods
from rstore_api.methods import Method, RequestT, ResponseT
from rstore_api.proto import auth_pb2, kv_pb2
from rstore_api.proto import rpc_pb2 as rpc

Permission = auth_pb2.Permission
READ, WRITE, READWRITE = Permission.READ, Permission.WRITE, Permission.READWRITE


class AuthSession:
    """One server. ``user`` of a call is "name:password", "" for nobody."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._tokens: dict[str, str] = {}

    def call(
        self, method: Method[RequestT, ResponseT], request: RequestT, *, user: str = "", token: str | None = None
    ) -> Answer:
        """Makes a call; its answer comes without header and revisions."""
        if user:
            known = user in self._tokens
            answer = self.call(method, request, token=self.token_of(user))
            if known and answer.text == "etcdserver: invalid auth token":
                del self._tokens[user]
                answer = self.call(method, request, token=self.token_of(user))
            return answer
        metadata = () if token is None else (("token", token),)
        invoke = self.server.channel.unary_unary(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )
        try:
            return Answer(_plain(invoke(request, timeout=ANSWER_SECONDS, metadata=metadata)))
        except grpc.RpcError as error:
            return Answer(code=error.code().name, text=error.details() or "")

    def token_of(self, user: str) -> str:
        """Returns a token that was valid when it was first asked for."""
        if user not in self._tokens:
            answer = self.authenticate(*user.split(":"))
            assert answer.code == "OK", answer
            self._tokens[user] = answer.message.token
        return self._tokens[user]

    def authenticate(self, name: str, password: str) -> Answer:
        return self.call(methods.AUTHENTICATE, rpc.AuthenticateRequest(name=name, password=password))

    def enable(self, user: str = "") -> Answer:
        return self.call(methods.AUTH_ENABLE, rpc.AuthEnableRequest(), user=user)

    def disable(self, user: str = "") -> Answer:
        return self.call(methods.AUTH_DISABLE, rpc.AuthDisableRequest(), user=user)

    def status(self, user: str = "") -> Answer:
        return self.call(methods.AUTH_STATUS, rpc.AuthStatusRequest(), user=user)

    def add_user(self, name: str, password: str = "", *, no_password: bool = False, user: str = "") -> Answer:
        request = rpc.AuthUserAddRequest(name=name, password=password)
        request.options.no_password = no_password
        return self.call(methods.USER_ADD, request, user=user)

    def delete_user(self, name: str, user: str = "") -> Answer:
        return self.call(methods.USER_DELETE, rpc.AuthUserDeleteRequest(name=name), user=user)

    def change_password(self, name: str, password: str, user: str = "") -> Answer:
        request = rpc.AuthUserChangePasswordRequest(name=name, password=password)
        return self.call(methods.USER_CHANGE_PASSWORD, request, user=user)

    def get_user(self, name: str, user: str = "") -> Answer:
        return self.call(methods.USER_GET, rpc.AuthUserGetRequest(name=name), user=user)

    def users(self, user: str = "") -> Answer:
        return self.call(methods.USER_LIST, rpc.AuthUserListRequest(), user=user)

    def grant_role(self, name: str, role: str, user: str = "") -> Answer:
        return self.call(methods.USER_GRANT_ROLE, rpc.AuthUserGrantRoleRequest(user=name, role=role), user=user)

    def revoke_role(self, name: str, role: str, user: str = "") -> Answer:
        return self.call(methods.USER_REVOKE_ROLE, rpc.AuthUserRevokeRoleRequest(name=name, role=role), user=user)

    def add_role(self, name: str, user: str = "") -> Answer:
        return self.call(methods.ROLE_ADD, rpc.AuthRoleAddRequest(name=name), user=user)

    def delete_role(self, name: str, user: str = "") -> Answer:
        return self.call(methods.ROLE_DELETE, rpc.AuthRoleDeleteRequest(role=name), user=user)

    def get_role(self, name: str, user: str = "") -> Answer:
        return self.call(methods.ROLE_GET, rpc.AuthRoleGetRequest(role=name), user=user)

    def roles(self, user: str = "") -> Answer:
        return self.call(methods.ROLE_LIST, rpc.AuthRoleListRequest(), user=user)

    def grant(self, role: str, kind: Any, key: bytes, range_end: bytes = b"", user: str = "") -> Answer:
        permission = Permission(permType=kind, key=key, range_end=range_end)
        request = rpc.AuthRoleGrantPermissionRequest(name=role, perm=permission)
        return self.call(methods.ROLE_GRANT_PERMISSION, request, user=user)

    def revoke(self, role: str, key: bytes, range_end: bytes = b"", user: str = "") -> Answer:
        request = rpc.AuthRoleRevokePermissionRequest(role=role, key=key, range_end=range_end)
        return self.call(methods.ROLE_REVOKE_PERMISSION, request, user=user)

    def put(self, key: bytes, user: str = "", **options: Any) -> Answer:
        return self.call(methods.PUT, rpc.PutRequest(key=key, **options), user=user)

    def get(self, key: bytes, range_end: bytes = b"", user: str = "", **options: Any) -> Answer:
        return self.call(methods.RANGE, rpc.RangeRequest(key=key, range_end=range_end, **options), user=user)

    def delete(self, key: bytes, range_end: bytes = b"", user: str = "", **options: Any) -> Answer:
        request = rpc.DeleteRangeRequest(key=key, range_end=range_end, **options)
        return self.call(methods.DELETE_RANGE, request, user=user)

    def txn(self, user: str = "", **parts: Any) -> Answer:
        return self.call(methods.TXN, rpc.TxnRequest(**parts), user=user)

    def watch(self, key: bytes, range_end: bytes = b"", user: str = "") -> tuple[bool, bool, str]:
        """Returns whether the watch was created, whether it was ended at once, and why."""
        metadata = (("token", self.token_of(user)),) if user else ()
        invoke = self.server.channel.stream_stream(
            methods.WATCH.path,
            request_serializer=rpc.WatchRequest.SerializeToString,
            response_deserializer=rpc.WatchResponse.FromString,
        )
        request = rpc.WatchRequest(create_request=rpc.WatchCreateRequest(key=key, range_end=range_end))
        call = invoke(iter([request]), timeout=ANSWER_SECONDS, metadata=metadata)
        try:
            answer = next(call)
        except grpc.RpcError as error:
            return False, True, f"{error.code().name} {error.details()}"
        call.cancel()
        return answer.created, answer.canceled, answer.cancel_reason

    def start(self, *users: tuple[str, str, Any, bytes, bytes]) -> None:
        """Enables auth, with root and its password "root", and users of one permission each: name and password, role,
        what it permits on which keys.
        """
        steps = [self.add_user("root", "root"), self.add_role("root"), self.grant_role("root", "root")]
        for name, role, kind, key, range_end in users:
            steps += [self.add_user(name, name), self.add_role(role), self.grant(role, kind, key, range_end)]
            steps.append(self.grant_role(name, role))
        steps.append(self.enable())
        assert {step.code for step in steps} == {"OK"}, steps

    def clear(self) -> None:
        """Turns auth off, and deletes all users, roles and keys."""
        if self.authenticate("root", "root").code == "OK":
            assert self.disable("root:root").code == "OK"
        self._tokens.clear()
        for name in self.users().message.users:
            self.delete_user(name)
        for name in self.roles().message.roles:
            self.delete_role(name)
        self.delete(b"\0", b"\0")


def _plain(message: Any) -> Any:
    for name in ("header", "authRevision"):
        if name in message.DESCRIPTOR.fields_by_name:
            message.ClearField(name)
    for each in _key_values(message):
        each.ClearField("create_revision")
        each.ClearField("mod_revision")
    return message


def _key_values(message: Any) -> list[kv_pb2.KeyValue]:
    key_values: list[kv_pb2.KeyValue] = []
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        for each in value if field.is_repeated else (value,):
            if isinstance(each, kv_pb2.KeyValue):
                key_values.append(each)
            else:
                if "header" in each.DESCRIPTOR.fields_by_name:
                    each.ClearField("header")
                key_values += _key_values(each)
    return key_values
