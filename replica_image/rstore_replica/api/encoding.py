"""Writes as bytes: what a client has sent goes into the log as it came, neither copied into messages nor encoded anew.

An entry is put together by joining.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from rstore_api.proto.rstore_pb2 import Deletion, LogEntry, RequestId, WriteBatch, WriteLimits, WriteRequest
from rstore_api.protobuf import nested, tag, varint

from rstore_replica.mvcc.requests.validate import AUTH_KINDS, LEASE_KINDS

_ENTRY_WRITE = tag(LogEntry.WRITE_FIELD_NUMBER)
_ENTRIES = {
    **dict.fromkeys(LEASE_KINDS, tag(LogEntry.LEASE_WRITE_FIELD_NUMBER)),
    **dict.fromkeys(AUTH_KINDS, tag(LogEntry.AUTH_WRITE_FIELD_NUMBER)),
}
LONG_KEY_WRITE = tag(LogEntry.LONG_KEY_WRITE_FIELD_NUMBER)
"""Of entries whose requests may put long keys."""
_ENTRY_DELETION = tag(LogEntry.DELETION_FIELD_NUMBER)
_DELETION_REQUEST = tag(Deletion.REQUEST_FIELD_NUMBER)
_BATCH_REQUESTS = tag(WriteBatch.REQUESTS_FIELD_NUMBER)
PUT = tag(WriteRequest.PUT_FIELD_NUMBER)
DELETE_RANGE = tag(WriteRequest.DELETE_RANGE_FIELD_NUMBER)
TXN = tag(WriteRequest.TXN_FIELD_NUMBER)


class EncodedWrite(msgspec.Struct, frozen=True):
    """A client's request, decoded, and the bytes of the WriteRequest that stands for it in the log."""

    message: WriteRequest
    data: bytes

    @property
    def request(self) -> Any:
        """The PutRequest, DeleteRangeRequest or TxnRequest."""
        return getattr(self.message, str(self.message.WhichOneof("request")))

    def identified(self, request_id: RequestId) -> EncodedWrite:
        """Returns the same with an id."""
        more = WriteRequest(request_id=request_id)
        message = WriteRequest()
        message.CopyFrom(self.message)
        message.MergeFrom(more)
        return EncodedWrite(message, self.data + more.SerializeToString())


def decoder(kind: bytes) -> Callable[[bytes], EncodedWrite]:
    """Returns what makes an EncodedWrite of the bytes of a request of this kind (``PUT``, ``DELETE_RANGE``, ``TXN``).

    It raises DecodeError. It decodes the request inside an entry: what is nested too deep there is refused here, and
    not by every replica together with all that shares the entry.
    """

    def decode(raw: bytes) -> EncodedWrite:
        data = nested(kind, raw)
        [message] = LogEntry.FromString(nested(_ENTRY_WRITE, nested(_BATCH_REQUESTS, data))).write.requests
        return EncodedWrite(message, data)

    return decode


def entry_kind(request: WriteRequest) -> bytes:
    """Returns which entries may hold the request, which puts no long key: requests for which this is the same may share
    one.
    """
    return _ENTRIES.get(request.WhichOneof("request") or "", _ENTRY_WRITE)


def encode_entry(epoch: int, limits: WriteLimits, requests: Iterable[bytes], kind: bytes = _ENTRY_WRITE) -> bytes:
    """Returns the log entry of a WriteBatch of requests that are encoded already; ``kind`` is their
    :func:`entry_kind`.
    """
    parts = [WriteBatch(epoch=epoch, limits=limits).SerializeToString()]
    for data in requests:
        parts += (_BATCH_REQUESTS, varint(len(data)), data)
    return nested(kind, b"".join(parts))


def encode_deletion(epoch: int, request: bytes) -> bytes:
    """Returns the log entry of a Deletion, from the WriteRequest that is encoded already."""
    return nested(_ENTRY_DELETION, Deletion(epoch=epoch).SerializeToString() + nested(_DELETION_REQUEST, request))
