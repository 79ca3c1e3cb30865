"""One unary call: a connection that is dialled when it is needed, and what a failed call means.

The rule that matters: after a request that changes something has been handed to a connected channel, a failure that
does not come from a replica leaves the outcome unknown, and nothing here tries again.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from types import TracebackType
from typing import Self

import grpc
from grpc import aio

from rstore_api.dialling.channels import (
    Address,
    ChannelOptions,
    Resolve,
    close,
    first_connected,
    open_channel,
    system_resolve,
)
from rstore_api.dialling.stream import OnFailure, StreamCall
from rstore_api.errors import (
    AuthFailed,
    AuthNotEnabled,
    AuthOldRevision,
    DeadlineExceeded,
    InvalidAuthToken,
    InvalidRequest,
    NoLeader,
    NoPrimary,
    NotLeader,
    NotPrimary,
    NotReady,
    NotSupported,
    OutcomeUnknown,
    PermissionDenied,
    RequestTooLarge,
    ShuttingDown,
    StoreError,
    TooManyRequests,
    Unreachable,
    UserEmpty,
    from_rpc_error,
)
from rstore_api.methods import Method, RequestT, ResponseT
from rstore_api.tls import TlsSource

CONNECT_TIMEOUT_SECONDS = 3.0
DIALS = 3
"""How many dials run beside each other, one begun after the other, while none has come to a connection or an error."""
RETRY_FIRST_SECONDS = 0.02
RETRY_LAST_SECONDS = 0.5

TEMPORARY: tuple[type[StoreError], ...] = (
    NotLeader,
    NoLeader,
    NotPrimary,
    NoPrimary,
    NotReady,
    ShuttingDown,
    TooManyRequests,
    Unreachable,
)
"""Errors with outcome "none" that another replica, or the same one a little later, may not answer."""

_AUTH_BY_TEXT: Mapping[str, type[StoreError]] = {
    kind.text: kind for kind in (AuthFailed, AuthNotEnabled, AuthOldRevision, InvalidAuthToken, UserEmpty)
}
"""Of an etcd, whose errors have no metadata of ours. None of them changes anything."""


def failure_of(error: aio.AioRpcError, *, changes: bool) -> StoreError:
    """Returns what a failed call means to its caller.

    ``changes`` says whether the request may have changed something; such a request's outcome is unknown unless a
    replica, or gRPC's own admission before any handler, said that it did not happen.
    """
    reported = from_rpc_error(error)
    if reported is not None:
        return reported
    code, details = error.code(), error.details() or ""
    if details in _AUTH_BY_TEXT:
        return _AUTH_BY_TEXT[details]()
    refused: dict[grpc.StatusCode, type[StoreError]] = {
        grpc.StatusCode.UNIMPLEMENTED: NotSupported,
        grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
        grpc.StatusCode.UNAUTHENTICATED: PermissionDenied,
        grpc.StatusCode.RESOURCE_EXHAUSTED: RequestTooLarge if "larger than max" in details else TooManyRequests,
        grpc.StatusCode.INVALID_ARGUMENT: InvalidRequest,
    }
    if code in refused:
        return refused[code](details)
    if changes:
        late = code is grpc.StatusCode.DEADLINE_EXCEEDED
        return OutcomeUnknown("no answer before the deadline" if late else details)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlineExceeded("no answer before the deadline")
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
        return Unreachable(details)
    return StoreError(f"{code.name}: {details}")


def retry_delay_seconds(attempt: int, rng: random.Random) -> float:
    """Returns the pause before round ``attempt`` (from 1): exponential between fixed bounds, with jitter of a half."""
    ceiling = min(RETRY_LAST_SECONDS, RETRY_FIRST_SECONDS * 2.0 ** min(attempt - 1, 16))
    return ceiling * (0.5 + rng.random() / 2)


class Connection:
    """One channel, shared by concurrent calls, closed when it is retired and the last of them has ended.

    Closing a channel cancels the calls on it, which would leave writes of other callers with an unknown outcome.
    """

    def __init__(self, channel: aio.Channel) -> None:
        self._channel = channel
        self._in_flight = 0
        self.retired = False
        self.silent = False
        """Whether a call got no answer in all its time: the other side may be gone."""

    async def call(
        self,
        method: Method[RequestT, ResponseT],
        request: RequestT,
        *,
        timeout_seconds: float | None,
        metadata: Sequence[tuple[str, str]] = (),
    ) -> ResponseT:
        """Makes one call. Raises StoreError as :func:`failure_of` says; Unreachable once retired."""
        if self.retired:
            raise Unreachable("the connection was given up just now")
        async with self._in_use():
            try:
                invoke = self._channel.unary_unary(
                    method.path,
                    request_serializer=method.request.SerializeToString,
                    response_deserializer=method.response.FromString,
                )
                response: ResponseT = await invoke(request, timeout=timeout_seconds, metadata=tuple(metadata))
                return response
            except aio.AioRpcError as error:
                self.silent |= error.code() is grpc.StatusCode.DEADLINE_EXCEEDED and from_rpc_error(error) is None
                raise failure_of(error, changes=method.changes) from error
            except aio.UsageError as error:  # closed before anything was sent
                raise Unreachable("the connection was closed") from error
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise  # the caller was cancelled
                raise (OutcomeUnknown if method.changes else Unreachable)("the client was closed") from None

    def open_stream(
        self,
        method: Method[RequestT, ResponseT],
        *,
        metadata: Sequence[tuple[str, str]],
        on_failure: OnFailure | None,
    ) -> StreamCall[RequestT, ResponseT]:
        """Begins a call that streams. Raises Unreachable once retired, LinkBrokenError."""
        if self.retired:
            raise Unreachable("the connection was given up just now")
        stream = StreamCall(self._channel, method, metadata=metadata, release=self._ended, on_failure=on_failure)
        self._in_flight += 1
        return stream

    @property
    def is_ready(self) -> bool:
        """Whether calls can be made: it is connected, as far as is known, and not given up."""
        return not self.retired and self._channel.get_state() is grpc.ChannelConnectivity.READY

    @asynccontextmanager
    async def _in_use(self) -> AsyncIterator[None]:
        self._in_flight += 1
        try:
            yield
        finally:
            await self._ended()

    async def _ended(self) -> None:
        self._in_flight -= 1
        if self.retired and self._in_flight == 0:
            await close(self._channel)

    async def retire(self) -> None:
        """Takes no more calls; closes now or when the last call ends."""
        if not self.retired:
            self.retired = True
            if self._in_flight == 0:
                await close(self._channel)

    async def close(self) -> None:
        """Closes now; calls in flight fail."""
        self.retired = True
        await close(self._channel)


class Endpoint:
    """One address and the connection to it, dialled (and resolved) anew whenever it broke.

    Callers that wait for a connection share the dials. Where one hangs, since nobody is left at the address,
    the name is resolved and dialled again beside it. To be closed, or used with ``async with``.
    """

    def __init__(
        self,
        address: str,
        *,
        tls: TlsSource | None,
        server_name: str | None = None,
        resolve: Resolve = system_resolve,
        connect_timeout_seconds: float = CONNECT_TIMEOUT_SECONDS,
        options: ChannelOptions = (),
        turn: Callable[[], AbstractAsyncContextManager[None]] = nullcontext,
    ) -> None:
        """``address`` is ``host:port``; ``server_name`` is what the certificate must name (default: the host);
        ``options`` are gRPC's for each channel, beside those that all have. It is dialled inside ``turn``, which may
        wait first, and raise StoreError.

        Raises ValueError for an address of another form.
        """
        self.address = Address.parse(address)
        self._connect_timeout_seconds = connect_timeout_seconds
        self._tls = tls
        self._server_name = server_name
        self._resolve = resolve
        self._options = options
        self._turn = turn
        self._waits_for_turn = False
        self._dialling: asyncio.Task[Connection] | None = None
        self._connection: Connection | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def call(
        self,
        method: Method[RequestT, ResponseT],
        request: RequestT,
        *,
        timeout_seconds: float,
        metadata: Sequence[tuple[str, str]] = (),
    ) -> ResponseT:
        """Connects if need be, then makes one call; all within ``timeout_seconds``.

        Raises Unreachable when nothing was sent (no connection), DeadlineExceeded when not even a dial has begun, else
        StoreError as :func:`failure_of` says.
        """
        clock = asyncio.get_running_loop().time
        deadline = clock() + timeout_seconds
        connection = await self._connected(timeout_seconds=min(timeout_seconds, self._connect_timeout_seconds))
        remaining = deadline - clock()
        if remaining <= 0:
            raise Unreachable(f"{self.address}: no time left after connecting")
        try:
            return await connection.call(method, request, timeout_seconds=remaining, metadata=metadata)
        except (Unreachable, OutcomeUnknown):
            await self._drop(connection)
            raise
        except DeadlineExceeded:
            if connection.silent:
                await self._drop(connection)
            raise

    async def open_stream(
        self,
        method: Method[RequestT, ResponseT],
        *,
        metadata: Sequence[tuple[str, str]] = (),
        on_failure: OnFailure | None = None,
    ) -> StreamCall[RequestT, ResponseT]:
        """Begins a call that streams, on the connection that all calls share. The caller closes it.

        ``on_failure`` is called with the status of a stream that has failed. Raises Unreachable when there is no
        connection, LinkBrokenError when it breaks at once.
        """
        connection = await self._connected(timeout_seconds=self._connect_timeout_seconds)
        return connection.open_stream(method, metadata=metadata, on_failure=on_failure)

    async def close(self) -> None:
        """Closes the connection; calls in flight fail."""
        if self._dialling is not None:
            self._dialling.cancel()
            await asyncio.gather(self._dialling, return_exceptions=True)
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _connected(self, *, timeout_seconds: float) -> Connection:
        connection = self._connection
        if connection is not None and connection.is_ready:
            return connection
        if self._dialling is None:
            self._dialling = asyncio.create_task(self._dial())
            self._dialling.add_done_callback(self._dialled)
        try:
            async with asyncio.timeout(timeout_seconds):
                return await asyncio.shield(self._dialling)
        except TimeoutError as error:
            if self._waits_for_turn:
                raise DeadlineExceeded(f"{self.address}: many connections are being opened") from error
            raise Unreachable(f"{self.address}: not connected within {timeout_seconds:.1f} s") from error
        except Unreachable as error:
            raise Unreachable(f"{self.address}: {error.detail}") from error
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise Unreachable(f"{self.address}: the client was closed") from None

    async def _dial(self) -> Connection:
        """A connection that is ready; it takes the place of the one there was. Raises Unreachable."""
        if self._connection is not None:
            await self._drop(self._connection)  # a channel that broke would go to the old address again
        self._waits_for_turn = True
        async with self._turn():
            self._waits_for_turn = False
            channel = await first_connected(
                lambda: open_channel(
                    self.address,
                    tls=self._tls,
                    server_name=self._server_name,
                    resolve=self._resolve,
                    options=self._options,
                ),
                dials=DIALS,
                timeout_seconds=self._connect_timeout_seconds,
            )
        self._connection = Connection(channel)
        return self._connection

    def _dialled(self, task: asyncio.Task[Connection]) -> None:
        self._dialling = None
        self._waits_for_turn = False
        if not task.cancelled():
            task.exception()  # whoever waits has it; nobody may be left

    async def _drop(self, connection: Connection) -> None:
        if self._connection is connection:
            self._connection = None
        await connection.retire()
