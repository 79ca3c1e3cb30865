"""Watches a range many times over one stream, as a process of its own, and counts what comes.

One JSON object on stdin says what to watch (see :class:`Plan`); a line "ready" on stdout says that all watches have
begun; a line on stdin ends it, and one JSON object on stdout says what was found (see :class:`Found`).
"""

from __future__ import annotations

import asyncio
import json
import ssl
import struct
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from rstore_api import methods
from rstore_api.proto import rpc_pb2
from rstore_wire.client import ClientCall, open_stream

TESTS = Path(__file__).resolve().parent.parent
STAMP = struct.Struct(">4sd")
_MARK = b"@at@"
_LATE_SECONDS = 30.0


@dataclass(frozen=True)
class Plan:
    """So many watches of the keys with a prefix."""

    host: str
    port: int
    tls_directory: str
    watches: int
    prefix: str


@dataclass(frozen=True)
class Found:
    """Events that came, in how many seconds from the first to the last, and how old the stamps were in them."""

    events: int
    seconds: float
    median_ms: float
    p99_ms: float

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

    def end(self) -> Found:
        """Ends it."""
        self._say("end")
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


async def _watch(plan: Plan) -> Found:
    directory = Path(plan.tls_directory)
    context = ssl.create_default_context(cafile=str(directory / "ca.crt"))
    context.load_cert_chain(directory / "tls.crt", directory / "tls.key")
    context.set_alpn_protocols(["h2"])
    call = await open_stream(
        plan.host, plan.port, methods.WATCH.path, context=context, server_name=plan.host, max_message_bytes=64 << 20
    )
    prefix = plan.prefix.encode()
    request = rpc_pb2.WatchCreateRequest(key=prefix, range_end=prefix[:-1] + bytes([prefix[-1] + 1]))
    message = rpc_pb2.WatchRequest(create_request=request).SerializeToString()
    for _ in range(plan.watches):
        call.queue_message(message)
    times: list[float] = []
    ages: list[float] = []
    begun = asyncio.Event()
    reading = asyncio.create_task(_read(call, plan.watches, begun, times, ages))
    await begun.wait()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    reading.cancel()
    call.close()
    ages.sort()
    at = [ages[int(len(ages) * share)] if ages else 0.0 for share in (0.5, 0.99)]
    seconds = times[1] - times[0] if times else 0.0
    return Found(len(ages), seconds, 1e3 * at[0], 1e3 * at[1])


async def _read(call: ClientCall, watches: int, begun: asyncio.Event, times: list[float], ages: list[float]) -> None:
    created = 0
    async for message in call.messages():
        now = time.monotonic()
        at = message.find(_MARK)
        if at < 0:
            created += 1
            if created == watches:
                begun.set()
            continue
        times[:] = [times[0] if times else now, now]
        while at >= 0:
            ages.append(now - STAMP.unpack_from(message, at)[1])
            at = message.find(_MARK, at + STAMP.size)


if __name__ == "__main__":
    found = asyncio.run(_watch(Plan(**json.loads(sys.stdin.readline()))))
    print(json.dumps(asdict(found)), flush=True)
