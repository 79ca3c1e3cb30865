"""The calls that are measured, serialised ahead: the same bytes for every server."""

from __future__ import annotations

import random
from collections.abc import Iterator

from rstore_api.proto import rpc_pb2

VALUE_BYTES = 128
KEYS = 8192
TXN_PUTS = 64
PAGE_KEYS = 500
_RANGE_VALUE_BYTES = 16
_RANGE_START, _RANGE_END = b"ranges/", b"ranges0"
_SEED = 7

PUT = "/etcdserverpb.KV/Put"
TXN = "/etcdserverpb.KV/Txn"
RANGE = "/etcdserverpb.KV/Range"
KEEP_ALIVE = "/etcdserverpb.Lease/LeaseKeepAlive"
LEASES = 1024
LEASE_SECONDS = 3600


def key(number: int) -> bytes:
    """One of KEYS keys."""
    return b"bench/%08d" % number


def puts(count: int = 2048) -> list[bytes]:
    """Puts of one key each, in random order."""
    rng = random.Random(_SEED)
    return [_put(rng, rng.randrange(KEYS)).SerializeToString() for _ in range(count)]


def txns(count: int = 128) -> list[bytes]:
    """Transactions of TXN_PUTS puts of different keys; together they put every key."""
    rng = random.Random(_SEED)
    numbers = list(range(KEYS))
    rng.shuffle(numbers)
    made = []
    for start in range(0, count * TXN_PUTS, TXN_PUTS):
        operations = [
            rpc_pb2.RequestOp(request_put=_put(rng, numbers[at % KEYS])) for at in range(start, start + TXN_PUTS)
        ]
        made.append(rpc_pb2.TxnRequest(success=operations).SerializeToString())
    return made


def reads(*, serializable: bool, count: int = 2048) -> list[bytes]:
    """Reads of one key each."""
    rng = random.Random(_SEED)
    requests = (rpc_pb2.RangeRequest(key=key(rng.randrange(KEYS)), serializable=serializable) for _ in range(count))
    return [request.SerializeToString() for request in requests]


def lease_grants() -> list[rpc_pb2.LeaseGrantRequest]:
    """Grants of the leases that are renewed."""
    return [rpc_pb2.LeaseGrantRequest(ID=lease, TTL=LEASE_SECONDS) for lease in range(1, LEASES + 1)]


def keep_alives() -> list[bytes]:
    """Renewals of one lease each; a stream of one renewal is sent like a unary call."""
    return [rpc_pb2.LeaseKeepAliveRequest(ID=lease).SerializeToString() for lease in range(1, LEASES + 1)]


def range_key(number: int) -> bytes:
    """One of the keys that long ranges are of."""
    return b"%b%08d" % (_RANGE_START, number)


def range_txns(keys: int) -> Iterator[rpc_pb2.TxnRequest]:
    """Transactions that put ``keys`` keys for long ranges."""
    value = bytes(_RANGE_VALUE_BYTES)
    for start in range(0, keys, TXN_PUTS):
        puts = (rpc_pb2.PutRequest(key=range_key(at), value=value) for at in range(start, min(start + TXN_PUTS, keys)))
        yield rpc_pb2.TxnRequest(success=[rpc_pb2.RequestOp(request_put=put) for put in puts])


def counts() -> list[bytes]:
    """The number of keys in a long range."""
    return [rpc_pb2.RangeRequest(key=_RANGE_START, range_end=_RANGE_END, count_only=True).SerializeToString()]


def pages(keys: int) -> list[bytes]:
    """The pages of a long range, one after the other, as a client reads them that goes on behind the last key."""
    starts = [_RANGE_START, *(range_key(at - 1) + b"\0" for at in range(PAGE_KEYS, keys, PAGE_KEYS))]
    requests = (rpc_pb2.RangeRequest(key=start, range_end=_RANGE_END, limit=PAGE_KEYS) for start in starts)
    return [request.SerializeToString() for request in requests]


def _put(rng: random.Random, number: int) -> rpc_pb2.PutRequest:
    return rpc_pb2.PutRequest(key=key(number), value=rng.randbytes(VALUE_BYTES))
