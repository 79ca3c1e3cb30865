"""Filling an empty store with what an etcd, or a store, had at one revision, and comparing both."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass

from rstore_api.client.import_parts import ImportSource, parts
from rstore_api.client.key_values import Client
from rstore_api.client.pages import pages
from rstore_api.errors import OutcomeUnknown, StoreError, Unreachable
from rstore_api.methods import IMPORT_STEP
from rstore_api.proto import rpc_pb2
from rstore_api.proto.kv_pb2 import KeyValue
from rstore_api.proto.rstore_pb2 import ImportRequest

PART_BYTES = 256 << 10
ATTEMPTS = 5
"""Of a part; what was taken of it before changes nothing."""

Advance = Callable[[int], None]
"""Called with how many keys more are done."""


@dataclass(frozen=True)
class Difference:
    """A key that is not the same in the source and in the store; None where it is not there."""

    key: bytes
    in_source: KeyValue | None
    in_store: KeyValue | None


async def fill(
    client: Client, source: ImportSource, *, revision_jump: int, timeout_seconds: float, advance: Advance
) -> int:
    """Puts a source into a store in which nothing was written; returns the store's revision then.

    The store goes on ``revision_jump`` above the source's revision. Raises StoreError; the store is then as it was,
    unless the error is OutcomeUnknown.
    """
    after_key = b""
    revision = source.revision + revision_jump
    to_send = parts(source, max_bytes=PART_BYTES, revision_jump=revision_jump)
    while (part := await asyncio.to_thread(next, to_send, None)) is not None:
        part.after_key = after_key
        after_key = await _send(client, part, revision, timeout_seconds)
        advance(len(part.keys))
    return revision


async def _send(client: Client, part: ImportRequest, revision: int, timeout_seconds: float) -> bytes:
    """Returns the last key that was taken."""
    for attempt in range(ATTEMPTS):
        try:
            return (await client.call(IMPORT_STEP, part, timeout_seconds=timeout_seconds)).last_key
        except (OutcomeUnknown, Unreachable):
            if attempt == ATTEMPTS - 1:
                raise
        except StoreError:
            if attempt and part.last and (await client.range(_REVISION)).header.revision >= revision:
                return b""  # an attempt before had come through
            raise
        await asyncio.sleep(0.2 * 2**attempt)
    raise AssertionError("the last attempt raises")


_REVISION = rpc_pb2.RangeRequest(key=b"\0", count_only=True)


async def compare(
    client: Client, source: ImportSource, revision: int, *, timeout_seconds: float, advance: Advance
) -> Difference | None:
    """Returns the first key that is not in the store, at ``revision``, as it is in the source: with the same value,
    version, revisions and lease. None when all are.
    """
    expected = (key.kv for key in source.imported_keys())
    async with aclosing(pages(client, revision=revision, timeout_seconds=timeout_seconds)) as stored:
        async for page in stored:
            difference = await asyncio.to_thread(_first_difference, expected, page.kvs)
            if difference is not None:
                return difference
            advance(len(page.kvs))
    missing = await asyncio.to_thread(next, expected, None)
    return None if missing is None else Difference(missing.key, missing, None)


def _first_difference(expected: Iterator[KeyValue], stored: list[KeyValue]) -> Difference | None:
    for kv in stored:
        wanted = next(expected, None)
        if wanted != kv:
            if wanted is None or wanted.key > kv.key:
                return Difference(kv.key, None, kv)
            return Difference(wanted.key, wanted, kv if kv.key == wanted.key else None)
    return None
