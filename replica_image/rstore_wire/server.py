"""A gRPC server on the event loop; takes servicers the way ``grpc.aio.server()`` does."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import grpc
import structlog

from rstore_wire.call import AuthContext, Call, Refusal
from rstore_wire.frames import MAX_WINDOW
from rstore_wire.server_connection import ServerConnection
from rstore_wire.stream import STREAM_WINDOW_BYTES

_log = structlog.get_logger(__name__)

MAX_CONNECTIONS = 4096
MAX_HANDSHAKES = 128
HANDSHAKE_SECONDS = 10.0
MAX_INCOMPLETE_BYTES = 256 << 20
"""Of requests that have come in part, on all connections together."""
DEADLINE_SWEEP_SECONDS = 0.1
ACCEPT_PAUSE_SECONDS = 0.1

Admission = Callable[[str, AuthContext], Refusal | None]
"""Method and the caller's auth context to why it may not call, or None."""
ContextSource = Callable[[], ssl.SSLContext]


class Server:
    """Serves the methods registered with it on the sockets it is given."""

    def __init__(
        self,
        *,
        max_message_bytes: int,
        max_calls: int = 16_384,
        admit: Admission = lambda _method, _auth: None,
        stream_window_bytes: int = STREAM_WINDOW_BYTES,
    ) -> None:
        """``max_calls`` may be under way at once on all connections; ``admit`` is asked about each kind of call.

        A client may send ``stream_window_bytes`` of a stream ahead of who reads it: what a round trip should carry.
        """
        self.max_message_bytes = max_message_bytes
        self.stream_window_bytes = min(stream_window_bytes, MAX_WINDOW)
        self._max_calls = max_calls
        self._admit = admit
        self._handlers: dict[str, Any] = {}
        self._bound: list[tuple[socket.socket, ContextSource | None]] = []
        self._accepting: list[asyncio.Task[None]] = []
        self._handshakes: set[asyncio.Task[None]] = set()
        self._connections: set[ServerConnection] = set()
        self._calls: dict[asyncio.Task[None], Call] = {}
        self._incomplete: dict[Call, int] = {}
        self._incomplete_bytes = 0
        self._sweeping: asyncio.TimerHandle | None = None
        self._idle = asyncio.Event()
        self._idle.set()

    # ------------------------------------------------------------------ services

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """What generated code calls; what is registered last for a method serves it."""
        for name, handler in handlers.items():
            self._handlers[f"/{service}/{name}"] = handler

    def add_generic_rpc_handlers(self, handlers: Sequence[Any]) -> None:
        """What generated code calls as well; the registered handlers say the same."""

    def find(self, path: str, auth: AuthContext) -> tuple[Any, Refusal | None]:
        """Who serves a method for this caller, or why nobody does."""
        refusal = self._admit(path, auth)
        handler = self._handlers.get(path)
        if refusal is None and handler is None:
            refusal = (grpc.StatusCode.UNIMPLEMENTED, "Method not found!", ())
        return handler, refusal

    # ------------------------------------------------------------------ life

    def add_listener(self, listener: socket.socket, contexts: ContextSource | None) -> None:
        """Takes a non-blocking socket that listens, and closes it at the end; connections wait until :meth:`start`.

        ``contexts`` gives the TLS context for each connection; None is plaintext, for tests.
        """
        self._bound.append((listener, contexts))

    async def start(self) -> None:
        """Takes connections from now on."""
        loop = asyncio.get_running_loop()
        self._accepting = [loop.create_task(self._accept(listener, source)) for listener, source in self._bound]

    async def stop(self, grace_seconds: float | None) -> None:
        """Takes no more connections and calls, lets those under way end for so long, then cancels them."""
        for task in (*self._accepting, *self._handshakes):
            task.cancel()
        await asyncio.gather(*self._accepting, *self._handshakes, return_exceptions=True)
        self._accepting.clear()
        for listener, _ in self._bound:
            listener.close()
        self._bound.clear()
        for connection in list(self._connections):
            connection.leave()
        if self._calls and grace_seconds:
            try:
                async with asyncio.timeout(grace_seconds):
                    await self._idle.wait()
            except TimeoutError:
                _log.info("calls_cancelled", calls=len(self._calls))
        calls = dict(self._calls)
        for task, call in calls.items():
            call.end(grpc.StatusCode.UNAVAILABLE, "the server is stopping")
            task.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        for connection in list(self._connections):
            connection.close()
        if self._sweeping is not None:
            self._sweeping.cancel()

    # ------------------------------------------------------------------ connections

    async def _accept(self, listener: socket.socket, contexts: ContextSource | None) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, _ = await loop.sock_accept(listener)
            except OSError as error:  # too many open files: better later than never
                _log.warning("accept_failed", reason=str(error))
                await asyncio.sleep(ACCEPT_PAUSE_SECONDS)
                continue
            if len(self._handshakes) >= MAX_HANDSHAKES or len(self._connections) >= MAX_CONNECTIONS:
                _log.warning("connection_not_taken", connections=len(self._connections))
                accepted.close()
                continue
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            task = loop.create_task(self._begin(accepted, contexts))
            self._handshakes.add(task)
            task.add_done_callback(self._handshakes.discard)

    async def _begin(self, accepted: socket.socket, contexts: ContextSource | None) -> None:
        loop = asyncio.get_running_loop()
        try:
            if contexts is None:
                await loop.connect_accepted_socket(lambda: ServerConnection(self), accepted)
            else:
                await loop.connect_accepted_socket(
                    lambda: ServerConnection(self),
                    accepted,
                    ssl=contexts(),
                    ssl_handshake_timeout=HANDSHAKE_SECONDS,
                )
        except (OSError, ssl.SSLError, TimeoutError) as error:
            _log.debug("handshake_failed", reason=str(error))
            accepted.close()

    def connection_began(self, connection: ServerConnection) -> None:
        """A connection is up."""
        self._connections.add(connection)

    def connection_ended(self, connection: ServerConnection) -> None:
        """A connection is gone."""
        self._connections.discard(connection)

    # ------------------------------------------------------------------ calls

    @property
    def is_full(self) -> bool:
        """Whether as many calls are under way as may be."""
        return len(self._calls) >= self._max_calls

    def call_began(self, task: asyncio.Task[None], call: Call) -> None:
        """A servicer is at work."""
        if not self._calls:
            self._idle.clear()
        self._calls[task] = call
        task.add_done_callback(self._call_ended)
        if call.deadline is not None and self._sweeping is None:
            self._sweep()

    def _call_ended(self, task: asyncio.Task[None]) -> None:
        call = self._calls.pop(task)
        if not self._calls:
            self._idle.set()
        error = None if task.cancelled() else task.exception()
        if error is not None:
            _log.error("call_broke", method=call.head.path, exc_info=error)
        if not call.ended_here:
            call.end(grpc.StatusCode.CANCELLED if error is None else grpc.StatusCode.INTERNAL)

    def has_room_for(self, call: Call, incomplete_bytes: int) -> bool:
        """Notes how much of a request has come so far; False when it is too much with all others."""
        self.release(call)
        self._incomplete[call] = incomplete_bytes
        self._incomplete_bytes += incomplete_bytes
        return self._incomplete_bytes <= MAX_INCOMPLETE_BYTES

    def release(self, call: Call) -> None:
        """What had come of the call's request is no longer held."""
        self._incomplete_bytes -= self._incomplete.pop(call, 0)

    def _sweep(self) -> None:
        """Ends the calls whose deadline has passed. Callers look at their own clocks too: this one may be coarse."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        for call in list(self._calls.values()):
            if call.deadline is not None and call.deadline < now:
                call.cancel(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")
        self._sweeping = loop.call_later(DEADLINE_SWEEP_SECONDS, self._sweep) if self._calls else None
