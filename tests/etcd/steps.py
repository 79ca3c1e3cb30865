"""Random steps: requests of KV, and watches that come and go. A seed determines them, whatever is answered."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from etcd.relative_revisions import AHEAD
from google.protobuf.message import Message
from rstore_api.proto.rpc_pb2 import (
    CompactionRequest,
    Compare,
    DeleteRangeRequest,
    PutRequest,
    RangeRequest,
    RequestOp,
    TxnRequest,
    WatchCreateRequest,
)

# Six keys: of more, etcd's sort puts equal ones in an order that nothing specifies.
KEYS = (b"a", b"b", b"ba", b"\xff\xff", b"\0", b"k" * 511)
POINTS = (*KEYS, b"b\0", b"bb", b"z", b"k" * 512)
VALUES = (b"", b"1", b"2", b"three")
_TARGETS = ("version", "create_revision", "mod_revision", "value", "lease")
_BOUNDS = ("min_mod_revision", "max_mod_revision", "min_create_revision", "max_create_revision")
_DEEPEST = 3


@dataclass(frozen=True)
class Ask:
    """A request of KV. Its revisions count back from the newest."""

    request: Message


@dataclass(frozen=True)
class BeginWatch:
    """One more watch; its revision counts back from the newest."""

    request: WatchCreateRequest


@dataclass(frozen=True)
class EndWatch:
    """Cancels the oldest watch but ``place``, modulo how many there are."""

    place: int


@dataclass(frozen=True)
class NewStream:
    """Ends the stream of watches and begins another."""


Step = Ask | BeginWatch | EndWatch | NewStream


def random_steps(seed: int, count: int) -> Iterator[Step]:
    """Yields so many steps."""
    chance = random.Random(seed)
    for _ in range(count):
        yield _step(chance)


def _step(chance: random.Random) -> Step:
    kind = chance.random()
    if kind < 0.35:
        return Ask(_put(chance))
    if kind < 0.45:
        return Ask(_delete(chance))
    if kind < 0.65:
        return Ask(_range(chance))
    if kind < 0.88:
        return Ask(_txn(chance, 1))
    if kind < 0.92:
        return Ask(CompactionRequest(revision=chance.randint(1, AHEAD), physical=chance.random() < 0.3))
    if kind < 0.97:
        return BeginWatch(_watch(chance))
    if kind < 0.995:
        return EndWatch(chance.randrange(100))
    return NewStream()


def _some(chance: random.Random, probability: float) -> bool:
    return chance.random() < probability


def _span(chance: random.Random) -> dict[str, bytes]:
    if _some(chance, 0.3):
        return {"key": b"\0", "range_end": b"\0"}
    end = chance.choice((b"", b"", b"\0", *POINTS))
    return {"key": chance.choice(POINTS), "range_end": end}


def _put(chance: random.Random) -> PutRequest:
    odd = chance.randrange(40)
    return PutRequest(
        key=b"" if odd == 1 else chance.choice(KEYS),
        value=b"" if odd in (2, 3, 4) else chance.choice(VALUES),
        prev_kv=_some(chance, 0.3),
        ignore_value=odd in (2, 3, 5),
        ignore_lease=odd in (3, 6, 7),
        lease=99 if odd in (7, 8) else 0,
    )


def _delete(chance: random.Random) -> DeleteRangeRequest:
    return DeleteRangeRequest(**_span(chance), prev_kv=_some(chance, 0.3))


def _range(chance: random.Random) -> RangeRequest:
    request = RangeRequest(
        **_span(chance),
        limit=chance.randrange(5) if _some(chance, 0.4) else 0,
        revision=chance.randint(1, AHEAD) if _some(chance, 0.5) else 0,
        sort_order=chance.randrange(3) if _some(chance, 0.5) else 0,  # type: ignore[arg-type]
        sort_target=chance.randrange(5) if _some(chance, 0.5) else 0,  # type: ignore[arg-type]
        keys_only=_some(chance, 0.2),
        count_only=_some(chance, 0.1),
        serializable=_some(chance, 0.3),
    )
    if _some(chance, 0.3):
        setattr(request, chance.choice(_BOUNDS), chance.randint(1, AHEAD - 1))
    return request


def _compare(chance: random.Random) -> Compare:
    target = chance.randrange(len(_TARGETS))
    compare = Compare(**_span(chance), target=target, result=chance.randrange(4))  # type: ignore[arg-type]
    name = _TARGETS[target]
    if name == "value":
        compare.value = chance.choice(VALUES)
    else:
        setattr(compare, name, chance.randrange(6))
    return compare


def _txn(chance: random.Random, depth: int) -> TxnRequest:
    def operations() -> list[RequestOp]:
        return [_operation(chance, depth) for _ in range(chance.randrange(4))]

    compares = [_compare(chance) for _ in range(chance.choice((0, 0, 1, 1, 2)))]
    return TxnRequest(compare=compares, success=operations(), failure=operations())


def _operation(chance: random.Random, depth: int) -> RequestOp:
    kind = chance.randrange(10)
    if kind < 4:
        return RequestOp(request_put=_put(chance))
    if kind < 6:
        delete = _delete(chance)
        if delete.range_end == b"\0":
            # etcd lets a put of such a key pass, and ends where that put then finds no value to keep.
            delete.range_end = b""
        return RequestOp(request_delete_range=delete)
    if kind < 9 or depth == _DEEPEST:
        return RequestOp(request_range=_range(chance))
    return RequestOp(request_txn=_txn(chance, depth + 1))


def _watch(chance: random.Random) -> WatchCreateRequest:
    return WatchCreateRequest(
        **_span(chance),
        start_revision=chance.randint(1, AHEAD) if _some(chance, 0.6) else 0,
        prev_kv=_some(chance, 0.3),
        filters=chance.sample((0, 1), chance.choice((0, 0, 0, 1, 2))),
        fragment=_some(chance, 0.2),
    )
