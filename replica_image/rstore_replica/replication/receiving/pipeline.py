"""Proposals of one incoming stream: in order, several at a time, bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from rstore_api import errors

from rstore_replica.raft.clock import Clock
from rstore_replica.replication.config import ReplicationConfig
from rstore_replica.replication.ports import RaftGroup
from rstore_replica.replication.waiting import Signal


class Pipeline:
    """Proposes entries without waiting for each other; the first that fails ends it.

    Bounded by the configured window: :meth:`room` waits while that many bytes or entries are being proposed, and so
    the transport's flow control holds the source back.
    """

    def __init__(self, *, group: RaftGroup, clock: Clock, config: ReplicationConfig) -> None:
        self._group = group
        self._clock = clock
        self._config = config
        self._bytes = 0
        self._proposals: set[asyncio.Task[None]] = set()
        self._room = Signal(clock)
        self._on_settled: Callable[[], None] = lambda: None
        self._error: errors.StoreError | None = None
        self._abandoned = ""
        self._closed = False

    @property
    def error(self) -> errors.StoreError | None:
        """Why an entry was not applied; nothing behind it is either."""
        return self._error

    @property
    def abandoned(self) -> str:
        """Why nothing more is taken, "" while it is."""
        return self._abandoned

    @property
    def idle(self) -> bool:
        """Whether no proposal is on its way."""
        return not self._proposals

    @property
    def ended(self) -> bool:
        """Whether this stream will bring nothing more."""
        return self._closed or bool(self._abandoned) or self._error is not None

    def on_settled(self, callback: Callable[[], None]) -> None:
        """Calls back after each proposal has ended and when the stream is abandoned."""
        self._on_settled = callback

    def abandon(self, reason: str) -> None:
        """Takes nothing more. What is proposed already runs on; :meth:`settle` waits for it."""
        if not self._abandoned:
            self._abandoned = reason
        self._room.set()
        self._on_settled()

    def close(self) -> None:
        """The source sends no more; what was taken still runs to its end."""
        self._closed = True
        self._on_settled()

    async def settle(self) -> None:
        """Returns when no proposal is on its way; bounded by the proposals' own deadline."""
        while self._proposals:
            await asyncio.wait(set(self._proposals))

    async def room(self, size_bytes: int) -> bool:
        """Waits until so much more may be proposed; False when nothing may be any more."""
        while not self.ended and self._proposals and not self._has_room_for(size_bytes):
            await self._room.wait(self._config.silence_seconds)
        return not self.ended

    def submit(
        self,
        entry: bytes,
        size_bytes: int,
        expected: bytes | int,
        then: Callable[[], None],
        patience_seconds: float = 0.0,
    ) -> None:
        """Proposes an entry. Calls ``then`` once it is applied with the answer ``expected``; any other ends the
        stream. ``patience_seconds`` is what it may take longer than others.
        """
        self._bytes += size_bytes
        seconds = self._config.propose_seconds + patience_seconds
        task = asyncio.create_task(self._propose(entry, size_bytes, expected, then, seconds), name="replicated-entry")
        self._proposals.add(task)
        task.add_done_callback(self._settled)

    def fail(self, error: errors.StoreError) -> None:
        """Ends the stream; the first error is kept."""
        if self._error is None:
            self._error = error
        self._room.set()
        self._on_settled()

    def _has_room_for(self, size_bytes: int) -> bool:
        return (
            self._bytes + size_bytes <= self._config.window_bytes and len(self._proposals) < self._config.window_batches
        )

    async def _propose(
        self, entry: bytes, size_bytes: int, expected: bytes | int, then: Callable[[], None], seconds: float
    ) -> None:
        try:
            result = await self._group.propose(entry, timeout_seconds=seconds)
        except errors.StoreError as error:
            self.fail(error)
        else:
            if isinstance(result, errors.StoreError):
                self.fail(result)
            elif result != expected:
                self.fail(errors.Gap(f"{expected!r} was expected from what was applied, not {result!r}"))
            else:
                then()
        finally:
            self._bytes -= size_bytes

    def _settled(self, task: asyncio.Task[None]) -> None:
        self._proposals.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.fail(errors.StoreError(f"{task.exception()}"))
        self._room.set()
        self._on_settled()
