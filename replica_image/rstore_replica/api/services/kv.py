"""etcd's KV service."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from rstore_api import methods
from rstore_api.domain.epochs import existing
from rstore_api.errors import (
    Compacted,
    DeadlineExceeded,
    FutureRevision,
    NoPrimary,
    OutcomeUnknown,
    StoreError,
    TooManyRequests,
)
from rstore_api.methods import Method, RequestT
from rstore_api.proto import rpc_pb2, rstore_pb2

from rstore_replica.api import encoding
from rstore_replica.api.access.grants import FULL
from rstore_replica.api.batcher import Batcher, WriteResponseT
from rstore_replica.api.calls import Calls
from rstore_replica.api.encoding import EncodedWrite
from rstore_replica.api.identity import Identity
from rstore_replica.api.ports import Group, Machine, ReadPoint
from rstore_replica.api.routing.router import CallInfo, Router
from rstore_replica.api.scans import Scans
from rstore_replica.api.validate import check_write, scans_many
from rstore_replica.config import Limits
from rstore_replica.mvcc.data.gate import ReadInterruptedError
from rstore_replica.mvcc.requests.validate import check_range, is_wide

MAX_SCAN_ATTEMPTS = 5

COMPACT_TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True)
class EncodedRange:
    """A RangeResponse as it goes over the wire. A large one is never put together or taken apart on the event loop."""

    data: bytes

    @classmethod
    def FromString(cls, data: bytes) -> EncodedRange:
        """The answer to a forwarded range, which goes on as it came."""
        return cls(data)

    def SerializeToString(self) -> bytes:
        """The bytes as they are."""
        return self.data


Shown = Callable[[], Awaitable[int | None]]
CheckAttaching = Callable[[rstore_pb2.WriteRequest, CallInfo], Awaitable[None]]


Standing = Callable[[], tuple[int, int] | None]


def _any_standing() -> None:
    """Where nobody's access is restricted."""


async def _everything_attaches(_request: rstore_pb2.WriteRequest, _call: CallInfo) -> None:
    """Where nobody's access is restricted."""


_RANGE = cast(
    Method[rpc_pb2.RangeRequest, rpc_pb2.RangeResponse],
    Method(methods.RANGE.path, rpc_pb2.RangeRequest, cast(Any, EncodedRange), changes=False),
)


