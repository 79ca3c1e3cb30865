"""What each kind of request needs, for each kind of grant."""

from __future__ import annotations

from typing import Any

import pytest
from rstore_api import methods
from rstore_api.proto import rpc_pb2, rpc_pb2_grpc, rstore_pb2
from rstore_api.proto import v3election_pb2 as election
from rstore_api.proto.rpc_pb2 import Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest
from rstore_api.proto.v3lock_pb2 import LockRequest, UnlockRequest
from rstore_replica.api import encoding
from rstore_replica.api.access.callers import Caller
from rstore_replica.api.access.grants import FULL, Grant
from rstore_replica.api.access.requirements import CHECKS, allows, may_call, may_watch

READER = Grant.of([], writes=False)
SHOP = Grant.of(["shop/"], writes=True)
SHOP_READER = Grant.of(["shop/"], writes=False)
NOBODY: frozenset[str] = frozenset()
GRANTS = {"full": FULL, "reader": READER, "shop": SHOP, "shop reader": SHOP_READER}
READS_SHOP = frozenset(GRANTS)
WRITES_SHOP = frozenset({"full", "shop"})
READS_ALL = frozenset({"full", "reader"})
ONLY_FULL = frozenset({"full"})
SHOP_LEADER = election.LeaderKey(key=b"shop/e/5")


def _range(key: bytes, end: bytes = b"") -> RangeRequest:
    return RangeRequest(key=key, range_end=end)


def _get(key: bytes) -> RequestOp:
    return RequestOp(request_range=_range(key))


def _set(key: bytes) -> RequestOp:
    return RequestOp(request_put=PutRequest(key=key))


def _nested(request: TxnRequest) -> TxnRequest:
    return TxnRequest(failure=[RequestOp(request_txn=TxnRequest(success=[RequestOp(request_txn=request)]))])


def _compare(key: bytes, end: bytes = b"") -> TxnRequest:
    return TxnRequest(compare=[Compare(key=key, range_end=end)], success=[_get(b"shop/1")])


CASES: list[tuple[str, Any, frozenset[str]]] = [
    ("RANGE", _range(b"shop/1"), READS_SHOP),
    ("RANGE", _range(b"cart/1"), READS_ALL),
    ("RANGE", _range(b"shop/", b"shop0"), READS_SHOP),
    ("RANGE", _range(b"\0", b"\0"), READS_ALL),
    ("PUT", PutRequest(key=b"shop/1", prev_kv=True), WRITES_SHOP),
    ("PUT", PutRequest(key=b"cart/1"), ONLY_FULL),
    ("DELETE_RANGE", DeleteRangeRequest(key=b"shop/1"), WRITES_SHOP),
    ("DELETE_RANGE", DeleteRangeRequest(key=b"shop/", range_end=b"\0"), ONLY_FULL),
    ("TXN", TxnRequest(success=[_get(b"shop/1")], failure=[_get(b"shop/2")]), READS_SHOP),
    ("TXN", TxnRequest(success=[_set(b"shop/1")]), WRITES_SHOP),
    ("TXN", TxnRequest(success=[_get(b"shop/1")], failure=[_set(b"cart/1")]), ONLY_FULL),
    ("TXN", TxnRequest(success=[RequestOp(request_delete_range=DeleteRangeRequest(key=b"cart/1"))]), ONLY_FULL),
    ("TXN", _compare(b"shop/9"), READS_SHOP),
    ("TXN", _compare(b"cart/9"), READS_ALL),
    ("TXN", _compare(b"shop/", b"\0"), READS_ALL),
    ("TXN", _nested(TxnRequest(success=[_set(b"shop/1")])), WRITES_SHOP),
    ("TXN", _nested(TxnRequest(failure=[_set(b"cart/1")])), ONLY_FULL),
    ("TXN", _nested(_compare(b"cart/9")), READS_ALL),
    ("TXN", TxnRequest(), READS_SHOP),
    ("TXN", TxnRequest(success=[RequestOp()]), ONLY_FULL),
    ("COMPACT", rpc_pb2.CompactionRequest(revision=2), ONLY_FULL),
    ("LEASE_GRANT", rpc_pb2.LeaseGrantRequest(TTL=5), WRITES_SHOP),
    ("LEASE_REVOKE", rpc_pb2.LeaseRevokeRequest(ID=5), WRITES_SHOP),
    ("LEASE_KEEP_ALIVE", rpc_pb2.LeaseKeepAliveRequest(ID=5), WRITES_SHOP),
    ("LEASE_TIME_TO_LIVE", rpc_pb2.LeaseTimeToLiveRequest(ID=5), READS_SHOP),
    ("LEASE_LEASES", rpc_pb2.LeaseLeasesRequest(), READS_SHOP),
    ("LOCK", LockRequest(name=b"shop/l"), WRITES_SHOP),
    ("LOCK", LockRequest(name=b"shop"), WRITES_SHOP),
    ("LOCK", LockRequest(name=b"sho"), ONLY_FULL),
    ("UNLOCK", UnlockRequest(key=b"shop/l/5"), WRITES_SHOP),
    ("UNLOCK", UnlockRequest(key=b"bank/l/5"), ONLY_FULL),
    ("CAMPAIGN", election.CampaignRequest(name=b"shop/e"), WRITES_SHOP),
    ("CAMPAIGN", election.CampaignRequest(name=b"bank/e"), ONLY_FULL),
    ("PROCLAIM", election.ProclaimRequest(leader=SHOP_LEADER), WRITES_SHOP),
    ("PROCLAIM", election.ProclaimRequest(), ONLY_FULL),
    ("RESIGN", election.ResignRequest(leader=SHOP_LEADER), WRITES_SHOP),
    ("LEADER", election.LeaderRequest(name=b"shop/e"), READS_SHOP),
    ("LEADER", election.LeaderRequest(name=b"bank"), READS_ALL),
    ("OBSERVE", election.LeaderRequest(name=b"shop/e"), READS_SHOP),
    ("OBSERVE", election.LeaderRequest(name=b""), READS_ALL),
    ("RENEW_LEASES", rstore_pb2.RenewLeasesRequest(ids=[5]), ONLY_FULL),
    ("HASH_KV", rpc_pb2.HashKVRequest(), READS_ALL),
    ("STATUS", rpc_pb2.StatusRequest(), READS_SHOP),
    ("ALARM", rpc_pb2.AlarmRequest(), READS_SHOP),
    ("ALARM", rpc_pb2.AlarmRequest(action=rpc_pb2.AlarmRequest.DEACTIVATE), ONLY_FULL),
    ("HASH", rpc_pb2.HashRequest(), READS_ALL),
    ("MOVE_LEADER", rpc_pb2.MoveLeaderRequest(), ONLY_FULL),
    ("DEFRAGMENT", rpc_pb2.DefragmentRequest(), ONLY_FULL),
    ("MEMBER_REMOVE", rpc_pb2.MemberRemoveRequest(), ONLY_FULL),
    ("MEMBER_LIST", rpc_pb2.MemberListRequest(), READS_SHOP),
]
KINDS = {"PUT": encoding.PUT, "DELETE_RANGE": encoding.DELETE_RANGE, "TXN": encoding.TXN}


