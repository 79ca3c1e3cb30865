"""A load that changes the same keys in every way there is, and the history of a store as a watch shows it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from contextlib import aclosing, suppress

from rstore_api import methods
from rstore_api.client import Client
from rstore_api.errors import StoreError
from rstore_api.proto import rpc_pb2
from rstore_api.proto.kv_pb2 import Event, KeyValue
from rstore_testkit.patience import WAIT_SECONDS

_KEYS = [b"churn/%02d" % number for number in range(20)] + [b"churn/long/" + b"k" * 900, b"churn/\x00\xff"]
_LEASE_SECONDS = 3600
_PAUSE_SECONDS = 0.02


class Churn:
    """Puts, deletes and transactions of the same few keys, some of them attached to leases that are revoked later.

    ``async with Churn(client, seed): ...``. Requests may fail: what they did is what the store's history says.
    """

    def __init__(self, client: Client, seed: int) -> None:
        self._client = client
        self._random = random.Random(seed)
        self._leases: list[int] = []
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Churn:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        assert not self._task.done(), self._task
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        kinds = {
            self._put: 12,
            self._delete: 3,
            self._delete_all: 1,
            self._transaction: 3,
            self._grant: 1,
            self._revoke: 1,
        }
        while True:
            (act,) = self._random.choices(list(kinds), list(kinds.values()))
            with suppress(StoreError):  # no primary at the moment, or a lease that another primary never had
                await act()
            await asyncio.sleep(_PAUSE_SECONDS)

    def _key(self) -> bytes:
        return self._random.choice(_KEYS)

    def _value(self) -> bytes:
        return self._random.randbytes(self._random.choice((0, 10, 2000)))

    async def _put(self) -> None:
        await self._client.put(self._key(), self._value(), lease=self._random.choice((0, 0, *self._leases)))

    async def _delete(self) -> None:
        await self._client.delete(self._key())

    async def _delete_all(self) -> None:
        await self._client.delete(b"churn/1", prefix=True)

    async def _transaction(self) -> None:
        keys = self._random.sample(_KEYS, 3)
        puts = [rpc_pb2.PutRequest(key=key, value=self._value()) for key in keys[1:]]
        removed = rpc_pb2.RequestOp(request_delete_range=rpc_pb2.DeleteRangeRequest(key=keys[0]))
        await self._client.txn(
            rpc_pb2.TxnRequest(success=[removed, *(rpc_pb2.RequestOp(request_put=put) for put in puts)])
        )

    async def _grant(self) -> None:
        request = rpc_pb2.LeaseGrantRequest(TTL=_LEASE_SECONDS)
        self._leases.append((await self._client.call(methods.LEASE_GRANT, request, timeout_seconds=10)).ID)

    async def _revoke(self) -> None:
        if self._leases:
            lease = self._leases.pop(0)
            await self._client.call(methods.LEASE_REVOKE, rpc_pb2.LeaseRevokeRequest(ID=lease), timeout_seconds=10)


class History:
    """All changes of keys of a store up to a revision, as a watch from its beginning shows them."""

    def __init__(self, events: list[Event]) -> None:
        """``events``: in the order of their revisions."""
        self._events = events
        self.revisions = sorted({event.kv.mod_revision for event in events})
        self.puts = {
            (event.kv.mod_revision, event.kv.key): event.kv.value for event in events if event.type == Event.PUT
        }
        """Values, by revision and key."""

    @classmethod
    async def watched(cls, client: Client, revision: int, *, timeout_seconds: float = WAIT_SECONDS) -> History:
        """Returns the history up to a revision, which is that of a key's change. Raises TimeoutError."""
        events: list[Event] = []
        async with (
            asyncio.timeout(timeout_seconds),
            aclosing(client.watch(b"", prefix=True, start_revision=1)) as all_of,
        ):
            async for changes in all_of:
                events += [event for event in changes.events if event.kv.mod_revision <= revision]
                if events and changes.revision >= revision:
                    return cls(events)
        raise AssertionError("a watch does not end")

    def keys(self, revision: int) -> list[KeyValue]:
        """Returns the keys that there were at a revision, in order."""
        keys: dict[bytes, KeyValue] = {}
        for event in self._until(revision):
            if event.type == Event.DELETE:
                keys.pop(event.kv.key, None)
            else:
                keys[event.kv.key] = event.kv
        return [keys[key] for key in sorted(keys)]

    def _until(self, revision: int) -> Iterator[Event]:
        return (event for event in self._events if event.kv.mod_revision <= revision)
