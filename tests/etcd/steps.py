"""Random steps: requests of KV and about leases, and watches that come and go.

A seed determines them, whatever is answered. Leases are granted before the first step, since a grant is a revision in a
store and none in etcd.
"""

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
    LeaseLeasesRequest,
    LeaseRevokeRequest,
    LeaseTimeToLiveRequest,
    PutRequest,
    RangeRequest,
    RequestOp,
    TxnRequest,
    WatchCreateRequest,
)

# Six keys: of more, etcd's sort puts equal ones in an order that nothing specifies.
KEYS = (b"a", b"b", b"\0", b"k" * 511, b"k" * 512, b"\xff" * 1000)
POINTS = (*KEYS, b"b\0", b"bb", b"z", b"\xff\xff", b"k" * 513, b"k" * 470 + b"l", b"k" * 2000)
VALUES = (b"", b"1", b"2", b"three")
_TARGETS = ("version", "create_revision", "mod_revision", "value", "lease")
_BOUNDS = ("min_mod_revision", "max_mod_revision", "min_create_revision", "max_create_revision")
_DEEPEST = 3
LEASES = range(1, 401)
"""Ids of the leases that there are at the beginning; steps are about few of them at a time, and move on."""
_WINDOW = 4


@dataclass(frozen=True)
class Ask:
    """A request of KV or about a lease. Its revisions count back from the newest."""

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


class _Chance(random.Random):
    """Random numbers, and the leases that the steps are about by now."""

    first_lease = LEASES[0]

    def lease(self) -> int:
        return self.first_lease + self.randrange(_WINDOW)


def random_steps(seed: int, count: int) -> Iterator[Step]:
    """Yields so many steps."""
    chance = _Chance(seed)
    for number in range(count):
        chance.first_lease = LEASES[number * (len(LEASES) - _WINDOW) // count]
        yield _step(chance)


def _step(chance: _Chance) -> Step:
    kind = chance.random()
    if kind < 0.30:
        return Ask(_put(chance))
    if kind < 0.35:
        return Ask(_about_a_lease(chance))
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


def _some(chance: _Chance, probability: float) -> bool:
    return chance.random() < probability


def _span(chance: _Chance) -> dict[str, bytes]:
    if _some(chance, 0.3):
        return {"key": b"\0", "range_end": b"\0"}
    end = chance.choice((b"", b"", b"\0", *POINTS))
    return {"key": chance.choice(POINTS), "range_end": end}


def _put(chance: _Chance) -> PutRequest:
    odd = chance.randrange(40)
    return PutRequest(
        key=b"" if odd == 1 else chance.choice(KEYS),
        value=b"" if odd in (2, 3, 4) else chance.choice(VALUES),
        prev_kv=_some(chance, 0.3),
        ignore_value=odd in (2, 3, 5),
        ignore_lease=odd in (3, 6, 7),
        lease=_lease_of_a_put(chance, odd),
    )


def _lease_of_a_put(chance: _Chance, odd: int) -> int:
    if odd in (7, 8):
        return LEASES[-1] + 1  # is none; with `ignore_lease`, and without
    return chance.lease() if odd not in (3, 6) and _some(chance, 0.3) else 0


def _about_a_lease(chance: _Chance) -> Message:
    kind = chance.randrange(10)
    if kind < 2:
        return LeaseRevokeRequest(ID=chance.lease())
    if kind < 8:
        return LeaseTimeToLiveRequest(ID=chance.lease(), keys=_some(chance, 0.8))
    return LeaseLeasesRequest()


def _delete(chance: _Chance) -> DeleteRangeRequest:
    return DeleteRangeRequest(**_span(chance), prev_kv=_some(chance, 0.3))


def _range(chance: _Chance) -> RangeRequest:
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


def _compare(chance: _Chance) -> Compare:
    target = chance.randrange(len(_TARGETS))
    compare = Compare(**_span(chance), target=target, result=chance.randrange(4))  # type: ignore[arg-type]
    name = _TARGETS[target]
    if name == "value":
        compare.value = chance.choice(VALUES)
    else:
        setattr(compare, name, chance.lease() if name == "lease" and _some(chance, 0.5) else chance.randrange(6))
    return compare


def _txn(chance: _Chance, depth: int) -> TxnRequest:
    def operations() -> list[RequestOp]:
        return [_operation(chance, depth) for _ in range(chance.randrange(4))]

    compares = [_compare(chance) for _ in range(chance.choice((0, 0, 1, 1, 2)))]
    return TxnRequest(compare=compares, success=operations(), failure=operations())


def _operation(chance: _Chance, depth: int) -> RequestOp:
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


def _watch(chance: _Chance) -> WatchCreateRequest:
    return WatchCreateRequest(
        **_span(chance),
        start_revision=chance.randint(1, AHEAD) if _some(chance, 0.6) else 0,
        prev_kv=_some(chance, 0.3),
        filters=chance.sample((0, 1), chance.choice((0, 0, 0, 1, 2))),
        fragment=_some(chance, 0.2),
    )
