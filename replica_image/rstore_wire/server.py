"""A gRPC server on the event loop; takes servicers the way ``grpc.aio.server()`` does."""

from __future__ import annotations

import asyncio
import math
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import grpc
import structlog

from rstore_wire.acquaintances import Acquaintances
from rstore_wire.beginning import Beginning
from rstore_wire.connection import plain_address
from rstore_wire.exchange import HttpApplication
from rstore_wire.frames import MAX_WINDOW, Code
from rstore_wire.handshakes import Handshakes
from rstore_wire.limits import Limits
from rstore_wire.refusals import Refusals
from rstore_wire.service import AuthContext, Refusal, ServedCall, ServedConnection
from rstore_wire.shares import Share, Shares
from rstore_wire.stream import STREAM_WINDOW_BYTES

_log = structlog.get_logger(__name__)

SWEEP_SECONDS = 0.1
"""At least, between two looks for calls whose time is over."""
ACCEPT_PAUSE_SECONDS = 0.1

Admission = Callable[[str, Any], Refusal | None]
"""Method and caller to why it may not call, or None."""
ContextSource = Callable[[], ssl.SSLContext]


class Server:
    """Serves the methods registered with it on the sockets it is given."""

    def __init__(
        self,
        *,
        max_message_bytes: int,
        limits: Limits | None = None,
        identify: Callable[[AuthContext], Any] = lambda auth: auth,
        share_of: Callable[[Any], tuple[str, int] | None] = lambda _caller: None,
        admit: Admission = lambda _method, _caller: None,
        welcome: Callable[[Any], bool] = lambda _caller: True,
        stream_window_bytes: int = STREAM_WINDOW_BYTES,
        on_refusal: Callable[[str], object] = lambda _reason: None,
    ) -> None:
        """``identify`` makes of a connection's certificate what is known of its caller, once, and anew when
        :meth:`identify_again` is called. ``share_of`` gives the name of a caller's share of the server and how many
        calls may be under way in it, None where the caller has no bound of its own. ``admit`` is asked about each kind
        of call, ``welcome`` about a caller: the connection of one that is not welcome ends after
        ``limits.handshake_seconds``. ``on_refusal`` is called with the reason of each refusal.

        A client may send ``stream_window_bytes`` of a stream before the program reads it: what a round trip carries.
        """
        self.max_message_bytes = max_message_bytes
        self.stream_window_bytes = min(stream_window_bytes, MAX_WINDOW)
        self.limits = limits or Limits()
        self.refusals = Refusals(time.monotonic, on_refusal)
        self.identify = identify
        self._share_of = share_of
        self._shares = Shares()
        self.welcome = welcome
        self._admit = admit
        self.http: HttpApplication | None = None
        """What answers HTTP/1.1; None: only HTTP/2 is spoken."""
        self._handlers: dict[str, Any] = {}
        self._bound: list[tuple[socket.socket, ContextSource | None]] = []
        self._accepting: list[asyncio.Task[None]] = []
        self._handshakes: Handshakes[asyncio.Task[None]] = Handshakes(self.limits.handshakes)
        self._acquaintances = Acquaintances(self.limits.acquaintances)
        self._connections: set[ServedConnection] = set()
        self._addresses: Counter[str] = Counter()
        self._serving: dict[ServedCall, None] = {}
        self._open: dict[ServedCall, None] = {}
        self._incomplete: dict[ServedCall, int] = {}
        self._incomplete_bytes = self._unread_bytes = 0
        self._sweeping: asyncio.TimerHandle | None = None
        self._sweeps_at = math.inf
        self._swept_at = -math.inf
        self._idle: asyncio.Event | None = None
        """Set while no servicer is at work; there is one once the server stops."""

    # ------------------------------------------------------------------ services

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """What generated code calls; what is registered last for a method serves it."""
        for name, handler in handlers.items():
            self._handlers[f"/{service}/{name}"] = handler

    def add_generic_rpc_handlers(self, handlers: Sequence[Any]) -> None:
        """What generated code calls as well; the registered handlers say the same."""

    def find(self, path: str, caller: Any) -> tuple[Any, Refusal | None]:
        """Who serves a method for this caller, or why nobody does."""
        refusal = self._admit(path, caller)
        handler = self._handlers.get(path)
        if refusal is not None:
            self.refusals.add("not_admitted", method=path, text=refusal[1])
        elif handler is None:
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
        """Takes no more connections and calls; cancels those that are under way after ``grace_seconds``."""
        for task in (*self._accepting, *self._handshakes):
            task.cancel()
        await asyncio.gather(*self._accepting, *self._handshakes, return_exceptions=True)
        self._accepting.clear()
        for listener, _ in self._bound:
            listener.close()
        self._bound.clear()
        for connection in list(self._connections):
            connection.leave("the server is stopping")
        await asyncio.sleep(0)  # so that the tasks of all calls that were taken have begun
        if self._serving and grace_seconds:
            self._idle = asyncio.Event()
            try:
                async with asyncio.timeout(grace_seconds):
                    await self._idle.wait()
            except TimeoutError:
                _log.info("calls_cancelled", calls=len(self._serving))
        tasks = []
        for call in list(self._serving):
            call.end(grpc.StatusCode.UNAVAILABLE, "the server is stopping")
            if call.task is not None:
                call.task.cancel()
                tasks.append(call.task)
        await asyncio.gather(*tasks, return_exceptions=True)
        for connection in list(self._connections):
            connection.close()
        if self._sweeping is not None:
            self._sweeping.cancel()

    # ------------------------------------------------------------------ connections

    async def _accept(self, listener: socket.socket, contexts: ContextSource | None) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, peer = await loop.sock_accept(listener)
            except OSError as error:  # too many open files: better later than never
                _log.warning("accept_failed", reason=str(error))
                await asyncio.sleep(ACCEPT_PAUSE_SECONDS)
                continue
            address = plain_address(peer[0])
            if not self._has_room_for(address):
                self.refusals.add("connections", address=address)
                accepted.close()
                continue
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            task = loop.create_task(self._begin(accepted, contexts))
            given_up = self._handshakes.add(task, address, known=address in self._acquaintances)
            task.add_done_callback(self._handshakes.discard)
            if given_up is not None:
                self.refusals.add("handshakes", address=address)
                given_up.cancel()

    def know(self, address: str) -> None:
        """Callers from this address are welcome, as far as its owner is concerned: strangers do not keep them out."""
        self._acquaintances.note(plain_address(address))

    def _has_room_for(self, address: str) -> bool:
        """Whether one more connection may begin; one that is idle ends for it, first of all one of a caller that is not
        welcome.
        """
        of_address = self._addresses[address] >= self.limits.connections_per_address
        if not of_address and len(self._connections) < self.limits.connections:
            return True
        idle = min(
            (each for each in self._connections if not of_address or each.address == address),
            key=lambda each: (each.is_welcome, each.idle_since),
            default=None,
        )
        if idle is None or (idle.is_welcome and idle.idle_since == math.inf):
            return False
        self.refusals.add("idle_connection", peer=idle.peer_name)
        idle.leave("its place is needed")
        idle.close()
        self.connection_ended(idle)
        return True

    async def _begin(self, accepted: socket.socket, contexts: ContextSource | None) -> None:
        """Returns once the connection speaks a protocol, or has ended."""
        loop = asyncio.get_running_loop()
        beginning = Beginning(self, self.http)
        try:
            async with asyncio.timeout(None if contexts is not None else self.limits.handshake_seconds):
                await loop.connect_accepted_socket(
                    lambda: beginning,
                    accepted,
                    ssl=contexts() if contexts is not None else None,
                    ssl_handshake_timeout=self.limits.handshake_seconds if contexts is not None else None,
                )
                await beginning.decided
        except (OSError, ssl.SSLError, TimeoutError) as error:
            self.refusals.add("handshake_failed", error=str(error))
            if not beginning.abort():
                accepted.close()
        except asyncio.CancelledError:
            if not beginning.abort():
                accepted.close()
            raise

    def connection_began(self, connection: ServedConnection) -> None:
        """A connection is up."""
        self._connections.add(connection)
        self._addresses[connection.address] += 1
        if connection.is_welcome:
            self._acquaintances.note(connection.address)

    def connection_ended(self, connection: ServedConnection) -> None:
        """A connection is gone."""
        if connection.share is not None:
            connection.share.connections.discard(connection)
        if connection in self._connections:
            self._connections.discard(connection)
            self._addresses[connection.address] -= 1
            if not self._addresses[connection.address]:
                del self._addresses[connection.address]

    def share_of(self, connection: ServedConnection) -> Share | None:
        """Returns the share of the server that the connection's caller has, with the connection in it."""
        share = self._share_of(connection.caller)
        return None if share is None else self._shares.join(connection, *share)

    def identify_again(self, has_lost: Callable[[Any, Any], bool]) -> None:
        """Asks ``identify`` about every connection again, and closes at once, with their streams, those about whose
        caller, as it was and as it is, ``has_lost`` returns true. The others go on."""
        for connection in list(self._connections):
            if connection.closing:
                continue
            before = connection.caller
            connection.identify_again()
            if has_lost(before, connection.caller):
                self.refusals.add("shut_out", peer=connection.peer_name)
                connection.shut_out("the caller may do less than before")

    # ------------------------------------------------------------------ calls

    def _make_room(self) -> bool:
        """Ends the oldest call that waits for its caller, for a new one; returns whether there was one."""
        waiting = next((call for call in self._open if call.waits_for_caller), None)
        if waiting is None:
            return False
        waiting.connection.refuse_call(waiting, "calls_waiting_for_their_caller")
        waiting.refuse(Code.CANCEL)
        return True

    @property
    def kept(self) -> dict[str, int]:
        """What is kept for callers: calls, tasks, bytes of requests and answers. All 0 when nobody asks anything."""
        return {
            "calls": len(self._open),
            "tasks": len(self._serving),
            "incomplete_requests": len(self._incomplete),
            "incomplete_bytes": self._incomplete_bytes,
            "unread_bytes": self._unread_bytes,
        }

    def call_opened(self, call: ServedCall) -> bool:
        """Counts a call whose headers have come, and watches its time; False when there is no room for it."""
        calls = self._open
        has_room = len(calls) < self.limits.calls or self._make_room()
        calls[call] = None
        if call.due < self._sweeps_at:
            self._plan_sweep(call.due)
        return has_room

    def watch_time_of(self, call: ServedCall) -> None:
        """Has the call's ``expire`` called soon after it is due."""
        if call.due < self._sweeps_at:
            self._plan_sweep(call.due)

    def call_closed(self, call: ServedCall) -> None:
        """Forgets a call whose last byte has left, or never will, and all that was noted of it."""
        self._open.pop(call, None)
        if self._incomplete:
            self.release(call)

    def call_began(self, call: ServedCall) -> None:
        """A servicer is at work, until :meth:`call_ended`; :meth:`stop` waits for it."""
        self._serving[call] = None

    def call_ended(self, call: ServedCall) -> None:
        """The servicer has answered, or never will."""
        del self._serving[call]
        if not self._serving and self._idle is not None:
            self._idle.set()
        if not call.ended_here:
            call.end(grpc.StatusCode.CANCELLED)

    def has_room_for(self, call: ServedCall, incomplete_bytes: int) -> bool:
        """Notes how much of a request has come so far; False when it is too much of its connection.

        When there is too much of all connections, the oldest of the requests are given up: those that come slowly.
        """
        more = incomplete_bytes - self._incomplete.get(call, 0)
        self._incomplete[call] = incomplete_bytes
        self._incomplete_bytes += more
        call.connection.incomplete_bytes += more
        share = max(self.limits.incomplete_bytes_per_connection, 2 * self.max_message_bytes)
        if call.connection.incomplete_bytes > share:
            return False
        while self._incomplete_bytes > self.limits.incomplete_bytes:
            oldest = next(iter(self._incomplete))
            if oldest is call:
                return False
            oldest.connection.refuse_call(oldest, "incomplete_requests")
            oldest.cancel(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many large requests at once")
            self.release(oldest)
        return True

    def release(self, call: ServedCall) -> None:
        """What had come of the call's request is no longer kept."""
        size = self._incomplete.pop(call, 0)
        self._incomplete_bytes -= size
        call.connection.incomplete_bytes -= size

    def note_unread(self, more_bytes: int) -> None:
        """Counts answers that wait to be read, or (negative) do no longer."""
        self._unread_bytes += more_bytes

    def make_room_for_answers(self) -> None:
        """Closes the connections with most unread answers while there are too many of all connections."""
        if self._unread_bytes <= self.limits.unread_bytes:
            return
        connections = sorted(
            (each for each in self._connections if not each.closing), key=lambda each: each.pending_bytes
        )
        unread = sum(each.pending_bytes for each in connections)
        while connections and unread > self.limits.unread_bytes:
            largest = connections.pop()
            unread -= largest.pending_bytes
            self.refusals.add("connection_with_most_unread_answers", peer=largest.peer_name)
            largest.abort()

    def _plan_sweep(self, at: float) -> None:
        if self._sweeping is not None:
            self._sweeping.cancel()
        self._sweeps_at = max(at, self._swept_at + SWEEP_SECONDS)
        self._sweeping = asyncio.get_running_loop().call_at(self._sweeps_at, self._sweep)

    def _sweep(self) -> None:
        """Ends the calls whose time is over. Callers look at their own clocks too: this one may be coarse."""
        self._swept_at = now = asyncio.get_running_loop().time()
        self._sweeping, self._sweeps_at = None, math.inf
        for call in [call for call in self._open if call.due <= now]:
            call.expire(now)
        earliest = min((call.due for call in self._open), default=math.inf)
        if earliest < math.inf:
            self._plan_sweep(earliest)
