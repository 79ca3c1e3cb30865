"""Writing many keys: transactions of many puts, several in flight."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from rstore_api.proto import rpc_pb2

Text = bytes | str


@dataclass(frozen=True)
class PutManyResult:
    """What was written: keys put, and the highest revision among the transactions (0 when there was none)."""

    count: int
    revision: int


class Transact(Protocol):
    """Sends one transaction; :meth:`rstore_api.client.Client.txn`."""

    def __call__(self, request: rpc_pb2.TxnRequest, *, timeout_seconds: float) -> Awaitable[rpc_pb2.TxnResponse]: ...


async def put_many(
    transact: Transact,
    items: Iterable[tuple[Text, Text]] | AsyncIterable[tuple[Text, Text]],
    *,
    ops_per_txn: int,
    concurrency: int,
    timeout_seconds: float,
) -> PutManyResult:
    """See :meth:`rstore_api.client.Client.put_many`. Raises ValueError for bounds below 1."""
    if ops_per_txn < 1 or concurrency < 1:
        raise ValueError("ops_per_txn and concurrency must be at least 1")
    sender = _Sender(transact, concurrency=concurrency, timeout_seconds=timeout_seconds)
    batch: dict[bytes, bytes] = {}
    try:
        async for key, value in _pairs(items):
            # One transaction may put a key once, and transactions in flight have no order among them.
            if key in batch or sender.is_writing(key):
                await sender.send(batch)
                batch = {}
                await sender.drain()
            batch[key] = value
            if len(batch) == ops_per_txn:
                await sender.send(batch)
                batch = {}
        await sender.send(batch)
        await sender.drain()
    except BaseException:
        await sender.abandon()
        raise
    return PutManyResult(count=sender.count, revision=sender.revision)


class _Sender:
    """Transactions in flight, at most ``concurrency``."""

    def __init__(self, transact: Transact, *, concurrency: int, timeout_seconds: float) -> None:
        self._transact = transact
        self._concurrency = concurrency
        self._timeout_seconds = timeout_seconds
        self._in_flight: dict[asyncio.Task[rpc_pb2.TxnResponse], frozenset[bytes]] = {}
        self.count = 0
        self.revision = 0

    def is_writing(self, key: bytes) -> bool:
        """Returns whether a transaction in flight puts the key."""
        return any(key in keys for keys in self._in_flight.values())

    async def send(self, batch: dict[bytes, bytes]) -> None:
        """Begins a transaction, waiting for a free place. Raises what an earlier one failed with."""
        if not batch:
            return
        await self._wait_until_below(self._concurrency)
        request = rpc_pb2.TxnRequest(
            success=[
                rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=key, value=value)) for key, value in batch.items()
            ]
        )
        task = asyncio.ensure_future(self._transact(request, timeout_seconds=self._timeout_seconds))
        self._in_flight[task] = frozenset(batch)

    async def drain(self) -> None:
        """Waits for every transaction in flight. Raises what one failed with."""
        await self._wait_until_below(1)

    async def abandon(self) -> None:
        """Lets what is in flight end, whatever it ends with: cancelling it would hide its outcome."""
        await asyncio.gather(*self._in_flight, return_exceptions=True)

    async def _wait_until_below(self, limit: int) -> None:
        while len(self._in_flight) >= limit:
            done, _ = await asyncio.wait(self._in_flight, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                keys = self._in_flight.pop(task)
                self.revision = max(self.revision, task.result().header.revision)
                self.count += len(keys)


async def _pairs(
    items: Iterable[tuple[Text, Text]] | AsyncIterable[tuple[Text, Text]],
) -> AsyncIterator[tuple[bytes, bytes]]:
    encode: Callable[[Text], bytes] = lambda text: text.encode() if isinstance(text, str) else text  # noqa: E731
    if isinstance(items, AsyncIterable):
        async for key, value in items:
            yield encode(key), encode(value)
    else:
        for key, value in items:
            yield encode(key), encode(value)
