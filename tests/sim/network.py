"""Links between processes: late, lost, twice, out of order, cut in one direction or both; all by the world's seed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from rstore_api.proto import raft_pb2 as pb
from sim.process import Process
from sim.trace import Trace

SILENCE_SECONDS = 3.0

OnSend = Callable[[str, str, str], None]
"""Sender, receiver, kind of the message; called when it has left."""
Lag = Callable[[str, str, str], float]
"""By how many seconds this message is later than others, which then overtake it."""


@dataclass
class Weather:
    """How the network is at the moment."""

    delay_seconds: tuple[float, float] = (0.0005, 0.005)
    loss: float = 0.0
    duplication: float = 0.0
    reorder: float = 0.0
    """Probability that a message may be overtaken."""


@dataclass(eq=False)
class _Link:
    """A connection of two processes, while it lasts."""

    ends: tuple[SimTransport, SimTransport]
    up: bool = True
    last_arrival: dict[str, float] = field(default_factory=dict)
    held: list[tuple[str, str, str, bytes]] = field(default_factory=list)


class Network:
    """Everybody's links, and who cannot reach whom."""

    def __init__(self, loop: asyncio.AbstractEventLoop, rng: random.Random, trace: Trace) -> None:
        self._loop = loop
        self._rng = rng
        self._trace = trace
        self._ends: dict[str, SimTransport] = {}
        self._links: dict[tuple[str, str], _Link] = {}
        self._cut: set[tuple[str, str]] = set()
        self.weather = Weather()
        self.holding = False
        """What is sent over a cut arrives once it is healed, if the connection lasts so long; else it is lost."""
        self.silence_seconds = SILENCE_SECONDS
        """A connection that is cut for this long breaks."""
        self.lag: Lag | None = None
        self.keep: Callable[[str, str, str], bool] | None = None
        """What (by sender, receiver and kind) does not arrive before :meth:`on_time`."""
        self.kept: list[tuple[_Link, str, str, str, bytes]] = []
        self.on_send: list[OnSend] = []
        self.messages = 0

    # ------------------------------------------------------------------ faults

    def cut(self, pairs: set[tuple[str, str]]) -> None:
        """Nothing gets from the first to the second of each pair, besides what is cut already."""
        self._cut |= pairs
        for link in list(self._links.values()):
            if self._is_cut(link.ends):
                self._loop.call_later(self.silence_seconds * self._rng.uniform(0.5, 1.0), self._silent, link)

    def heal(self) -> None:
        """Everybody reaches everybody."""
        self._cut = set()
        for link in list(self._links.values()):
            held, link.held = link.held, []
            for sender, receiver, label, data in held:
                self._dispatch(link, sender, receiver, label, data)
        for name in sorted(self._ends):
            for other in sorted(self._ends):
                ends = (self._ends[name], self._ends[other])
                present = self._links.get((name, other))
                if name < other and (present is None or set(present.ends) != set(ends)):
                    self._dial(*ends)

    def isolate(self, names: set[str], everybody: set[str], *, outward: bool = True, inward: bool = True) -> None:
        """Cuts ``names`` off from the rest."""
        pairs = {(name, other) for name in names for other in everybody - names}
        self.cut({(a, b) for a, b in pairs if outward} | {(b, a) for a, b in pairs if inward})

    def on_time(self) -> None:
        """No message is late or kept back any more; those that were kept arrive, if their connection still stands."""
        self.lag = self.keep = None
        self.silence_seconds = SILENCE_SECONDS
        kept, self.kept = self.kept, []
        for message in kept:
            self._dispatch(*message)

    def _is_cut(self, ends: tuple[SimTransport, SimTransport]) -> bool:
        a, b = ends[0].name, ends[1].name
        return (a, b) in self._cut or (b, a) in self._cut

    def _silent(self, link: _Link) -> None:
        if link.up and self._is_cut(link.ends):
            self._break(link)

    # ------------------------------------------------------------------ links

    def join(self, end: SimTransport) -> None:
        """A process listens and dials."""
        self._ends[end.name] = end
        for name in sorted(self._ends):
            if name != end.name:
                self._dial(self._ends[name], end)

    def leave(self, end: SimTransport, *, silently: bool) -> None:
        """A process has ended; ``silently``: so has its machine, and no peer is notified."""
        if self._ends.get(end.name) is end:
            del self._ends[end.name]
        for link in list(self._links.values()):
            if end in link.ends:
                delay = self.silence_seconds if silently else 0.002
                self._loop.call_later(delay * self._rng.uniform(0.5, 1.0), self._break, link)

    def _dial(self, a: SimTransport, b: SimTransport) -> None:
        self._loop.call_later(self._rng.uniform(0.001, 0.1), self._connect, a, b)

    def _connect(self, a: SimTransport, b: SimTransport) -> None:
        key = (min(a.name, b.name), max(a.name, b.name))
        old = self._links.get(key)
        if self._ends.get(a.name) is not a or self._ends.get(b.name) is not b or self._is_cut((a, b)):
            return
        if old is not None and set(old.ends) == {a, b}:
            return
        if old is not None:
            old.up = False
        self._links[key] = _Link((a, b))
        self._trace.add(f"link {key[0]}-{key[1]} up")
        a.connected(b)
        b.connected(a)

    def _break(self, link: _Link) -> None:
        if not link.up:
            return
        link.up = False
        a, b = link.ends
        key = (min(a.name, b.name), max(a.name, b.name))
        del self._links[key]
        self._trace.add(f"link {key[0]}-{key[1]} down")
        a.disconnected(b)
        b.disconnected(a)
        self._loop.call_later(self._rng.uniform(0.05, 0.5), self._redial, a.name, b.name)

    def _redial(self, a: str, b: str) -> None:
        if a in self._ends and b in self._ends and (min(a, b), max(a, b)) not in self._links:
            self._connect(self._ends[a], self._ends[b])

    # ------------------------------------------------------------------ messages

    def send(self, end: SimTransport, peer: str, envelope: pb.RaftEnvelope) -> bool:
        """Takes a message of a process; False when there is no connection."""
        link = self._links.get((min(end.name, peer), max(end.name, peer)))
        if link is None or end not in link.ends:
            return False
        other = link.ends[1] if link.ends[0] is end else link.ends[0]
        envelope.from_session, envelope.to_session = end.session, other.session
        kind = str(envelope.WhichOneof("body"))
        label = _label(kind, envelope)
        self.messages += 1
        self._trace.add(f"{end.name}>{peer} {label}")
        data = envelope.SerializeToString()
        if (end.name, peer) not in self._cut:
            self._dispatch(link, end.name, peer, label, data)
        elif self.holding:
            link.held.append((end.name, peer, label, data))
        for hook in tuple(self.on_send):
            hook(end.name, peer, kind)
        return True

    def _dispatch(self, link: _Link, sender: str, receiver: str, label: str, data: bytes) -> None:
        rng, weather = self._rng, self.weather
        kind = label.partition(" ")[0]
        if self.keep is not None and self.keep(sender, receiver, kind):
            self.kept.append((link, sender, receiver, label, data))
            return
        if weather.loss and rng.random() < weather.loss:
            return
        copies = 2 if weather.duplication and rng.random() < weather.duplication else 1
        for _ in range(copies):
            lag = self.lag(sender, receiver, kind) if self.lag is not None else 0.0
            when = self._loop.time() + rng.uniform(*weather.delay_seconds) + lag
            if not lag and not (weather.reorder and rng.random() < weather.reorder):
                when = max(when, link.last_arrival.get(receiver, 0.0) + 1e-6)
                link.last_arrival[receiver] = when
            end = link.ends[0] if link.ends[0].name == receiver else link.ends[1]
            self._loop.call_at(when, self._deliver, link, sender, end, label, data, context=end.process.context())

    def _deliver(self, link: _Link, sender: str, end: SimTransport, label: str, data: bytes) -> None:
        if link.up and end.on_message is not None:
            self._trace.add(f"{end.name}<{sender} {label}")
            end.on_message(sender, pb.RaftEnvelope.FromString(data))


