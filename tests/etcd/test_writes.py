"""Put, DeleteRange, Txn and Compact: the requests of every row to a real etcd and to a store, the same answers."""

from __future__ import annotations

import itertools

import pytest
from etcd.servers import Answer, Server
from etcd.write_rows import ROWS
from google.protobuf.message import Message
from rstore_api.proto.rpc_pb2 import RangeRequest

EVERYTHING = RangeRequest(key=b"\0", range_end=b"\0", count_only=True)
_NUMBERS = itertools.count(1)


def answers(server: Server, requests: list[Message]) -> list[tuple[str, Answer]]:
    """Returns what became of each request, and of a read of all keys after it."""
    made = []
    for request in requests:
        made.append((str(request)[:300], server.ask(request)))
        made.append(("everything", server.ask(EVERYTHING)))
    return made


@pytest.mark.parametrize("name", ROWS)
def test_writes_are_etcds(servers: tuple[Server, Server], name: str) -> None:
    etcd, ours = servers
    requests = list(ROWS[name](b"%04d/" % next(_NUMBERS), etcd.revision))
    expected = answers(etcd, requests)
    for theirs, mine in zip(expected, answers(ours, requests), strict=True):
        assert mine == theirs