@pytest.mark.parametrize("grant", GRANTS)
@pytest.mark.parametrize(("name", "request_", "allowed"), CASES)
def test_who_may_send_a_request(name: str, request_: Any, allowed: frozenset[str], grant: str) -> None:
    taken = encoding.decoder(KINDS[name])(request_.SerializeToString()) if name in KINDS else request_
    assert allows(GRANTS[grant], getattr(methods, name).path, taken) is (grant in allowed)


def test_a_method_without_a_rule_is_for_those_who_may_do_everything() -> None:
    path = "/etcdserverpb.KV/Unheard"
    assert not may_call(READER, path)
    assert not allows(READER, path, object())
    assert may_call(FULL, path)
    assert may_call(SHOP, "/grpc.health.v1.Health/Check")


def test_each_watch_is_asked_about() -> None:
    assert may_call(SHOP, methods.WATCH.path)
    shop = Caller(frozenset({"client"}), "shop", SHOP)
    assert may_watch(shop, b"shop/", b"shop0")
    assert not may_watch(shop, b"", b"\0")
    assert not may_watch(shop, b"cart/1", b"")
    assert not may_watch(Caller(frozenset({"client"}), grant=None), b"shop/1", b"")


class _Methods:
    """Collects the paths of a service's methods."""

    def __init__(self) -> None:
        self.paths: set[str] = set()

    def add_registered_method_handlers(self, service: str, handlers: dict[str, Any]) -> None:
        self.paths |= {f"/{service}/{name}" for name in handlers}

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """The same once more."""


def test_users_and_roles_are_for_clients_with_every_key_and_a_token_is_for_everybody() -> None:
    served = _Methods()
    rpc_pb2_grpc.add_AuthServicer_to_server(rpc_pb2_grpc.AuthServicer(), served)
    assert len(served.paths) == 17
    assert served.paths & set(CHECKS) == {methods.AUTHENTICATE.path}


def test_every_method_of_the_client_port_has_a_rule_or_is_known_to_need_everything() -> None:
    served = _Methods()
    rpc_pb2_grpc.add_KVServicer_to_server(rpc_pb2_grpc.KVServicer(), served)
    rpc_pb2_grpc.add_MaintenanceServicer_to_server(rpc_pb2_grpc.MaintenanceServicer(), served)
    rpc_pb2_grpc.add_WatchServicer_to_server(rpc_pb2_grpc.WatchServicer(), served)
    rpc_pb2_grpc.add_ClusterServicer_to_server(rpc_pb2_grpc.ClusterServicer(), served)
    assert served.paths - set(CHECKS) == {
        method.path
        for method in (
            methods.COMPACT,
            methods.DEFRAGMENT,
            methods.MOVE_LEADER,
            methods.SNAPSHOT,
            methods.DOWNGRADE,
            methods.MEMBER_ADD,
            methods.MEMBER_REMOVE,
            methods.MEMBER_UPDATE,
            methods.MEMBER_PROMOTE,
        )
    }
