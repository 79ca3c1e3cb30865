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
from rstore_replica.mvcc.data.reader import Reader
from rstore_replica.mvcc.requests import ordering
from rstore_replica.mvcc.requests.ordering import SORT_KEYS
from rstore_replica.mvcc.requests.range import ENCODE_KEYS, SCAN_KEYS
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


_FIELDS = {0: "key", 1: "version", 2: "create_revision", 3: "mod_revision", 4: "value"}


@pytest.mark.parametrize("limit", [1, 7, SORT_KEYS, SORT_KEYS + 1, KEYS, (1 << 63) - 1])
@pytest.mark.parametrize(("order", "target"), list(itertools.product((1, 2), _FIELDS)))
def test_a_limit_cuts_what_is_sorted(replica: Replica, limit: int, order: int, target: int) -> None:
    expected = sorted(
        replica.machine.range(_request()).kvs, key=lambda kv: getattr(kv, _FIELDS[target]), reverse=order == 2
    )
    found = replica.machine.range(_request(limit=limit, sort_order=order, sort_target=target))
    assert list(found.kvs) == expected[:limit]
    assert (found.more, found.count) == (limit < KEYS, KEYS)


@pytest.mark.parametrize("target", [0, 1, 2, 3])
@pytest.mark.parametrize("limit", [5, SORT_KEYS + 1])
def test_values_are_read_of_what_is_returned_alone(
    replica: Replica, monkeypatch: pytest.MonkeyPatch, limit: int, target: int
) -> None:
    bodies: list[bytes] = []
    body = Reader.body
    monkeypatch.setattr(Reader, "body", lambda reader, entry: bodies.append(entry) or body(reader, entry))
    replica.machine.range(_request(limit=limit, sort_order=2, sort_target=target))
    assert len(bodies) == limit


def test_what_the_limit_will_not_let_through_does_not_make_an_answer_too_large(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ordering, "MAX_ANSWER_BYTES", 1000)
    for target in _FIELDS:
        found = replica.machine.range(_request(limit=10, sort_order=2, sort_target=target))
        assert (len(found.kvs), found.count) == (10, KEYS)
    with pytest.raises(AnswerTooLarge):
        replica.machine.range(_request(limit=40, sort_order=2, sort_target=RangeRequest.VALUE))
    with pytest.raises(AnswerTooLarge):
        replica.machine.range(_request(limit=KEYS - 1))


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
    monkeypatch.setattr(ordering, "MAX_ANSWER_BYTES", len(whole) // 4)
    with pytest.raises(AnswerTooLarge, match="in parts"):
        replica.machine.encoded_range(_request(sort_order=order, sort_target=RangeRequest.VALUE), HEADER)
    for small in (_request(count_only=True), _request(limit=10)):
        replica.machine.encoded_range(small, HEADER)


def test_a_long_range_may_wait_at_every_step(replica: Replica) -> None:
    for request in (_request(), _request(count_only=True), _request(limit=1)):
        steps: list[None] = []
        replica.machine._counts.clear()
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
