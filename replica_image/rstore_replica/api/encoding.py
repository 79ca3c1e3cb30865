"""Writes as bytes: what a client has sent goes into the log as it came, neither copied into messages nor encoded anew.

An entry is put together by joining.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from rstore_api.proto.rstore_pb2 import Deletion, LogEntry, RequestId, WriteBatch, WriteLimits, WriteRequest
from rstore_api.protobuf import nested, tag, varint

_ENTRY_DELETION = tag(LogEntry.DELETION_FIELD_NUMBER)
_DELETION_REQUEST = tag(Deletion.REQUEST_FIELD_NUMBER)
_ENTRY_WRITE = tag(LogEntry.WRITE_FIELD_NUMBER)
_ENTRY_LEASE_WRITE = tag(LogEntry.LEASE_WRITE_FIELD_NUMBER)
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


def encode_entry(epoch: int, limits: WriteLimits, requests: Iterable[bytes], *, about_leases: bool = False) -> bytes:
    """Returns the log entry of a WriteBatch of requests that are encoded already; ``about_leases`` says whether some
    are in ``LEASE_KINDS``.
    """
    parts = [WriteBatch(epoch=epoch, limits=limits).SerializeToString()]
    for data in requests:
        parts += (_BATCH_REQUESTS, varint(len(data)), data)
    return nested(_ENTRY_LEASE_WRITE if about_leases else _ENTRY_WRITE, b"".join(parts))


def encode_deletion(epoch: int, request: bytes) -> bytes:
    """Returns the log entry of a Deletion, from the WriteRequest that is encoded already."""
    return nested(_ENTRY_DELETION, Deletion(epoch=epoch).SerializeToString() + nested(_DELETION_REQUEST, request))
