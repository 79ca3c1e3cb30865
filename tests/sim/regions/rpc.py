"""What the code under test takes for a gRPC channel: calls over the simulated connections.

As far as it is used: unary calls, streams in both directions, deadlines, cancellation, status and metadata. The other
end is in ``rpc_server.py``.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from typing import Any

import grpc
from grpc import aio
from sim.process import PROCESS
from sim.regions.sites import SiteProcess
from sim.regions.wires import Frame, Listener, Wire, Wires

State = grpc.ChannelConnectivity
_NUMBERS = itertools.count(1)


def failure(code: grpc.StatusCode, details: str, trailing: Sequence[tuple[str, str]] = ()) -> aio.AioRpcError:
    """A call's end without an answer."""
    return aio.AioRpcError(code, aio.Metadata(), aio.Metadata(*trailing), details=details, debug_error_string=None)


class SimChannel:
    """See :class:`grpc.aio.Channel`. Belongs to the process that opened it.

    A dial that failed is not repeated: gRPC would do so after a second, when whoever dials here has closed the channel.
    """

    def __init__(self, wires: Wires, target: Listener | None, port: int) -> None:
        process = PROCESS.get()
        assert isinstance(process, SiteProcess)
        self.process: SiteProcess = process
        self.site = process.site
        self._wires = wires
        self._target = target
        self._port = port
        self._state = State.IDLE
        self._changed = asyncio.Event()
        self._wire: Wire | None = None
        self._dials = 0
        self._calls: dict[int, _Call] = {}

    # ------------------------------------------------------------------ connecting

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        if try_to_connect and self._state is State.IDLE:
            self._become(State.CONNECTING)
            self._dials += 1
            dial = self._dials
            self._wires.dial(self, self._target, self._port, lambda wire: self._dialled(dial, wire))
        return self._state

    async def wait_for_state_change(self, last: grpc.ChannelConnectivity) -> None:
        while self._state is last:
            await self._changed.wait()

    def _become(self, state: grpc.ChannelConnectivity) -> None:
        self._state = state
        self._changed.set()
        self._changed = asyncio.Event()

    def _dialled(self, dial: int, wire: Wire | None) -> None:
        if self._state is not State.CONNECTING or dial != self._dials:
            if wire is not None:
                wire.close()
        elif wire is None or not wire.up:
            self._become(State.TRANSIENT_FAILURE)
        else:
            self._wire = wire
            self._become(State.READY)

    async def close(self, _grace: float | None = None) -> None:
        if self._state is State.SHUTDOWN:
            return
        wire, self._wire = self._wire, None
        self._become(State.SHUTDOWN)
        calls, self._calls = self._calls, {}
        for call in calls.values():
            call.closed()
        if wire is not None:
            wire.close(after_seconds=0.002)

    async def _ready(self) -> Wire:
        while True:
            state = self.get_state(try_to_connect=True)
            if state is State.READY:
                assert self._wire is not None
                return self._wire
            if state is State.SHUTDOWN:
                raise aio.UsageError("Channel is closed.")
            if state is State.TRANSIENT_FAILURE:
                raise failure(grpc.StatusCode.UNAVAILABLE, "connection refused")
            await self.wait_for_state_change(state)

    # ------------------------------------------------------------------ the wire's end

    def on_frame(self, frame: Frame) -> None:
        call = self._calls.get(frame[1])
        if call is not None:
            call.on_frame(frame)

    def on_broken(self) -> None:
        if self._state is State.SHUTDOWN:
            return
        self._wire = None
        self._become(State.IDLE)
        calls, self._calls = self._calls, {}
        for call in calls.values():
            call.fail(failure(grpc.StatusCode.UNAVAILABLE, "the connection broke"))

    # ------------------------------------------------------------------ calls

    def unary_unary(
        self, path: str, request_serializer: Any = None, response_deserializer: Any = None, **_: Any
    ) -> Any:
        async def invoke(request: Any, *, timeout: float | None = None, metadata: Any = None, **_: Any) -> Any:
            data = request_serializer(request) if request_serializer else request
            call = _Unary(self, path, response_deserializer)
            return await call.run(data, timeout, tuple(metadata or ()))

        return invoke

    def stream_stream(
        self, path: str, request_serializer: Any = None, response_deserializer: Any = None, **_: Any
    ) -> Any:
        def invoke(*, metadata: Any = ()) -> _Stream:
            if self._state is State.SHUTDOWN:
                raise aio.UsageError("Channel is closed.")
            return _Stream(self, path, request_serializer, response_deserializer, tuple(metadata))

        return invoke


