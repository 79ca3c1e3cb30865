"""Cluster and Maintenance: the same requests to a real etcd and to a store.

Members of a store are changed through its Kubernetes object, so a change that etcd would carry out is refused here;
what etcd refuses is refused with the same code and text.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from etcd.servers import Answer, Server
from rstore_api import methods
from rstore_api.methods import Method
from rstore_api.proto import rpc_pb2 as rpc

NOBODY = 1
"""The id of no member."""
URL = "http://localhost:12380"


def _member(server: Server) -> rpc.Member:
    answer = server.call(methods.MEMBER_LIST, rpc.MemberListRequest(linearizable=True))
    assert answer.code == "OK", answer
    [member] = answer.message.members
    return member


def _downgrade(action: rpc.DowngradeRequest.DowngradeAction, version: str = "") -> rpc.DowngradeRequest:
    return rpc.DowngradeRequest(action=action, version=version)


VALIDATE, ENABLE, CANCEL = rpc.DowngradeRequest.VALIDATE, rpc.DowngradeRequest.ENABLE, rpc.DowngradeRequest.CANCEL
SAME: list[tuple[str, Method[Any, Any], Any]] = [
    ("removes nobody", methods.MEMBER_REMOVE, rpc.MemberRemoveRequest(ID=NOBODY)),
    ("updates nobody", methods.MEMBER_UPDATE, rpc.MemberUpdateRequest(ID=NOBODY, peerURLs=[URL])),
    ("updates to no URL", methods.MEMBER_UPDATE, rpc.MemberUpdateRequest(ID=NOBODY)),
    ("promotes nobody", methods.MEMBER_PROMOTE, rpc.MemberPromoteRequest(ID=NOBODY)),
    ("adds without a URL", methods.MEMBER_ADD, rpc.MemberAddRequest()),
    ("adds without a scheme", methods.MEMBER_ADD, rpc.MemberAddRequest(peerURLs=["localhost:12380"])),
    ("adds with another scheme", methods.MEMBER_ADD, rpc.MemberAddRequest(peerURLs=["ftp://localhost:12380"])),
    ("adds without a port", methods.MEMBER_ADD, rpc.MemberAddRequest(peerURLs=["http://localhost"])),
    ("adds with a path", methods.MEMBER_ADD, rpc.MemberAddRequest(peerURLs=["http://localhost:12380/path"])),
    ("moves to nobody", methods.MOVE_LEADER, rpc.MoveLeaderRequest(targetID=NOBODY)),
    ("downgrade to no version", methods.DOWNGRADE, _downgrade(VALIDATE, "new")),
    ("downgrade to nothing", methods.DOWNGRADE, _downgrade(VALIDATE)),
    ("downgrade to a later version", methods.DOWNGRADE, _downgrade(VALIDATE, "3.6.0")),
    ("downgrade too far", methods.DOWNGRADE, _downgrade(VALIDATE, "3.2.0")),
    ("begins one to a later version", methods.DOWNGRADE, _downgrade(ENABLE, "3.6.0")),
    ("calls off none", methods.DOWNGRADE, _downgrade(CANCEL)),
    ("alarms", methods.ALARM, rpc.AlarmRequest()),
    ("alarms of a kind", methods.ALARM, rpc.AlarmRequest(alarm=rpc.AlarmType.NOSPACE)),
    ("ends no alarm", methods.ALARM, rpc.AlarmRequest(action=rpc.AlarmRequest.DEACTIVATE, memberID=NOBODY)),
    ("defragments", methods.DEFRAGMENT, rpc.DefragmentRequest()),
]


@pytest.mark.parametrize(("method", "request_"), [case[1:] for case in SAME], ids=[case[0] for case in SAME])
def test_the_answer_is_etcds(servers: tuple[Server, Server], method: Method[Any, Any], request_: Any) -> None:
    expected, answer = (server.call(method, request_) for server in servers)
    assert answer == expected


def _with_its_own_url(server: Server) -> Answer:
    return server.call(methods.MEMBER_ADD, rpc.MemberAddRequest(peerURLs=_member(server).peerURLs))


def _promote_a_voter(server: Server) -> Answer:
    return server.call(methods.MEMBER_PROMOTE, rpc.MemberPromoteRequest(ID=_member(server).ID))


def _move_to_the_leader(server: Server) -> Answer:
    return server.call(methods.MOVE_LEADER, rpc.MoveLeaderRequest(targetID=_member(server).ID))


@pytest.mark.parametrize("ask", [_with_its_own_url, _promote_a_voter, _move_to_the_leader])
def test_the_answer_about_the_member_itself_is_etcds(
    servers: tuple[Server, Server], ask: Callable[[Server], Answer]
) -> None:
    expected, answer = map(ask, servers)
    assert answer == expected


@pytest.mark.parametrize(
    ("method", "request_of"),
    [
        (methods.MEMBER_ADD, lambda _id: rpc.MemberAddRequest(peerURLs=[URL])),
        (methods.MEMBER_REMOVE, lambda member: rpc.MemberRemoveRequest(ID=member)),
        (methods.MEMBER_UPDATE, lambda member: rpc.MemberUpdateRequest(ID=member, peerURLs=[URL])),
    ],
)
def test_a_change_of_members_is_refused_with_where_to_make_it(
    servers: tuple[Server, Server], method: Method[Any, Any], request_of: Callable[[int], Any]
) -> None:
    _, ours = servers
    answer = ours.call(method, request_of(_member(ours).ID))
    assert answer.code == "FAILED_PRECONDITION"
    assert answer.text.startswith("rstore: members are changed through the ReplicatedStore object: ")


def test_status_has_what_etcds_has(servers: tuple[Server, Server]) -> None:
    for server in servers:
        server.put(b"key")
    etcd, ours = (server.call(methods.STATUS, rpc.StatusRequest()).message for server in servers)
    fields = {field.name for field, _ in ours.ListFields()}
    assert fields >= {field.name for field, _ in etcd.ListFields()}
    assert fields - {field.name for field, _ in etcd.ListFields()} == {"storageVersion", "dbSizeQuota", "downgradeInfo"}
    assert ours.leader == _member(servers[1]).ID
    assert ours.version.rpartition(".")[0] == etcd.version.rpartition(".")[0]


def test_hash_kv_says_up_to_where_the_history_is_compacted(servers: tuple[Server, Server]) -> None:
    """-1 before the first compaction."""
    for server in servers:
        server.put(b"key")
    for compact in (False, True):
        reported = []
        for server in servers:
            if compact:
                server.compact(server.revision)
            answer = server.call(methods.HASH_KV, rpc.HashKVRequest()).message
            reported.append(answer.header.revision - answer.compact_revision)
        assert reported[0] == reported[1]
