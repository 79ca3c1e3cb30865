"""What is fuzzed of HTTP/1.1 on the client port: the protocol, the gateway, and its JSON."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
from fuzz.target import Network, Target
from google.protobuf.message import Message
from rstore_api.exposition import Exposition
from rstore_api.proto import rpc_pb2
from rstore_replica.api.http.application import ClientHttp
from rstore_replica.api.http.checks import Checks, Sources
from rstore_replica.api.http.gateway import Gateway
from rstore_replica.api.http.json_mapping import JsonError, ValueSplitter, json_from, message_from
from rstore_wire.beginning import Beginning
from rstore_wire.frames import PREFACE
from rstore_wire.http1_connection import Http1Connection
from rstore_wire.server import Server

MAX_MESSAGE_BYTES = 1 << 16


class _Metrics:
    def take_reading(self) -> None: ...

    def render(self) -> bytes:
        return b""


async def _range(request: rpc_pb2.RangeRequest, _context: Any) -> rpc_pb2.RangeResponse:
    return rpc_pb2.RangeResponse(kvs=[{"key": request.key}])


async def _watch(requests: AsyncIterator[rpc_pb2.WatchRequest], _context: Any) -> AsyncIterator[rpc_pb2.WatchResponse]:
    async for request in requests:
        yield rpc_pb2.WatchResponse(created=True, watch_id=request.create_request.watch_id)


async def _no_alarms() -> tuple[str, ...]:
    return ()


async def _read(_serializable: bool, _seconds: float) -> None: ...


class Http1Bytes(Target):
    """Bytes to a port that speaks both protocols: nothing is raised, nor kept once the connection is gone."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._loop.run_until_complete(self._make())

    async def _make(self) -> None:
        self._server = server = Server(max_message_bytes=MAX_MESSAGE_BYTES)
        for path, handler in {
            "etcdserverpb.KV/Range": grpc.unary_unary_rpc_method_handler(
                _range, rpc_pb2.RangeRequest.FromString, rpc_pb2.RangeResponse.SerializeToString
            ),
            "etcdserverpb.Watch/Watch": grpc.stream_stream_rpc_method_handler(
                _watch, rpc_pb2.WatchRequest.FromString, rpc_pb2.WatchResponse.SerializeToString
            ),
        }.items():
            service, name = path.split("/")
            server.add_registered_method_handlers(service, {name: handler})
        checks = Checks(Sources(_read, _no_alarms, tuple, lambda: True, lambda: False))
        server.http = ClientHttp(checks=checks, exposition=Exposition(_Metrics()), gateway=Gateway(server.find))

    def __call__(self, data: bytes) -> None:
        """Takes one input."""
        self._loop.run_until_complete(self._run(data))

    async def _run(self, data: bytes) -> None:
        server = self._server
        assert server.http is not None
        transport: Any = _Switched()
        beginning = Beginning(server, server.http)
        transport.protocol = beginning
        beginning.connection_made(transport)
        for part in (data[: len(data) // 2], data[len(data) // 2 :]):
            transport.protocol.data_received(part)
            await asyncio.sleep(0)
        for _ in range(20):
            await asyncio.sleep(0)
        if isinstance(transport.protocol, Http1Connection):
            assert transport.written.startswith(b"HTTP/1.1 ") or not transport.written
        transport.protocol.connection_lost(None)
        for _ in range(4):
            await asyncio.sleep(0)
        assert not any(server.kept.values()), server.kept

    def seeds(self) -> list[bytes]:
        """Requests of each kind, and HTTP/2."""
        watch = b'{"create_request":{"key":"Zm9v","watch_id":"3"}}'
        return [
            b"GET /health?serializable=true HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET /readyz?verbose HTTP/1.0\r\n\r\n",
            b'POST /v3/kv/range HTTP/1.1\r\nHost: x\r\nContent-Length: 14\r\n\r\n{"key":"Zm9v"}',
            b"POST /v3/watch HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            + b"%x\r\n%s\r\n" % (len(watch), watch) * 2
            + b"0\r\n\r\n",
            b"HEAD /version HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc" * 2,
            PREFACE,
        ]


class _Switched(Network):
    """A transport whose protocol may change, and which remembers what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.protocol: asyncio.BaseProtocol | None = None
        self.written = b""

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def write(self, data: Any) -> None:
        self.written += bytes(data)


class JsonTexts(Target):
    """JSON to messages: a JsonError is the only error, and a message is the same when it has become JSON once more."""

    KINDS: tuple[type[Message], ...] = (rpc_pb2.TxnRequest, rpc_pb2.WatchRequest, rpc_pb2.RangeResponse)

    def __call__(self, data: bytes) -> None:
        """Takes one input."""
        for kind in self.KINDS:
            with contextlib.suppress(JsonError):
                message = message_from(data, kind)
                assert message_from(json_from(message), kind) == message
        whole, parts = ValueSplitter(MAX_MESSAGE_BYTES), ValueSplitter(MAX_MESSAGE_BYTES)
        try:
            values = whole.feed(data)
        except JsonError:
            return
        assert [value for at in range(len(data)) for value in parts.feed(data[at : at + 1])] == values
        assert parts.is_incomplete == whole.is_incomplete

    def seeds(self) -> list[bytes]:
        """A transaction, requests of a watch, an answer."""
        return [
            b'{"compare":[{"key":"Zm9v","result":"EQUAL","target":"VALUE","value":"YmFy"}],"success":[]}',
            b'{"success":[{"request_put":{"key":"Zm9v","lease":"7"}},{"requestRange":{"key":"Zm9v"}}]}',
            b'{"create_request":{"key":"Zm9v","filters":["NOPUT",1]}} {"progress_request":{}}',
            b'{"header":{"revision":"7"},"kvs":[{"key":"Zm9v","value":null}],"count":1,"x":"\\"}"}',
        ]
