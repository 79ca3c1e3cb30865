"""Leases: the same requests to a real etcd and to a store, the same answers: fields, codes, texts, events.

A store counts the grant of a lease as a revision, as its row goes to the other regions in the order of revisions; etcd
does not. So revisions are left out of what is compared, and that the events of one revision stay together is checked.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import grpc
import pytest
from etcd.servers import Answer, Server
from etcd.watch_session import WatchSession
from rstore_api import methods
from rstore_api.proto import rpc_pb2 as rpc

ETCDCTL = Path(sys.executable).parent / "etcdctl"
Case = Callable[[Server, bytes, int], Any]
_CASES: dict[str, Case] = {}


def case(function: Case) -> Case:
    """Adds a case; it is given a server, a prefix for its keys, and an id for its leases, which may count up to 99."""
    _CASES[function.__name__] = function
    return function


def grant(server: Server, lease: int, ttl: int = 100) -> Answer:
    return server.call(methods.LEASE_GRANT, rpc.LeaseGrantRequest(ID=lease, TTL=ttl))


def revoke(server: Server, lease: int) -> Answer:
    return server.call(methods.LEASE_REVOKE, rpc.LeaseRevokeRequest(ID=lease))


def put(server: Server, key: bytes, **options: Any) -> Answer:
    return server.call(methods.PUT, rpc.PutRequest(key=key, **options))


def get(server: Server, key: bytes, **options: Any) -> Answer:
    return server.call(methods.RANGE, rpc.RangeRequest(key=key, **options))


def time_to_live(server: Server, lease: int, *, keys: bool = True) -> Answer:
    answer = server.call(methods.LEASE_TIME_TO_LIVE, rpc.LeaseTimeToLiveRequest(ID=lease, keys=keys))
    if answer.message is not None:
        kept = sorted(answer.message.keys)
        del answer.message.keys[:]
        answer.message.keys.extend(kept)  # etcd has them in no order
        if answer.message.TTL > 0:
            # Whole seconds, which may have just passed.
            assert answer.message.grantedTTL - 3 <= answer.message.TTL <= answer.message.grantedTTL
            answer.message.TTL = 0
    return answer


def keep_alive(server: Server, leases: Iterable[int]) -> list[Any]:
    """Returns the answers of one stream to renewals of these leases, or how it ended."""
    invoke = server.channel.stream_stream(
        methods.LEASE_KEEP_ALIVE.path,
        request_serializer=rpc.LeaseKeepAliveRequest.SerializeToString,
        response_deserializer=rpc.LeaseKeepAliveResponse.FromString,
    )
    requests = iter([rpc.LeaseKeepAliveRequest(ID=lease) for lease in leases])
    try:
        return [without_header(answer) for answer in invoke(requests, timeout=10)]
    except grpc.RpcError as error:
        return [error.code().name, error.details()]


def without_header(message: Any) -> Any:
    """Clears the header, and revisions: every server counts its own."""
    message.ClearField("header")
    for field, value in message.ListFields():
        if field.name in ("create_revision", "mod_revision"):
            message.ClearField(field.name)
        elif field.message_type is not None:
            for each in value if isinstance(value, Iterable) else (value,):
                without_header(each)
    return message


def strip(value: Any) -> Any:
    """Clears headers and revisions in everything that a case returns."""
    if isinstance(value, Answer):
        return Answer(None if value.message is None else strip(value.message), value.code, value.text)
    if isinstance(value, list | tuple):
        return [strip(each) for each in value]
    if hasattr(value, "ListFields"):
        for name in ("header", "create_revision", "mod_revision"):
            if name in value.DESCRIPTOR.fields_by_name:
                value.ClearField(name)
        for field, inner in value.ListFields():
            if field.message_type is not None:
                for each in inner if field.is_repeated else (inner,):
                    strip(each)
    return value


@case
def granting(server: Server, key: bytes, lease: int) -> Any:
    return [
        grant(server, lease),
        grant(server, lease),
        grant(server, lease + 1, ttl=0),
        grant(server, lease + 2, ttl=-5),
        grant(server, lease + 3, ttl=1),
        grant(server, lease + 4, ttl=9_000_000_000),
        grant(server, lease + 5, ttl=9_000_000_001),
        grant(server, -lease, ttl=60),
        time_to_live(server, -lease),
    ]


@case
def an_id_that_the_server_chooses(server: Server, key: bytes, lease: int) -> Any:
    first, second = grant(server, 0), grant(server, 0)
    chosen = {first.message.ID, second.message.ID}
    assert len(chosen) == 2
    assert all(each > 0 for each in chosen)
    for answer in (first, second):
        answer.message.ID = 0
    return first, second


@case
def revoking(server: Server, key: bytes, lease: int) -> Any:
    return [
        revoke(server, lease),
        revoke(server, 0),
        grant(server, lease),
        revoke(server, lease),
        revoke(server, lease),
        grant(server, lease),
    ]


@case
def keys_of_a_lease(server: Server, key: bytes, lease: int) -> Any:
    done = [grant(server, lease), grant(server, lease + 1)]
    done += [put(server, key + name, value=b"v", lease=lease) for name in (b"b", b"a", b"c", b"d")]
    done += [put(server, key + b"other", lease=lease + 1), time_to_live(server, lease)]
    done += [put(server, key + b"a"), put(server, key + b"b", lease=lease + 1)]
    server.delete(key + b"c")
    done += [time_to_live(server, lease), time_to_live(server, lease + 1), time_to_live(server, lease, keys=False)]
    done += [get(server, key, range_end=key + b"\xff"), revoke(server, lease), revoke(server, lease + 1)]
    done += [get(server, key, range_end=key + b"\xff"), time_to_live(server, lease)]
    return done


@case
def puts_that_are_refused(server: Server, key: bytes, lease: int) -> Any:
    return [
        put(server, key, lease=lease),
        put(server, key, lease=lease, ignore_lease=True),
        put(server, key, ignore_lease=True),
        grant(server, lease),
        put(server, key, lease=lease, ignore_lease=True),
        put(server, key, lease=lease, ignore_value=True),
        get(server, key),
    ]


@case
def options_of_puts(server: Server, key: bytes, lease: int) -> Any:
    return [
        grant(server, lease),
        put(server, key, value=b"1", lease=lease),
        put(server, key, value=b"2", ignore_lease=True, prev_kv=True),
        get(server, key),
        put(server, key, lease=0, ignore_value=True),
        get(server, key),
        time_to_live(server, lease),
        put(server, key, lease=lease, ignore_value=True),
        put(server, key, ignore_lease=True, ignore_value=True),
        time_to_live(server, lease),
        revoke(server, lease),
        get(server, key),
    ]


@case
def transactions(server: Server, key: bytes, lease: int) -> Any:
    def attach(name: bytes, to: int) -> rpc.RequestOp:
        return rpc.RequestOp(request_put=rpc.PutRequest(key=key + name, value=b"v", lease=to))

    def txn(**parts: Any) -> Answer:
        return server.call(methods.TXN, rpc.TxnRequest(**parts))

    held = rpc.Compare(target=rpc.Compare.LEASE, key=key + b"a", lease=lease)
    not_held = rpc.Compare(target=rpc.Compare.LEASE, result=rpc.Compare.GREATER, key=key + b"a", lease=lease)
    deletion = rpc.RequestOp(request_delete_range=rpc.DeleteRangeRequest(key=key + b"b"))
    inner = rpc.RequestOp(request_txn=rpc.TxnRequest(success=[attach(b"c", lease)]))
    return [
        txn(success=[attach(b"a", lease)]),
        grant(server, lease),
        txn(success=[attach(b"a", lease), attach(b"b", lease)]),
        txn(success=[attach(b"x", lease), attach(b"y", lease + 1)]),
        txn(compare=[held], success=[deletion, inner]),
        txn(compare=[not_held], success=[deletion], failure=[attach(b"a", 0)]),
        txn(compare=[held], success=[deletion]),
        time_to_live(server, lease),
        get(server, key, range_end=key + b"\xff"),
    ]


@case
def renewing(server: Server, key: bytes, lease: int) -> Any:
    return [
        grant(server, lease, ttl=30),
        grant(server, lease + 1, ttl=1),
        keep_alive(server, [lease, lease + 1, lease, lease + 2, 0]),
        revoke(server, lease),
        keep_alive(server, [lease]),
        keep_alive(server, []),
    ]


@case
def the_end_of_a_lease_is_one_revision(server: Server, key: bytes, lease: int) -> Any:
    session = WatchSession(server)
    session.created(key=key, range_end=key + b"\xff", prev_kv=True)
    grant(server, lease)
    for name in (b"c", b"a", b"b"):
        put(server, key + name, value=b"v", lease=lease)
    revoke(server, lease)
    events = session.events(6)
    session.close()
    found = [event for each in events.values() for event in each] if isinstance(events, dict) else list(events)
    assert len({event.kv.mod_revision for event in found[3:]}) == 1
    return found


@case
def the_time_of_a_lease_is_over(server: Server, key: bytes, lease: int) -> Any:
    began = time.monotonic()
    done = [grant(server, lease, ttl=2), put(server, key, value=b"v", lease=lease)]
    deadline = began + 20
    while get(server, key).message.count and time.monotonic() < deadline:
        time.sleep(0.05)
    assert 2 <= time.monotonic() - began < 20
    return [*done, get(server, key), time_to_live(server, lease), keep_alive(server, [lease]), revoke(server, lease)]


@case
def a_lease_that_is_renewed_lives(server: Server, key: bytes, lease: int) -> Any:
    done = [grant(server, lease, ttl=2), put(server, key, value=b"v", lease=lease)]
    until = time.monotonic() + 4
    while time.monotonic() < until:
        assert keep_alive(server, [lease])[0].TTL == 2
        time.sleep(0.4)
    return [*done, get(server, key)]


@pytest.mark.parametrize("name", _CASES)
def test_a_store_answers_as_etcd_does(servers: tuple[Server, Server], name: str) -> None:
    lease = 100 * (1 + list(_CASES).index(name))
    theirs, ours = (strip(_CASES[name](server, name.encode(), lease)) for server in servers)
    assert ours == theirs


def test_all_leases_are_listed(servers: tuple[Server, Server]) -> None:
    listed = []
    for server in servers:
        for lease, ttl in ((90_001, 500), (90_002, 400), (90_003, 600)):
            grant(server, lease, ttl)
        answer = server.call(methods.LEASE_LEASES, rpc.LeaseLeasesRequest())
        listed.append([each.ID for each in answer.message.leases if 90_000 < each.ID < 91_000])
    assert listed[0] == listed[1] == [90_002, 90_001, 90_003]


def test_etcdctl_works_with_leases_of_a_store(servers: tuple[Server, Server]) -> None:
    ours = servers[1]
    assert ours.files is not None

    def etcdctl(*arguments: str) -> str:
        tls = [f"--cacert={ours.files.ca}", f"--cert={ours.files.cert}", f"--key={ours.files.key}"]
        command = [str(ETCDCTL), f"--endpoints={ours.address}", "--insecure-skip-tls-verify", *tls, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout

    granted = etcdctl("lease", "grant", "60")
    lease = granted.split()[1]
    assert granted.strip() == f"lease {lease} granted with TTL(60s)"
    assert etcdctl("put", "ctl/a", "1", f"--lease={lease}").strip() == "OK"
    assert lease in etcdctl("lease", "list").split()
    shown = etcdctl("lease", "timetolive", lease, "--keys")
    assert shown.startswith(f"lease {lease} granted with TTL(60s), remaining(")
    assert shown.strip().endswith("attached keys([ctl/a])")
    assert f"lease {lease} keepalived with TTL(60)" in etcdctl("lease", "keep-alive", "--once", lease)
    assert etcdctl("lease", "revoke", lease).strip() == f"lease {lease} revoked"
    assert etcdctl("get", "ctl/a") == ""
    assert etcdctl("lease", "timetolive", lease).strip() == f"lease {lease} already expired"
