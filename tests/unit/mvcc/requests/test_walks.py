"""Ranges that pass over many keys: in slices, which decide nothing."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from rstore_api.proto.rpc_pb2 import (
    Compare,
    DeleteRangeRequest,
    PutRequest,
    RangeRequest,
    ResponseHeader,
    TxnRequest,
)
from rstore_replica.mvcc.data import hashing, walks
from rstore_replica.mvcc.data.reader import Reader
from rstore_replica.mvcc.requests.hash_kv import CHUNK_KEYS
from unit.mvcc.replicas import Replica, operations

SLICE = 10
KEYS = [b"k%03d" % number for number in range(100)]
ALL = {"key": b"k", "range_end": b"l"}
NESTED = TxnRequest(
    compare=[Compare(key=b"k", range_end=b"l", target=Compare.CREATE, result=Compare.GREATER, create_revision=1)],
    success=operations([RangeRequest(**ALL)]),
)
OF_THE_PAST = ("range of the past", "what was created later", "after a put of its own")
"""Requests of a revision that is not to be compacted."""
LEFT = [KEYS[0], KEYS[42], b"k~"]
"""Of the keys, those that still exist in the end."""


def with_deleted_keys(path: Path, slice_keys: int) -> tuple[Replica, int]:
    """Returns a replica, and a revision at which none of its keys had been deleted, but the last one was not there."""
    replica = Replica(path, slice_keys=slice_keys)
    for key in KEYS:
        replica.put(key, b"value of " + key)
    revision = replica.machine.revision
    for start, end in pairwise(LEFT):
        replica.delete(start + b"\0", end)
    replica.put(LEFT[-1], b"the last")
    return replica, revision


def requests(revision: int) -> dict[str, Any]:
    newest, then = RangeRequest(**ALL), RangeRequest(**ALL, revision=revision)
    return {
        "range": TxnRequest(success=operations([newest])),
        "range with a limit": TxnRequest(success=operations([RangeRequest(**ALL, limit=1)])),
        "count": TxnRequest(success=operations([RangeRequest(**ALL, count_only=True)])),
        "range of the past": TxnRequest(success=operations([then])),
        "what was created later": TxnRequest(success=operations([RangeRequest(**ALL, revision=2)])),
        "after a put of its own": TxnRequest(success=operations([PutRequest(key=KEYS[7]), newest, then])),
        "deletion": TxnRequest(success=operations([DeleteRangeRequest(**ALL, prev_kv=True), newest])),
        "comparison and nested": TxnRequest(success=operations([NESTED, NESTED])),
        "deletion alone": DeleteRangeRequest(**ALL, prev_kv=True),
    }


class Passed:
    """Counts what each call of ``apply`` passes over."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.counts = [0]
        count = walks.Passes.__call__

        def counting(passes: walks.Passes, key: bytes) -> None:
            self.counts[-1] += 1
            count(passes, key)

        monkeypatch.setattr(walks.Passes, "__call__", counting)

    def next(self) -> None:
        self.counts.append(0)


@pytest.mark.parametrize("kind", list(requests(2)))
@pytest.mark.parametrize("between", ["nothing", "compaction"])
def test_a_write_with_wide_ranges_is_applied_in_slices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, between: str
) -> None:
    (sliced, revision), (whole, _) = (
        with_deleted_keys(tmp_path / name, keys) for name, keys in (("sliced", SLICE), ("whole", 1_000_000))
    )
    request = requests(revision)[kind]
    ahead = [PutRequest(key=b"ahead", value=b"1"), PutRequest(key=KEYS[3])]
    expected = whole.write(*ahead, request)
    if between == "compaction" and kind not in OF_THE_PAST:
        sliced.compact(sliced.machine.revision)
    before = sliced.machine.revision
    passed = Passed(monkeypatch)

    def look() -> None:
        assert sliced.machine.revision == before
        assert sliced.get(b"ahead") is None
        if between == "compaction":
            sliced.machine.compact_step(3)  # removes deleted keys while they are walked through
        passed.next()

    answers = sliced.write(*ahead, request, between=look)
    assert answers == expected
    assert max(passed.counts) <= SLICE
    if between == "nothing" and kind != "range of the past":
        assert len(passed.counts) > (len(KEYS) - len(LEFT)) // SLICE
    assert sliced.hash().hash == whole.hash().hash


def test_a_replica_that_is_opened_anew_begins_anew(tmp_path: Path) -> None:
    replica, revision = with_deleted_keys(tmp_path / "one", SLICE)
    other, _ = with_deleted_keys(tmp_path / "other", SLICE)
    request = requests(revision)["deletion"]
    expected = other.write(request)
    opened = 0

    def reopen() -> None:
        nonlocal opened
        opened += 1
        if opened == 3:
            replica.reopen()

    assert replica.write(request, between=reopen) == expected
    assert opened > 6
    assert replica.hash() == other.hash()


def test_a_range_outside_of_a_write_lets_others_go_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replica, _ = with_deleted_keys(tmp_path, SLICE)
    request = RangeRequest(key=KEYS[43], range_end=KEYS[-1])
    turns = []
    replica.machine.encoded_range(request, ResponseHeader(), lambda: turns.append(1))
    monkeypatch.setattr("rstore_replica.mvcc.requests.range.pacing", lambda pace: walks.pacing(pace, SLICE))
    sliced: list[int] = []
    replica.machine.encoded_range(request, ResponseHeader(), lambda: sliced.append(1))
    assert len(sliced) - len(turns) == 56 // SLICE


async def test_a_hash_pauses_amid_deleted_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replica, _ = with_deleted_keys(tmp_path, SLICE)
    expected = await replica.machine.hash_kv(0)
    longest: list[int] = []
    scan: Callable[..., Any] = Reader.scan

    def counting(reader: Reader, start: bytes, end: bytes | None, revision: int | None, on_pass: Any) -> Any:
        longest.append(0)

        def count(key: bytes) -> None:
            longest[-1] += 1
            on_pass(key)

        return scan(reader, start, end, revision, count)

    monkeypatch.setattr(Reader, "scan", counting)
    monkeypatch.setattr(hashing, "PASSES_PER_KEY", SLICE / CHUNK_KEYS)
    assert await replica.machine.hash_kv(0) == expected
    assert len(longest) > (len(KEYS) - len(LEFT)) // SLICE
    assert max(longest) == SLICE
