"""Reading a range of any size, in pages."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from rstore_api.client.key_values import Client
from rstore_api.errors import AnswerTooLarge
from rstore_api.proto import rpc_pb2
from rstore_api.proto.kv_pb2 import KeyValue

PAGE_KEYS = 500
"""The most in a page."""
PAGE_BYTES = 2 << 20
"""About as much is in a page, or one key; more where values are larger than those of the page before."""
_FIRST_PAGE_KEYS = 50


@dataclass(frozen=True)
class Page:
    """Keys in order; ``is_last``: none of the range follows. ``revision`` is that at which all pages are read."""

    kvs: list[KeyValue]
    is_last: bool
    revision: int


async def pages(
    client: Client,
    *,
    start: bytes = b"\0",
    range_end: bytes = b"\0",
    revision: int = 0,
    timeout_seconds: float,
) -> AsyncGenerator[Page, None]:
    """Yields the keys from ``start`` on that are below ``range_end`` (``b"\\0"``: to the last key), as they were at
    ``revision`` (0: at the newest one when the first page is read). There is one page at least.

    Pages have fewer keys where values are large. Raises StoreError; Compacted where the revision is gone meanwhile.
    """
    limit = _FIRST_PAGE_KEYS
    while True:
        request = rpc_pb2.RangeRequest(key=start, range_end=range_end, limit=limit, revision=revision)
        try:
            answer = await client.range(request, timeout_seconds=timeout_seconds)
        except AnswerTooLarge:
            if limit == 1:
                raise
            limit = max(1, limit // 8)
            continue
        revision = revision or answer.header.revision
        yield Page(list(answer.kvs), not answer.more, revision)
        if not answer.more:
            return
        start = answer.kvs[-1].key + b"\0"
        limit = next_limit(len(answer.kvs), answer.ByteSize())


def next_limit(keys: int, size_bytes: int) -> int:
    """Returns how many keys are asked for after a page of so many with so many bytes."""
    return max(1, min(PAGE_KEYS, 8 * keys, keys * PAGE_BYTES // max(1, size_bytes)))
