"""The asyncio client of the etcd API that a store's replicas serve.

It chooses an endpoint, reconnects, and tries again only what certainly did not happen, within the caller's deadline.
A write whose outcome cannot be known raises OutcomeUnknown; deciding whether to repeat it is the caller's business.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Sequence
from contextlib import asynccontextmanager
from types import TracebackType

from google.protobuf.message import Message

from rstore_api.client.identity import Identity, write_once
from rstore_api.client.leases import Lease
from rstore_api.client.locks import Election, Lock
from rstore_api.client.login import MAX_REFUSALS, REFUSALS, Login, User, UserStreams
from rstore_api.client.many import PutManyResult, put_many
from rstore_api.client.watching import Changes, follow
from rstore_api.dialling.channels import Resolve, system_resolve
from rstore_api.dialling.endpoint import TEMPORARY, Endpoint, retry_delay_seconds
from rstore_api.dialling.stream import LinkBrokenError, StreamCall
from rstore_api.errors import NotPrimary, PermissionDenied, StoreError, Unreachable
from rstore_api.methods import (
    AUTHENTICATE,
    COMPACT,
    DELETE_RANGE,
    HASH_KV,
    MEMBER_LIST,
    PUT,
    RANGE,
    STATUS,
    TXN,
    Method,
    RequestT,
    ResponseT,
)
from rstore_api.proto import rpc_pb2
from rstore_api.tls import TlsSource

Text = bytes | str
"""Keys and values: bytes, or text that is encoded as UTF-8."""

DEFAULT_TIMEOUT_SECONDS = 5.0


def prefix_end(prefix: bytes) -> bytes:
    """Returns the ``range_end`` that, with ``prefix`` as key, selects every key that begins with it."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes([stem[-1] + 1]) if stem else b"\0"


