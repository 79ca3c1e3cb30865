"""Ranges of many keys, made in small steps, are what they would be in one."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from rstore_api.errors import AnswerTooLarge
from rstore_api.proto.rpc_pb2 import PutRequest, RangeRequest, RangeResponse, ResponseHeader
from rstore_replica.mvcc.data.gate import ReadInterruptedError
from rstore_replica.mvcc.requests import range as range_module
from rstore_replica.mvcc.requests.range import ENCODE_KEYS, SCAN_KEYS, SORT_KEYS
from unit.mvcc.replicas import Replica

KEYS = 2 * SORT_KEYS + 7
HEADER = ResponseHeader(cluster_id=1, member_id=2, revision=3, raft_term=4)


@pytest.fixture(scope="module")
def replica(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replica]:
    replica = Replica(tmp_path_factory.mktemp("us"))
    for start in range(0, KEYS, 100):
        replica.write(
            *(PutRequest(key=b"%04d" % key, value=b"%d" % (key % 10)) for key in range(start, min(start + 100, KEYS)))
        )
    yield replica
    replica.machine.close()


def _request(**fields: object) -> RangeRequest:
    return RangeRequest(**{"key": b"\0", "range_end": b"\0"} | fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("limit", [0, ENCODE_KEYS + 1, SORT_KEYS + 1])
@pytest.mark.parametrize(("order", "target"), list(itertools.product((0, 1, 2), (0, 3))))
def test_an_encoded_range_is_the_same_range(replica: Replica, limit: int, order: int, target: int) -> None:
    for keys_only in (False, True):
        request = _request(limit=limit, sort_order=order, sort_target=target, keys_only=keys_only)
        plain = replica.machine.range(request)
        plain.header.CopyFrom(HEADER)
        assert RangeResponse.FromString(replica.machine.encoded_range(request, HEADER)) == plain


@pytest.mark.parametrize("order", [RangeRequest.ASCEND, RangeRequest.DESCEND])
def test_sorting_in_runs_sorts_and_keeps_what_is_equal_in_its_order(replica: Replica, order: int) -> None:
    found = replica.machine.range(_request(sort_order=order, sort_target=RangeRequest.VALUE)).kvs
    expected = sorted(
        replica.machine.range(_request()).kvs, key=lambda kv: kv.value, reverse=order == RangeRequest.DESCEND
    )
    assert [kv.key for kv in found] == [kv.key for kv in expected]


def test_counts_empty_ranges_and_single_keys_are_encoded_too(replica: Replica) -> None:
    for request in (_request(count_only=True), _request(key=b"x"), RangeRequest(key=b"0001"), RangeRequest(key=b"x")):
        plain = replica.machine.range(request)
        plain.header.CopyFrom(HEADER)
        assert RangeResponse.FromString(replica.machine.encoded_range(request, HEADER)) == plain


@pytest.mark.parametrize("order", [RangeRequest.NONE, RangeRequest.DESCEND])
def test_a_range_beyond_the_largest_answer_is_refused(
    replica: Replica, monkeypatch: pytest.MonkeyPatch, order: int
) -> None:
    whole = replica.machine.encoded_range(_request(sort_order=order, sort_target=RangeRequest.VALUE), HEADER)
    monkeypatch.setattr(range_module, "MAX_ANSWER_BYTES", len(whole) // 4)
    with pytest.raises(AnswerTooLarge, match="in parts"):
        replica.machine.encoded_range(_request(sort_order=order, sort_target=RangeRequest.VALUE), HEADER)
    for small in (_request(count_only=True), _request(limit=10)):
        replica.machine.encoded_range(small, HEADER)


def test_a_long_range_may_wait_at_every_step(replica: Replica) -> None:
    for request in (_request(), _request(count_only=True), _request(limit=1)):
        steps: list[None] = []
        replica.machine.encoded_range(request, HEADER, lambda: steps.append(None))  # noqa: B023
        assert len(steps) > KEYS / SCAN_KEYS


def test_a_long_range_gives_way_to_one_that_needs_the_map_alone(replica: Replica) -> None:
    began, go_on, alone = threading.Event(), threading.Event(), threading.Event()

    def pace() -> None:
        began.set()
        go_on.wait()

    def change_the_map() -> None:
        with replica.machine._gate.exclusive():
            alone.set()

    with ThreadPoolExecutor(2) as threads:
        reading = threads.submit(replica.machine.encoded_range, _request(), HEADER, pace)
        began.wait()
        changing = threads.submit(change_the_map)
        while not replica.machine._gate._exclusive:
            alone.wait(0.001)
        assert not alone.is_set()
        go_on.set()
        with pytest.raises(ReadInterruptedError):
            reading.result(timeout=5)
        changing.result(timeout=5)
    assert alone.is_set()
    assert replica.machine.encoded_range(_request(), HEADER)
