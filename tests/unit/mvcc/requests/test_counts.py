"""Counts that are remembered are what counting would give, and save it."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from rstore_api.proto.rpc_pb2 import DeleteRangeRequest, PutRequest, RangeRequest, RangeResponse, ResponseHeader
from rstore_replica.mvcc.data.reader import Reader
from rstore_replica.mvcc.requests import counts
from unit.mvcc.replicas import Replica
from unit.mvcc.tails.regions import follow, leave, promote

ALL = {"key": b"\0", "range_end": b"\0"}


@pytest.fixture(autouse=True)
def small_ranges_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counts, "LEAST_KEYS", 0)
    monkeypatch.setattr(counts, "KEYS_PER_ROW", 0.01)


@pytest.fixture
def us(tmp_path: Path) -> Replica:
    return Replica(tmp_path / "us")


def read(replica: Replica, pace: Callable[[], None] = lambda: None, **fields: object) -> RangeResponse:
    """What a client gets of a long range."""
    request = RangeRequest(**fields)  # type: ignore[arg-type]
    return RangeResponse.FromString(replica.machine.encoded_range(request, ResponseHeader(), pace))


def keys(replica: Replica, **fields: object) -> int:
    """The number of keys, by reading them all and without anything that is remembered."""
    fields = {name: value for name, value in fields.items() if name not in ("limit", "count_only")}
    return len(replica.machine.range(RangeRequest(**fields)).kvs)  # type: ignore[arg-type]


def fill(replica: Replica, number: int) -> None:
    replica.write(*(PutRequest(key=b"%04d" % key, value=b"v") for key in range(number)))


@pytest.fixture
def no_counting(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Once it is called, keys cannot be counted any more."""

    def refuse(*_arguments: object) -> int:
        raise AssertionError("the keys are counted")

    return lambda: monkeypatch.setattr(Reader, "count", refuse)


@pytest.mark.parametrize("seed", range(20))
def test_every_count_at_every_revision_is_the_number_of_keys(us: Replica, seed: int) -> None:
    rng = random.Random(seed)
    names = [b"%02d" % number for number in range(30)]
    for _ in range(150):
        match rng.randrange(8):
            case 0 | 1:
                us.write(*(PutRequest(key=rng.choice(names), value=b"v") for _ in range(rng.randrange(1, 6))))
            case 2:
                us.delete(rng.choice(names))
            case 3:
                start = rng.choice(names)
                us.txn(
                    then=[DeleteRangeRequest(key=start, range_end=start[:1] + b"5"), PutRequest(key=b"x", value=b"")]
                )
            case 4 if rng.random() < 0.3:
                us.compact(rng.randrange(us.machine.compact_revision, us.machine.revision + 1))
            case _:
                start, end = rng.choice([b"\0", *names]), rng.choice([b"\0", *names])
                lowest = max(us.machine.compact_revision, 1)
                fields: dict[str, object] = {"key": start, "range_end": end}
                fields["revision"] = rng.choice([0, rng.randint(lowest, us.machine.revision)])
                fields |= rng.choice([{"count_only": True}, {"limit": rng.randrange(1, 9)}, {}])
                assert read(us, **fields).count == keys(us, **fields), fields


def test_pages_and_what_changes_between_them_need_no_counting_again(
    us: Replica, no_counting: Callable[[], None]
) -> None:
    fill(us, 1000)
    filled = us.machine.revision
    assert read(us, **ALL, limit=10).count == 1000
    no_counting()
    us.put(b"0500", b"again")
    us.put(b"0500x", b"new")
    us.delete(b"0990", b"0995")
    assert read(us, **ALL, limit=10).count == 996
    page = read(us, **ALL, limit=100)
    seen = [kv.key for kv in page.kvs]
    while page.more:
        page = read(us, key=seen[-1] + b"\0", range_end=b"\0", limit=100)
        assert page.count == 996 - len(seen)
        seen += [kv.key for kv in page.kvs]
        us.put(seen[-1], b"changed")
    assert len(set(seen)) == 996
    assert read(us, **ALL, count_only=True).count == 996
    assert read(us, **ALL, count_only=True, revision=filled).count == 1000


