"""What the code under test takes for a gRPC server: handlers, contexts and status, over the simulated connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import grpc
from rstore_replica.api.access.callers import ANYBODY, Caller
from rstore_wire.messages import offered
from sim.process import Process
from sim.regions.wires import Frame, Wire

OFFERS_WITH_ROOM = 7
"""One of so many messages of a stream finds the client slow, for FULL_SECONDS."""
FULL_SECONDS = 0.2

OnAnswer = Callable[[str, Any, Any], None]
"""Path, request and response of a call that a process has just answered."""
OnError = Callable[[str, Exception], None]
"""Path and error of a call whose handler ended with something else than a status."""


class Aborted(Exception):  # noqa: N818
    """A handler ended its call with a status."""

    def __init__(self, code: grpc.StatusCode, details: str, trailing: Sequence[tuple[str, str]]) -> None:
        self.status = (code, details, tuple(trailing))
        super().__init__(details)


class SimContext:
    """The context of a call that a handler gets: metadata, deadline and how to end it."""

    def __init__(self, metadata: Sequence[tuple[str, str]], deadline: float | None) -> None:
        self._metadata = tuple(metadata)
        self._deadline = deadline

    def time_remaining(self) -> float | None:
        return None if self._deadline is None else self._deadline - asyncio.get_running_loop().time()

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return self._metadata

    def auth_context(self) -> dict[str, list[bytes]]:
        return {}

    @property
    def caller(self) -> Caller:
        return ANYBODY

    def peer(self) -> str:
        return "ipv4:127.0.0.1:1"

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing: Sequence[tuple[str, str]] = ()) -> None:
        raise Aborted(code, details, trailing)


class StreamContext(SimContext):
    """Of a call whose handler sends by itself. Now and then there is no room for a moment."""

    def __init__(self, metadata: Sequence[tuple[str, str]], send: Callable[[bytes], None]) -> None:
        super().__init__(metadata, None)
        self._send = send
        self._offers = 0

    def offer(self, message: bytes) -> bool:
        self._offers += 1
        if self._offers % OFFERS_WITH_ROOM == 0:
            return False
        self._send(message)
        return True

    def offer_each(self, before: bytes, middles: Sequence[bytes], after: bytes) -> int:
        return offered(self.offer, before, middles, after)

    async def wait_for_room(self) -> None:
        await asyncio.sleep(FULL_SECONDS)

    async def write(self, message: Any) -> None:
        while not self.offer(message.SerializeToString()):
            await self.wait_for_room()


class SimServer:
    """See :class:`grpc.aio.Server`; ``on_answer`` sees every unary call that was answered without an error."""

    def __init__(self, on_answer: OnAnswer, on_error: OnError) -> None:
        self.handlers: dict[str, Any] = {}
        self.on_answer = on_answer
        self.on_error = on_error
        self.serving = False
        self.running: dict[asyncio.Task[None], None] = {}
        self.ends: dict[ServerEnd, None] = {}

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """What is added by method's name is enough."""

    def add_registered_method_handlers(self, service: str, handlers: dict[str, Any]) -> None:
        self.handlers |= {f"/{service}/{name}": handler for name, handler in handlers.items()}

    def identify_again(self, has_lost: object) -> None:
        """Every caller may do everything, whatever the rules are."""

    def know(self, address: str) -> None:
        """Nobody is kept out here."""

    def find(self, path: str, caller: object) -> tuple[Any, None]:
        """Nobody asks by HTTP/1.1 here."""
        return self.handlers.get(path), None

    async def start(self) -> None:
        self.serving = True

    async def stop(self, grace: float | None) -> None:
        self.serving = False
        if self.running and grace:
            await asyncio.wait(list(self.running), timeout=grace)
        for task in list(self.running):
            task.cancel()
        for end in list(self.ends):
            end.wire.close()