class KvService:
    """Range, Put, DeleteRange, Txn and Compact."""

    def __init__(
        self,
        *,
        calls: Calls,
        router: Router,
        batcher: Batcher,
        machine: Machine,
        group: Group,
        identity: Identity,
        limits: Limits,
        tenure_held: Callable[[int], bool] = lambda _epoch: True,
        read_point: ReadPoint | None = None,
        check_attaching: CheckAttaching = _everything_attaches,
        standing: Standing = _any_standing,
    ) -> None:
        """``tenure_held`` says whether something read in an epoch may be answered as the newest at this moment, and
        ``read_point`` which revision is the newest that may be shown; see ``Acknowledging.read_point``.
        ``standing`` returns the epoch and term in which alone a write that was admitted may go into the log, None for
        any. ``check_attaching`` raises PermissionDenied for a write whose keys may not be attached to the leases it
        names.
        """
        self._calls = calls
        self._router = router
        self._batcher = batcher
        self._machine = machine
        self._group = group
        self._identity = identity
        self._limits = limits
        self._tenure_held = tenure_held
        self._read_point = read_point
        self._check_attaching = check_attaching
        self._standing = standing
        self.scans = Scans()
        """Long reads of all services take turns here."""

    def add_to_server(self, server: Any) -> None:
        """Registers the service; writes come with their bytes."""
        self._calls.serve(server, _RANGE, self.range)
        self._calls.serve(server, methods.COMPACT, self.compact)
        writes: tuple[tuple[Method[Any, Any], bytes], ...] = (
            (methods.PUT, encoding.PUT),
            (methods.DELETE_RANGE, encoding.DELETE_RANGE),
            (methods.TXN, encoding.TXN),
        )
        for method, kind in writes:
            self._calls.serve(server, method, partial(self.write, method), decode=encoding.decoder(kind))

    def close(self) -> None:
        """Ends the threads, once what they read has been read."""
        self.scans.close()

    async def range(self, request: rpc_pb2.RangeRequest, call: CallInfo) -> rpc_pb2.RangeResponse:
        """Reads linearizably by the primary's leader, or serializably from this replica's own copy."""
        check_range(request)
        if request.serializable:
            return await self._read(request, _newest, call.client)
        return await self._router.serve(_RANGE, lambda: request, lambda: self._read_confirmed(request, call), call=call)

    async def write(
        self, method: Method[RequestT, WriteResponseT], write: EncodedWrite, call: CallInfo
    ) -> WriteResponseT:
        """Answers a Put, DeleteRange or Txn, each of which makes one revision or none.

        A Txn that only reads goes through the log, too, and so is linearizable.
        """

        async def local(*, plain: bool, wide: bool) -> WriteResponseT:
            named = write if call.request_id is None else write.identified(call.request_id)
            response = await self._batcher.submit(
                named.message,
                method.response,
                deadline=call.deadline,
                data=named.data,
                wide=wide,
                plain=plain,
                only_in=self._standing(),
            )
            self._identity.fill(response.header, revision=response.header.revision)
            return response

        plain = check_write(write.message, self._limits, len(write.data))
        wide = not plain and is_wide(write.message)
        if call.grant is not FULL:
            await self._check_attaching(write.message, call)
        return await self._router.serve(method, lambda: write.request, lambda: local(plain=plain, wide=wide), call=call)

    async def compact(self, request: rpc_pb2.CompactionRequest, call: CallInfo) -> rpc_pb2.CompactionResponse:
        """Gives up history below a revision, in every region; readers see it at once, space is freed behind them."""
        return await self._router.serve(
            methods.COMPACT, lambda: request, lambda: self._compact(request, call), call=call
        )

    async def _compact(self, request: rpc_pb2.CompactionRequest, call: CallInfo) -> rpc_pb2.CompactionResponse:
        remaining = _remaining_seconds(call)
        # One that the history has left out stands for the last one below it.
        revision = existing(self._machine.state.history, request.revision)
        if revision <= self._machine.compact_revision:
            raise Compacted
        if revision > self._machine.revision:
            raise FutureRevision
        epoch = self._machine.state.epoch
        if not self._tenure_held(epoch):
            raise NoPrimary("the tenure has run out: too few regions can be reached")
        entry = rstore_pb2.LogEntry(compaction=rstore_pb2.Compaction(revision=revision))
        result = await self._group.propose(
            entry.SerializeToString(), timeout_seconds=min(remaining, COMPACT_TIMEOUT_SECONDS)
        )
        if isinstance(result, StoreError):
            raise result
        if not self._tenure_held(epoch):
            raise OutcomeUnknown("the tenure has run out")
        response = rpc_pb2.CompactionResponse()
        self._identity.fill(response.header, revision=self._machine.revision)
        return response

    async def _read_confirmed(self, request: rpc_pb2.RangeRequest, call: CallInfo) -> rpc_pb2.RangeResponse:
        await self._group.barrier(timeout_seconds=_remaining_seconds(call))
        # The barrier has applied what was committed: if the region had been demoted by then, that is known here now.
        if not self._machine.state.writable:
            raise NoPrimary("a change of primary is under way")
        epoch, read_point = self._machine.state.epoch, self._read_point

        async def shown() -> int | None:
            return await read_point(epoch, request.revision, _remaining_seconds(call)) if read_point else None

        response = await self._read(request, shown, call.client)
        if not self._tenure_held(epoch):
            raise NoPrimary("the tenure has run out: too few regions can be reached")
        return response

    async def _read(self, request: rpc_pb2.RangeRequest, shown: Shown, client: str) -> rpc_pb2.RangeResponse:
        """``shown`` returns the revision that counts as the newest; None where the newest does."""
        if scans_many(request):
            return cast(rpc_pb2.RangeResponse, await self._scan(request, shown, client))
        at = await shown()
        revision = self._machine.revision if at is None else at
        response = self._machine.range(request if at is None else _pinned(request, at))
        self._identity.fill(response.header, revision=revision)
        return response

    async def _scan(self, request: rpc_pb2.RangeRequest, shown: Shown, client: str) -> EncodedRange:
        """Reads in a thread at a fixed revision, so that the header's revision is the one that was read."""
        for _ in range(MAX_SCAN_ATTEMPTS):
            at = await shown()
            revision = self._machine.revision if at is None else at
            pinned = _pinned(request, revision)
            header = rpc_pb2.ResponseHeader()
            self._identity.fill(header, revision=revision)
            try:
                return EncodedRange(await self.scans.run(client, partial(self._machine.encoded_range, pinned, header)))
            except ReadInterruptedError:
                continue
            except Compacted:
                # A caller of the newest revision did not ask for one that was compacted while it waited for a thread.
                if request.revision > 0:
                    raise
        raise TooManyRequests("the data is being changed faster than this range can be read")


async def _newest() -> int | None:
    return None


def _pinned(request: rpc_pb2.RangeRequest, newest: int) -> rpc_pb2.RangeRequest:
    """Returns the request at a fixed revision: that it asks for, else ``newest``, as for 0 and below."""
    pinned = rpc_pb2.RangeRequest()
    pinned.CopyFrom(request)
    pinned.revision = request.revision if request.revision > 0 else newest
    return pinned


def _remaining_seconds(call: CallInfo) -> float:
    remaining = call.deadline - asyncio.get_running_loop().time()
    if remaining <= 0:
        raise DeadlineExceeded
    return remaining
