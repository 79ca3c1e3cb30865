"""The JSON gateway in front of a server of its own: rights, streams, and bounds."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from rstore_api.domain.etcd_version import SERVER_VERSION
from rstore_api.exposition import Exposition
from rstore_api.listening import listening_socket
from rstore_api.proto import rpc_pb2, rpc_pb2_grpc
from rstore_replica.api.http.application import ClientHttp
from rstore_replica.api.http.gateway import MAX_ANSWER_BYTES, Gateway
from rstore_replica.api.http.gateway_call import MAX_QUEUED_BYTES
from rstore_replica.api.http.routes import ROUTES
from rstore_wire.server import Server
from unit.api.http.test_application import Metrics, Replica
from unit.wire.test_http1 import Client, ask, post
from unit.wire.wire_servers import until

KEY = base64.b64encode(b"foo").decode()


class Kv(rpc_pb2_grpc.KVServicer):
    def __init__(self) -> None:
        self.seen: Any = None
        self.size = 1
        self.release = asyncio.Event()

    async def Range(self, request: rpc_pb2.RangeRequest, context: Any) -> rpc_pb2.RangeResponse:
        self.seen = context
        if request.key == b"late":
            await self.release.wait()
        if request.key == b"refused":
            await context.abort(
                grpc.StatusCode.OUT_OF_RANGE, "no such revision", (("rstore-detail", "7"), ("x-bin", b""))
            )
        if request.key == b"broken":
            raise RuntimeError
        return rpc_pb2.RangeResponse(kvs=[{"key": request.key, "value": bytes(self.size)}])


class Watch(rpc_pb2_grpc.WatchServicer):
    def __init__(self) -> None:
        self.offered = 0
        self.refused = asyncio.Event()
        self.ended = asyncio.Event()

    async def Watch(self, requests: AsyncIterator[rpc_pb2.WatchRequest], context: Any) -> AsyncIterator[Any]:
        try:
            async for request in requests:
                match request.create_request.key:
                    case b"flood":
                        while True:
                            while context.offer(rpc_pb2.WatchResponse(cancel_reason="x" * 10_000).SerializeToString()):
                                self.offered += 1
                            self.refused.set()
                            await context.wait_for_room()
                    case b"fail":
                        yield rpc_pb2.WatchResponse(created=True)
                        await until(lambda: not context._queue)
                        await context.abort(grpc.StatusCode.UNAVAILABLE, "etcdserver: no leader")
                    case _:
                        yield rpc_pb2.WatchResponse(created=True, watch_id=request.create_request.watch_id)
        finally:
            self.ended.set()


@asynccontextmanager
async def serving(**options: Any) -> AsyncIterator[tuple[Server, Kv, Watch, int]]:
    server = Server(max_message_bytes=8 << 20, **options)
    kv, watch = Kv(), Watch()
    rpc_pb2_grpc.add_KVServicer_to_server(kv, server)  # type: ignore[no-untyped-call]
    rpc_pb2_grpc.add_WatchServicer_to_server(watch, server)  # type: ignore[no-untyped-call]
    server.http = ClientHttp(checks=Replica().checks(), exposition=Exposition(Metrics()), gateway=Gateway(server.find))
    listener = listening_socket("127.0.0.1", 0, backlog=8)
    server.add_listener(listener, None)
    await server.start()
    try:
        yield server, kv, watch, listener.getsockname()[1]
    finally:
        await server.stop(None)


def text_of(key: bytes) -> bytes:
    return json.dumps({"key": base64.b64encode(key).decode()}).encode()


def creating(key: bytes, number: int = 0) -> bytes:
    create = {"key": base64.b64encode(key).decode(), "watch_id": str(number)}
    return json.dumps({"create_request": create}).encode()


async def test_a_request_becomes_a_call() -> None:
    async with serving() as (server, kv, _, port):
        headers = ("Grpc-Metadata-Rstore-Request-Id: 1/2/3", "Authorization: token", "Grpc-Timeout: 5S", "Other: x")
        status, _, body = await ask(port, post("/v3/kv/range", text_of(b"foo"), *headers))
        assert (status, json.loads(body)) == (200, {"kvs": [{"key": KEY, "value": "AA=="}]})
        assert kv.seen.invocation_metadata() == (("rstore-request-id", "1/2/3"), ("authorization", "token"))
        assert 0 < kv.seen.time_remaining() <= 5
        assert kv.seen.peer().startswith("ipv4:127.0.0.1:")
        await until(lambda: not any(server.kept.values()))


async def test_errors_have_status_code_and_text() -> None:
    async with serving() as (_, _, _, port):
        status, headers, body = await ask(port, post("/v3/kv/range", text_of(b"refused")))
        expected = {"error": "no such revision", "code": 11, "message": "no such revision"}
        assert (status, json.loads(body)) == (400, expected)
        assert headers["grpc-metadata-rstore-detail"] == "7"
        status, _, body = await ask(port, post("/v3/kv/range", text_of(b"broken")))
        assert (status, json.loads(body)["code"]) == (500, 2)
        status, _, body = await ask(port, post("/v3/kv/range", b"{"))
        assert (status, json.loads(body)["code"]) == (400, 3)


async def test_what_is_not_served_is_unimplemented() -> None:
    async with serving() as (_, _, _, port):
        for path in ("/v3/kv/put", "/v3/election/leader", "/v3/maintenance/status"):
            status, _, body = await ask(port, post(path, b"{}"))
            assert (status, json.loads(body)["code"]) == (501, 12)


async def test_who_may_not_call_a_method_may_not_here_either() -> None:
    def admit(path: str, _caller: Any) -> Any:
        return (grpc.StatusCode.PERMISSION_DENIED, "etcdserver: permission denied", ()) if "Range" in path else None

    async with serving(admit=admit) as (server, kv, _, port):
        status, _, body = await ask(port, post("/v3/kv/range", text_of(b"foo")))
        assert (status, json.loads(body)["code"]) == (403, 7)
        assert kv.seen is None
        assert server.refusals.counts["not_admitted"] == 1


async def test_a_deadline_ends_the_call() -> None:
    async with serving() as (_, _, _, port):
        status, _, body = await ask(port, post("/v3/kv/range", text_of(b"late"), "Grpc-Timeout: 50m"))
        assert (status, json.loads(body)["code"]) == (504, 4)


async def test_an_answer_that_is_too_large_is_refused() -> None:
    async with serving() as (_, kv, _, port):
        kv.size = MAX_ANSWER_BYTES
        status, _, body = await ask(port, post("/v3/kv/range", text_of(b"foo")))
        assert (status, json.loads(body)["code"]) == (429, 8)
        kv.size = MAX_ANSWER_BYTES - 1_000
        status, _, body = await ask(port, post("/v3/kv/range", text_of(b"foo")))
        assert len(base64.b64decode(json.loads(body)["kvs"][0]["value"])) == kv.size


async def test_a_stream_answers_while_it_is_asked() -> None:
    async with serving() as (server, _, watch, port):
        client = await Client.connect(port, b"POST /v3/watch HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        for number in (3, 4):
            request = creating(b"foo", number)
            client.writer.write(b"%x\r\n%s\r\n" % (len(request), request))
            line = b'{"result":{"watch_id":"%d","created":true}}\n' % number
            assert (await asyncio.wait_for(client.reader.readuntil(line), 10)).endswith(line)
        client.close()
        await asyncio.wait_for(watch.ended.wait(), 10)
        await until(lambda: not any(server.kept.values()))


async def test_a_stream_that_is_not_read_waits() -> None:
    async with serving() as (server, _, watch, port):
        client = await Client.connect(port, post("/v3/watch", creating(b"flood")), limit=1 << 10)
        await asyncio.wait_for(watch.refused.wait(), 10)
        offered = -1
        while offered != watch.offered:  # until the network takes no more
            offered = watch.offered
            await asyncio.sleep(0.3)
        assert server.kept["unread_bytes"] <= MAX_QUEUED_BYTES + (2 << 20)
        assert (await ask(port, post("/v3/kv/range", text_of(b"foo"))))[0] == 200
        client.close()
        await asyncio.wait_for(watch.ended.wait(), 10)
        await until(lambda: not any(server.kept.values()))


async def test_a_stream_that_fails_says_so_in_its_last_line() -> None:
    async with serving() as (_, _, _, port):
        client = await Client.connect(port, post("/v3/watch", creating(b"fail")))
        got = await asyncio.wait_for(client.reader.readuntil(b"\r\n0\r\n\r\n"), 10)
        assert b'{"result":{"created":true}}\n' in got
        error = {
            "grpc_code": 14,
            "http_code": 503,
            "message": "etcdserver: no leader",
            "http_status": "Service Unavailable",
        }
        assert json.dumps({"error": error}, separators=(",", ":")).encode() in got
        client.close()


@pytest.mark.parametrize("body", [b"[", b'{"create_request":{"key":"!"}}', creating(b"foo")[:-1]])
async def test_a_stream_that_cannot_be_read_fails(body: bytes) -> None:
    async with serving() as (server, _, _, port):
        status, _, answer = await ask(port, post("/v3/watch", body))
        assert (status, json.loads(answer)["code"]) == (500, 2)
        await until(lambda: not any(server.kept.values()))


async def test_version_is_answered_beside_it() -> None:
    async with serving() as (_, _, _, port):
        assert (
            json.loads((await ask(port, b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n"))[2])["etcdserver"]
            == SERVER_VERSION
        )


def test_every_method_of_etcd_has_a_path() -> None:
    services = {path.split("/")[1] for path in ROUTES.values()}
    for service in rpc_pb2.DESCRIPTOR.services_by_name.values():
        assert service.full_name in services
        for method in service.methods:
            assert f"/{service.full_name}/{method.name}" in ROUTES.values()