class _Call:
    """A call under way, at the client."""

    def __init__(self, channel: SimChannel, path: str) -> None:
        self.channel = channel
        self.path = path
        self.number = next(_NUMBERS)

    def send(self, kind: str, *rest: Any) -> None:
        wire = self.channel._wire
        if wire is not None:
            wire.send(self.channel, (kind, self.number, *rest))

    def on_frame(self, frame: Frame) -> None:
        raise AssertionError

    def fail(self, error: aio.AioRpcError) -> None:
        raise AssertionError

    def closed(self) -> None:
        raise AssertionError


class _Unary(_Call):
    def __init__(self, channel: SimChannel, path: str, deserialize: Any) -> None:
        super().__init__(channel, path)
        self._deserialize = deserialize
        self._answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def run(self, data: bytes, timeout: float | None, metadata: tuple[tuple[str, str], ...]) -> Any:
        loop = asyncio.get_running_loop()
        timer = None if timeout is None else loop.call_later(timeout, self._expire)
        deadline = None if timeout is None else loop.time() + timeout
        try:
            if self.channel._state is not State.READY:
                ready = loop.create_task(self.channel._ready())
                await asyncio.wait([ready, self._answer], return_when=asyncio.FIRST_COMPLETED)
                if not ready.done():
                    ready.cancel()
                    return await self._answer
                ready.result()
            if self.channel._wire is None:
                raise failure(grpc.StatusCode.UNAVAILABLE, "the connection broke")
            self.channel._calls[self.number] = self
            self.send("call", self.path, data, metadata, deadline)
            return await self._answer
        except asyncio.CancelledError:
            self.send("cancel")
            raise
        finally:
            if timer is not None:
                timer.cancel()
            self.channel._calls.pop(self.number, None)

    def _expire(self) -> None:
        if not self._answer.done():
            self.send("cancel")
            self._answer.set_exception(failure(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded"))

    def on_frame(self, frame: Frame) -> None:
        if self._answer.done():
            return
        kind, _, value = frame
        if kind == "answer":
            self._answer.set_result(self._deserialize(value) if self._deserialize else value)
        elif kind == "status":
            self._answer.set_exception(failure(*value))

    def fail(self, error: aio.AioRpcError) -> None:
        if not self._answer.done():
            self._answer.set_exception(error)

    def closed(self) -> None:
        self._answer.cancel()


class _Stream(_Call):
    def __init__(
        self, channel: SimChannel, path: str, serialize: Any, deserialize: Any, metadata: tuple[tuple[str, str], ...]
    ) -> None:
        super().__init__(channel, path)
        self._serialize = serialize
        self._deserialize = deserialize
        self._received: asyncio.Queue[Any] = asyncio.Queue()
        self._end: aio.AioRpcError | None = None
        if channel._wire is None:
            self._end = failure(grpc.StatusCode.UNAVAILABLE, "the connection broke")
            self._received.put_nowait(None)
            return
        channel._calls[self.number] = self
        self.send("open", path, metadata)

    async def write(self, request: Any) -> None:
        if self._end is not None:
            raise self._end
        self.send("message", self._serialize(request))

    async def done_writing(self) -> None:
        """No handler waits for the end of what it is sent."""

    async def read(self) -> Any:
        data = await self._received.get()
        if data is not None:
            return self._deserialize(data)
        self._received.put_nowait(None)
        assert self._end is not None
        if self._end.code() is grpc.StatusCode.OK:
            return aio.EOF  # type: ignore[attr-defined] # not in the stubs
        raise self._end

    def cancel(self) -> bool:
        self.send("cancel")
        self.fail(failure(grpc.StatusCode.CANCELLED, "cancelled"))
        return True

    def on_frame(self, frame: Frame) -> None:
        if frame[0] == "message":
            self._received.put_nowait(frame[2])
        elif frame[0] == "status":
            self.fail(failure(*frame[2]))

    def fail(self, error: aio.AioRpcError) -> None:
        self.channel._calls.pop(self.number, None)
        if self._end is None:
            self._end = error
            self._received.put_nowait(None)

    def closed(self) -> None:
        self.fail(failure(grpc.StatusCode.CANCELLED, "the channel was closed"))
