"""Whether a request may be carried out: by tokens, users and roles of a real state machine."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rstore_api import methods
from rstore_api.errors import AuthOldRevision, InvalidAuthToken, NotLeader, PermissionDenied, StoreError, UserEmpty
from rstore_api.proto import rpc_pb2 as rpc
from rstore_replica.api.auth.credentials import NOBODY, SYSTEM, Credentials
from rstore_replica.api.auth.guard import Guard
from rstore_replica.api.auth.tokens import LIFETIME_SECONDS
from unit.mvcc.replicas import Replica
from unit.mvcc.requests.test_auth import (
    DISABLE,
    ENABLE,
    OTHER_HASH,
    AuthChange,
    add_role,
    add_user,
    change,
    grant,
    grant_role,
)

GET = rpc.RangeRequest(key=b"k")


class Group:
    """A Raft group that counts how often it was asked what is committed."""

    def __init__(self) -> None:
        self.term = 3
        self.barriers = 0
        self.refusal: StoreError | None = None

    async def barrier(self, *, timeout_seconds: float) -> None:
        self.barriers += 1
        await asyncio.sleep(0)
        if self.refusal is not None:
            raise self.refusal


class World:
    """A replica with auth: root, and alice who may read one key."""

    def __init__(self, path: Path) -> None:
        self.replica = Replica(path / "data")
        self.now = 1_000_000.0
        self.group: Any = Group()
        self.guard = Guard(machine=self.replica.machine, group=self.group, now=lambda: self.now)
        steps = (add_user("root"), grant_role("root", "root"), add_user("alice"), add_role("r"), grant("r", b"k"))
        assert set(change(self.replica, *steps, grant_role("alice", "r"))) == {""}

    def enable(self) -> None:
        assert change(self.replica, ENABLE) == [""]

    def credentials(self, name: str = "alice") -> Credentials:
        user = self.replica.machine.read_auth(lambda records: records.user(name))
        assert user is not None
        return Credentials(self.guard.token_of(name, user.password_revision), began_at=self.now)

    def get(self, credentials: Credentials, key: bytes = b"k") -> None:
        self.guard.check(methods.RANGE.path, rpc.RangeRequest(key=key), credentials)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.replica.machine.close()


def test_while_auth_is_off_nothing_is_asked(world: World) -> None:
    world.guard.check_here(methods.HASH_KV.path, rpc.HashKVRequest(), NOBODY)
    assert world.guard.refusal_of_watch(NOBODY, b"k", b"") == ""


def test_a_user_may_do_what_its_roles_permit_and_nobody_nothing(world: World) -> None:
    world.enable()
    world.get(world.credentials())
    world.get(world.credentials("root"), b"other")
    world.get(SYSTEM, b"other")
    with pytest.raises(PermissionDenied):
        world.get(world.credentials(), b"other")
    with pytest.raises(UserEmpty):
        world.get(NOBODY)
    with pytest.raises(InvalidAuthToken):
        world.get(Credentials("nonsense", began_at=world.now))
    world.guard.check(methods.AUTHENTICATE.path, rpc.AuthenticateRequest(), NOBODY)


def test_a_certificate_names_a_user_where_there_is_no_token(world: World) -> None:
    world.enable()
    world.get(Credentials(certificate_user="alice"))
    with pytest.raises(PermissionDenied):
        world.get(Credentials(certificate_user="nobody"))
    with pytest.raises(InvalidAuthToken):
        world.get(Credentials("nonsense", "alice"))


def test_a_change_of_roles_counts_at_once(world: World) -> None:
    world.enable()
    credentials = world.credentials()
    world.get(credentials)
    revoked = rpc.AuthRoleRevokePermissionRequest(role="r", key=b"k")
    change(world.replica, AuthChange(role_revoke_permission=revoked))
    with pytest.raises(PermissionDenied):
        world.get(credentials)
    change(world.replica, grant("r", b"k"))
    world.get(credentials)


def test_a_token_ends_with_its_time_its_password_its_user_and_with_auth(world: World) -> None:
    world.enable()

    def refused(credentials: Credentials) -> bool:
        try:
            world.get(credentials)
        except InvalidAuthToken:
            return True
        return False

    token = world.credentials().token
    assert not refused(Credentials(token, began_at=world.now + LIFETIME_SECONDS - 1))
    assert refused(Credentials(token, began_at=world.now + LIFETIME_SECONDS))
    credentials = world.credentials()
    request = rpc.AuthUserChangePasswordRequest(name="alice", hashedPassword=OTHER_HASH)
    change(world.replica, AuthChange(user_change_password=request))
    assert refused(credentials)
    credentials = world.credentials()
    assert not refused(credentials)
    change(world.replica, AuthChange(user_delete=rpc.AuthUserDeleteRequest(name="alice")), add_user("alice"))
    assert refused(credentials), "another user of the same name"
    credentials = world.credentials("root")
    other_key = AuthChange(enable={"token_key": b"o" * 32})
    change(world.replica, DISABLE, other_key)
    assert refused(credentials)


def test_a_call_that_goes_on_longer_than_a_token_hands_on_a_newer_one(world: World) -> None:
    world.enable()
    credentials = world.credentials()
    assert dict(world.guard.handed_on(credentials))["token"] == credentials.token
    world.now += LIFETIME_SECONDS + 10
    world.get(credentials)
    newer = dict(world.guard.handed_on(credentials))["token"]
    world.get(Credentials(newer, began_at=world.now))
    expired = Credentials(credentials.token, began_at=world.now)
    world.now += 10
    assert dict(world.guard.handed_on(expired))["token"] == credentials.token


def test_a_watch_is_refused_as_etcd_words_it(world: World) -> None:
    world.enable()
    credentials = world.credentials()
    assert world.guard.refusal_of_watch(credentials, b"k", b"") == ""
    assert world.guard.refusal_of_watch(credentials, b"k", b"\0") == (
        "rpc error: code = PermissionDenied desc = etcdserver: permission denied"
    )
    assert world.guard.refusal_of_watch(NOBODY, b"k", b"") == (
        "rpc error: code = InvalidArgument desc = etcdserver: user name is empty"
    )
    assert world.guard.refusal_of_watch(Credentials("x"), b"k", b"") == (
        "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token"
    )
    world.now += LIFETIME_SECONDS + 10
    assert world.guard.refusal_of_watch(credentials, b"k", b"") == "", "the stream began while the token was valid"


def test_what_was_read_while_users_changed_is_not_answered(world: World) -> None:
    world.enable()
    before = world.guard.state
    world.replica.put(b"k", b"v")
    world.guard.check_unchanged(methods.RANGE.path, before)
    change(world.replica, add_role("other"))
    with pytest.raises(AuthOldRevision):
        world.guard.check_unchanged(methods.RANGE.path, before)
    world.guard.check_unchanged(methods.AUTHENTICATE.path, before)


async def test_a_new_leader_applies_what_is_committed_before_it_asks(world: World) -> None:
    async def admit(credentials: Credentials) -> None:
        deadline = asyncio.get_running_loop().time() + 5
        await world.guard.admit(methods.RANGE.path, lambda: GET, credentials, deadline=deadline)

    assert world.guard.is_needed
    await admit(NOBODY)
    assert (world.group.barriers, world.guard.is_needed) == (1, False)
    world.group.term = 4
    assert world.guard.is_needed
    world.group.refusal = NotLeader()
    with pytest.raises(NotLeader):
        await admit(NOBODY)
    assert world.guard.is_needed
    world.group.refusal = None
    waiting = asyncio.create_task(admit(NOBODY))
    await asyncio.sleep(0)
    world.enable()  # an entry that the barrier waits for
    with pytest.raises(UserEmpty):
        await waiting
    await admit(world.credentials())
    assert world.group.barriers == 3


def test_a_write_that_was_admitted_goes_into_the_log_of_this_term_alone(world: World) -> None:
    assert world.guard.standing() is None
    world.enable()
    assert world.guard.standing() == (1, 3)
