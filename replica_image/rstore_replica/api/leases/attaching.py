"""To which leases a request attaches keys."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rstore_api.proto.rpc_pb2 import PutRequest, RequestOp, TxnRequest


def leases_in(request: PutRequest | TxnRequest) -> Iterator[int]:
    """Returns the leases to which the request may attach keys, on any path, nested ones included."""
    if isinstance(request, PutRequest):
        if request.lease:
            yield request.lease
    else:
        yield from _leases_of((*request.success, *request.failure))


def _leases_of(operations: Iterable[RequestOp]) -> Iterator[int]:
    for operation in operations:
        if operation.HasField("request_put"):
            yield from leases_in(operation.request_put)
        elif operation.HasField("request_txn"):
            yield from leases_in(operation.request_txn)
