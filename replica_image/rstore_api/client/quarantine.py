"""The client of one replica's Quarantine service (peer port): the diverged tails of its region."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from rstore_api.client.replica import ReplicaClient
from rstore_api.methods import QUARANTINE_DROP, QUARANTINE_LIST, QUARANTINE_READ
from rstore_api.proto import rstore_pb2


class QuarantineClient(ReplicaClient):
    """Asks one replica, once per call; another replica, or the leader, is the caller's decision.

    Every method takes its timeout in seconds for each message and raises a StoreError: TailNotFound, TailDamaged,
    NotLeader, Unreachable, OutcomeUnknown (every call may be repeated).
    """

    async def list(self, *, timeout_seconds: float = 5.0) -> rstore_pb2.QuarantineListResponse:
        """The tails that the replica knows, and which of them it holds."""
        request = rstore_pb2.QuarantineListRequest()
        return await self._endpoint.call(QUARANTINE_LIST, request, timeout_seconds=timeout_seconds)

    async def read(
        self, request: rstore_pb2.QuarantineReadRequest, *, timeout_seconds: float = 10.0
    ) -> AsyncGenerator[rstore_pb2.QuarantineReadResponse, None]:
        """Page after page from ``request.offset`` on. ``request`` is kept at where the next page begins."""
        while True:
            page = await self._endpoint.call(QUARANTINE_READ, request, timeout_seconds=timeout_seconds)
            yield page
            if not page.next_offset:
                return
            request.offset = page.next_offset

    async def drop(
        self, store_id: str, file: str, *, timeout_seconds: float = 10.0
    ) -> rstore_pb2.QuarantineDropResponse:
        """Remove a tail from every replica of the region; only the leader answers."""
        request = rstore_pb2.QuarantineDropRequest(store_id=store_id, file=file)
        return await self._endpoint.call(QUARANTINE_DROP, request, timeout_seconds=timeout_seconds)