def test_where_more_has_changed_than_there_is_to_count_it_is_counted(
    us: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counts, "KEYS_PER_ROW", 8)
    fill(us, 1000)
    assert read(us, **ALL, count_only=True).count == 1000
    for value in range(1000 // 8):
        us.put(b"k", b"%d" % value)
    counted = []
    monkeypatch.setattr(Reader, "count", lambda *_arguments: counted.append(None) or 1001)
    assert read(us, **ALL, count_only=True).count == 1001
    assert len(counted) == 1
    us.put(b"k", bytes((1000 // 8) * counts.LARGE_ROW_BYTES))
    read(us, **ALL, count_only=True)
    assert len(counted) == 2, "a large row counts as many"


def test_following_what_has_changed_gives_way_at_every_step(us: Replica) -> None:
    fill(us, 1000)
    assert read(us, **ALL, count_only=True).count == 1000
    for _ in range(2):
        fill(us, 1000)
    steps: list[None] = []
    assert read(us, lambda: steps.append(None), **ALL, count_only=True).count == 1000
    assert len(steps) >= 2000 // counts.STEP_ROWS


def test_no_more_is_remembered_than_may_be(us: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(us, 3)
    for number in range(2 * counts.MAX_RANGES):
        read(us, key=b"0", range_end=b"9%d" % number, count_only=True)
    read(us, key=b"0" * 5000, range_end=b"9", count_only=True)
    read(us, key=b"0", range_end=b"9" * 5000, count_only=True)
    assert len(us.machine._counts._counts) == counts.MAX_RANGES
    us.machine._counts.clear()
    monkeypatch.setattr(counts, "LEAST_KEYS", 4)
    read(us, **ALL, count_only=True)
    assert not us.machine._counts._counts, "few keys are counted faster than they are remembered"


def test_what_is_undone_does_not_count(us: Replica) -> None:
    fill(us, 10)
    fork = us.machine.revision
    fill(us, 20)
    assert read(us, **ALL, count_only=True).count == 20
    us.machine.rewind(fork)
    us.put(b"other")
    assert read(us, **ALL, count_only=True).count == 11


@pytest.mark.parametrize("max_rows", [0, 1])
def test_counts_of_a_tail_that_went_to_quarantine_are_of_no_use(us: Replica, tmp_path: Path, max_rows: int) -> None:
    eu = Replica(tmp_path / "eu", "eu")
    fill(us, 5)
    follow(us, eu)
    fork = us.machine.revision
    us.put(b"lost", b"1")
    us.put(b"lost too", b"2")
    assert read(us, **ALL, count_only=True).count == 7
    promote(eu, 2)
    eu.put(b"kept", b"3")
    leave(eu, us, max_rows=max_rows, between=lambda _leaving: None)
    assert us.machine.revision == fork
    us.machine._counts.remember(  # a read of the state before, which ends only now
        counts.View(None, None, fork + 2, 0, us.machine._position.generation),
        b"\0",
        None,
        7,  # type: ignore[arg-type]
    )
    assert read(us, **ALL, count_only=True).count == 5
    follow(eu, us)
    us.machine._counts.remember(
        counts.View(None, None, fork + 2, 0, us.machine._position.generation),
        b"\0",
        None,
        7,  # type: ignore[arg-type]
    )
    assert read(us, **ALL, count_only=True).count == read(eu, **ALL, count_only=True).count == 6


@pytest.mark.parametrize("length", [511, 512, 513])
def test_a_start_that_is_longer_than_any_key_counts_what_is_above_it(us: Replica, length: int) -> None:
    for key in (b"a" * 510, b"a" * 511, b"a" * 510 + b"b", b"b"):
        us.put(key)
    start = b"a" * length
    assert read(us, key=start, range_end=b"\0", count_only=True).count == keys(us, key=start, range_end=b"\0")
