"""A network without sockets, and the time that passes on it, for the tests of replication."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from rstore_api.dialling.stream import LinkBrokenError
from rstore_api.proto import rstore_pb2 as pb
from rstore_replica.raft.clock import SystemClock, Timer
from rstore_replica.replication.service import Replication


class FastClock(SystemClock):
    """A clock whose seconds pass ``rate`` times as fast."""

    def __init__(self, rate: float) -> None:
        self._rate = rate

    def monotonic(self) -> float:
        return super().monotonic() * self._rate

    def call_later(self, delay_seconds: float, callback: Callable[[], None]) -> Timer:
        return super().call_later(delay_seconds / self._rate, callback)


class LongestPauses:
    """A random source that always takes the longest pause, and remembers them."""

    def __init__(self) -> None:
        self.pauses: list[float] = []

    def uniform(self, _low: float, high: float) -> float:
        self.pauses.append(high)
        return high


class Pipe:
    """One direction of a connection: messages arrive in order, each ``delay()`` seconds after it was put in."""

    def __init__(self, delay: Callable[[], float]) -> None:
        self._delay = delay
        self._queue: asyncio.Queue[tuple[float, object]] = asyncio.Queue()
        self.broken = asyncio.Event()

    def put(self, message: object) -> None:
        """None is the orderly end."""
        self._queue.put_nowait((asyncio.get_running_loop().time() + self._delay(), message))

    async def get(self) -> object:
        taken = asyncio.ensure_future(self._take())
        broken = asyncio.ensure_future(self.broken.wait())
        try:
            await asyncio.wait({taken, broken}, return_when=asyncio.FIRST_COMPLETED)
            if taken.done():
                return taken.result()
            raise LinkBrokenError("the network broke")
        finally:
            taken.cancel()
            broken.cancel()

    async def _take(self) -> object:
        due, message = await self._queue.get()
        await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))
        return message


@dataclass
class FakeNetwork:
    """Connects senders to receivers by address; links can be slow, cut, or swallow everything."""

    replications: dict[str, Replication] = field(default_factory=dict)
    down: set[str] = field(default_factory=set)  # addresses that refuse connections
    silent: bool = False  # connections are made, but nothing arrives
    delay_seconds: float = 0.0
    attempts: list[str] = field(default_factory=list)
    connections: set[FakeConnection] = field(default_factory=set)

    async def connect(self, address: str) -> FakeConnection:
        self.attempts.append(address)
        await asyncio.sleep(0)
        if address in self.down or address not in self.replications:
            raise LinkBrokenError(f"{address}: connection refused")
        return FakeConnection(self, self.replications[address])

    def break_all(self) -> None:
        """Every open connection breaks, what is on its way is lost."""
        for connection in list(self.connections):
            connection.break_it()


class FakeConnection:
    """See ``ports.StreamConnection``; runs the receiver's side as a task."""

    def __init__(self, network: FakeNetwork, server: Replication) -> None:
        self._network = network
        self._up = Pipe(lambda: network.delay_seconds)
        self._down = Pipe(lambda: network.delay_seconds)
        self._serving = asyncio.create_task(self._serve(server))
        network.connections.add(self)

    async def _requests(self) -> AsyncIterator[pb.StreamRequest]:
        while (message := await self._up.get()) is not None:
            assert isinstance(message, bytes)
            yield pb.StreamRequest.FromString(message)

    async def _serve(self, server: Replication) -> None:
        try:
            async for response in server.receiver.serve(self._requests()):
                if not self._network.silent:
                    self._down.put(response.SerializeToString())
            self._down.put(None)
        except LinkBrokenError:
            self._down.broken.set()

    def break_it(self) -> None:
        self._up.broken.set()
        self._down.broken.set()

    async def send(self, request: pb.StreamRequest) -> None:
        await asyncio.sleep(0)
        if self._up.broken.is_set():
            raise LinkBrokenError("the network broke")
        if not self._network.silent:
            self._up.put(request.SerializeToString())

    async def receive(self) -> pb.StreamResponse | None:
        message = await self._down.get()
        return pb.StreamResponse.FromString(message) if isinstance(message, bytes) else None

    async def close(self) -> None:
        self.break_it()
        self._network.connections.discard(self)
        await asyncio.wait({self._serving})
