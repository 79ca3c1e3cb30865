"""The Auth service over a real state machine: where passwords are checked and hashed, and what goes into the log."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rstore_api import methods
from rstore_api.errors import (
    AuthFailed,
    AuthNotEnabled,
    InvalidRequest,
    NoPasswordUser,
    NoPrimary,
    RoleNotFound,
    StoreError,
    UserNotFound,
)
from rstore_api.methods import Method
from rstore_api.proto import rpc_pb2 as rpc
from rstore_api.proto.rstore_pb2 import WriteBatch, WriteRequest
from rstore_replica.api.auth.guard import Guard
from rstore_replica.api.auth.passwords import MAX_PASSWORD_BYTES, Passwords
from rstore_replica.api.auth.tokens import read_token
from rstore_replica.api.identity import Identity
from rstore_replica.api.routing.router import CallInfo
from rstore_replica.api.services.auth import AuthService
from unit.api.replica_fakes import FakeGroup
from unit.mvcc.replicas import Replica
from unit.mvcc.requests.test_auth import ENABLE, change, grant_role


class Store:
    """The service on a replica, whose log is applied at once."""

    def __init__(self, path: Path, *, semi_sync: bool = False) -> None:
        """In ``semi_sync`` nothing above ``confirmed`` may be shown."""
        self.confirmed = 0
        self.replica = Replica(path / "data")
        machine, group = self.replica.machine, FakeGroup()
        self.serves_here = True
        self.handed_on: list[Any] = []
        self.elsewhere: Callable[[], Any] = self._no_primary
        self.passwords = Passwords(cost=4)
        self.entries: list[bytes] = []
        self.service = AuthService(
            calls=cast(Any, SimpleNamespace(serve=self._register)),
            router=cast(Any, self),
            batcher=cast(Any, SimpleNamespace(submit=self._submit)),
            machine=machine,
            group=cast(Any, group),
            identity=Identity(region="us-east", replica="orders-us-east-0", machine=machine, group=group),
            guard=Guard(machine=machine, group=group),
            passwords=self.passwords,
            read_point=self._read_point if semi_sync else None,
        )

        self.handlers: dict[str, Callable[[Any, CallInfo], Awaitable[Any]]] = {}
        self.service.add_to_server(None)

    def _register(self, _server: None, method: Method[Any, Any], handler: Any) -> None:
        self.handlers[method.path] = handler

    async def ask(self, method: Method[Any, Any], **fields: Any) -> Any:
        return await self.handlers[method.path](method.request(**fields), call())

    async def _read_point(self, _epoch: int, _at_least: int, _timeout_seconds: float) -> int:
        return self.confirmed

    def _no_primary(self) -> Any:
        raise NoPrimary

    async def serve(
        self, _method: Any, request: Callable[[], Any], local: Callable[[], Awaitable[Any]], *, call: CallInfo
    ) -> Any:
        if self.serves_here:
            return await local()
        self.handed_on.append(request())
        return self.elsewhere()

    async def _submit(self, request: WriteRequest, _response: Any, **_options: Any) -> Any:
        self.entries.append(request.SerializeToString())
        answer = self.replica.apply(auth_write=WriteBatch(epoch=1, requests=[request]))[0]
        if isinstance(answer, StoreError):
            raise answer
        return answer

    async def add(self, name: str, password: str, **fields: Any) -> None:
        await self.service.user_add(rpc.AuthUserAddRequest(name=name, password=password, **fields), call())

    async def enable(self) -> None:
        await self.add("root", "root")
        assert change(self.replica, grant_role("root", "root"), ENABLE) == ["", ""]

    async def token(self, name: str, password: str) -> str:
        request = rpc.AuthenticateRequest(name=name, password=password)
        return (await self.service.authenticate(request, call())).token


def call() -> CallInfo:
    return CallInfo(deadline=asyncio.get_running_loop().time() + 60, forwarded=False, client="c")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path)
    yield store
    store.service.close()
    store.replica.machine.close()


async def test_a_password_is_in_the_log_as_its_hash_alone(store: Store) -> None:
    await store.add("u", "a secret")
    request = rpc.AuthUserChangePasswordRequest(name="u", password="another one")
    await store.service.user_change_password(request, call())
    assert len(store.entries) == 2
    assert not any(secret in entry for secret in (b"a secret", b"another one") for entry in store.entries)
    store.serves_here = False
    with pytest.raises(NoPrimary):
        await store.add("v", "a secret")
    assert (store.handed_on[0].password, bool(store.handed_on[0].hashedPassword)) == ("", True)


async def test_a_password_gives_a_token_of_its_user(store: Store) -> None:
    with pytest.raises(AuthNotEnabled):
        await store.token("root", "root")
    await store.enable()
    claims = read_token(await store.token("root", "root"), store.replica.machine.auth.token_key)
    assert claims is not None
    assert claims.user == "root"
    await store.add("bare", "", options={"no_password": True})
    for name, password, expected in (
        ("root", "wrong", AuthFailed),
        ("nobody", "root", AuthFailed),
        ("root", "x" * (MAX_PASSWORD_BYTES + 1), AuthFailed),
        ("bare", "", NoPasswordUser),
    ):
        with pytest.raises(expected):
            await store.token(name, password)


async def test_a_replica_that_would_refuse_asks_the_primary_and_one_that_would_not_does_not(store: Store) -> None:
    await store.enable()
    store.serves_here = False
    assert await store.token("root", "root")
    assert store.handed_on == []
    store.elsewhere = lambda: rpc.AuthenticateResponse(token="newer")
    assert await store.token("new", "user") == "newer"
    assert store.handed_on == [rpc.AuthenticateRequest(name="new", password="user")]


async def test_a_password_that_is_changed_while_it_is_checked_gives_no_token(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.enable()
    matches = store.passwords.matches

    async def changed_meanwhile(password: str, password_hash: bytes, client: str) -> bool:
        matched = await matches(password, password_hash, client)
        request = rpc.AuthUserChangePasswordRequest(name="root", password="other")
        await store.service.user_change_password(request, call())
        return matched

    monkeypatch.setattr(store.passwords, "matches", changed_meanwhile)
    with pytest.raises(AuthFailed):
        await store.token("root", "root")


async def test_a_hash_may_be_given_and_too_long_a_password_may_not(store: Store) -> None:
    await store.enable()
    hashed = await store.passwords.hash("secret", "c")
    await store.service.user_add(rpc.AuthUserAddRequest(name="u", hashedPassword=hashed), call())
    assert await store.token("u", "secret")
    with pytest.raises(InvalidRequest, match="72 bytes"):
        await store.add("v", "x" * (MAX_PASSWORD_BYTES + 1))
    plain = base64.b64encode(b"secret").decode()
    with pytest.raises(InvalidRequest, match="bcrypt"):
        await store.service.user_add(rpc.AuthUserAddRequest(name="v", hashedPassword=plain), call())


async def test_every_enabling_has_another_key(store: Store) -> None:
    await store.add("root", "root")
    change(store.replica, grant_role("root", "root"))
    keys = set()
    for _ in range(2):
        await store.service.enable(rpc.AuthEnableRequest(), call())
        keys.add(store.replica.machine.auth.token_key)
        await store.ask(methods.AUTH_DISABLE)
    assert len(keys) == 2


async def test_what_is_shown_of_users_and_roles_is_confirmed_by_other_regions(tmp_path: Path) -> None:
    """In SemiSync, where what they have not confirmed a failover may lose."""
    store = Store(tmp_path, semi_sync=True)
    await store.add("u", "", options={"no_password": True})
    await store.ask(methods.ROLE_ADD, name="r")
    await store.ask(methods.ROLE_GRANT_PERMISSION, name="r", perm={"key": b"a"})
    store.confirmed = store.replica.machine.revision
    await store.enable()
    await store.ask(methods.ROLE_DELETE, role="r")
    await store.ask(methods.USER_GRANT_ROLE, user="u", role="root")
    await store.ask(methods.ROLE_ADD, name="later")
    users = await store.ask(methods.USER_LIST)
    assert (list(users.users), users.header.revision) == (["u"], store.confirmed)
    assert list((await store.ask(methods.ROLE_LIST)).roles) == ["r"]
    assert list((await store.ask(methods.USER_GET, name="u")).roles) == []
    assert [each.key for each in (await store.ask(methods.ROLE_GET, role="r")).perm] == [b"a"]
    assert not (await store.ask(methods.AUTH_STATUS)).enabled
    with pytest.raises(UserNotFound):
        await store.ask(methods.USER_GET, name="root")
    with pytest.raises(RoleNotFound):
        await store.ask(methods.ROLE_GET, role="later")
    store.confirmed = store.replica.machine.revision
    assert list((await store.ask(methods.USER_LIST)).users) == ["root", "u"]
    assert list((await store.ask(methods.ROLE_LIST)).roles) == ["later"]
    assert list((await store.ask(methods.USER_GET, name="u")).roles) == ["root"]
    assert (await store.ask(methods.AUTH_STATUS)).enabled
    store.service.close()
    store.replica.machine.close()
