"""HTTP/1.1 beside HTTP/2 on one port: what is answered, and what a caller may take."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from rstore_wire.exchange import Exchange, Reply, RequestHead
from rstore_wire.http1_connection import MAX_UNTAKEN_BODY_BYTES, MAX_WAITING_BYTES
from rstore_wire.limits import Limits
from rstore_wire.server import Server
from unit.wire.wire_servers import SERVICE, Echo, channel_to, serving, until

GET = b"GET /echo?a=1&b= HTTP/1.1\r\nHost: x\r\n\r\n"
CLOSING = b"GET /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
CHUNKED = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
LARGE_BYTES = 16 << 20


@dataclass
class Application:
    """Answers with what it was asked."""

    heads: list[RequestHead] = field(default_factory=list)
    started: asyncio.Event = field(default_factory=asyncio.Event)
    release: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)

    def takes_stream(self, head: RequestHead) -> bool:
        return head.path in ("/chat", "/unread")

    def failure(self, head: RequestHead, code: grpc.StatusCode, details: str, metadata: Any) -> Reply:
        return Reply(500, f"{code.name}: {details}".encode(), "text/plain")

    def late_failure(self, head: RequestHead, code: grpc.StatusCode, details: str) -> bytes:
        return f"{code.name}: {details}".encode()

    async def answer(self, exchange: Exchange) -> None:
        self.heads.append(exchange.head)
        self.started.set()
        try:
            await self._answer(exchange)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    async def _answer(self, exchange: Exchange) -> None:
        match exchange.head.path:
            case "/echo":
                exchange.respond(Reply(200, bytes(exchange.body), "text/plain"))
            case "/large":
                exchange.respond(Reply(200, bytes(LARGE_BYTES), "text/plain"))
            case "/slow" | "/unread":
                await self.release.wait()
                exchange.respond(Reply(200, b"late", "text/plain"))
            case "/chat":
                while data := await exchange.read():
                    exchange.send(data)
                    await exchange.wait_for_room()
                exchange.finish()
            case "/flood":
                while not exchange.ended_here:
                    exchange.send(bytes(1 << 16))
                    await exchange.wait_for_room()
            case "/late":
                exchange.send(b"begun ")
                exchange.end(grpc.StatusCode.UNAVAILABLE, "no more")
            case "/deadline":
                exchange.end_after(0.05)
                await self.release.wait()
            case _:
                raise RuntimeError(exchange.head.path)


@asynccontextmanager
async def speaking_both(**options: Any) -> AsyncIterator[tuple[Server, Application, Echo, int]]:
    application = Application()
    async with serving(**options) as (server, echo, port):
        server.http = application
        yield server, application, echo, port


class Client:
    """Bytes by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def connect(cls, port: int, first: bytes = b"", limit: int = 1 << 25) -> Client:
        """``limit``: of what is read before the test takes it."""
        client = cls(*await asyncio.open_connection("127.0.0.1", port, limit=limit))
        client.writer.write(first)
        return client

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the next answer that has a length."""
        head = (await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 10)).decode()
        status, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        body = await asyncio.wait_for(self.reader.readexactly(int(headers.get("content-length", "0"))), 10)
        return int(status.split()[1]), headers, body

    async def rest(self) -> bytes:
        """What comes until the connection ends."""
        try:
            return await asyncio.wait_for(self.reader.read(), 10)
        except ConnectionError:
            return b""

    def close(self) -> None:
        self.writer.close()


async def ask(port: int, request: bytes) -> tuple[int, dict[str, str], bytes]:
    client = await Client.connect(port, request)
    try:
        return await client.answer()
    finally:
        client.close()


def post(path: str, body: bytes, *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


async def test_both_protocols_are_spoken_on_one_port() -> None:
    async with speaking_both() as (server, application, _, port), channel_to(port) as channel:
        status, headers, body = await ask(port, post("/echo?a=1&b=", b"hello"))
        assert (status, body, headers["content-type"]) == (200, b"hello", "text/plain")
        assert "date" in headers
        assert application.heads[0].query == {"a": ["1"], "b": [""]}
        assert await channel.unary_unary(f"/{SERVICE}/Unary")(b"grpc") == b"grpc"
        await until(lambda: not any(server.kept.values()))


async def test_the_choice_waits_for_enough_bytes() -> None:
    async with speaking_both() as (_, _, _, port):
        client = await Client.connect(port, b"P")
        await asyncio.sleep(0.05)
        client.writer.write(post("/echo", b"put together")[1:])
        assert (await client.answer())[2] == b"put together"
        client.close()


async def test_a_connection_serves_one_request_after_the_other() -> None:
    async with speaking_both() as (server, application, _, port):
        client = await Client.connect(port)
        for number in range(5):
            client.writer.write(post("/echo", b"%d" % number))
            assert (await client.answer())[2] == b"%d" % number
        client.writer.write(post("/slow", b"") + post("/echo", b"behind"))
        await application.started.wait()
        application.release.set()
        assert (await client.answer())[2] == b"late"
        assert (await client.answer())[2] == b"behind"
        client.writer.write(CLOSING)
        await client.answer()
        assert await client.rest() == b""
        await until(lambda: not any(server.kept.values()))


async def test_a_request_of_http_1_0_ends_its_connection() -> None:
    async with speaking_both() as (_, _, _, port):
        client = await Client.connect(port, b"GET /echo HTTP/1.0\r\n\r\n")
        assert (await client.rest()).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_head_has_no_body() -> None:
    async with speaking_both() as (_, _, _, port):
        client = await Client.connect(port, GET.replace(b"GET", b"HEAD").replace(b"/echo", b"/large"))
        head = await asyncio.wait_for(client.reader.readuntil(b"\r\n\r\n"), 10)
        assert b"content-length: %d" % LARGE_BYTES in head
        client.writer.write(post("/echo", b"next"))
        assert (await client.answer())[2] == b"next"
        client.close()


async def test_a_client_that_waits_for_100_continue_is_sent_it() -> None:
    async with speaking_both() as (_, _, _, port):
        request = post("/echo", b"body", "Expect: 100-continue")
        client = await Client.connect(port, request[:-4])
        assert (await client.answer())[0] == 100
        client.writer.write(b"body")
        assert (await client.answer())[2] == b"body"
        client.close()


async def test_requests_and_answers_stream_at_the_same_time() -> None:
    async with speaking_both() as (server, _, _, port):
        client = await Client.connect(port, b"POST /chat HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        for word in (b"one", b"two"):
            client.writer.write(b"3\r\n" + word + b"\r\n")
            got = await asyncio.wait_for(client.reader.readuntil(word + b"\r\n"), 10)
            assert got.endswith(b"3\r\n" + word + b"\r\n")
        client.writer.write(b"0\r\n\r\n")
        assert await asyncio.wait_for(client.reader.readuntil(b"0\r\n\r\n"), 10) == b"0\r\n\r\n"
        client.close()
        await until(lambda: not any(server.kept.values()))


async def test_a_stream_that_fails_ends_with_its_error() -> None:
    async with speaking_both() as (_, _, _, port):
        client = await Client.connect(port, post("/late", b""))
        got = await asyncio.wait_for(client.reader.readuntil(b"0\r\n\r\n"), 10)
        assert b"begun " in got
        assert b"UNAVAILABLE: no more" in got
        client.close()


async def test_a_request_that_its_client_gives_up_is_cancelled() -> None:
    async with speaking_both() as (server, application, _, port):
        client = await Client.connect(port, post("/slow", b""))
        await application.started.wait()
        client.close()
        await asyncio.wait_for(application.cancelled.wait(), 10)
        await until(lambda: not any(server.kept.values()))


async def test_a_deadline_ends_the_work() -> None:
    async with speaking_both() as (_, application, _, port):
        assert (await ask(port, post("/deadline", b"")))[2] == b"DEADLINE_EXCEEDED: context deadline exceeded"
        assert application.cancelled.is_set()


async def test_an_error_of_the_program_is_answered() -> None:
    async with speaking_both() as (_, _, _, port):
        assert (await ask(port, post("/broken", b"")))[2] == b"UNKNOWN: Unexpected RuntimeError"


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"NONSENSE\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),  # no Host
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\nHost: x\r\nname : value\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\na: b\x00c\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\na: " + bytes(20_000).replace(b"\0", b"a"), 431),
        (bytes(range(256)) * 10, 400),
    ],
)
async def test_what_is_no_request_is_refused(request_bytes: bytes, status: int) -> None:
    async with speaking_both() as (server, _, _, port):
        client = await Client.connect(port, request_bytes)
        assert (await client.answer())[0] == status
        assert await client.rest() == b""
        assert server.refusals.counts["malformed_http1"] == 1
        assert not any(server.kept.values())


async def test_a_malformed_body_ends_the_request() -> None:
    async with speaking_both() as (server, _, _, port):
        client = await Client.connect(
            port, b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
        )
        assert (await client.answer())[2] == b"INVALID_ARGUMENT: the request's body is malformed"
        assert await client.rest() == b""
        await until(lambda: not any(server.kept.values()))


async def test_a_connection_that_says_nothing_ends() -> None:
    async with speaking_both(limits=Limits(handshake_seconds=0.1)) as (server, _, _, port):
        client = await Client.connect(port)
        assert await client.rest() == b""
        assert server.refusals.counts["handshake_failed"] == 1


async def test_a_head_and_a_body_that_come_slowly_end() -> None:
    async with speaking_both(limits=Limits(request_seconds=0.2)) as (server, _, _, port):
        head = await Client.connect(port, GET[:-4])
        body = await Client.connect(port, post("/echo", b"body")[:-1])
        assert await head.rest() == b""
        assert (await body.answer())[2] == b"DEADLINE_EXCEEDED: context deadline exceeded"
        assert await body.rest() == b""
        assert server.refusals.counts["request_not_complete"] == 2
        await until(lambda: not any(server.kept.values()))


async def test_a_body_that_is_too_large_is_refused() -> None:
    async with serving() as (server, _, port):
        server.http = Application()
        server.max_message_bytes = 1 << 10
        size = (2 << 10) + 1
        assert (await ask(port, post("/echo", bytes(size))))[2].startswith(b"RESOURCE_EXHAUSTED: a request of more")


async def test_bodies_of_all_connections_share_a_budget() -> None:
    limits = Limits(incomplete_bytes=3 << 20)
    async with speaking_both(limits=limits) as (server, _, _, port):
        slow = [await Client.connect(port, post("/echo", bytes(1 << 20))[:-1]) for _ in range(3)]
        await until(lambda: server.kept["incomplete_requests"] == 3)
        last = await Client.connect(port, post("/echo", bytes(1 << 20))[:-1])
        assert (await slow[0].answer())[2] == b"RESOURCE_EXHAUSTED: too many large requests at once"
        last.writer.write(b"\0")
        assert (await last.answer())[0] == 200
        for client in (*slow, last):
            client.close()
        await until(lambda: not any(server.kept.values()))


async def test_an_answer_that_is_not_read_is_given_up() -> None:
    async with speaking_both(limits=Limits(answer_seconds=0.2)) as (server, _, _, port):
        client = await Client.connect(port, post("/large", b""), limit=1 << 10)
        await until(lambda: server.kept["unread_bytes"])
        await until(lambda: server.refusals.counts["answer_not_read"])
        await until(lambda: not any(server.kept.values()))
        client.close()


async def test_a_stream_that_is_not_read_waits_and_others_are_served() -> None:
    async with speaking_both() as (server, application, _, port), channel_to(port) as channel:
        flooded = await Client.connect(port, post("/flood", b""), limit=1 << 10)
        await application.started.wait()
        for _ in range(20):
            assert await channel.unary_unary(f"/{SERVICE}/Unary")(b"honest") == b"honest"
        assert server.kept["unread_bytes"] < 2 << 20
        flooded.close()
        await until(lambda: not any(server.kept.values()))


async def test_a_body_that_is_not_taken_is_not_read_on() -> None:
    async with speaking_both() as (server, application, _, port):
        client = await Client.connect(
            port, b"POST /unread HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (64 << 20)
        )
        await application.started.wait()
        client.writer.write(bytes(64 << 20))
        await until(lambda: server.kept["incomplete_bytes"] > MAX_UNTAKEN_BODY_BYTES)
        await asyncio.sleep(0.1)
        assert server.kept["incomplete_bytes"] < 4 * MAX_UNTAKEN_BODY_BYTES
        client.close()
        client.writer.transport.abort()
        application.release.set()
        await until(lambda: not any(server.kept.values()))


async def test_requests_that_wait_behind_another_are_bounded() -> None:
    async with speaking_both() as (server, application, _, port):
        client = await Client.connect(port, post("/slow", b"") + GET * 100)
        await application.started.wait()
        client.close()  # which is noticed, whatever waits
        await asyncio.wait_for(application.cancelled.wait(), 10)
        flooding = await Client.connect(port, post("/slow", b"") + post("/echo", bytes(4 * MAX_WAITING_BYTES)))
        assert await flooding.rest() == b""
        assert server.refusals.counts["pipelining"] == 1
        await until(lambda: not any(server.kept.values()))


async def test_a_stream_ends_with_the_age_of_its_connection() -> None:
    limits = Limits(max_age_seconds=0.1, age_grace_seconds=0.1, idle_seconds=0.1)
    async with speaking_both(limits=limits) as (server, application, _, port):
        client = await Client.connect(port, CHUNKED.replace(b"/echo", b"/chat"))
        await application.started.wait()
        assert b"UNAVAILABLE: the connection has reached its age" in await client.rest()
        await until(lambda: not any(server.kept.values()))


async def test_idle_connections_end_and_make_room_for_others() -> None:
    async with speaking_both(limits=Limits(idle_seconds=0.2)) as (_, _, _, port):
        client = await Client.connect(port, GET)
        await client.answer()
        assert await client.rest() == b""
    async with speaking_both(limits=Limits(connections=1)) as (server, _, _, port):
        first = await Client.connect(port, GET)
        await first.answer()
        assert (await ask(port, GET))[0] == 200
        assert await first.rest() == b""
        assert server.refusals.counts["idle_connection"] == 1


async def test_calls_of_both_protocols_share_a_bound() -> None:
    async with speaking_both(limits=Limits(calls=1)) as (server, _, echo, port), channel_to(port) as channel:
        slow = channel.unary_unary(f"/{SERVICE}/Slow")(b"")
        await echo.started.wait()
        assert (await ask(port, GET))[2] == b"RESOURCE_EXHAUSTED: Concurrent RPC limit exceeded!"
        echo.release.set()
        await slow
        assert (await ask(port, GET))[0] == 200
        assert server.refusals.counts["calls"] == 1


async def test_a_caller_has_one_share_over_both_protocols() -> None:
    async with (
        speaking_both(share_of=lambda _caller: ("everybody", 1)) as (_, _, echo, port),
        channel_to(port) as channel,
    ):
        slow = channel.unary_unary(f"/{SERVICE}/Slow")(b"")
        await echo.started.wait()
        assert b"too many requests of this client" in (await ask(port, GET))[2]
        echo.release.set()
        await slow


async def test_a_caller_that_may_call_nothing_is_refused() -> None:
    async with speaking_both(welcome=lambda _caller: False) as (server, application, _, port):
        client = await Client.connect(port, GET)
        assert (await client.answer())[2] == b"PERMISSION_DENIED: etcdserver: permission denied"
        assert await client.rest() == b""
        assert not application.heads
        assert server.refusals.counts["not_welcome"] == 1


async def test_a_caller_that_is_shut_out_loses_its_requests() -> None:
    async with speaking_both() as (server, application, _, port):
        client = await Client.connect(port, post("/slow", b""))
        await application.started.wait()
        server.identify_again(lambda _before, _now: True)
        assert await client.rest() == b""
        await asyncio.wait_for(application.cancelled.wait(), 10)
        await until(lambda: not any(server.kept.values()))


async def test_the_server_waits_for_requests_that_are_under_way() -> None:
    async with speaking_both() as (server, application, _, port):
        client = await Client.connect(port, post("/slow", b""))
        await application.started.wait()
        stopping = asyncio.create_task(server.stop(10))
        await asyncio.sleep(0.05)
        application.release.set()
        status, headers, body = await client.answer()
        assert (status, body, headers["connection"]) == (200, b"late", "close")
        await stopping


async def test_chunks_do_not_hold_up_others() -> None:
    async with speaking_both() as (_, _, _, port), channel_to(port) as channel:
        chunks = b"10\r\n" + bytes(16) + b"\r\n"
        client = await Client.connect(port, CHUNKED + chunks * 20_000 + b"0\r\n\r\n")
        answered = asyncio.create_task(client.answer())
        served = 0
        while not answered.done():
            assert await channel.unary_unary(f"/{SERVICE}/Unary")(b"honest") == b"honest"
            served += 1
        assert (await answered)[2] == bytes(16 * 20_000)
        assert served > 10
        client.close()


async def test_many_tiny_chunks_end_the_connection() -> None:
    async with speaking_both() as (server, _, _, port):
        client = await Client.connect(port, CHUNKED + b"1\r\nx\r\n" * 20_000)
        assert await client.rest() == b""
        assert server.refusals.counts["connection_enhance_your_calm"] == 1
        await until(lambda: not any(server.kept.values()))


async def test_only_http_2_is_spoken_where_nothing_answers_http_1() -> None:
    async with serving() as (server, _, port):
        client = await Client.connect(port, GET)
        assert b"HTTP/1.1" not in await client.rest()
        assert server.refusals.counts["not_http2"] == 1


def test_what_a_target_says() -> None:
    head = RequestHead("GET", "http://host:1/a%20b?x=1&x=2", ())
    assert (head.path, head.query) == ("/a b", {"x": ["1", "2"]})
    assert RequestHead("OPTIONS", "*", ()).path == "*"
    assert not RequestHead("GET", "/?" + "&".join("a=1" for _ in range(1000)), ()).query
    assert json.dumps(RequestHead("GET", "/", ()).query) == "{}"
