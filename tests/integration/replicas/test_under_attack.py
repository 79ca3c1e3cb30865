"""While a caller attacks a real store over TLS, an honest writer is served, and leader and tenure stay where they are.

Each attack is about as hard as it was when it stopped a store. Rates are compared within a turn, which is a moment
without the attack and one with it. A machine that has other work may slow down the writer or cost the leader its place,
too, so the attack is withstood if that is so in one of several turns: what stopped a store did so in each.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass

import pytest
from hpack import Encoder
from integration.replicas.server_certificates import Authority
from integration.replicas.server_processes import (
    CLIENT_PORT,
    HTTP_PORT,
    PEER_PORT,
    RegionProcesses,
    ReplicaProcess,
    bootstrap,
)
from rstore_api.client import Client
from rstore_api.errors import StoreError
from rstore_api.proto import rpc_pb2
from rstore_api.tls import TlsFiles
from rstore_wire import frames
from unit.wire.test_hostile import body
from unit.wire.wire_servers import RawClient

TURNS = 3
CALM_SECONDS, ATTACK_SECONDS = 1.0, 1.5
KEPT_SHARE = 0.5
"""Of its rate, what an honest writer keeps at least."""
PAUSE_SECONDS = 0.02
"""Between two blows of an attacker."""
HOLD_SECONDS = 0.3
USUAL_RATE, MOST_SLOWNESS = 200.0, 8.0
"""The writes a second of a machine with nothing else to do, and how much slower one may be for which attacks are slowed
down as well: a blow costs the store the same work, of which a busy machine does less in the same time."""


@dataclass(frozen=True)
class Target:
    """The leader of the primary region, and how a caller with an application's certificate reaches it."""

    replica: ReplicaProcess
    context: ssl.SSLContext
    http1: ssl.SSLContext
    files: TlsFiles
    slowness: float
    """How many times longer than usual everything takes on this machine, by the rate of the honest writer."""

    async def rest(self, seconds: float) -> None:
        """Waits as long as the usual machine does ``seconds`` of work."""
        await asyncio.sleep(seconds * self.slowness)

    async def connect(self) -> RawClient:
        """HTTP/2 over TLS, with an empty SETTINGS frame behind the preface."""
        reader, writer = await asyncio.open_connection(
            self.replica.host, CLIENT_PORT, ssl=self.context, server_hostname="localhost"
        )
        writer.write(frames.PREFACE + frames.settings({}))
        return RawClient(reader, writer)


Attack = Callable[[Target], Awaitable[None]]
"""Goes on until it is cancelled."""


@contextlib.asynccontextmanager
async def under(attack: Attack, target: Target) -> AsyncIterator[None]:
    """The attack is repeated meanwhile, whatever the store does about it."""

    async def go_on() -> None:
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError, StoreError):
                await attack(target)
            await target.rest(PAUSE_SECONDS)

    task = asyncio.create_task(go_on())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _blow(target: Target, first: bytes, again: bytes = b"", *, hold_seconds: float = HOLD_SECONDS) -> None:
    """Sends something on a connection of its own, and more of it for as long as the connection lasts."""
    client = await target.connect()
    try:
        client.writer.write(first)
        while again and not client.reader.at_eof():
            client.writer.write(again)
            await client.writer.drain()
            await target.rest(PAUSE_SECONDS)
        await target.rest(hold_seconds)
    finally:
        client.writer.transport.abort()


@functools.cache
def _call(number: int, method: str = "Put") -> bytes:
    """The headers of a call, by a fresh encoder: nothing that they say depends on earlier ones. They are made once,
    since the attacker and the honest writer share a processor."""
    fields = [(":method", "POST"), (":scheme", "https"), (":path", f"/etcdserverpb.KV/{method}"), (":authority", "x")]
    block = Encoder().encode([*fields, ("content-type", "application/grpc"), ("te", "trailers")])
    return frames.frame(frames.HEADERS, frames.END_HEADERS, number, bytes(block))


async def settings(target: Target) -> None:
    """Thousands of settings in a frame, on a connection with many streams."""
    streams = b"".join(_call(number) for number in range(1, 1_000, 2))
    await _blow(target, streams, frames.frame(frames.SETTINGS, 0, 0, b"\x00\x04\x00\x01\x00\x00" * 2_700))


async def resets(target: Target) -> None:
    """Streams that are begun and reset at once."""
    reset = frames.Code.CANCEL
    await _blow(target, b"".join(_call(number) + frames.rst_stream(number, reset) for number in range(1, 1_000, 2)))


async def unfinished(target: Target) -> None:
    """Requests of which the end does not come."""
    part = b"\0\0\1\0\0" + bytes(1_000)
    await _blow(target, b"".join(_call(n) + frames.frame(frames.DATA, 0, n, part) for n in range(1, 400, 2)))


async def closed_streams(target: Target) -> None:
    """The request again and again on a stream on which it has ended."""
    await _blow(target, _call(1) + body(1, b"\x0a\x01x") * 500)


async def unread(target: Target) -> None:
    """Large answers to a caller that has no window for them."""
    everything = b"\x0a\x01\x00\x12\x01\x00"
    calls = b"".join(_call(number, "Range") + body(number, everything) for number in range(1, 40, 2))
    await _blow(target, frames.settings({4: 0}) + calls, hold_seconds=ATTACK_SECONDS)


