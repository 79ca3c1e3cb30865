"""Connections between processes at different sites: ordered, never losing one message, and breaking at any time.

What is sent over a cut waits, as TCP keeps it, until the cut is healed or the connection breaks.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
from collections.abc import Callable
from typing import Any, Protocol

from sim.process import Process
from sim.trace import Trace

NEAR_SECONDS = (0.0002, 0.0015)
"""Range of the delay inside a site."""
DIAL_AGAIN_SECONDS = 0.3

Frame = tuple[Any, ...]

WORLD = contextvars.Context()
"""Of no process: what is scheduled in it happens whoever dies."""


class End(Protocol):
    """One process' side of a connection."""

    @property
    def site(self) -> str:
        """Where it is."""

    @property
    def process(self) -> Process:
        """Whose it is."""

    def on_frame(self, frame: Frame) -> None:
        """A message has arrived."""

    def on_broken(self) -> None:
        """The connection is no more."""


class Listener(Protocol):
    """Where one may connect to."""

    site: str
    powered: bool

    def accept(self, port: int, wire: Wire) -> End | None:
        """The server's end, or None when nobody listens there."""


class Wire:
    """A connection: ``ends[0]`` has dialled."""

    def __init__(self, wires: Wires, client: End) -> None:
        self._wires = wires
        self.client = client
        self.server: End | None = None
        self.up = False
        self.held: list[tuple[End, Frame]] = []
        self._last_arrival: dict[int, float] = {}

    def other(self, end: End) -> End:
        """Who is at the other end."""
        other = self.server if end is self.client else self.client
        assert other is not None
        return other

    def send(self, end: End, frame: Frame) -> None:
        """Takes a message of one end for the other."""
        if not self.up:
            return
        if self._wires.is_cut(end.site, self.other(end).site):
            self.held.append((end, frame))
        else:
            self.dispatch(end, frame)

    def dispatch(self, end: End, frame: Frame) -> None:
        """On its way."""
        other = self.other(end)
        when = max(self._wires.arrival(end.site, other.site), self._last_arrival.get(id(other), 0.0) + 1e-6)
        self._last_arrival[id(other)] = when
        self._wires.loop.call_at(when, self._deliver, other, frame, context=other.process.context())

    def _deliver(self, end: End, frame: Frame) -> None:
        if self.up:
            end.on_frame(frame)

    def close(self, *, after_seconds: float = 0.0) -> None:
        """Breaks it; each end is notified after ``after_seconds``."""
        if not self.up:
            return
        self.up = False
        self._wires.forget(self)
        for end in (self.client, self.other(self.client)):
            self._wires.loop.call_later(after_seconds, end.on_broken, context=end.process.context())


class Wires:
    """All connections, and which sites cannot reach which."""

    def __init__(self, loop: asyncio.AbstractEventLoop, rng: random.Random, trace: Trace) -> None:
        self.loop = loop
        self._rng = rng
        self._trace = trace
        self._cut: set[tuple[str, str]] = set()
        self._wires: dict[Wire, None] = {}
        self._far: dict[tuple[str, str], float] = {}
        self._near: set[tuple[str, str]] = set()
        self.far_seconds = (0.002, 0.04)
        self.extra_seconds = 0.0
        """Added to every delay between regions, while the long lines are slow."""
        self.silence_seconds = 3.0
        """A connection that is cut for this long breaks."""

    # ------------------------------------------------------------------ distance

    def neighbours(self, one: str, other: str) -> None:
        """These two sites are in the same place."""
        self._near |= {(one, other), (other, one)}

    def arrival(self, sender: str, receiver: str) -> float:
        """When what is sent now gets there."""
        rng = self._rng
        now = self.loop.time()
        if sender == receiver or (sender, receiver) in self._near:
            return now + rng.uniform(*NEAR_SECONDS)
        pair = (min(sender, receiver), max(sender, receiver))
        base = self._far.get(pair)
        if base is None:
            base = self._far[pair] = rng.uniform(*self.far_seconds)
        return now + base * rng.uniform(1.0, 1.3) + self.extra_seconds

    # ------------------------------------------------------------------ faults

    def is_cut(self, sender: str, receiver: str) -> bool:
        """Whether nothing gets from one to the other."""
        return (sender, receiver) in self._cut

    def cut(self, pairs: set[tuple[str, str]]) -> None:
        """Nothing gets from the first to the second site of each pair, besides what is cut already."""
        self._cut |= pairs
        for wire in list(self._wires):
            if self._is_silent(wire):
                delay = self.silence_seconds * self._rng.uniform(0.3, 1.0)
                self.loop.call_later(delay, self._give_up, wire, context=WORLD)

    def heal(self, pairs: set[tuple[str, str]] | None = None) -> None:
        """Mends these cuts, or all."""
        self._cut = set() if pairs is None else self._cut - pairs
        for wire in list(self._wires):
            held, wire.held = wire.held, []
            for end, frame in held:
                wire.send(end, frame)

    def drop(self, site: str, other: str) -> None:
        """Every connection between the two breaks, and may be made again."""
        for wire in list(self._wires):
            if wire.server is not None and {wire.client.site, wire.server.site} == {site, other}:
                wire.close()

    def _is_silent(self, wire: Wire) -> bool:
        assert wire.server is not None
        return self.is_cut(wire.client.site, wire.server.site) or self.is_cut(wire.server.site, wire.client.site)

    def _give_up(self, wire: Wire) -> None:
        if wire.up and self._is_silent(wire):
            wire.close()

    # ------------------------------------------------------------------ life

    def dial(self, client: End, target: Listener | None, port: int, done: Callable[[Wire | None], None]) -> Wire:
        """Begins to connect. ``done`` is called in the client's process: with the connection, or with None when it is
        refused; not while the line is cut.
        """
        wire = Wire(self, client)

        def knock() -> None:
            if target is None:
                self.loop.call_later(0.001, done, None, context=client.process.context())
                return
            lost = self.is_cut(client.site, target.site) or self.is_cut(target.site, client.site)
            if lost or not target.powered:
                self.loop.call_later(DIAL_AGAIN_SECONDS, knock, context=client.process.context())
                return
            wire.server = target.accept(port, wire)
            if wire.server is not None:
                wire.up = True
                self._wires[wire] = None
            back = 2 * (self.arrival(target.site, client.site) - self.loop.time())
            self.loop.call_later(back, done, wire if wire.server else None, context=client.process.context())

        knock()
        return wire

    def died(self, process: Process, *, silently: bool) -> None:
        """A process has ended; ``silently``: its machine too, and no peer is notified."""
        for wire in list(self._wires):
            if wire.server is not None and process in (wire.client.process, wire.server.process):
                delay = self.silence_seconds * self._rng.uniform(0.3, 1.0) if silently else 0.002
                self.loop.call_later(delay, wire.close, context=WORLD)

    def forget(self, wire: Wire) -> None:
        """It is no more."""
        self._wires.pop(wire, None)
