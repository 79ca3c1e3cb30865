"""One direction of one connection: bytes go in, and come out when the link's rule lets them."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Callable
from typing import Protocol

from localkube.links.rules import RESET, LinkRule

LOSS_UNIT_BYTES = 16 * 1024
RETRANSMIT_SECONDS = 0.2
MAX_RETRANSMISSIONS = 6
TIMER_SECONDS = 0.0005
"""What is due within this is due now: timers are no finer."""


class Link:
    """One way from one place to another, with the rule it has now; pipes hear when that changes."""

    def __init__(self, rule: LinkRule | None = None) -> None:
        self._rule = rule or LinkRule()
        self._listeners: set[Callable[[], None]] = set()

    @property
    def rule(self) -> LinkRule:
        """Returns what it does to bytes."""
        return self._rule

    def change(self, rule: LinkRule) -> None:
        """From now on; what is on its way keeps the delay it was given."""
        if rule != self._rule:
            self._rule = rule
            for listener in list(self._listeners):
                listener()

    def on_change(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call this at each change, until what is returned is called."""
        self._listeners.add(listener)
        return lambda: self._listeners.discard(listener)


class Sink(Protocol):
    """Where bytes come out: a transport."""

    def write(self, data: bytes) -> None:
        """Send."""

    def is_closing(self) -> bool:
        """Returns whether it takes nothing any more."""

    def write_eof(self) -> None:
        """End the sending half. Raises OSError when the other side is gone."""

    def close(self) -> None:
        """End it when all is sent."""

    def abort(self) -> None:
        """End it at once."""


class Source(Protocol):
    """Where bytes come from: a transport that can be paused."""

    def pause_reading(self) -> None:
        """Read no more for now."""

    def resume_reading(self) -> None:
        """Read on."""


_EOF, _CLOSED = b"eof", b"closed"
"""Marks in the queue, distinguished from data by identity: the end travels as data does."""


class Pipe:
    """Carries bytes from ``source`` to ``sink`` as ``link`` says, in order, holding a bounded number of them."""

    def __init__(self, link: Link, back: Link, source: Source, sink: Sink, rng: random.Random) -> None:
        """``back`` is the other way, for the round trip that a repetition takes."""
        self._link, self._back = link, back
        self._source, self._sink = source, sink
        self._rng = rng
        self._loop = asyncio.get_running_loop()
        self._queue: deque[tuple[float, bytes]] = deque()
        self._held_bytes = 0
        self._last_due = 0.0
        self._sent_until = 0.0
        self._sink_full = False
        self._source_waits = False
        self._timer: asyncio.TimerHandle | None = None
        self._finished = False
        self._forget = link.on_change(self._rule_changed)

    def feed(self, data: bytes) -> None:
        """Bytes have come in."""
        if self._finished or self._sink.is_closing():
            return
        rule = self._link.rule
        if rule.passes_at_once and not self._queue and not self._sink_full:
            self._sink.write(data)
            return
        if rule.loss_percent and len(data) > LOSS_UNIT_BYTES:
            for start in range(0, len(data), LOSS_UNIT_BYTES):
                self._enqueue(data[start : start + LOSS_UNIT_BYTES], rule)
        else:
            self._enqueue(data, rule)
        self._deliver()

    def feed_eof(self) -> None:
        """The sending side will send no more."""
        self._enqueue_mark(_EOF)

    def feed_closed(self) -> None:
        """The sending side is gone; that is news which takes its time, too."""
        self._enqueue_mark(_CLOSED)

    def sink_full(self, full: bool) -> None:
        """The receiving side does not, or does again, take more."""
        self._sink_full = full
        if not full:
            self._deliver()
        elif self._link.rule.passes_at_once:
            self._wait_if_full()

    def finish(self) -> None:
        """Carry nothing any more."""
        self._finished = True
        self._forget()
        self._queue.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _enqueue(self, data: bytes, rule: LinkRule) -> None:
        now = self._loop.time()
        if rule.bytes_per_second:
            self._sent_until = max(self._sent_until, now) + len(data) / rule.bytes_per_second
        else:
            self._sent_until = now
        due = self._sent_until + rule.delay_seconds + self._stall_seconds(rule)
        self._last_due = max(self._last_due, due)
        self._queue.append((self._last_due, data))
        self._held_bytes += len(data)
        self._wait_if_full()

    def _enqueue_mark(self, mark: bytes) -> None:
        if self._finished:
            return
        self._last_due = max(self._last_due, self._loop.time() + self._link.rule.delay_seconds)
        self._queue.append((self._last_due, mark))
        self._deliver()

    def _stall_seconds(self, rule: LinkRule) -> float:
        if not rule.loss_percent:
            return 0.0
        timeout = RETRANSMIT_SECONDS + rule.delay_seconds + self._back.rule.delay_seconds
        stall = 0.0
        for _ in range(MAX_RETRANSMISSIONS):
            if self._rng.random() * 100 >= rule.loss_percent:
                break
            stall += timeout
            timeout *= 2
        return stall

    def _wait_if_full(self) -> None:
        full = self._held_bytes >= self._link.rule.buffer_bytes or (self._sink_full and self._link.rule.passes_at_once)
        if full and not self._source_waits:
            self._source_waits = True
            self._source.pause_reading()

    def _read_on(self) -> None:
        if self._source_waits and not self._sink_full and self._held_bytes <= self._link.rule.buffer_bytes // 2:
            self._source_waits = False
            self._source.resume_reading()

    def _rule_changed(self) -> None:
        if self._link.rule.cut == RESET:
            return  # whoever owns the connection breaks it
        self._deliver()

    def _deliver(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._sink.is_closing():
            self.finish()
            return
        now = self._loop.time() + TIMER_SECONDS
        while self._queue and not self._sink_full and not self._link.rule.cut and self._queue[0][0] <= now:
            _, data = self._queue.popleft()
            if data is _EOF:
                with contextlib.suppress(OSError):  # the other side is gone, and that comes next
                    self._sink.write_eof()
            elif data is _CLOSED:
                self.finish()
                self._sink.close()
                return
            else:
                self._held_bytes -= len(data)
                self._sink.write(data)
        self._read_on()
        if self._queue and not self._sink_full and not self._link.rule.cut:
            self._timer = self._loop.call_at(self._queue[0][0], self._deliver)
