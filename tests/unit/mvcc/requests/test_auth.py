"""Changes of users and roles: etcd's rules, and bounds of our own."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rstore_api.domain import limits
from rstore_api.errors import NoSpace, StoreError
from rstore_api.proto import rpc_pb2 as rpc
from rstore_api.proto.auth_pb2 import Permission, UserAddOptions
from rstore_api.proto.rstore_pb2 import AuthChange, AuthSwitch, WriteBatch, WriteLimits, WriteRequest
from rstore_replica.mvcc.requests import auth
from unit.mvcc.replicas import Replica

HASH = base64.b64encode(b"$2b$10$" + b"a" * 53).decode()
OTHER_HASH = base64.b64encode(b"$2b$10$" + b"b" * 53).decode()
ENABLE = AuthChange(enable=AuthSwitch(token_key=bytes(32)))
DISABLE = AuthChange(disable=rpc.AuthDisableRequest())


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[Replica]:
    replica = Replica(tmp_path / "data")
    yield replica
    replica.machine.close()


def change(replica: Replica, *changes: AuthChange, limits: WriteLimits | None = None) -> list[str]:
    """Carries changes out; returns the codes of their refusals."""
    batch = WriteBatch(
        epoch=replica.machine.state.epoch,
        requests=[WriteRequest(auth=each) for each in changes],
        limits=limits or replica.machine.write_limits(),
    )
    answers = replica.apply(auth_write=batch)
    return [answer.code if isinstance(answer, StoreError) else "" for answer in answers]


def add_user(name: str, *, no_password: bool = False, password_hash: str = HASH) -> AuthChange:
    options = UserAddOptions(no_password=no_password)
    return AuthChange(user_add=rpc.AuthUserAddRequest(name=name, options=options, hashedPassword=password_hash))


def add_role(name: str) -> AuthChange:
    return AuthChange(role_add=rpc.AuthRoleAddRequest(name=name))


def grant_role(user: str, role: str) -> AuthChange:
    return AuthChange(user_grant_role=rpc.AuthUserGrantRoleRequest(user=user, role=role))


def grant(role: str, key: bytes, range_end: bytes = b"") -> AuthChange:
    permission = Permission(permType=Permission.READ, key=key, range_end=range_end)
    return AuthChange(role_grant_permission=rpc.AuthRoleGrantPermissionRequest(name=role, perm=permission))


def enabled(replica: Replica) -> None:
    steps = (add_user("root"), grant_role("root", "root"), ENABLE)
    assert change(replica, *steps) == ["", "", ""]


def test_a_change_is_one_revision_without_events_and_counts_once(replica: Replica) -> None:
    before, hashed = replica.machine.revision, replica.machine.auth.revision
    assert change(replica, add_user("u"), add_role("r"), grant_role("u", "r"), grant("r", b"k")) == [""] * 4
    assert replica.machine.revision == before + 4
    assert replica.machine.auth.revision == hashed + 4
    assert change(replica, grant_role("u", "r")) == [""], "the user has it already"
    assert (replica.machine.revision, replica.machine.auth.revision) == (before + 4, hashed + 4)
    assert not replica.range().kvs


def test_enabling_needs_the_root_user_with_the_root_role(replica: Replica) -> None:
    assert change(replica, ENABLE) == ["root-user-missing"]
    assert change(replica, add_user("root"), ENABLE) == ["", "root-role-missing"]
    assert change(replica, grant_role("root", "root"), ENABLE, ENABLE) == ["", "", ""]
    state = replica.machine.auth
    assert (state.enabled, state.token_key) == (True, bytes(32))
    assert change(replica, DISABLE, DISABLE) == ["", ""]
    assert (replica.machine.auth.enabled, replica.machine.auth.token_key) == (False, b"")
    assert replica.machine.auth.revision == state.revision + 1


def test_root_cannot_be_taken_away_while_auth_is_on(replica: Replica) -> None:
    assert change(replica, add_role("root")) == [""]
    enabled(replica)
    attempts = (
        AuthChange(user_delete=rpc.AuthUserDeleteRequest(name="root")),
        AuthChange(user_revoke_role=rpc.AuthUserRevokeRoleRequest(name="root", role="root")),
        AuthChange(role_delete=rpc.AuthRoleDeleteRequest(role="root")),
    )
    assert change(replica, *attempts) == ["invalid-auth-management"] * 3
    assert change(replica, DISABLE, *reversed(attempts)) == ["", "", "role-not-granted", ""]


def test_a_role_that_is_deleted_is_taken_from_every_user(replica: Replica) -> None:
    change(replica, add_role("a"), add_role("b"), add_user("u"), add_user("v"))
    change(replica, grant_role("u", "b"), grant_role("u", "a"), grant_role("v", "a"))
    assert change(replica, AuthChange(role_delete=rpc.AuthRoleDeleteRequest(role="a"))) == [""]
    users = [replica.machine.read_auth(lambda records, name=name: records.user(name)) for name in ("u", "v")]
    assert [list(user.roles) for user in users if user is not None] == [["b"], []]


def test_a_password_has_a_revision_of_its_own(replica: Replica) -> None:
    def user() -> Any:
        return replica.machine.read_auth(lambda records: records.user("u"))

    change(replica, add_user("u"))
    first = user()
    change(replica, add_user("v"), add_role("r"), grant_role("u", "r"))
    assert user().password_revision == first.password_revision
    request = rpc.AuthUserChangePasswordRequest(name="u", hashedPassword=OTHER_HASH)
    assert change(replica, AuthChange(user_change_password=request)) == [""]
    assert user().password_revision > first.password_revision
    assert user().password_hash != first.password_hash
    assert list(user().roles) == ["r"]


@pytest.mark.parametrize("given", ["", "plain", base64.b64encode(b"plain").decode(), "!", HASH[:-8]])
def test_only_a_hash_becomes_a_password(replica: Replica, given: str) -> None:
    assert change(replica, add_user("u", password_hash=given)) == ["invalid-request"]
    costly = base64.b64encode(b"$2b$31$" + b"a" * 53).decode()
    assert change(replica, add_user("u", password_hash=costly)) == ["invalid-request"]


def test_users_roles_and_what_they_have_are_bounded(replica: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MAX_USERS", "MAX_ROLES", "MAX_ROLES_OF_USER", "MAX_PERMISSIONS_OF_ROLE"):
        monkeypatch.setattr(auth, name, 2)
    assert change(replica, *map(add_user, "abc")) == ["", "", "too-many-requests"]
    assert change(replica, *map(add_role, "abc")) == ["", "", "too-many-requests"]
    assert change(replica, *(grant_role("a", role) for role in ("a", "b", "root"))) == ["", "", "too-many-requests"]
    assert change(replica, *(grant("a", key) for key in (b"a", b"b", b"b", b"c"))) == ["", "", "", "too-many-requests"]
    long = "n" * (limits.MAX_AUTH_NAME_BYTES + 1)
    assert change(replica, add_user(long), add_role(long)) == ["invalid-request"] * 2


def test_what_adds_data_is_refused_without_space_and_the_rest_is_not(replica: Replica) -> None:
    enabled(replica)
    full = WriteLimits(max_txn_ops=128, no_space=True)
    assert change(replica, add_user("u"), DISABLE, limits=full) == [NoSpace.code, ""]


def test_other_entries_hold_no_changes_of_users(replica: Replica) -> None:
    batch = WriteBatch(epoch=replica.machine.state.epoch, requests=[WriteRequest(auth=add_user("u"))])
    for field in ("write", "lease_write"):
        [answer] = replica.apply(**{field: batch})
        assert isinstance(answer, StoreError)
    assert replica.machine.read_auth(lambda records: records.users()) == []


def test_the_state_is_the_same_object_until_something_changes_and_there_again_after_a_restart(
    replica: Replica,
) -> None:
    enabled(replica)
    state = replica.machine.auth
    replica.put(b"k", b"v")
    assert replica.machine.auth is state
    replica.reopen()
    assert replica.machine.auth == state