async def silence(target: Target) -> None:
    """Connections on both ports that say nothing, more than there are places, and new ones for those that end."""
    held: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    try:
        while True:
            held = [(reader, writer) for reader, writer in held if not reader.at_eof()]
            for port in (CLIENT_PORT, PEER_PORT) * ((160 - len(held)) // 2):
                held.append(await asyncio.open_connection(target.replica.host, port))
            await target.rest(HOLD_SECONDS)
    finally:
        for _, writer in held:
            writer.transport.abort()


async def scrapes(target: Target) -> None:
    """Metrics, again and again, without a certificate."""
    for _ in range(20):
        _, writer = await asyncio.open_connection(target.replica.host, HTTP_PORT)
        writer.write(b"GET /metrics HTTP/1.0\r\n\r\n")


async def scans(target: Target) -> None:
    """Reads of everything, and hashes, many at a time."""
    async with Client([target.replica.client_address], tls=target.files) as client:
        everything = rpc_pb2.RangeRequest(key=b"\0", range_end=b"\0", count_only=True)
        await asyncio.gather(*(client.range(everything) for _ in range(20)))


def _post(path: str, text: bytes) -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(text)}\r\n\r\n".encode() + text


async def _blow_http1(target: Target, *requests: bytes) -> None:
    """Sends requests of HTTP/1.1, each on a connection of its own, and reads the answers."""
    writers: list[asyncio.StreamWriter] = []
    try:
        for request in requests:
            _, writer = await asyncio.open_connection(
                target.replica.host, CLIENT_PORT, ssl=target.http1, server_hostname="localhost"
            )
            writers.append(writer)
            writer.write(request)
            await writer.drain()
        await target.rest(HOLD_SECONDS)
    finally:
        for writer in writers:
            writer.transport.abort()


_MANY_VALUES = _post("/v3/kv/txn", b'{"compare":[' + b",".join([b"{}"] * 20_000) + b"]}")
_EVERYTHING = _post("/v3/kv/range", b'{"key":"AA==","range_end":"AA==","limit":"30"}')


async def json_requests(target: Target) -> None:
    """Requests of many small values."""
    await _blow_http1(target, _MANY_VALUES, _MANY_VALUES)


async def json_answers(target: Target) -> None:
    """Large answers as JSON that nobody waits for."""
    await _blow_http1(target, _EVERYTHING, _EVERYTHING)


async def tiny_chunks(target: Target) -> None:
    """A body of chunks of one byte, and requests one behind the other."""
    head = b"POST /v3/watch HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    healthy = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    await _blow_http1(target, head + b"1\r\n{\r\n1\r\n}\r\n" * 20_000, healthy * 5_000)


ATTACKS: tuple[Attack, ...] = (
    settings,
    resets,
    unfinished,
    closed_streams,
    unread,
    silence,
    scrapes,
    scans,
    json_requests,
    json_answers,
    tiny_chunks,
)


@pytest.fixture(scope="module")
def regions(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[list[RegionProcesses]]:
    """A store of three regions, the primary of three replicas, with the timings of a real one."""
    directory = tmp_path_factory.mktemp("attacked")
    shape = (("us-east", 3), ("eu-west", 1), ("ap-south", 1))
    defaults: dict[str, int] = {}
    made = [RegionProcesses(directory, authority, region=name, replicas=count, raft=defaults) for name, count in shape]
    try:
        for region in made:
            region.start()
        asyncio.run(_filled(made))
        yield made
    finally:
        for region in made:
            region.stop()


async def _filled(regions: list[RegionProcesses]) -> None:
    """The store has begun, and all of it is more than one answer may leave unread."""
    await bootstrap(*regions)
    async with regions[0].client() as client:
        for number in range(40):
            await client.put(f"large/{number}", "v" * 100_000)


async def _written(client: Client, seconds: float) -> tuple[float, int]:
    """Returns the writes a second of one writer, and the term at the end."""
    loop = asyncio.get_running_loop()
    began, count, term = loop.time(), 0, 0
    while loop.time() < began + seconds:
        term = (await client.put(f"honest/{count % 100}", "v" * 100)).header.raft_term
        count += 1
    return count / (loop.time() - began), term


@dataclass(frozen=True)
class Turn:
    """What the honest writer and the group kept in one turn."""

    calm_rate: float
    """Writes a second without the attack."""
    share: float
    """What the writer kept of that rate."""
    leader_stayed: bool
    tenure_lost: bool

    @property
    def withstood(self) -> bool:
        return self.share >= KEPT_SHARE and self.leader_stayed and not self.tenure_lost


async def _turn(primary: RegionProcesses, attack: Attack, files: TlsFiles, contexts: list[ssl.SSLContext]) -> Turn:
    leader = await primary.leader()
    logged = len(leader.log_text())
    calm, share, leader_stayed = 0.0, 0.0, False
    with contextlib.suppress(StoreError):
        async with primary.client(leader) as client:
            calm, term = await _written(client, CALM_SECONDS)
            slowness = min(max(USUAL_RATE / calm, 1.0), MOST_SLOWNESS)
            async with under(attack, Target(leader, *contexts, files, slowness)):
                attacked, term_then = await _written(client, ATTACK_SECONDS * slowness)
        share, leader_stayed = attacked / calm, term_then == term
    return Turn(calm, share, leader_stayed, "tenure_lost" in leader.log_text()[logged:])


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
async def test_an_honest_writer_keeps_half_its_rate_the_group_its_leader_and_the_primary_its_tenure(
    regions: list[RegionProcesses], attack: Attack
) -> None:
    primary = regions[0]
    files = primary.authority.issue(primary.directory / "attacker", "client")
    contexts = []
    for protocol in ("h2", "http/1.1"):
        context = ssl.create_default_context(cafile=str(files.ca))
        context.load_cert_chain(str(files.cert), str(files.key))
        context.set_alpn_protocols([protocol])
        contexts.append(context)
    turns: list[Turn] = []
    while not any(turn.withstood for turn in turns):
        assert len(turns) < TURNS, turns
        turns.append(await _turn(primary, attack, files, contexts))