class Client:
    """A connection to one store through any of ``endpoints``; usable by any number of tasks of one event loop.

    Every method takes ``timeout_seconds`` for all its attempts together and raises a StoreError: the last temporary
    error when the time is over, Unreachable when no endpoint could be connected to, OutcomeUnknown for a write that
    was sent and not answered.
    """

    def __init__(
        self,
        endpoints: Sequence[str],
        *,
        tls: TlsSource | None = None,
        server_name: str | None = None,
        user: User | None = None,
        resolve: Resolve = system_resolve,
        rng: random.Random | None = None,
    ) -> None:
        """``endpoints`` are ``host:port``; ``server_name`` is what their certificates must name (default: the host).

        As ``user`` of etcd's auth requests have a token, which is fetched when it is needed, and anew when it is
        refused: what was refused was not carried out, and is sent again.
        """
        if not endpoints:
            raise ValueError("a client needs at least one endpoint")
        self._endpoints = [Endpoint(text, tls=tls, server_name=server_name, resolve=resolve) for text in endpoints]
        self._login = Login(user, self._authenticate)
        self._streams = [UserStreams(endpoint, self._login) for endpoint in self._endpoints]
        self._preferred = 0
        self._identity = Identity()
        self._rng = rng or random.Random()

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes every connection; calls in flight fail."""
        await asyncio.gather(*(endpoint.close() for endpoint in self._endpoints))

    async def get(
        self,
        key: Text,
        *,
        revision: int = 0,
        serializable: bool = False,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
    ) -> rpc_pb2.RangeResponse:
        """Reads one key: ``response.kvs`` is empty or contains it. ``serializable`` reads the endpoint's own copy."""
        request = rpc_pb2.RangeRequest(key=_bytes(key), revision=revision, serializable=serializable)
        return await self.range(request, timeout_seconds=timeout_seconds)

    async def get_prefix(
        self,
        prefix: Text,
        *,
        revision: int = 0,
        serializable: bool = False,
        limit: int = 0,
        keys_only: bool = False,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
    ) -> rpc_pb2.RangeResponse:
        """Reads every key that begins with ``prefix`` ("" = every key), in order of keys; ``limit`` 0 is no limit."""
        start = _bytes(prefix)
        request = rpc_pb2.RangeRequest(
            key=start or b"\0",
            range_end=prefix_end(start),
            revision=revision,
            serializable=serializable,
            limit=limit,
            keys_only=keys_only,
        )
        return await self.range(request, timeout_seconds=timeout_seconds)

    async def range(
        self, request: rpc_pb2.RangeRequest, *, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    ) -> rpc_pb2.RangeResponse:
        """Sends any range request as it is."""
        return await self.call(RANGE, request, timeout_seconds=timeout_seconds)

    async def put(
        self,
        key: Text,
        value: Text,
        *,
        lease: int = 0,
        prev_kv: bool = False,
        retry_unknown: bool = False,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
    ) -> rpc_pb2.PutResponse:
        """Writes one key; ``response.header.revision`` is its revision. ``retry_unknown``: see :meth:`write`."""
        request = rpc_pb2.PutRequest(key=_bytes(key), value=_bytes(value), lease=lease, prev_kv=prev_kv)
        return await self.write(PUT, request, retry_unknown=retry_unknown, timeout_seconds=timeout_seconds)

    async def delete(
        self,
        key: Text,
        *,
        prefix: bool = False,
        prev_kv: bool = False,
        retry_unknown: bool = False,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
    ) -> rpc_pb2.DeleteRangeResponse:
        """Deletes one key, or with ``prefix`` every key that begins with it; ``response.deleted`` counts them.

        Any number of keys goes in one revision; with ``prev_kv`` too many are refused with RequestTooWide. A deletion
        that takes longer than ``timeout_seconds`` goes on, its outcome unknown. ``retry_unknown``: see :meth:`write`.
        """
        start = _bytes(key)
        request = rpc_pb2.DeleteRangeRequest(key=start, prev_kv=prev_kv)
        if prefix:
            request.key, request.range_end = start or b"\0", prefix_end(start)
        return await self.write(DELETE_RANGE, request, retry_unknown=retry_unknown, timeout_seconds=timeout_seconds)

    async def txn(
        self,
        request: rpc_pb2.TxnRequest,
        *,
        retry_unknown: bool = False,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
    ) -> rpc_pb2.TxnResponse:
        """Sends one transaction. ``retry_unknown``: see :meth:`write`."""
        return await self.write(TXN, request, retry_unknown=retry_unknown, timeout_seconds=timeout_seconds)

    async def write(
        self,
        method: Method[RequestT, ResponseT],
        request: RequestT,
        *,
        retry_unknown: bool,
        timeout_seconds: float,
    ) -> ResponseT:
        """Sends a Put, DeleteRange or Txn. ``retry_unknown``: when its outcome is unknown it is sent again, with a name
        by which the store knows whether it has carried it out, until there is an answer or no time left.

        It is never carried out twice. OutcomeUnknown remains when the time is over, and when the store cannot know,
        for instance because another region has become primary; AlreadyDone says that it was carried out and that the
        answer was too large to be kept.
        """
        if not retry_unknown:
            return await self.call(method, request, timeout_seconds=timeout_seconds)
        answers: list[ResponseT] = []

        async def attempt(metadata: tuple[tuple[str, str], ...], seconds: float) -> None:
            answers.append(await self.call(method, request, timeout_seconds=seconds, metadata=metadata))

        async def learn_revision(linearizable: bool, seconds: float) -> None:
            self._identity.revision = 0
            try:
                await self.get(b"\0", serializable=not linearizable, timeout_seconds=seconds)
            except PermissionDenied:  # every client may send a transaction of nothing
                await self.call(TXN, rpc_pb2.TxnRequest(), timeout_seconds=seconds)

        deadline = asyncio.get_running_loop().time() + timeout_seconds
        await write_once(self._identity, attempt, learn_revision, deadline=deadline, rng=self._rng)
        return answers[-1]

    async def put_many(
        self,
        items: Iterable[tuple[Text, Text]] | AsyncIterable[tuple[Text, Text]],
        *,
        ops_per_txn: int = 64,
        concurrency: int = 8,
        timeout_seconds: float = 30.0,
    ) -> PutManyResult:
        """Writes many keys, ``ops_per_txn`` to a transaction and ``concurrency`` transactions at a time.

        A key that comes twice ends with its last value. ``timeout_seconds`` is for each transaction. At the first
        error no further transaction is begun and that error is raised; what was acknowledged before stays written.
        """
        return await put_many(
            self.txn,
            items,
            ops_per_txn=ops_per_txn,
            concurrency=concurrency,
            timeout_seconds=timeout_seconds,
        )

    def watch(
        self,
        key: Text,
        *,
        prefix: bool = False,
        start_revision: int = 0,
        prev_kv: bool = False,
        progress_notify: bool = False,
    ) -> AsyncGenerator[Changes, None]:
        """Follows the changes of one key, or with ``prefix`` of all keys that begin with it, for ever.

        Changes come once each, in order, whole revisions together, from ``start_revision`` on, or from now on: the
        first item has no events, and comes as soon as that is sure. Connections that break, replicas that end and
        changes of primary are got over. Raises what :func:`.watching.follow` raises. Close it when you leave early
        (``contextlib.aclosing``).
        """
        start = _bytes(key)
        request = rpc_pb2.WatchCreateRequest(
            key=start, start_revision=start_revision, prev_kv=prev_kv, progress_notify=progress_notify
        )
        if prefix:
            request.key, request.range_end = start or b"\0", prefix_end(start)
        return follow(self._streams, request, rng=self._rng)

    def lease(self, ttl_seconds: int, *, lease_id: int = 0) -> Lease:
        """Returns a lease for ``async with``: granted at its beginning, renewed meanwhile, revoked at its end.

        Entering raises LeaseExists when ``lease_id`` is taken (0: the store chooses one), LeaseTtlTooLarge, or
        FeatureNotActive while some replica runs a version without leases.
        """
        request = rpc_pb2.LeaseGrantRequest(TTL=ttl_seconds, ID=lease_id)
        return Lease(self.call, self._streams, request, self._rng)

    def lock(self, name: Text, *, ttl_seconds: int = 10) -> Lock:
        """Returns a lock for ``async with``: entered once this client holds it, by a lease that is renewed meanwhile.

        Entering waits for as long as others hold the lock; put ``asyncio.timeout`` around it for a bound. It raises
        LeaseNotFound when the client could not renew its lease while it waited.
        """
        return Lock(self.call, lambda: self.lease(ttl_seconds), self._rng, _bytes(name))

    def election(self, name: Text) -> Election:
        """Returns an election: to campaign in it, or to see who leads."""
        return Election(self.call, self._streams, self.lease, self._rng, _bytes(name))

    async def compact(
        self, revision: int, *, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    ) -> rpc_pb2.CompactionResponse:
        """Gives up the history below ``revision``."""
        return await self.call(COMPACT, rpc_pb2.CompactionRequest(revision=revision), timeout_seconds=timeout_seconds)

    async def status(self, *, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS) -> rpc_pb2.StatusResponse:
        """Returns the status of whichever endpoint answers."""
        return await self.call(STATUS, rpc_pb2.StatusRequest(), timeout_seconds=timeout_seconds)

    async def hash_kv(
        self, revision: int = 0, *, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    ) -> rpc_pb2.HashKVResponse:
        """Returns the hash of the keys as of ``revision`` (0: newest), of the copy of whichever endpoint answers."""
        return await self.call(HASH_KV, rpc_pb2.HashKVRequest(revision=revision), timeout_seconds=timeout_seconds)

    async def member_list(self, *, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS) -> rpc_pb2.MemberListResponse:
        """Returns the replicas of the answering endpoint's region."""
        return await self.call(MEMBER_LIST, rpc_pb2.MemberListRequest(), timeout_seconds=timeout_seconds)

    async def call(
        self,
        method: Method[RequestT, ResponseT],
        request: RequestT,
        *,
        timeout_seconds: float,
        metadata: Sequence[tuple[str, str]] = (),
    ) -> ResponseT:
        """Makes one call by any endpoint, repeated while its failure certainly changed nothing and time is left."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + timeout_seconds
        refusals = 0
        while True:
            sent = await self._login.metadata(max(0.0, deadline - clock()))
            try:
                return await self._call_any(
                    method, request, timeout_seconds=deadline - clock(), metadata=(*metadata, *sent)
                )
            except REFUSALS as error:
                refusals += 1
                if refusals > MAX_REFUSALS or not self._login.refused(error, sent):
                    raise

    async def _authenticate(
        self, request: rpc_pb2.AuthenticateRequest, timeout_seconds: float
    ) -> rpc_pb2.AuthenticateResponse:
        return await self._call_any(AUTHENTICATE, request, timeout_seconds=timeout_seconds, metadata=())

    async def _call_any(
        self,
        method: Method[RequestT, ResponseT],
        request: RequestT,
        *,
        timeout_seconds: float,
        metadata: Sequence[tuple[str, str]],
    ) -> ResponseT:
        clock = asyncio.get_running_loop().time
        deadline = clock() + timeout_seconds
        last: StoreError = Unreachable(f"the timeout of {timeout_seconds} s left no time to try")
        refused_as_secondary: set[int] = set()
        attempt = 0
        while (remaining := deadline - clock()) > 0:
            chosen = self._preferred
            try:
                answer = await self._endpoints[chosen].call(
                    method, request, timeout_seconds=remaining, metadata=metadata
                )
                self._identity.saw(_revision_of(answer))
                return answer
            except TEMPORARY as error:
                last = error
                if isinstance(error, NotPrimary):
                    refused_as_secondary.add(chosen)
                    if len(refused_as_secondary) == len(self._endpoints):
                        raise
            attempt += 1
            if self._preferred == chosen:
                self._preferred = (chosen + 1) % len(self._endpoints)
            finished_rounds, within_round = divmod(attempt, len(self._endpoints))
            if within_round == 0:
                pause = retry_delay_seconds(finished_rounds, self._rng)
                await asyncio.sleep(min(pause, max(0.0, deadline - clock())))
        raise last

    @asynccontextmanager
    async def stream(
        self, method: Method[RequestT, ResponseT]
    ) -> AsyncGenerator[StreamCall[RequestT, ResponseT], None]:
        """Yields a call of a streaming method, by the first endpoint that can be connected to. Raises Unreachable."""
        last: StoreError | LinkBrokenError = Unreachable("there is no endpoint")
        for streams in self._streams:
            try:
                call = await streams.open_stream(method)
            except (StoreError, LinkBrokenError) as error:
                last = error
                continue
            try:
                yield call
            finally:
                await call.close()
            return
        raise last


def _revision_of(answer: Message) -> int:
    header = getattr(answer, "header", None)
    return header.revision if isinstance(header, rpc_pb2.ResponseHeader) else 0


def _bytes(text: Text) -> bytes:
    return text.encode() if isinstance(text, str) else text
