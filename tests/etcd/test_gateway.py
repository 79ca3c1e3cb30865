"""etcd's JSON gateway: the same requests to an etcd and to a store, as curl would send them."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from etcd.etcd_process import PIP
from etcd.servers import Server
from etcd.test_http import Response, ask, connection_to

ETCD_PROGRAMS = PIP  # Debian builds etcd with another JSON gateway than etcd's own releases of 3.5 have


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


FOO, BAR = b64("foo"), b64("bar")


def post(server: Server, path: str, body: object, **headers: str) -> Response:
    """Posts JSON, or a text as it is."""
    text = body if isinstance(body, str) else json.dumps(body)
    return ask(server, "POST", f"/v3/{path}", text.encode(), **headers)


def plain(response: Response) -> tuple[int, str, Any]:
    """Status, type of content and body, without what two servers cannot have in common."""
    try:
        body = json.loads(response.body)
    except ValueError:
        body = response.body
    else:
        _strip(body)
    return response.status, response.headers["content-type"], body


def _strip(value: Any, *more: str) -> None:
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _strip(item, *more)
    if isinstance(value, dict):
        for name in ("cluster_id", "member_id", "raft_term", *more):
            value.pop(name, None)


PUT_AND_READ = [
    ("kv/put", {"key": FOO, "value": BAR}),
    ("kv/put", {"key": FOO, "value": b64("baz"), "prevKv": True, "lease": "0", "ignore_value": None}),
    ("kv/put", {"key": b64("foo2"), "value": ""}),
    ("kv/range", {"key": FOO}),
    ("kv/range", {"key": FOO, "range_end": b64("fop"), "limit": "1"}),
    ("kv/range", {"key": FOO, "rangeEnd": b64("fop"), "sort_order": "DESCEND", "sort_target": 1}),
    ("kv/range", {"key": FOO, "range_end": b64("fop"), "keys_only": True}),
    ("kv/range", {"key": FOO, "range_end": b64("fop"), "count_only": True}),
    ("kv/range", {"key": FOO, "revision": 2, "serializable": True}),
    ("kv/range", {"key": FOO, "unknown": {"a": [1]}}),
    ("kv/range", f'{{"key":"{FOO}"}} and more'),
    ("kv/range", {"key": b64("nothing")}),
    (
        "kv/txn",
        {
            "compare": [{"key": FOO, "result": "EQUAL", "target": "VALUE", "value": b64("baz")}],
            "success": [{"request_put": {"key": FOO, "value": BAR}}, {"requestRange": {"key": FOO}}],
            "failure": [{"request_delete_range": {"key": FOO}}],
        },
    ),
    ("kv/txn", {"compare": [{"key": FOO, "target": "CREATE", "create_revision": "0"}], "success": []}),
    ("kv/txn", {"success": [{"request_txn": {"success": [{"request_range": {"key": FOO}}]}}]}),
    ("kv/txn", {}),
    ("kv/deleterange", {"key": b64("foo2"), "prev_kv": True}),
    ("kv/deleterange", {"key": b64("nothing")}),
    ("kv/compaction", {"revision": "3"}),
    ("kv/range", {"key": FOO, "revision": "2"}),
    ("maintenance/alarm", {}),
]
REFUSED = [
    ("kv/range", {}),
    ("kv/range", ""),
    ("kv/range", "null"),
    ("kv/range", {"key": FOO, "revision": "100000"}),
    ("kv/range", {"key": "Zm9"}),
    ("kv/range", {"key": "Z-_v"}),
    ("kv/range", {"key": "Zm9v!!"}),
    ("kv/range", {"key": 1}),
    ("kv/range", "[]"),
    ("kv/range", '"text"'),
    ("kv/put", {"value": BAR}),
    ("kv/compaction", {"revision": "100000"}),
    ("kv/put", {"key": FOO, "lease": "77"}),
    ("nothing", {}),
    ("kv/put/", {}),
    ("", {}),
]
UNREADABLE = [
    ("kv/range", '{"key"'),
    ("kv/range", f'{{"key":"{FOO}","limit":"x"}}'),
    ("kv/range", {"key": FOO, "limit": 1.5}),
    ("kv/range", {"key": FOO, "sort_order": "SIDEWAYS"}),
    ("kv/txn", {"compare": [{"key": FOO, "result": "EQAL"}]}),
    ("kv/txn", {"compare": 1}),
    ("kv/range", {"key": FOO, "limit": "99999999999999999999"}),
]


@pytest.mark.parametrize(("path", "body"), [*PUT_AND_READ, *REFUSED])
def test_the_same_answers(servers: tuple[Server, Server], path: str, body: object) -> None:
    etcd, ours = (plain(post(server, path, body)) for server in servers)
    assert ours == etcd


@pytest.mark.parametrize(("path", "body"), UNREADABLE)
def test_what_cannot_be_read_is_refused_in_other_words(servers: tuple[Server, Server], path: str, body: object) -> None:
    etcd, ours = (plain(post(server, path, body)) for server in servers)
    assert ours[:2] == etcd[:2] == (400, "application/json")
    assert set(ours[2]) == set(etcd[2]) == {"error", "code", "message"}
    assert ours[2]["code"] == etcd[2]["code"] == 3


@pytest.mark.parametrize("path", ["cluster/member/list", "maintenance/status"])
def test_the_same_fields(servers: tuple[Server, Server], path: str) -> None:
    etcd, ours = (json.loads(post(server, path, {}).body) for server in servers)
    assert set(ours["header"]) >= {"cluster_id", "member_id", "raft_term"}
    assert set(etcd) <= set(ours) | {"compact_revision", "raftTerm"}


def test_methods_and_deadlines(servers: tuple[Server, Server]) -> None:
    for method in ("GET", "PUT", "DELETE"):
        etcd, ours = (plain(ask(server, method, "/v3/kv/range")) for server in servers)
        assert ours == etcd
    for timeout in ("x", "1n", "10S"):
        etcd, ours = (plain(post(server, "kv/range", {"key": FOO}, **{"Grpc-Timeout": timeout})) for server in servers)
        assert ours == etcd


def test_a_large_value(servers: tuple[Server, Server]) -> None:
    value = base64.b64encode(bytes(1 << 20)).decode()
    for server in servers:
        assert post(server, "kv/put", {"key": b64("large"), "value": value}).status == 200
        (kv,) = json.loads(post(server, "kv/range", {"key": b64("large")}).body)["kvs"]
        assert kv["value"] == value


def test_a_request_that_is_too_large(servers: tuple[Server, Server]) -> None:
    value = base64.b64encode(bytes(1_600_000)).decode()
    etcd, ours = (plain(post(server, "kv/put", {"key": b64("large"), "value": value})) for server in servers)
    assert ours == etcd


def test_an_answer_that_is_too_large_for_json(servers: tuple[Server, Server]) -> None:
    for number in range(9):
        servers[1].put(b"wide%d" % number, bytes(1 << 20))
    refused = post(servers[1], "kv/range", {"key": b64("wide"), "range_end": b64("widf")})
    assert (refused.status, json.loads(refused.body)["code"]) == (429, 8)
    assert "at most" in json.loads(refused.body)["message"]


def lines_of(server: Server, path: str, body: str, count: int) -> list[Any]:
    """Posts, and returns the first lines of the answer; the rest is given up by closing."""
    connection = connection_to(server)
    connection.request("POST", f"/v3/{path}", body.encode())
    response = connection.getresponse()
    assert response.status == 200
    assert response.getheader("content-type") == "application/json"
    lines = [json.loads(response.readline()) for _ in range(count)]
    _strip(lines)
    connection.close()
    return lines


def test_watch(servers: tuple[Server, Server]) -> None:
    seen = []
    for server in servers:
        begin = server.put(b"watched", b"1")
        server.put(b"watched", b"2")
        server.delete(b"watched")
        create = {"create_request": {"key": b64("watched"), "start_revision": str(begin), "prev_kv": True}}
        created, events = lines_of(server, "watch", json.dumps(create), 2)
        assert created["result"]["created"] is True
        seen.append((created["result"].keys(), [_without_revisions(event) for event in events["result"]["events"]]))
    assert seen[0] == seen[1]


def _without_revisions(event: Any) -> Any:
    for row in (event.get("kv", {}), event.get("prev_kv", {})):
        for name in ("create_revision", "mod_revision"):
            row.pop(name, None)
    return event


def test_a_watch_goes_on_and_ends_with_its_connection(servers: tuple[Server, Server]) -> None:
    for server in servers:
        connection = connection_to(server)
        body = json.dumps({"create_request": {"key": b64("live")}})
        connection.request("POST", "/v3/watch", body.encode())
        response = connection.getresponse()
        assert json.loads(response.readline())["result"]["created"] is True
        for number in range(3):
            server.put(b"live", b"%d" % number)
            (event,) = json.loads(response.readline())["result"]["events"]
            assert base64.b64decode(event["kv"]["value"]) == b"%d" % number
        connection.close()


def test_a_snapshot_is_a_stream_of_its_parts(servers: tuple[Server, Server]) -> None:
    for server in servers:
        parts = [json.loads(line)["result"] for line in post(server, "maintenance/snapshot", {}).body.splitlines()]
        sizes = [len(base64.b64decode(part["blob"])) for part in parts]
        assert int(parts[0]["remaining_bytes"]) + sizes[0] == sum(sizes[:-1]) or len(parts) == 1
        assert "remaining_bytes" not in parts[-1]


def test_requests_of_a_stream_come_one_after_the_other(servers: tuple[Server, Server]) -> None:
    creates = [{"create_request": {"key": b64(key), "watch_id": str(number)}} for number, key in ((5, "a"), (6, "b"))]
    body = "\n".join(map(json.dumps, [*creates, {"cancel_request": {"watch_id": "5"}}]))
    etcd, ours = (lines_of(server, "watch", body, 3) for server in servers)
    for lines in (etcd, ours):
        for line in lines:
            line["result"].pop("header")
    assert ours == etcd


@pytest.mark.parametrize("body", ['{"create_request":{"key":"Zm9v"', "nonsense", '{"create_request":{"key":"!"}}'])
def test_a_stream_that_cannot_be_read(servers: tuple[Server, Server], body: str) -> None:
    etcd, ours = (plain(post(server, "watch", body)) for server in servers)
    assert ours[:2] == etcd[:2] == (500, "application/json")
    assert ours[2]["code"] == etcd[2]["code"] == 2


LEASES = [
    ("lease/grant", {"ID": "4711", "TTL": "1000"}),
    ("lease/grant", {"ID": "4711", "TTL": "1000"}),
    ("kv/put", {"key": b64("leased"), "value": BAR, "lease": "4711"}),
    ("kv/range", {"key": b64("leased")}),
    ("lease/leases", {}),
    ("kv/lease/leases", {}),
    ("lease/keepalive", '{"ID":"4711"}'),
    ("lease/keepalive", '{"ID":"4711"} {"ID":"4712"}'),
    ("lease/revoke", {"ID": "4711"}),
    ("kv/range", {"key": b64("leased")}),
    ("kv/lease/revoke", {"ID": "4711"}),
    ("lease/timetolive", {"ID": "4711"}),
]


@pytest.mark.parametrize(("path", "body"), LEASES)
def test_leases(servers: tuple[Server, Server], path: str, body: object) -> None:
    etcd, ours = (_lines(post(server, path, body)) for server in servers)
    assert ours == etcd


def _lines(response: Response) -> tuple[int, list[Any]]:
    """Status and lines, without revisions: a lease takes one of its own in a store."""
    lines = [json.loads(line) for line in response.body.splitlines()]
    _strip(lines, "revision", "create_revision", "mod_revision")
    return response.status, lines
