"""What is checked before a request is handed to the log or to another replica."""

from __future__ import annotations

from rstore_api.domain.limits import SHORT_KEY_BYTES
from rstore_api.errors import RequestTooLarge
from rstore_api.proto import rpc_pb2, rstore_pb2

from rstore_replica.config import Limits
from rstore_replica.mvcc.requests import validate as mvcc

LONG_KEYS_NOT_ACTIVE = (
    f"the limit is {SHORT_KEY_BYTES} bytes until every replica of every region has reported that it takes longer ones"
)


def check_write(request: rstore_pb2.WriteRequest, limits: Limits, size_bytes: int) -> bool:
    """Returns whether the request does nothing but put short keys.

    Raises RequestTooLarge, or what the state machine would answer whatever it holds (EmptyKey, TooManyOps, …).
    """
    if size_bytes > limits.max_request_bytes:
        raise RequestTooLarge(f"{size_bytes} bytes, the limit is {limits.max_request_bytes}")
    return mvcc.check_write(request, limits.max_txn_ops)


def scans_many(request: rpc_pb2.RangeRequest) -> bool:
    """Returns whether the range may touch so many keys that it belongs in a thread: the count is always of all."""
    return bool(request.range_end)
