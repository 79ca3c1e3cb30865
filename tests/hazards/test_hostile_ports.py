"""Random bytes and pickles to every port of a real replica, before and after TLS: it goes on and loads nothing."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
import ssl
from collections.abc import AsyncIterator, Iterator

import grpc
import pytest
from grpc import aio
from hazards.hostile_bytes import Marker
from integration.replicas.server_certificates import Authority
from integration.replicas.server_processes import (
    CLIENT_PORT,
    HTTP_PORT,
    PEER_PORT,
    RegionProcesses,
    ReplicaProcess,
    bootstrap,
)
from rstore_api.dialling.channels import Address, open_channel
from rstore_api.proto import kv_pb2, raft_pb2, rpc_pb2, rstore_pb2
from rstore_api.tls import TlsFiles

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
TLS_RECORD = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
LIBRARIES = ("grpc._cython.cygrpc", "aiohttp.server")
METHODS = sorted(
    f"/{service.full_name}/{method}"
    for module in (rpc_pb2, rstore_pb2, raft_pb2, kv_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods_by_name
)


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegionProcesses]:
    region = RegionProcesses(tmp_path_factory.mktemp("hostile"), Authority.make(), region="us-east", replicas=1)
    region.start()
    try:
        asyncio.run(bootstrap(region))
        yield region
    finally:
        region.stop()


@pytest.fixture(scope="module")
def marker(tmp_path_factory: pytest.TempPathFactory) -> Marker:
    return Marker(tmp_path_factory.mktemp("marker") / "marker")


@pytest.fixture(autouse=True)
async def unharmed(region: RegionProcesses, marker: Marker) -> AsyncIterator[None]:
    """Checks after each test that the same process serves and is ready, and that no pickle was loaded."""
    [replica] = region.replicas
    before = replica.process
    yield
    assert replica.process is before
    assert before is not None
    assert before.poll() is None, replica.log_text()[-3000:]
    assert not marker.exists
    async with region.client() as client:
        revision = (await client.put("alive", "yes")).header.revision
        answer = await client.get("alive")
        assert answer.kvs[0].mod_revision == revision
    reader, writer = await asyncio.open_connection(replica.host, HTTP_PORT)
    writer.write(b"GET /readyz HTTP/1.0\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.0 200 ")
    writer.close()
    await asyncio.sleep(0)
    for line in replica.log_text().splitlines():
        entry = json.loads(line)
        # The libraries log malformed requests; nothing of the replica's own has failed.
        assert entry["level"] not in ("error", "critical") or entry["logger"] in LIBRARIES, line


def payloads(marker: Marker, seed: int) -> list[bytes]:
    rng = random.Random(seed)
    noise = [rng.randbytes(size) for size in (0, 1, 4, 100, 5_000, 100_000)]
    nasty = [*marker.framed(), *noise]
    http = [b"POST /%s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (b"metrics", len(p)) + p for p in nasty]
    odd = [b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /" + b"a" * 70_000, b"\0" * 3000]
    return [*nasty, *http, *odd, *(PREFACE + p for p in nasty), *(TLS_RECORD + p for p in nasty)]


async def throw(host: str, port: int, data: bytes, context: ssl.SSLContext | None = None) -> bytes:
    """Sends the bytes, ends its side, and reads what comes for a moment."""
    answer = b""
    with contextlib.suppress(OSError, ssl.SSLError, TimeoutError):
        async with asyncio.timeout(3):
            reader, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=None)
            try:
                writer.write(data)
                await writer.drain()
                if writer.can_write_eof():
                    writer.write_eof()
                async with asyncio.timeout(0.3):
                    answer = await reader.read(4096)
            finally:
                writer.close()
    return answer


async def throw_all(
    replica: ReplicaProcess, port: int, data: list[bytes], context: ssl.SSLContext | None
) -> list[bytes]:
    limit = asyncio.Semaphore(16)

    async def one(piece: bytes) -> bytes:
        async with limit:
            return await throw(replica.host, port, piece, context)

    return await asyncio.gather(*(one(piece) for piece in data))


@pytest.mark.parametrize("port", [CLIENT_PORT, PEER_PORT, HTTP_PORT])
async def test_bytes_before_tls(region: RegionProcesses, marker: Marker, port: int) -> None:
    answers = await throw_all(region.replicas[0], port, payloads(marker, port), None)
    if port == HTTP_PORT:
        assert all(b" 200 " not in answer.split(b"\r\n")[0] for answer in answers)
    else:
        assert not any(answer.startswith(b"HTTP/1.1 200") for answer in answers)


@pytest.mark.parametrize(("port", "protocol"), [(CLIENT_PORT, "h2"), (CLIENT_PORT, "http/1.1"), (PEER_PORT, "h2")])
async def test_bytes_inside_tls(region: RegionProcesses, marker: Marker, port: int, protocol: str) -> None:
    [replica] = region.replicas
    files = TlsFiles.in_directory(replica.directory / "tls")
    context = ssl.create_default_context(cafile=str(files.ca))
    context.load_cert_chain(str(files.cert), str(files.key))
    context.check_hostname = False
    context.set_alpn_protocols([protocol])
    await throw_all(replica, port, payloads(marker, port + 1), context)


def frames(marker: Marker) -> list[bytes]:
    """Yields malformed messages, and well-formed ones with nonsense in them."""
    rng = random.Random(5)
    hello = raft_pb2.RaftFrame(hello=raft_pb2.RaftHello(group="default/orders/us-east", name="x", session=1))
    nested = b"\x0a" * 5000
    return [
        *marker.pickles,
        *(rng.randbytes(size) for size in (1, 10, 1000, 60_000)),
        b"",
        nested,
        b"\xff" * 100,
        b"\x0a\xff\xff\xff\xff\x0f",
        hello.SerializeToString(),
        raft_pb2.RaftFrame(envelopes=[raft_pb2.RaftEnvelope(term=1 << 63)]).SerializeToString(),
    ]


@pytest.mark.parametrize("kind", ["client", "operator", "peer"])
async def test_messages_that_are_none_to_every_method(region: RegionProcesses, marker: Marker, kind: str) -> None:
    [replica] = region.replicas
    files = region.authority.issue(region.directory / f"hostile-{kind}", kind)
    codes: dict[tuple[str, bytes], grpc.StatusCode] = {}

    async def call(channel: aio.Channel, method: str, message: bytes) -> None:
        async def requests() -> AsyncIterator[bytes]:
            yield message

        # Every handler accepts a stream in both directions, whatever it serves.
        stream = channel.stream_stream(method)(requests(), timeout=2)
        with contextlib.suppress(aio.AioRpcError, asyncio.CancelledError):
            async for _ in stream:
                pass
        codes[method, message] = await stream.code()

    for port in (CLIENT_PORT, PEER_PORT):
        channel = await open_channel(Address(replica.host, port), tls=files)
        async with channel:
            everything = itertools.product(METHODS, frames(marker))
            # Empty messages are requests like any other; they are refused or do nothing.
            calls = [call(channel, method, message) for method, message in everything]
            for batch in range(0, len(calls), 50):
                await asyncio.gather(*calls[batch : batch + 50])
    accepted = {method for (method, message), code in codes.items() if code is grpc.StatusCode.OK and message}
    assert not {method for method in accepted if method.endswith(("/Put", "/Promote", "/Demote", "/Bootstrap"))}
    assert len(codes) == len(METHODS) * len(set(frames(marker)))
