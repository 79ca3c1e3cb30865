"""A load generator for unary gRPC calls, as ``h2load`` is one: HTTP/2 frames made ahead, nothing but statuses decoded.

Run as a process of its own, so that it is the same client for every server: one JSON object on stdin says what to do
(see :class:`Plan`), one on stdout what was found (see :class:`Found`). Exits 1 with a message when a call fails.
"""

from __future__ import annotations

import base64
import json
import selectors
import socket
import ssl
import subprocess
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from hpack import Decoder

TESTS = Path(__file__).resolve().parent.parent

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE, _CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
_END_STREAM = _ACK = 0x1
_END_HEADERS = 0x4
_PADDED, _PRIORITY = 0x8, 0x20
_MAX_WINDOW = (1 << 31) - 1
_MAX_FRAME_BYTES = 16384
_TABLE_SIZE, _INITIAL_WINDOW = 1, 4
_CALM_SECONDS = 10.0


@dataclass(frozen=True)
class Plan:
    """What to send where. ``messages`` are serialised requests, base64; they are sent in turn."""

    host: str
    port: int
    tls_directory: str
    method: str
    messages: list[str]
    connections: int
    outstanding: int
    warmup_seconds: float
    seconds: float

    @staticmethod
    def of(
        host: str,
        port: int,
        tls_directory: Path,
        method: str,
        requests: list[bytes],
        *,
        connections: int,
        outstanding: int,
        warmup_seconds: float,
        seconds: float,
    ) -> Plan:
        """The plan for these serialised requests."""
        messages = [base64.b64encode(request).decode() for request in requests]
        tls = str(tls_directory)
        return Plan(host, port, tls, method, messages, connections, outstanding, warmup_seconds, seconds)


@dataclass(frozen=True)
class Found:
    """What the server did. ``client_load`` is the share of one CPU that this process used; ``calls`` counts all that
    ended, those of the warm-up too.
    """

    calls_per_second: float
    median_ms: float
    p99_ms: float
    client_load: float
    calls: int


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def _literal(first: int, name: bytes, value: bytes) -> bytes:
    """A header that enters the table; the strings are shorter than 127 bytes and not Huffman-coded."""
    named = bytes((first,)) + (bytes((len(name),)) + name if name else b"")
    return named + bytes((len(value),)) + value


class Connection:
    """One connection with a fixed number of calls under way."""

    def __init__(self, plan: Plan, messages: deque[bytes], context: ssl.SSLContext, outstanding: int) -> None:
        plain = socket.create_connection((plan.host, plan.port))
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = context.wrap_socket(plain, server_hostname=plan.host)
        if self.socket.selected_alpn_protocol() != "h2":
            raise SystemExit("the server does not speak HTTP/2")
        self.socket.setblocking(False)
        authority = f"{plan.host}:{plan.port}".encode()
        self._first_block = (
            b"\x83\x87"  # :method POST, :scheme https
            + _literal(0x44, b"", plan.method.encode())
            + _literal(0x41, b"", authority)
            + _literal(0x5F, b"", b"application/grpc")
            + _literal(0x40, b"te", b"trailers")
        )
        self._block = b"\x83\x87\xc1\xc0\xbf\xbe"  # the same, by their places in the table
        self._messages = messages
        self._window = 65535
        self._initial_window = 65535
        self._stream = 1
        self._started: dict[int, float] = {}
        self._statuses: dict[bytes, bool] = {}
        self._decoder = Decoder()
        self._decoder.header_table_size = 0
        self._waiting = outstanding
        self._in = bytearray()
        settings = _TABLE_SIZE.to_bytes(2, "big") + bytes(4) + _INITIAL_WINDOW.to_bytes(2, "big")
        settings += _MAX_WINDOW.to_bytes(4, "big")
        self._out = bytearray(_PREFACE + _frame(_SETTINGS, 0, 0, settings))
        self._out += _frame(_WINDOW_UPDATE, 0, 0, (_MAX_WINDOW - 65535).to_bytes(4, "big"))
        self.latencies: list[float] = []

    def send(self) -> None:
        """Begins as many calls as may be begun, and hands on what can be handed on."""
        now = time.perf_counter()
        while self._waiting:
            message = self._messages[0]
            if len(message) > self._window:
                break
            if len(message) > min(self._initial_window, _MAX_FRAME_BYTES):
                raise SystemExit("a message is larger than a frame or the window of a stream")
            self._messages.rotate(-1)
            self._window -= len(message)
            block = self._first_block if self._stream == 1 else self._block
            self._out += _frame(_HEADERS, _END_HEADERS, self._stream, block)
            self._out += _frame(_DATA, _END_STREAM, self._stream, message)
            self._started[self._stream] = now
            self._stream += 2
            self._waiting -= 1
        while self._out:
            try:
                sent = self.socket.send(self._out)
            except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
                break
            del self._out[:sent]

    @property
    def wants_to_write(self) -> bool:
        """Whether something could not be handed on."""
        return bool(self._out)

    def receive(self) -> None:
        """Takes what has come."""
        while True:
            try:
                data = self.socket.recv(1 << 18)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                break
            if not data:
                raise SystemExit("the server closed the connection")
            self._in += data
        data, offset = bytes(self._in), 0
        while len(data) - offset >= 9:
            length = int.from_bytes(data[offset : offset + 3], "big")
            end = offset + 9 + length
            if end > len(data):
                break
            stream = int.from_bytes(data[offset + 5 : offset + 9], "big")
            self._take(data[offset + 3], data[offset + 4], stream, data[offset + 9 : end])
            offset = end
        del self._in[:offset]

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == _HEADERS:
            if flags & (_PADDED | _PRIORITY) or not flags & _END_HEADERS:
                raise SystemExit("the server sends headers in a form that is not supported here")
            if flags & _END_STREAM:
                self._end(stream, payload)
        elif kind == _WINDOW_UPDATE:
            if stream == 0:
                self._window += int.from_bytes(payload, "big")
        elif kind == _PING:
            if not flags & _ACK:
                self._out += _frame(_PING, _ACK, 0, payload)
        elif kind == _SETTINGS:
            if not flags & _ACK:
                for at in range(0, len(payload), 6):
                    if int.from_bytes(payload[at : at + 2], "big") == _INITIAL_WINDOW:
                        self._initial_window = int.from_bytes(payload[at + 2 : at + 6], "big")
                self._out += _frame(_SETTINGS, _ACK, 0)
        elif kind in (_RST, _GOAWAY, _CONTINUATION):
            raise SystemExit(f"the server sent a frame of kind {kind}: {payload!r}")

    def _end(self, stream: int, block: bytes) -> None:
        self.latencies.append(time.perf_counter() - self._started.pop(stream))
        good = self._statuses.get(block)
        if good is None:
            # Nothing enters a table of size 0, so that equal blocks mean the same.
            headers = {bytes(name): bytes(value) for name, value in self._decoder.decode(block, raw=True)}
            good = self._statuses[block] = headers.get(b"grpc-status") == b"0"
            if not good:
                raise SystemExit(f"a call failed: {headers}")
        self._waiting += 1


