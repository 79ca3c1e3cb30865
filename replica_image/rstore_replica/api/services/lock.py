"""etcd's Lock service, in every region."""

from __future__ import annotations

from typing import Any

from rstore_api import methods
from rstore_api.errors import LockSessionExpired
from rstore_api.proto import rpc_pb2 as rpc
from rstore_api.proto.v3lock_pb2 import LockRequest, LockResponse, UnlockRequest, UnlockResponse

from rstore_replica.api.calls import Calls
from rstore_replica.api.locks.candidates import Candidates, step
from rstore_replica.api.routing.router import CallInfo


class LockService:
    """Lock and Unlock."""

    def __init__(self, *, calls: Calls, candidates: Candidates) -> None:
        self._calls = calls
        self._candidates = candidates

    def add_to_server(self, server: Any) -> None:
        """Registers the service."""
        self._calls.serve(server, methods.LOCK, self.lock, waits=True)
        self._calls.serve(server, methods.UNLOCK, self.unlock)

    async def lock(self, request: LockRequest, call: CallInfo) -> LockResponse:
        """Returns once the lease holds the lock, until it ends or Unlock is called with the key in the answer. A client
        that goes away meanwhile does not wait any more.
        """
        candidate, first, stood = await self._candidates.stand(request.name, request.lease, b"", call)
        if first:
            return LockResponse(header=stood.header, key=candidate.key)
        async with self._candidates.withdrawn_on_failure(candidate, call):
            await self._candidates.wait_for_turn(candidate, call)
            own = await self._candidates.read(rpc.RangeRequest(key=candidate.key), call)
        if not own.kvs or own.kvs[0].create_revision != candidate.revision:
            raise LockSessionExpired
        return LockResponse(header=own.header, key=candidate.key)

    async def unlock(self, request: UnlockRequest, call: CallInfo) -> UnlockResponse:
        """Releases a lock; also answers when it is not held."""
        response = await self._candidates.key_values.delete(rpc.DeleteRangeRequest(key=request.key), step(call))
        return UnlockResponse(header=response.header)
