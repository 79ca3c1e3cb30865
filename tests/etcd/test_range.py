"""Range: every row is asked of a real etcd and of a store: linearizably, serializably, and within a transaction."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
from etcd.kv_history import History, write_history
from etcd.range_rows import ROWS
from etcd.servers import Answer, Server
from rstore_api.proto.rpc_pb2 import RangeRequest, RequestOp, TxnRequest


def linearizable(server: Server, request: RangeRequest) -> Answer:
    return server.ask(request)


def serializable(server: Server, request: RangeRequest) -> Answer:
    request = copy.deepcopy(request)
    request.serializable = True
    return server.ask(request)


def within_a_transaction(server: Server, request: RangeRequest) -> Answer:
    return server.ask(TxnRequest(success=[RequestOp(request_range=request)]))


@pytest.fixture(scope="module")
def history(servers: tuple[Server, Server]) -> History:
    """Writes the history to both."""
    etcd, ours = map(write_history, servers)
    assert ours == etcd
    return etcd


@pytest.mark.parametrize("way", [linearizable, serializable, within_a_transaction])
@pytest.mark.parametrize("name", ROWS)
def test_range_is_etcds(
    servers: tuple[Server, Server], history: History, name: str, way: Callable[[Server, RangeRequest], Answer]
) -> None:
    etcd, ours = servers
    request = ROWS[name](history)
    if request.revision < 0 and way is within_a_transaction:
        pytest.skip("etcd answers that it is compacted; see docs/etcd-compatibility.md")
    assert way(ours, request) == way(etcd, request)


@pytest.mark.parametrize("way", [linearizable, serializable, within_a_transaction])
@pytest.mark.parametrize(("order", "target"), [(3, 0), (-1, 0), (0, 5), (1, 5), (0, -1), (2, 77)])
def test_an_unknown_order_or_target_is_refused_as_by_etcd_3_6(
    servers: tuple[Server, Server], order: int, target: int, way: Callable[[Server, RangeRequest], Answer]
) -> None:
    request = RangeRequest(key=b"t/", range_end=b"t0", sort_order=order, sort_target=target)  # type: ignore[arg-type]
    answer = way(servers[1], request)
    assert (answer.code, answer.text) == ("INVALID_ARGUMENT", "etcdserver: invalid sort option")


def test_a_negative_revision_within_a_transaction_is_the_newest(
    servers: tuple[Server, Server], history: History
) -> None:
    etcd, ours = servers
    request = RangeRequest(key=b"t/a", revision=-1)
    assert within_a_transaction(ours, request) == within_a_transaction(etcd, RangeRequest(key=b"t/a"))