def run(plan: Plan) -> Found:
    """The load, for as long as the plan says."""
    context = ssl.create_default_context(cafile=f"{plan.tls_directory}/ca.crt")
    context.load_cert_chain(f"{plan.tls_directory}/tls.crt", f"{plan.tls_directory}/tls.key")
    context.set_alpn_protocols(["h2"])
    raw = [base64.b64decode(message) for message in plan.messages]
    messages = deque(b"\0" + len(message).to_bytes(4, "big") + message for message in raw)
    share, rest = divmod(plan.outstanding, plan.connections)
    if rest:
        raise SystemExit("outstanding must be a multiple of connections")
    connections = [Connection(plan, messages, context, share) for _ in range(plan.connections)]
    selector = selectors.DefaultSelector()
    for connection in connections:
        connection.send()
        selector.register(connection.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, connection)
    _serve(selector, connections, plan.warmup_seconds)
    calls = 0
    for connection in connections:
        calls += len(connection.latencies)
        connection.latencies.clear()
    began, used = time.perf_counter(), time.process_time()
    _serve(selector, connections, plan.seconds)
    elapsed, used = time.perf_counter() - began, time.process_time() - used
    latencies = sorted(latency for connection in connections for latency in connection.latencies)
    if not latencies:
        raise SystemExit("no call ended in time")
    return Found(
        calls_per_second=len(latencies) / elapsed,
        median_ms=median(latencies) * 1e3,
        p99_ms=latencies[int(len(latencies) * 0.99)] * 1e3,
        client_load=used / elapsed,
        calls=calls + len(latencies),
    )


def run_apart(plan: Plan) -> Found:
    """The load, from a process of its own. Raises SystemExit when a call failed."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.h2_load"],
        cwd=TESTS,
        input=json.dumps(asdict(plan)),
        capture_output=True,
        text=True,
        timeout=plan.warmup_seconds + plan.seconds + 60,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return Found(**json.loads(done.stdout))


def _serve(selector: selectors.BaseSelector, connections: list[Connection], seconds: float) -> None:
    until = time.perf_counter() + seconds
    last = {connection: len(connection.latencies) for connection in connections}
    quiet_since = time.perf_counter()
    while (now := time.perf_counter()) < until:
        for key, events in selector.select(max(0.0, until - now)):
            connection: Connection = key.data
            if events & selectors.EVENT_READ:
                connection.receive()
            connection.send()
            mask = selectors.EVENT_READ | (selectors.EVENT_WRITE if connection.wants_to_write else 0)
            if mask != key.events:
                selector.modify(connection.socket, mask, connection)
        done = {connection: len(connection.latencies) for connection in connections}
        if done != last:
            last, quiet_since = done, now
        elif now - quiet_since > _CALM_SECONDS:
            raise SystemExit(f"no call has ended for {_CALM_SECONDS:g} s")


if __name__ == "__main__":
    print(json.dumps(asdict(run(Plan(**json.load(sys.stdin))))))
