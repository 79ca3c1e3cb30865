"""Deletions of ranges: the same requests to a real etcd and to a store, the same answers, of few keys and many."""

from __future__ import annotations

from typing import Any

import pytest
from etcd.servers import Server
from etcd.watch_session import WatchSession
from rstore_api import methods
from rstore_api.proto import rpc_pb2 as rpc

KEYS = 12_000
"""More than a write that is applied at once may change."""


def _fill(server: Server, prefix: bytes) -> None:
    for first in range(0, KEYS, 120):
        server.put_all(*(prefix + b"%05d" % number for number in range(first, first + 120)))


def _delete(server: Server, **fields: Any) -> Any:
    return server.call(methods.DELETE_RANGE, rpc.DeleteRangeRequest(**fields))


def _range(server: Server, **fields: Any) -> Any:
    return server.call(methods.RANGE, rpc.RangeRequest(**fields))


def _large(server: Server) -> list[Any]:
    """A prefix of many keys goes in one revision, which a watch gets whole and a read before it does not see."""
    _fill(server, b"large/")
    before = server.put(b"larger", b"stays")
    session = WatchSession(server)
    found: list[Any] = [session.created(key=b"large/", range_end=b"large0", prev_kv=True)]
    found.append(_delete(server, key=b"large/", range_end=b"large0"))
    events = session.events(KEYS)
    session.close()
    assert {event.kv.mod_revision for event in events} == {before + 1}
    return [
        *found,
        events,
        _range(server, key=b"large/", range_end=b"large0"),
        _range(server, key=b"large/", range_end=b"large0", count_only=True, revision=before),
        _range(server, key=b"large", range_end=b"largeS"),
        _delete(server, key=b"large/", range_end=b"large0"),
    ]


def _small(server: Server) -> list[Any]:
    """Every form of a range, on few keys."""
    answers = []
    forms = [
        {"key": b"s/b", "range_end": b"s/d"},
        {"key": b"s/b", "range_end": b"s/b"},
        {"key": b"s/d", "range_end": b"s/b"},
        {"key": b"s/c", "range_end": b"\0"},
        {"key": b"s/x", "range_end": b"s/z"},
        {"key": b"\0", "range_end": b"\0"},
        {"key": b"s/b", "range_end": b"s/d", "prev_kv": True},
        {"key": b"s/b"},
        {"key": b"", "range_end": b"s/d"},
        {"key": b"s/" + b"a" * 600, "range_end": b"s/b" + b"a" * 600},
    ]
    for form in forms:
        server.put_all(b"s/a", b"s/b", b"s/c", b"s/d")
        answers += [_delete(server, **form), _range(server, key=b"s/", range_end=b"t", keys_only=True)]
    return answers


@pytest.mark.parametrize("case", [_large, _small], ids=["large", "small"])
def test_a_deletion_is_etcds(servers: tuple[Server, Server], case: Any) -> None:
    etcd, ours = servers
    assert case(ours) == case(etcd)