def _label(kind: str, envelope: pb.RaftEnvelope) -> str:
    """What of a message is the same in every run (LMDB leaves garbage between what it writes)."""
    label = f"{kind} t{envelope.term}"
    if kind == "append":
        append = envelope.append
        return f"{label} {append.prev_index}+{len(append.entries)} c{append.commit_index} r{append.round}"
    if kind == "append_reply":
        reply = envelope.append_reply
        return f"{label} n{reply.next_index} {reply.success:d}{reply.reset:d}"
    if kind == "checkpoint_chunk":
        return f"{label} {envelope.checkpoint_chunk.sequence} {envelope.checkpoint_chunk.file}"
    return label


class SimTransport:
    """One process's end of its links; see :class:`rstore_replica.raft.links.transport.Transport`."""

    refusal = ""

    def __init__(self, network: Network, process: Process, session: int) -> None:
        self._network = network
        self.process = process
        self.name = process.name
        self.session = session
        self._sessions: dict[str, int] = {}
        self.on_message: Callable[[str, pb.RaftEnvelope], None] | None = None
        self._on_link: Callable[[str, bool, bool], None] | None = None

    async def start(
        self, on_message: Callable[[str, pb.RaftEnvelope], None], on_link: Callable[[str, bool, bool], None]
    ) -> None:
        self.on_message, self._on_link = on_message, on_link
        self._network.join(self)

    async def stop(self) -> None:
        self.on_message = self._on_link = None
        self._network.leave(self, silently=False)

    def send(self, peer: str, envelope: pb.RaftEnvelope) -> bool:
        return self._network.send(self, peer, envelope)

    def add_to_server(self, server: object) -> None:
        """Nobody dials here."""

    def update_members(self, members: object, removed: object) -> None:
        """Everybody may talk to everybody here."""

    def connected(self, other: SimTransport) -> None:
        """A connection is there; the process is notified soon."""
        new = self._sessions.get(other.name) != other.session
        self._sessions[other.name] = other.session
        if self._on_link is not None:
            self.process.call_soon(self._tell, other.name, True, new)

    def disconnected(self, other: SimTransport) -> None:
        """A connection has broken."""
        if self._on_link is not None:
            self.process.call_soon(self._tell, other.name, False, False)

    def _tell(self, peer: str, up: bool, new: bool) -> None:
        if self._on_link is not None:
            self._on_link(peer, up, new)
