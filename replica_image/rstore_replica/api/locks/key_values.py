"""How locks and elections read and write: by the requests of clients, with the rights of the client that asks."""

from __future__ import annotations

from rstore_api import methods
from rstore_api.proto import rpc_pb2 as rpc

from rstore_replica.api import encoding
from rstore_replica.api.routing.router import CallInfo
from rstore_replica.api.services.kv import EncodedRange, KvService

_decode_txn = encoding.decoder(encoding.TXN)
_decode_deletion = encoding.decoder(encoding.DELETE_RANGE)


class KeyValues:
    """The store, through this replica. Every method raises a StoreError."""

    def __init__(self, kv: KvService) -> None:
        self._kv = kv

    async def range(self, request: rpc.RangeRequest, call: CallInfo) -> rpc.RangeResponse:
        """Reads linearizably."""
        response: rpc.RangeResponse | EncodedRange = await self._kv.range(request, call)
        return rpc.RangeResponse.FromString(response.data) if isinstance(response, EncodedRange) else response

    async def txn(self, request: rpc.TxnRequest, call: CallInfo) -> rpc.TxnResponse:
        """Carries out a transaction."""
        return await self._kv.write(methods.TXN, _decode_txn(request.SerializeToString()), call)

    async def delete(self, request: rpc.DeleteRangeRequest, call: CallInfo) -> rpc.DeleteRangeResponse:
        """Deletes keys."""
        return await self._kv.write(methods.DELETE_RANGE, _decode_deletion(request.SerializeToString()), call)
