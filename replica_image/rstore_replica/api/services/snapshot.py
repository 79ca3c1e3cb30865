"""etcd's Snapshot: the data of this replica at one revision, as a database file of etcd's own format.

``etcdctl snapshot save`` writes what comes here to a file, and ``etcdutl snapshot restore`` makes an etcd of it. The
file is laid out twice, once to learn its size, and once to be sent: it takes no room on the disk, and little memory.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

import grpc
from rstore_api import methods
from rstore_api.domain.etcd_version import CLUSTER_VERSION
from rstore_api.errors import DeadlineExceeded, NoSpace, PermissionDenied, StoreError
from rstore_api.etcd_files import snapshot
from rstore_api.etcd_files.bolt_writer import Head, Layout
from rstore_api.logs import get_logger
from rstore_api.proto import rpc_pb2

from rstore_replica.api.access.grants import FULL
from rstore_replica.api.auth.guard import Guard
from rstore_replica.api.calls import Context, info_of
from rstore_replica.api.identity import Identity
from rstore_replica.api.scans import Pace, Scans
from rstore_replica.api.turns import Turns
from rstore_replica.api.watch.pump import Pump
from rstore_replica.mvcc.data.gate import ReadInterruptedError
from rstore_replica.mvcc.machine import Machine
from rstore_replica.mvcc.transfer.export import Exported

_log = get_logger(__name__)

MAX_SNAPSHOTS = 2
"""At a time, one of each client."""
MAX_WAITING = 16
STEP_BYTES = 256 << 10
"""How much of the file one turn in a thread makes, about."""
UNREAD_SECONDS = 60.0
"""A client that takes nothing for so long is given up: what it is to get yet is held back from compaction."""


T = TypeVar("T")


class SnapshotService:
    """Serves snapshots; closed by closing the scans that it was given."""

    def __init__(
        self, *, machine: Machine, identity: Identity, pump: Pump, scans: Scans, guard: Guard | None = None
    ) -> None:
        """``pump`` knows which revision may be shown."""
        self._machine = machine
        self._identity = identity
        self._pump = pump
        self._scans = scans
        self._guard = guard
        self._turns = Turns(places=MAX_SNAPSHOTS, places_per_client=1, max_waiting=MAX_WAITING)

    def add_to_server(self, server: Any) -> None:
        """Registers the service."""
        method = methods.SNAPSHOT
        service, name = method.path.strip("/").split("/")
        handler = grpc.unary_stream_rpc_method_handler(
            self.serve, method.request.FromString, method.response.SerializeToString
        )
        server.add_registered_method_handlers(service, {name: handler})

    async def serve(self, _request: rpc_pb2.SnapshotRequest, context: Context) -> None:
        """Sends one snapshot, and behind it the SHA-256 hash of its bytes."""
        try:
            call = info_of(context)
            if call.grant is not FULL:
                raise PermissionDenied
            if self._guard is not None and self._guard.state.enabled:
                self._guard.check(methods.SNAPSHOT.path, None, call.credentials)
            async with self._turns.turn(call.client):
                await self._send(call.client, context)
        except StoreError as error:
            await context.abort(*error.answer())
        except asyncio.CancelledError:
            raise
        except Exception as error:
            _log.exception("call_failed", method=methods.SNAPSHOT.path)
            await context.abort(grpc.StatusCode.INTERNAL, f"internal error: {type(error).__name__}")

    async def _send(self, client: str, context: Context) -> None:
        await self._pump.known()
        exported = self._machine.exported(min(self._pump.hub.shown, self._machine.revision))
        file = _File(self._machine, exported)
        hold = self._machine.hold(exported.compact_revision)
        try:
            head = await self._lay_out(file, client)
            digest = hashlib.sha256()
            left = head.size_bytes
            making = _Making(file, head)
            while left:
                blob = await self._scans.run(client, making.step)
                if not blob or len(blob) > left:
                    raise StoreError("the data were laid out in another way the second time")
                digest.update(blob)
                left -= len(blob)
                await self._write(context, left, blob, exported.revision)
                if hold.revision < self._machine.compact_revision and self._machine.is_nearly_full:
                    raise NoSpace("compaction needs the room that what is left of the snapshot takes")
            await self._write(context, 0, digest.digest(), exported.revision)
        finally:
            hold.release()

    async def _lay_out(self, file: _File, client: str) -> Head:
        making = _Making(file, None)
        while await self._scans.run(client, making.step):
            pass
        assert file.head is not None
        return file.head

    async def _write(self, context: Context, remaining: int, blob: bytes, revision: int) -> None:
        response = rpc_pb2.SnapshotResponse(remaining_bytes=remaining, blob=blob, version=CLUSTER_VERSION)
        self._identity.fill(response.header, revision=revision)
        try:
            async with asyncio.timeout(UNREAD_SECONDS):
                await context.write(response)
        except TimeoutError:
            raise DeadlineExceeded(f"nothing of the snapshot was taken for {UNREAD_SECONDS:.0f} s") from None


class _File:
    """The file to be. What it has to be made of is to be held while it is made."""

    def __init__(self, machine: Machine, exported: Exported) -> None:
        self.head: Head | None = None
        """Once all pages have been laid out."""
        self.pace: Pace = lambda: None
        self._machine = machine
        self._exported = exported

    def pages(self, head: Head | None) -> Iterator[bytes]:
        """Yields the file in parts; without its beginning when there is no ``head`` yet."""
        layout = Layout()
        if head is not None:
            yield head.encode()
        items: dict[bytes, Iterable[tuple[bytes, bytes]]] = {
            snapshot.KEY: self._rows(),
            snapshot.META: snapshot.compaction_items(self._exported.compact_revision),
            snapshot.LEASE: self._leases(),
        }
        for name in snapshot.BUCKETS:
            yield from layout.bucket(name, items.get(name, ()))
        last, self.head = layout.end()
        yield last

    def _rows(self) -> Iterator[tuple[bytes, bytes]]:
        start: tuple[int, int] | None = (0, 0)
        while start is not None:
            part = self._again(partial(self._machine.export_part, self._exported, start, self.pace))
            yield from part.items
            start = part.next_row

    def _leases(self) -> Iterator[tuple[bytes, bytes]]:
        items, after = self._again(partial(self._machine.export_leases, self._exported, None, self.pace))
        yield from items
        while after is not None:
            items, after = self._again(partial(self._machine.export_leases, self._exported, after, self.pace))
            yield from items

    @staticmethod
    def _again(read: Callable[[], T]) -> T:
        while True:
            with suppress(ReadInterruptedError):
                return read()


class _Making:
    """Makes the pages of a file, some with each step, in a thread."""

    def __init__(self, file: _File, head: Head | None) -> None:
        self._file = file
        self._pages = file.pages(head)

    def step(self, pace: Pace) -> bytes:
        """Returns the next pages; empty behind the last."""
        self._file.pace = pace
        parts: list[bytes] = []
        size = 0
        for part in self._pages:
            parts.append(part)
            size += len(part)
            if size >= STEP_BYTES:
                break
        return b"".join(parts)
