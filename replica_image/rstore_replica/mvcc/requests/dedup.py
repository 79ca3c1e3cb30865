"""Requests that come again: a write that carries an id is carried out at most once.

A client names a write ``(client, sequence)`` and adds a revision that the store had reached before it first sent it.
What was carried out is remembered, answer included, in the transaction that carried it out; so every replica, every
checkpoint and every later leader of the region has it. It does not stream to other regions.

Memory is bounded in requests per client and in clients; what goes first is decided by the log alone: of a client the
lowest sequence, of the clients the one whose last write lies furthest back in the log. Whenever it cannot be excluded
that an unknown id was carried out and then forgotten, the answer is RequestForgotten and nothing is done:

- the sequence is not above the highest one of its client that was dropped, or
- the revision that came with it is below ``forgotten``, the newest revision of any write that was forgotten with its
  client. A region that becomes primary forgets all: what was written before, it knows nothing about;
- that revision is above what the store has reached: the client saw it in a region that has gone another way.

A write that changed nothing is not remembered: carrying it out again is no second change.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from rstore_api.errors import AlreadyDone, InvalidRequest, RequestForgotten, StoreError
from rstore_api.proto.rpc_pb2 import (
    DeleteRangeResponse,
    LeaseGrantResponse,
    LeaseRevokeResponse,
    PutResponse,
    TxnResponse,
)
from rstore_api.proto.rstore_pb2 import AuthChanged, LeaseCheckpointsResponse, RequestId

from rstore_replica.mvcc.data.store import Store, Transaction

WriteResponse = (
    PutResponse
    | DeleteRangeResponse
    | TxnResponse
    | LeaseGrantResponse
    | LeaseRevokeResponse
    | LeaseCheckpointsResponse
    | AuthChanged
)

CLIENT_BYTES = 16
_KINDS: tuple[type[WriteResponse], ...] = (
    PutResponse,
    DeleteRangeResponse,
    TxnResponse,
    LeaseGrantResponse,
    LeaseRevokeResponse,
    LeaseCheckpointsResponse,
    AuthChanged,
)
"""Their places are in the data: others are added at the end."""
_TOO_LARGE = 255

_STATE_KEY = b"s"
_STATE = struct.Struct(">QQ")  # clients, forgotten
_CLIENT = struct.Struct(">QIQQQ")  # place of its last write in the log (index, ordinal), dropped, requests, revision
_PLACE = struct.Struct(">QI")
_SEQUENCE = struct.Struct(">Q")
_REQUEST = struct.Struct(">QB")  # revision, kind of the answer; the answer follows


class Bounds(NamedTuple):
    """How much is remembered. All replicas of a region must agree, so this changes with the version alone."""

    clients: int = 1024
    requests_per_client: int = 128
    answer_bytes: int = 1024


BOUNDS = Bounds()


class _Client(NamedTuple):
    entry: int
    ordinal: int
    dropped: int  # the highest sequence that was forgotten
    requests: int
    revision: int  # the newest that it wrote


class RequestMemory:
    """The memory as one entry of the log sees and changes it, inside the entry's transaction."""

    def __init__(self, store: Store, transaction: Transaction, index: int) -> None:
        """``index`` of the entry."""
        self._database = store.requests
        self._transaction = transaction
        self._index = index
        self._ordinal = 0

    def recall(self, request: RequestId, newest: int) -> WriteResponse | StoreError | None:
        """Returns what the request was answered when it came before; None when it did not, and may be carried out.

        ``newest`` is the store's revision.
        """
        if len(request.client) != CLIENT_BYTES or request.sequence < 1 or request.revision < 0:
            return InvalidRequest("a request id is a UUID, a sequence from 1 on, and a revision")
        stored = self._get(b"r" + request.client + _SEQUENCE.pack(request.sequence))
        if stored is not None:
            revision, kind = _REQUEST.unpack_from(stored)
            if kind == _TOO_LARGE:
                return AlreadyDone(f"at revision {revision}; its answer was too large to be kept")
            answer: WriteResponse = _KINDS[kind].FromString(stored[_REQUEST.size :])
            return answer
        client = self._client(request.client)
        if client is not None and request.sequence <= client.dropped:
            return RequestForgotten(f"sequence {request.sequence}; those up to {client.dropped} are forgotten")
        forgotten = self._state()[1]
        if request.revision < forgotten:
            return RequestForgotten(f"first sent at revision {request.revision}; known is what followed {forgotten}")
        if request.revision > newest:
            return RequestForgotten(f"first sent at revision {request.revision}; the store is at {newest}")
        return None

    def remember(self, request: RequestId, answer: WriteResponse, revision: int) -> None:
        """The request was carried out, as ``revision``."""
        key = bytes(request.client)
        client = self._client(key)
        if client is None:
            self._make_room()
            client = _Client(0, 0, 0, 0, 0)
        else:
            self._transaction.delete(b"o" + _PLACE.pack(client.entry, client.ordinal), db=self._database)
        self._ordinal += 1
        self._put(b"o" + _PLACE.pack(self._index, self._ordinal), key)
        packed = answer.SerializeToString(deterministic=True)
        kind = _KINDS.index(type(answer)) if len(packed) <= BOUNDS.answer_bytes else _TOO_LARGE
        body = b"" if kind == _TOO_LARGE else packed
        self._put(b"r" + key + _SEQUENCE.pack(request.sequence), _REQUEST.pack(revision, kind) + body)
        dropped, requests = client.dropped, client.requests + 1
        if requests > BOUNDS.requests_per_client:
            dropped, requests = max(dropped, self._drop_lowest(key)), requests - 1
        self._put(b"c" + key, _CLIENT.pack(self._index, self._ordinal, dropped, requests, revision))

    def forget_all(self, revision: int) -> None:
        """Nothing is known any more about writes up to ``revision``."""
        forgotten = max(self._state()[1], revision)
        self._transaction.drop(self._database, delete=False)
        self._put(_STATE_KEY, _STATE.pack(0, forgotten))

    def _get(self, key: bytes) -> bytes | None:
        stored: bytes | None = self._transaction.get(key, db=self._database)
        return stored

    def _put(self, key: bytes, value: bytes) -> None:
        self._transaction.put(key, value, db=self._database)

    def _state(self) -> tuple[int, int]:
        stored = self._get(_STATE_KEY)
        if stored is None:
            return 0, 0
        clients, forgotten = _STATE.unpack(stored)
        return clients, forgotten

    def _client(self, key: bytes) -> _Client | None:
        stored = self._get(b"c" + key)
        return None if stored is None else _Client(*_CLIENT.unpack(stored))

    def _make_room(self) -> None:
        """For one more client; forgets the one whose last write lies furthest back."""
        clients, forgotten = self._state()
        while clients >= BOUNDS.clients:
            with self._transaction.cursor(self._database) as cursor:
                if not cursor.set_range(b"o"):
                    break
                place, key = bytes(cursor.key()), bytes(cursor.value())
            client = self._client(key)
            while self._drop_lowest(key):
                pass
            self._transaction.delete(place, db=self._database)
            self._transaction.delete(b"c" + key, db=self._database)
            forgotten = max(forgotten, client.revision if client is not None else 0)
            clients -= 1
        self._put(_STATE_KEY, _STATE.pack(clients + 1, forgotten))

    def _drop_lowest(self, key: bytes) -> int:
        """Forgets the client's request with the lowest sequence, and returns that; 0 when it has none."""
        prefix = b"r" + key
        with self._transaction.cursor(self._database) as cursor:
            if not cursor.set_range(prefix) or not cursor.key().startswith(prefix):
                return 0
            (sequence,) = _SEQUENCE.unpack(cursor.key()[len(prefix) :])
            cursor.delete()
        return int(sequence)
