"""rstore watch: what it asks for and what it prints."""

from __future__ import annotations

import json

from rstore_api.proto import kv_pb2, rpc_pb2
from unit.cli.conftest import Run
from unit.cli.fakes import FakeReplica

Replicas = dict[str, FakeReplica]

PUT = kv_pb2.Event(
    kv=kv_pb2.KeyValue(key=b"a", value=b"x\x1b[2J", mod_revision=5, create_revision=4, version=2),
    prev_kv=kv_pb2.KeyValue(key=b"a", value=b"\xff", mod_revision=4),
)
DELETE = kv_pb2.Event(type=kv_pb2.Event.DELETE, kv=kv_pb2.KeyValue(key=b"a", mod_revision=6))


def test_changes_are_printed_as_they_come(run: Run, replicas: Replicas) -> None:
    primary = replicas["orders-us-east-0"]
    primary.shown = [rpc_pb2.WatchResponse(events=[PUT, DELETE])]
    ran = run("watch", "orders", "a", "--prefix", "--from-revision", "5", "--prev-kv", "--limit", "2")
    assert ran.code == 0, ran.err
    assert ran.out == "5\tPUT\ta\tx\\x1b[2J\t(was \\xff)\n6\tDELETE\ta\n"
    (request,) = primary.watched
    assert (request.key, request.range_end, request.start_revision, request.prev_kv) == (b"a", b"b", 5, True)


def test_with_json_each_change_is_a_line(run: Run, replicas: Replicas) -> None:
    replicas["orders-us-east-0"].shown = [rpc_pb2.WatchResponse(events=[PUT, DELETE])]
    ran = run("watch", "orders", "a", "--limit", "2", "-o", "json")
    assert [json.loads(line) for line in ran.out.splitlines()] == [
        {
            "type": "PUT",
            "key": "a",
            "modRevision": 5,
            "value": "x\x1b[2J",
            "createRevision": 4,
            "version": 2,
            "previous": {"valueBase64": "/w==", "modRevision": 4},
        },
        {"type": "DELETE", "key": "a", "modRevision": 6},
    ]


def test_compacted_changes_are_an_error_that_says_from_where_they_are_kept(run: Run, replicas: Replicas) -> None:
    replicas["orders-us-east-0"].shown = [rpc_pb2.WatchResponse(canceled=True, compact_revision=40)]
    ran = run("watch", "orders", "a", "--from-revision", "3")
    assert ran.code == 1
    assert "compacted" in ran.err
    assert "--from-revision 40" in ran.err


def test_a_key_is_required(run: Run, replicas: Replicas) -> None:
    assert run("watch", "orders", "").code == 2
