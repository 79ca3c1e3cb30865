"""Watches a range many times, as a process of its own, and counts what comes.

One JSON object on stdin says what to watch (see :class:`Plan`); a line "ready" on stdout says that all watches have
begun; a line on stdin ends it, and one JSON object on stdout says what was found (see :class:`Found`).
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import struct
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from rstore_api import methods
from rstore_api.proto import rpc_pb2
from rstore_wire import frames
from rstore_wire.client import ClientCall, ClientConnection
from rstore_wire.headers import block

TESTS = Path(__file__).resolve().parent.parent
STAMP = struct.Struct(">4sd")
_MARK = b"@at@"
_STAMPS = re.compile(_MARK + b"(.{8})", re.DOTALL)
_LATE_SECONDS = 30.0
MAX_ANSWER_BYTES = 64 << 20


@dataclass(frozen=True)
class Plan:
    """So many watches of the keys with a prefix, spread over streams, which are spread over connections."""

    host: str
    port: int
    tls_directory: str
    watches: int
    prefix: str
    streams: int = 1
    connections: int = 1
    start_revision: int = 0
    events: int = 0
    """It ends by itself once so many events have come; 0: with a line on stdin."""


@dataclass(frozen=True)
class Found:
    """Events that came, in how many seconds from the first to the last, and how old the stamps were in them.

    ``created_seconds`` are those from the first request until all watches had begun; where the plan says how many
    events come, ``seconds`` are those from the first request, too.
    """

    events: int
    seconds: float
    median_ms: float
    p99_ms: float
    max_ms: float
    created_seconds: float

    @property
    def events_per_second(self) -> float:
        return self.events / self.seconds if self.seconds else 0.0


def stamp() -> bytes:
    """A value that says when it was made, on the clock that all processes share."""
    return STAMP.pack(_MARK, time.monotonic())


class Watching:
    """The process, from outside."""

    def __init__(self, plan: Plan) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.watch_load"],
            cwd=TESTS,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._say(json.dumps(asdict(plan)))
        assert self._hear() == "ready"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def end(self) -> Found:
        """Ends it."""
        self._say("end")
        return self.wait()

    def wait(self) -> Found:
        """Returns what was found once it has ended by itself."""
        found = Found(**json.loads(self._hear()))
        self._process.wait(_LATE_SECONDS)
        return found

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def _hear(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if not line:
            raise RuntimeError("the watching process has ended")
        return line


class Tally:
    """What all streams have been sent."""

    def __init__(self, plan: Plan) -> None:
        self._watches, self._events = plan.watches, plan.events
        self.begun, self.done = asyncio.Event(), asyncio.Event()
        self.created_at = self.first_at = self.last_at = 0.0
        self.events = 0
        self.ages: Counter[int] = Counter()
        """Events by their age in microseconds."""
        self._created = 0

    def take(self, bodies: list[bytes]) -> None:
        """Counts what is in answers that came now."""
        now = time.monotonic()
        for body in bodies:
            stamps = _STAMPS.findall(body)
            if stamps:
                self.events += len(stamps)
                for at in stamps:
                    self.ages[int(1e6 * (now - struct.unpack(">d", at)[0]))] += 1
                self.first_at, self.last_at = self.first_at or now, now
            else:
                self._created += 1
                if self._created == self._watches:
                    self.created_at = now
                    self.begun.set()
        if self._events and self.events >= self._events:
            self.done.set()

    def age_ms(self, share: float) -> float:
        """Returns the age that such a share of the events did not exceed."""
        left = share * self.events
        for age in sorted(self.ages):
            left -= self.ages[age]
            if left <= 0:
                return age / 1e3
        return 0.0


class _Stream(ClientCall):
    """A stream whose answers are counted as they come."""

    __slots__ = ("tally",)
    tally: Tally

    def data_received(self, payload: bytes, *, end: bool) -> None:
        """Counts the answers that are complete."""
        self.credit(len(payload))
        self.tally.take([message.body for message in self._reader.feed(payload)])
        if end:
            raise RuntimeError("the stream has ended")


class _Streams(ClientConnection):
    """A connection of many streams."""

    def begin_watching(self, authority: str, count: int, tally: Tally) -> list[ClientCall]:
        """Begins so many streams."""
        headers = [(b":method", b"POST"), (b":scheme", b"https"), (b":path", methods.WATCH.path.encode())]
        headers += [(b":authority", authority.encode()), (b"content-type", b"application/grpc"), (b"te", b"trailers")]
        calls: list[ClientCall] = []
        for at in range(count):
            number = 2 * at + 1
            call = _Stream(self, number, max_message_bytes=MAX_ANSWER_BYTES)
            call.tally = tally
            self.streams[number] = call
            self.write(frames.frame(frames.HEADERS, frames.END_HEADERS, number, block(headers)))
            calls.append(call)
        return calls

    def headers_received(self, stream: int, block: bytes, *, end: bool) -> None:
        """Answers begin; none may end."""
        headers = self._headers.read(block)
        if end:
            raise RuntimeError(f"stream {stream} has ended: {headers}")


def _shares(total: int, parts: int) -> list[int]:
    return [total // parts + (at < total % parts) for at in range(parts)]


async def _connected(plan: Plan, tally: Tally) -> list[ClientCall]:
    directory = Path(plan.tls_directory)
    context = ssl.create_default_context(cafile=str(directory / "ca.crt"))
    context.load_cert_chain(directory / "tls.crt", directory / "tls.key")
    context.set_alpn_protocols(["h2"])
    connections: list[_Streams] = []
    for _ in range(plan.connections):
        _, connection = await asyncio.get_running_loop().create_connection(
            _Streams, plan.host, plan.port, ssl=context, server_hostname=plan.host
        )
        connections.append(connection)
    calls: list[ClientCall] = []
    for connection, streams in zip(connections, _shares(plan.streams, plan.connections), strict=True):
        calls += connection.begin_watching(f"{plan.host}:{plan.port}", streams, tally)
    return calls


async def _watch(plan: Plan) -> Found:
    tally = Tally(plan)
    prefix = plan.prefix.encode()
    create = rpc_pb2.WatchCreateRequest(
        key=prefix, range_end=prefix[:-1] + bytes([prefix[-1] + 1]), start_revision=plan.start_revision
    )
    message = rpc_pb2.WatchRequest(create_request=create).SerializeToString()
    calls = await _connected(plan, tally)
    asked_at = time.monotonic()
    for call, watches in zip(calls, _shares(plan.watches, plan.streams), strict=True):
        for _ in range(watches):
            call.queue_message(message)
    await tally.begun.wait()
    print("ready", flush=True)
    await (tally.done.wait() if plan.events else asyncio.to_thread(sys.stdin.readline))
    for call in calls:
        call.close()
    return Found(
        events=tally.events,
        seconds=tally.last_at - (asked_at if plan.events else tally.first_at),
        median_ms=tally.age_ms(0.5),
        p99_ms=tally.age_ms(0.99),
        max_ms=tally.age_ms(1.0),
        created_seconds=tally.created_at - asked_at,
    )


if __name__ == "__main__":
    found = asyncio.run(_watch(Plan(**json.loads(sys.stdin.readline()))))
    print(json.dumps(asdict(found)), flush=True)
