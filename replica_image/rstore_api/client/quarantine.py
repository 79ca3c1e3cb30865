"""Reading the diverged tails of a region from one of its replicas."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from rstore_api.dialling.endpoint import Endpoint
from rstore_api.methods import QUARANTINE_READ
from rstore_api.proto import rstore_pb2


async def tail_pages(
    replica: Endpoint, request: rstore_pb2.QuarantineReadRequest, *, timeout_seconds: float = 10.0
) -> AsyncGenerator[rstore_pb2.QuarantineReadResponse, None]:
    """Yields page after page from ``request.offset`` on; ``request`` is kept at where the next page begins.

    ``timeout_seconds`` is for each page. Raises TailNotFound, TailDamaged, Unreachable, OutcomeUnknown.
    """
    while True:
        page = await replica.call(QUARANTINE_READ, request, timeout_seconds=timeout_seconds)
        yield page
        if not page.next_offset:
            return
        request.offset = page.next_offset
