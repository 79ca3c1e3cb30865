"""A TCP relay between two places, in plain asyncio: delay, loss, a bounded rate, cuts.

Stand-alone, in front of anything that listens (a process of its own carries several hundred MB/s)::

    python -m localkube.links --to 127.0.0.1:2379 --delay-ms 50
    → listening at 127.0.0.1:41873

In a test or a benchmark, inside its own event loop::

    there, back = Link(LinkRule(delay_ms=50)), Link(LinkRule(delay_ms=50))   # a round trip of 100 ms
    async with Relay(("127.0.0.1", 0), ("127.0.0.1", 2379), there, back) as relay:
        ...dial relay.host, relay.port...
        there.change(LinkRule(cut="hang"))                                   # at any time

Between the regions of a local cluster that runs with ``--faults``: :class:`localkube.links.control.LinkFaults`.

What each setting means is described at :class:`~localkube.links.rules.LinkRule`. A dialler's connection is accepted
by the relay at once, whatever the link does; what it sends then waits for the round trip that TCP's handshake takes,
and for ever while the link is cut.
"""

from __future__ import annotations

import asyncio
import random
from typing import Self

from localkube.links.pipe import Link, Pipe
from localkube.links.rules import RESET

MAX_CONNECTIONS = 1024
CONNECT_SECONDS = 5.0
WRITE_BUFFER_BYTES = 1024 * 1024

Place = tuple[str, int]
"""Host and port."""


class _End(asyncio.Protocol):
    """One end of a relayed connection. Bytes of the dialler are not read before the other end is there."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.out: Pipe | None = None
        """Takes what this end sends."""
        self.into: Pipe | None = None
        """Brings what this end receives."""
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        if self.out is not None:
            self.out.feed(data)

    def eof_received(self) -> bool:
        if self.out is not None:
            self.out.feed_eof()
        return True

    def connection_lost(self, _error: Exception | None) -> None:
        if self.into is not None:
            self.into.finish()
        if self.out is not None:
            self.out.feed_closed()
        if not self.lost.done():
            self.lost.set_result(None)

    def pause_writing(self) -> None:
        if self.into is not None:
            self.into.sink_full(True)

    def resume_writing(self) -> None:
        if self.into is not None:
            self.into.sink_full(False)

    def abort(self) -> None:
        """End it at once."""
        if self.transport is not None:
            self.transport.abort()


class _Dialled(_End):
    """The end that dialled the relay."""

    def __init__(self, relay: Relay) -> None:
        super().__init__()
        self._relay = relay

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._relay.accepted(self)


class Relay:
    """Listens at one place and hands connections on to another, along ``there`` and ``back``. Async context manager."""

    def __init__(self, listen: Place, target: Place, there: Link, back: Link, *, seed: int | None = None) -> None:
        """Port 0 is a free one. ``seed`` makes losses the same each time."""
        self._listen, self._target = listen, target
        self._there, self._back = there, back
        self._rng = random.Random(seed)
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._unsubscribe = [link.on_change(self._rule_changed) for link in (there, back)]
        self._changed = asyncio.Event()
        self.host, self.port = listen

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start(self) -> None:
        """Listen; raises OSError when that cannot be."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Dialled(self), *self._listen, backlog=256)
        self.host, self.port = self._server.sockets[0].getsockname()[:2]

    async def close(self) -> None:
        """Stop listening and end every connection."""
        for unsubscribe in self._unsubscribe:
            unsubscribe()
        if self._server is not None:
            self._server.close()
            self._server = None
        await self.break_connections()

    async def break_connections(self) -> None:
        """End every connection at once."""
        tasks = list(self._connections)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def accepted(self, dialled: _End) -> None:
        """A connection has come."""
        if len(self._connections) >= MAX_CONNECTIONS or self._resets:
            dialled.abort()
            return
        task = asyncio.create_task(self._carry(dialled))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    @property
    def _resets(self) -> bool:
        return RESET in (self._there.rule.cut, self._back.rule.cut)

    def _rule_changed(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
        if self._resets:
            for task in self._connections:
                task.cancel()

    async def _carry(self, dialled: _End) -> None:
        """One connection from beginning to end."""
        reached: _End | None = None
        pipes: list[Pipe] = []
        try:
            await self._handshake()
            if dialled.lost.done():
                return
            async with asyncio.timeout(CONNECT_SECONDS):
                _, reached = await asyncio.get_running_loop().create_connection(_End, *self._target)
            assert dialled.transport is not None
            assert reached.transport is not None
            there = Pipe(self._there, self._back, dialled.transport, reached.transport, self._rng)
            back = Pipe(self._back, self._there, reached.transport, dialled.transport, self._rng)
            pipes = [there, back]
            dialled.out, dialled.into, reached.out, reached.into = there, back, back, there
            dialled.transport.resume_reading()
            reached.transport.resume_reading()
            await asyncio.gather(dialled.lost, reached.lost)
        except (OSError, TimeoutError):
            pass  # nobody listens there: the dialler sees its connection end
        finally:
            for pipe in pipes:
                pipe.finish()
            for end in (dialled, reached):
                if end is not None:
                    end.abort()

    async def _handshake(self) -> None:
        """The round trip before the first byte; while a way is cut it does not come to an end."""
        await asyncio.sleep(self._there.rule.delay_seconds + self._back.rule.delay_seconds)
        while self._there.rule.cut or self._back.rule.cut:
            await self._changed.wait()
