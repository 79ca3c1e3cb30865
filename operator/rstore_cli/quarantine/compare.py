"""Goes through a tail and compares each key with what the store has now: what ``diff`` shows and ``replay`` acts on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from rstore_api.client import Client
from rstore_api.errors import StoreError
from rstore_api.proto.kv_pb2 import KeyValue
from rstore_api.proto.rstore_pb2 import QuarantinedRow

from rstore_cli.quarantine.access import Access
from rstore_cli.quarantine.changes import KeyChange, Selection, Verdict, verdict
from rstore_cli.quarantine.tail_keys import TailKeys
from rstore_cli.quarantine.tails import RegionTail

IN_FLIGHT = 32
"""Keys that are asked for, or written, at a time."""

T = TypeVar("T")


@dataclass(frozen=True)
class Compared:
    """The tail's last change of a key, the store's present value, and what that means."""

    key: bytes
    change: KeyChange
    value: bytes
    present: KeyValue | None
    verdict: Verdict


async def last_changes(access: Access, tail: RegionTail, selection: Selection, *, timeout_seconds: float) -> TailKeys:
    """Returns the selected keys of a tail, without their values."""
    changes = TailKeys()
    async for page in access.rows(tail, timeout_seconds=timeout_seconds):
        for row in page:
            if row.key in selection:
                changes.add(row, tail.record.fork_revision)
    return changes


async def for_each_key(
    access: Access,
    client: Client,
    tail: RegionTail,
    changes: TailKeys,
    act: Callable[[Compared], Awaitable[T]],
    *,
    timeout_seconds: float,
) -> AsyncIterator[T]:
    """Yields what ``act`` returns for each key, in the order of the tail's last rows, several keys at a time.

    After a StoreError no further key is begun; the results of those under way are yielded, then it is raised.
    """

    async def compare(key: bytes, value: bytes, change: KeyChange) -> T | StoreError:
        try:
            response = await client.get(key, timeout_seconds=timeout_seconds)
            present = response.kvs[0] if response.kvs else None
            meaning = verdict(change, value, present, tail.record.fork_revision)
            return await act(Compared(key, change, value, present, meaning))
        except StoreError as error:
            return error

    waiting: list[asyncio.Task[T | StoreError]] = []
    failure: StoreError | None = None
    try:
        async for row, change in _last_rows(access, tail, changes, timeout_seconds):
            if len(waiting) >= IN_FLIGHT:
                result = await waiting.pop(0)
                if isinstance(result, StoreError):
                    failure = result
                    break
                yield result
            waiting.append(asyncio.create_task(compare(row.key, row.value, change)))
        while waiting:
            result = await waiting.pop(0)
            if isinstance(result, StoreError):
                failure = failure or result
            else:
                yield result
        if failure is not None:
            raise failure
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def _last_rows(
    access: Access, tail: RegionTail, changes: TailKeys, timeout_seconds: float
) -> AsyncIterator[tuple[QuarantinedRow, KeyChange]]:
    async for page in access.rows(tail, timeout_seconds=timeout_seconds):
        for row in page:
            change = changes.get(row.key)
            if change is not None and change.is_of(row):
                yield row, change
