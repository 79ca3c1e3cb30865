"""Forwarded ports: what goes over the web socket."""

from __future__ import annotations

import pytest
from aiohttp import WSMsgType, web
from rstore_kube.errors import ApiError

PORT = (2379).to_bytes(2, "little")


async def test_bytes_go_both_ways_and_an_error_is_kept(serve) -> None:
    received: list[bytes] = []

    async def kubelet(request: web.Request) -> web.WebSocketResponse:
        assert request.path == "/api/v1/namespaces/team/pods/orders-0/portforward"
        assert request.query["ports"] == "2379"
        assert request.headers["Authorization"] == "Bearer secret"
        socket = web.WebSocketResponse(protocols=["v4.channel.k8s.io"])
        await socket.prepare(request)
        for channel in (0, 1):
            await socket.send_bytes(bytes([channel]) + PORT)
        message = await socket.receive()
        assert message.type is WSMsgType.BINARY
        received.append(message.data)
        await socket.send_bytes(b"\0" + message.data[1:].upper())
        await socket.send_bytes(b"\1connection refused")
        await socket.send_bytes(b"\0end")
        await socket.close()
        return socket

    async with serve(kubelet) as client:
        port = await client.open_port("team", "orders-0", 2379)
        await port.write(b"hello")
        assert await port.read() == b"HELLO"
        assert await port.read() == b"end"
        assert port.error == "connection refused"
        assert await port.read() == b""
        await port.close()
        with pytest.raises(ConnectionError):
            await port.write(b"more")
    assert received == [b"\0hello"]


async def test_the_number_of_the_port_and_the_first_bytes_may_share_a_message(serve) -> None:
    async def kubelet(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=["v4.channel.k8s.io"])
        await socket.prepare(request)
        await socket.send_bytes(b"\0" + PORT + b"first")
        await socket.close()
        return socket

    async with serve(kubelet) as client:
        port = await client.open_port("team", "orders-0", 2379)
        assert [await port.read(), await port.read()] == [b"first", b""]
        await port.close()


async def test_a_refusal_is_an_api_error(serve) -> None:
    async def refuse(_request: web.Request) -> web.Response:
        return web.json_response({"message": "no such pod"}, status=404)

    async with serve(refuse) as client:
        with pytest.raises(ApiError) as refusal:
            await client.open_port("team", "orders-0", 2379)
    assert refusal.value.not_found
