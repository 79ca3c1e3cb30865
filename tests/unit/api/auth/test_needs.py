"""What each method needs: none is left open by being forgotten."""

from __future__ import annotations

from typing import Any

import pytest
from rstore_api import methods
from rstore_api.methods import Method
from rstore_api.proto import rpc_pb2 as rpc
from rstore_api.proto.auth_pb2 import Permission
from rstore_api.proto.rstore_pb2 import AuthRole
from rstore_replica.api.auth.needs import CHECKS, OPEN, is_routed, permits
from rstore_replica.api.auth.rights import Rights, rights_of

LEASES = {1: [b"a"], 2: [b"a", b"x"]}
METHODS = [each for each in vars(methods).values() if isinstance(each, Method)]


def user(kind: Permission.Type = Permission.READWRITE, *, roles: tuple[str, ...] = ("r",)) -> Rights:
    permission = Permission(permType=kind, key=b"a", range_end=b"m")
    return rights_of("u", roles, [AuthRole(name="r", permissions=[permission])])


def allowed(rights: Rights, method: Method[Any, Any], request: Any) -> bool:
    return permits(rights, method.path, request, lambda lease: LEASES.get(lease, []))


def test_every_method_that_is_not_named_is_for_root() -> None:
    for method in METHODS:
        if method.path not in CHECKS and method.path not in OPEN:
            assert not allowed(user(), method, method.request()), method.path
        assert allowed(user(roles=("root",)), method, method.request())
    assert {methods.AUTHENTICATE.path} == OPEN


@pytest.mark.parametrize("lease", [0, 1, 2])
def test_what_is_attached_to_a_lease_shares_the_fate_of_its_other_keys(lease: int) -> None:
    put = rpc.PutRequest(key=b"b", lease=lease)
    inner = rpc.TxnRequest(failure=[rpc.RequestOp(request_put=put)])
    nested = rpc.TxnRequest(success=[rpc.RequestOp(request_txn=inner)])
    expected = lease != 2
    assert allowed(user(), methods.PUT, put) is expected
    assert allowed(user(), methods.TXN, nested) is expected
    if lease:
        assert allowed(user(), methods.LEASE_REVOKE, rpc.LeaseRevokeRequest(ID=lease)) is expected
        for keys in (True, False):
            request = rpc.LeaseTimeToLiveRequest(ID=lease, keys=keys)
            assert allowed(user(), methods.LEASE_TIME_TO_LIVE, request) is (expected or not keys)


def test_what_was_before_is_read() -> None:
    writer = user(Permission.WRITE)
    for previous in (False, True):
        put = rpc.PutRequest(key=b"b", prev_kv=previous)
        deletion = rpc.DeleteRangeRequest(key=b"b", range_end=b"c", prev_kv=previous)
        operations = [rpc.RequestOp(request_put=put), rpc.RequestOp(request_delete_range=deletion)]
        for method, request in (
            (methods.PUT, put),
            (methods.DELETE_RANGE, deletion),
            *((methods.TXN, rpc.TxnRequest(success=[operation])) for operation in operations),
        ):
            assert allowed(writer, method, request) is not previous


def test_a_user_may_see_itself_and_its_roles() -> None:
    assert allowed(user(), methods.USER_GET, rpc.AuthUserGetRequest(name="u"))
    assert not allowed(user(), methods.USER_GET, rpc.AuthUserGetRequest(name="v"))
    assert allowed(user(), methods.ROLE_GET, rpc.AuthRoleGetRequest(role="r"))
    assert not allowed(user(), methods.ROLE_GET, rpc.AuthRoleGetRequest(role="s"))


def test_alarms_are_listed_for_any_user_and_changed_by_root() -> None:
    assert allowed(user(), methods.ALARM, rpc.AlarmRequest())
    assert not allowed(user(), methods.ALARM, rpc.AlarmRequest(action=rpc.AlarmRequest.DEACTIVATE))


def test_a_range_that_is_serializable_is_asked_about_where_it_is_read() -> None:
    assert is_routed(methods.RANGE.path, rpc.RangeRequest())
    assert not is_routed(methods.RANGE.path, rpc.RangeRequest(serializable=True))
    assert is_routed(methods.PUT.path, None)
    assert not is_routed(methods.HASH_KV.path, None)
