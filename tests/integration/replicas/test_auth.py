"""etcd's users and roles on real replicas of two regions: asked everywhere, kept through a switchover."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from integration.replicas.server_certificates import Authority
from integration.replicas.server_processes import eventually, topology
from rstore_api import methods
from rstore_api.client import Client
from rstore_api.client import User as PasswordUser
from rstore_api.domain.access import AccessRules, ClientRule
from rstore_api.errors import AuthFailed, InvalidAuthToken, PermissionDenied, UserEmpty
from rstore_api.methods import Method, RequestT, ResponseT
from rstore_api.proto import rpc_pb2 as rpc
from rstore_api.proto import rstore_pb2
from rstore_api.proto.auth_pb2 import Permission

TIMEOUT_SECONDS = 30


class User:
    """One user of a client, or nobody."""

    def __init__(self, client: Client, token: str | None = None) -> None:
        self.client = client
        self.metadata = () if token is None else (("token", token),)

    @classmethod
    async def of(cls, client: Client, name: str, password: str) -> User:
        answer = await cls(client).call(methods.AUTHENTICATE, rpc.AuthenticateRequest(name=name, password=password))
        return cls(client, answer.token)

    async def call(self, method: Method[RequestT, ResponseT], request: RequestT) -> ResponseT:
        return await self.client.call(method, request, timeout_seconds=TIMEOUT_SECONDS, metadata=self.metadata)

    async def put(self, key: bytes) -> None:
        await self.call(methods.PUT, rpc.PutRequest(key=key, value=b"v"))

    async def get(self, key: bytes, *, serializable: bool = False) -> int:
        return (await self.call(methods.RANGE, rpc.RangeRequest(key=key, serializable=serializable))).count


async def enable(client: Client) -> None:
    """Turns auth on, with root, and alice who may read and write what begins with "a/"."""
    nobody = User(client)
    permission = Permission(permType=Permission.READWRITE, key=b"a/", range_end=b"a0")
    steps: tuple[tuple[Method[Any, Any], Any], ...] = (
        (methods.USER_ADD, rpc.AuthUserAddRequest(name="root", password="root")),
        (methods.USER_GRANT_ROLE, rpc.AuthUserGrantRoleRequest(user="root", role="root")),
        (methods.USER_ADD, rpc.AuthUserAddRequest(name="alice", password="secret")),
        (methods.ROLE_ADD, rpc.AuthRoleAddRequest(name="a")),
        (methods.ROLE_GRANT_PERMISSION, rpc.AuthRoleGrantPermissionRequest(name="a", perm=permission)),
        (methods.USER_GRANT_ROLE, rpc.AuthUserGrantRoleRequest(user="alice", role="a")),
        (methods.AUTH_ENABLE, rpc.AuthEnableRequest()),
    )
    for method, request in steps:
        await nobody.call(method, request)


async def test_users_are_known_in_every_region_and_after_a_change_of_primary(start_regions) -> None:
    east, west = await start_regions(("us-east", 1), ("eu-west", 1))
    async with east.client() as near, west.client() as far:
        await enable(near)
        alice = await User.of(far, "alice", "secret")
        await alice.put(b"a/k")
        with pytest.raises(PermissionDenied):
            await alice.put(b"b/k")
        with pytest.raises(UserEmpty):
            await User(far).put(b"a/k")
        with pytest.raises(AuthFailed):
            await User.of(far, "alice", "wrong")
        with pytest.raises(InvalidAuthToken):
            await User(far, "nonsense").put(b"a/k")

        async def copied() -> bool:
            return await alice.get(b"a/k", serializable=True) == 1

        await eventually(copied)
        with pytest.raises(PermissionDenied):
            await alice.get(b"b/k", serializable=True)
        with pytest.raises(UserEmpty):
            await User(far).get(b"a/k", serializable=True)
        assert await User(near, dict(alice.metadata)["token"]).get(b"a/k") == 1, "a token counts everywhere"

        demoted = await east.demote(2)
        where = topology("eu-west", east, west, epoch=2)

        async def promoted() -> Any:
            return await west.promote(2, demoted.final_revision, where)

        await eventually(promoted)
        await east.set_topology(where)
        await alice.put(b"a/k")
        with pytest.raises(PermissionDenied):
            await alice.put(b"b/k")
        root = await User.of(near, "root", "root")
        revoked = rpc.AuthUserRevokeRoleRequest(name="alice", role="a")
        await root.call(methods.USER_REVOKE_ROLE, revoked)
        with pytest.raises(PermissionDenied):
            await alice.put(b"a/k")


async def test_a_certificate_of_its_own_names_a_user_and_both_have_to_allow(
    start_regions, authority: Authority, tmp_path: Path
) -> None:
    east, west = await start_regions(("us-east", 1), ("eu-west", 1))
    files = authority.issue(tmp_path / "alice", "alice", organization="client")
    rules = AccessRules(version=1, clients=(ClientRule(name="alice", prefixes=("a/1", "b/")),))
    for region in (east, west):
        for replica in region.replicas:
            async with region.peer(replica) as peer:
                request = rstore_pb2.SetAccessRequest(rules=rules.encode())
                await peer.call(methods.ADMIN_SET_ACCESS, request, timeout_seconds=5)
    async with east.client() as client:
        await enable(client)
    for region in (east, west):
        async with region.client(files=files) as client:
            alice = User(client)
            await alice.put(b"a/1")
            for key in (b"a/2", b"b/1"):  # the user may, the certificate may
                with pytest.raises(PermissionDenied):
                    await alice.put(key)
            root = await User.of(client, "root", "root")
            await root.put(b"b/1")
            with pytest.raises(PermissionDenied):
                await root.put(b"c/1")


async def test_a_client_with_a_password_goes_on_when_its_token_is_refused(start_regions) -> None:
    [east] = await start_regions(("us-east", 1))
    async with east.client() as near:
        await enable(near)

        async def switch() -> None:
            """Turns auth off and on again, with another key for tokens."""
            root = await User.of(near, "root", "root")
            await root.call(methods.AUTH_DISABLE, rpc.AuthDisableRequest())
            await User(near).call(methods.AUTH_ENABLE, rpc.AuthEnableRequest())

        for follow in (near.election(b"a/e").observe(), near.watch(b"a/k")):
            with pytest.raises(UserEmpty):
                await anext(follow)
        async with east.client(user=PasswordUser("alice", "secret")) as alice, alice.lease(3) as lease:
            await alice.put(b"a/k", b"1", lease=lease.id)
            seen: list[bytes] = []

            async def watch() -> None:
                async for changes in alice.watch(b"a/", prefix=True):
                    seen.extend(event.kv.value for event in changes.events)

            async with asyncio.TaskGroup() as tasks:
                watching = tasks.create_task(watch())
                await switch()
                await alice.put(b"a/k", b"2", lease=lease.id)
                with pytest.raises(PermissionDenied):
                    await alice.put(b"b/k", b"1")
                begun = asyncio.get_running_loop().time()
                await eventually(lambda: _value(seen[-1:] == [b"2"]))
                await switch()
                # A lease is renewed over a stream that was opened with a token of before.
                await eventually(lambda: _value(asyncio.get_running_loop().time() > begun + 4))
                assert lease.alive
                async with aclosing(alice.watch(b"a/", prefix=True)) as another:
                    assert (await anext(another)).events == ()
                await switch()
                await alice.put(b"a/k", b"3", lease=lease.id)
                await eventually(lambda: _value(seen[-1:] == [b"3"]))
                watching.cancel()


async def _value(value: bool) -> bool:
    return value