class ServerEnd:
    """A connection as the server has it."""

    def __init__(self, server: SimServer, wire: Wire, site: str, process: Process) -> None:
        self.server = server
        self.wire = wire
        self.site = site
        self.process = process
        self._calls: dict[int, asyncio.Task[None]] = {}
        self._incoming: dict[int, asyncio.Queue[bytes | None]] = {}
        server.ends[self] = None

    def on_broken(self) -> None:
        self.server.ends.pop(self, None)
        for queue in self._incoming.values():
            queue.put_nowait(None)
        for task in list(self._calls.values()):
            task.cancel()

    def on_frame(self, frame: Frame) -> None:
        kind, number = frame[0], frame[1]
        if kind == "call":
            _, _, path, data, metadata, deadline = frame
            self._begin(number, self._answer(number, path, data, SimContext(metadata, deadline)), deadline)
        elif kind == "open":
            queue: asyncio.Queue[bytes | None] = asyncio.Queue()
            self._incoming[number] = queue
            self._begin(number, self._stream(number, frame[2], queue, frame[3]), None)
        elif kind == "message":
            if number in self._incoming:
                self._incoming[number].put_nowait(frame[2])
        elif kind == "cancel" and number in self._calls:
            self._calls[number].cancel()

    def _begin(self, number: int, work: Any, deadline: float | None) -> None:
        loop = asyncio.get_running_loop()
        if not self.server.serving:
            work.close()
            self._send("status", number, (grpc.StatusCode.UNAVAILABLE, "the server is stopping", ()))
            return
        task = self._calls[number] = loop.create_task(work)
        self.server.running[task] = None
        timer = None if deadline is None else loop.call_at(deadline, task.cancel)

        def ended(_task: asyncio.Task[None]) -> None:
            if timer is not None:
                timer.cancel()
            self._calls.pop(number, None)
            self._incoming.pop(number, None)
            self.server.running.pop(task, None)

        task.add_done_callback(ended)

    def _send(self, kind: str, number: int, value: Any) -> None:
        self.wire.send(self, (kind, number, value))

    async def _answer(self, number: int, path: str, data: bytes, context: SimContext) -> None:
        handler = self.server.handlers.get(path)
        try:
            if handler is None:
                raise Aborted(grpc.StatusCode.UNIMPLEMENTED, f"no method {path}", ())
            request = handler.request_deserializer(data)
            response = await handler.unary_unary(request, context)
            self.server.on_answer(path, request, response)
            self._send("answer", number, handler.response_serializer(response))
        except Aborted as aborted:
            self._send("status", number, aborted.status)
        except Exception as error:
            self._failed(path, number, error)

    def _failed(self, path: str, number: int, error: Exception) -> None:
        self._send("status", number, (grpc.StatusCode.UNKNOWN, f"{type(error).__name__}: {error}", ()))
        self.server.on_error(path, error)

    async def _stream(
        self, number: int, path: str, queue: asyncio.Queue[bytes | None], metadata: Sequence[tuple[str, str]]
    ) -> None:
        handler = self.server.handlers[path]

        async def requests() -> AsyncIterator[Any]:
            while (data := await queue.get()) is not None:
                yield handler.request_deserializer(data)

        try:
            context = StreamContext(metadata, lambda message: self._send("message", number, message))
            if handler.unary_stream is not None:
                async for request in requests():
                    await handler.unary_stream(request, context)
                    break
                self._send("status", number, (grpc.StatusCode.OK, "", ()))
                return
            answers = handler.stream_stream(requests(), context)
            if hasattr(answers, "__aiter__"):
                async for response in answers:
                    self._send("message", number, handler.response_serializer(response))
            else:
                await answers
            self._send("status", number, (grpc.StatusCode.OK, "", ()))
        except Aborted as aborted:
            self._send("status", number, aborted.status)
            if handler.unary_stream is not None and aborted.status[0] is grpc.StatusCode.INTERNAL:
                self.server.on_error(path, aborted)
        except Exception as error:
            self._failed(path, number, error)
