"""What a connection needs of its server, and the server of connections and calls, whichever HTTP they speak."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence, Sized
from typing import Any, Protocol

import grpc

from rstore_wire.frames import Code
from rstore_wire.limits import Limits
from rstore_wire.refusals import Refusals
from rstore_wire.shares import Share

Metadata = Sequence[tuple[str, str | bytes]]
AuthContext = Mapping[str, Sequence[bytes]]
"""A caller's certificate under gRPC's names; empty without one."""
Refusal = tuple[grpc.StatusCode, str, Metadata]


class ServedConnection(Protocol):
    """A connection, as its server knows it."""

    address: str
    peer_name: str
    caller: Any
    share: Share | None
    pending_bytes: int
    incomplete_bytes: int
    closing: bool

    @property
    def streams(self) -> Sized:
        """Its calls that are under way."""

    @property
    def is_welcome(self) -> bool:
        """Whether there is anything that the caller may call."""

    @property
    def idle_since(self) -> float:
        """When its last call ended, in the loop's time; infinity while it has calls."""

    def identify_again(self) -> None:
        """Takes the caller's identity from its certificate anew."""

    def shut_out(self, reason: str) -> None:
        """Ends every call, its servicer's work too, and closes."""

    def leave(self, reason: str) -> None:
        """Takes no new calls."""

    def close(self) -> None:
        """Sends what is to be sent and closes."""

    def abort(self) -> None:
        """Closes at once."""


class ConnectionOfCall(Protocol):
    """What the server needs of the connection that a call came by."""

    incomplete_bytes: int

    def refuse_call(self, call: Any, reason: str) -> None:
        """Counts that the call is given up for ``reason``."""


class ServedCall(Protocol):
    """A call, as its server knows it."""

    task: asyncio.Task[None] | None
    due: float
    ended_here: bool

    @property
    def connection(self) -> ConnectionOfCall:
        """The connection that it came by."""

    @property
    def waits_for_caller(self) -> bool:
        """Whether nothing is done for the call here: its request is not complete, or its answer is not taken."""

    def expire(self, now: float) -> None:
        """Ends the call, since ``due`` has passed at ``now``; unless an answer is being taken, slowly."""

    def end(self, code: grpc.StatusCode, details: str = "", metadata: Metadata = ()) -> None:
        """Ends the call with a status, unless it has been answered."""

    def cancel(self, code: grpc.StatusCode, details: str) -> None:
        """Ends the call with a status, and the servicer's work too."""

    def refuse(self, code: Code) -> None:
        """Ends the call without an answer, and the servicer's work too."""


class Service(Protocol):
    """What is served on a connection: the methods, and the limits that all connections share."""

    max_message_bytes: int
    stream_window_bytes: int
    limits: Limits
    refusals: Refusals
    identify: Callable[[AuthContext], Any]
    welcome: Callable[[Any], bool]

    def share_of(self, connection: ServedConnection) -> Share | None:
        """The share of the server that the connection's caller has, with the connection in it."""

    def find(self, path: str, caller: Any) -> tuple[Any, Refusal | None]:
        """The handler of a method for this caller, or why there is none."""

    def call_opened(self, call: ServedCall) -> bool:
        """Counts a call whose headers have come, and watches its time; False when there is no room for it."""

    def watch_time_of(self, call: ServedCall) -> None:
        """Has the call's ``expire`` called soon after it is due."""

    def call_closed(self, call: ServedCall) -> None:
        """Forgets a call whose last byte has left, or never will, and all that was noted of it."""

    def call_began(self, call: ServedCall) -> None:
        """A servicer is at work, until :meth:`call_ended`; the server's end waits for it."""

    def call_ended(self, call: ServedCall) -> None:
        """The servicer has answered, or never will."""

    def has_room_for(self, call: ServedCall, incomplete_bytes: int) -> bool:
        """Notes how much of a request has come so far; False when it is too much. Others may be given up for it."""

    def release(self, call: ServedCall) -> None:
        """Takes back what was noted of the call's request."""

    def note_unread(self, more_bytes: int) -> None:
        """Counts answers that wait to be read, or (negative) do no longer."""

    def make_room_for_answers(self) -> None:
        """Closes the connection with most unread answers when there are too many of all connections."""

    def connection_began(self, connection: ServedConnection) -> None:
        """Notes a connection that is up."""

    def connection_ended(self, connection: ServedConnection) -> None:
        """Forgets a connection that is gone."""
