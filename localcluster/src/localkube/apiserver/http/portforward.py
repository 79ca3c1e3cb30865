"""``pods/portforward`` over the websocket protocol ``v4.channel.k8s.io``: two channels for each port."""

from __future__ import annotations

import asyncio
import struct

from aiohttp import WSMsgType, web

from localkube.apiserver.errors import ApiError, bad_request, not_implemented
from localkube.apiserver.http.call import Call
from localkube.apiserver.jsonobj import JsonObject, lookup

PROTOCOL = "v4.channel.k8s.io"
MAX_PORTS = 16
_CHUNK_BYTES = 64 * 1024


def default_address(pod: JsonObject) -> str:
    """Returns the pod's own address; raises a 409 when it has none yet."""
    address = lookup(pod, "status", "podIP")
    if not address:
        raise ApiError(409, "Conflict", f"pod {pod['metadata']['name']} is not running: it has no address yet")
    return str(address)


async def port_forward(call: Call, data: bytes) -> web.StreamResponse:
    """Forward the ports of the query ``ports``; raises 400, 409 or 501 before the connection is upgraded."""
    del data
    pod = call.store.get("pods", call.namespace, call.info.name)
    if call.request.headers.get("Upgrade", "").lower() != "websocket":
        raise not_implemented(
            "port-forwarding by kubectl is not supported by this local cluster: connect to the addresses of its pods "
            f"and Services, which are this machine's ({default_address(pod)} is the pod's)"
        )
    offered = [item.strip() for item in call.request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
    if PROTOCOL not in offered:
        raise not_implemented(f"websocket protocols {offered} are not supported; only {PROTOCOL}")
    text = ",".join(call.request.query.getall("ports", []))
    try:
        ports = [int(item) for item in text.split(",") if item]
    except ValueError:
        raise bad_request(f"query parameter ports is not valid: {text!r}") from None
    if not 0 < len(ports) <= MAX_PORTS:
        raise bad_request(f"between 1 and {MAX_PORTS} ports are needed in the query parameter ports")
    address = (call.services.options.pod_address or default_address)(pod)
    socket = web.WebSocketResponse(protocols=(PROTOCOL,))
    await socket.prepare(call.request)
    await _Forwarder(socket, address, ports).run()
    return socket


class _Forwarder:
    """Copies bytes between the channels of one websocket and connections to the pod."""

    def __init__(self, socket: web.WebSocketResponse, address: str, ports: list[int]) -> None:
        self._socket = socket
        self._address = address
        self._ports = ports
        self._writers: dict[int, asyncio.StreamWriter] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        """Forward until the client leaves or every connection has ended."""
        try:
            for index, port in enumerate(self._ports):
                header = struct.pack("<H", port)
                await self._socket.send_bytes(bytes([2 * index]) + header)
                await self._socket.send_bytes(bytes([2 * index + 1]) + header)
                await self._connect(index, port)
            async for message in self._socket:
                if message.type is not WSMsgType.BINARY or not message.data:
                    continue
                writer = self._writers.get(message.data[0] // 2)
                if writer is not None and message.data[0] % 2 == 0:
                    writer.write(message.data[1:])
                    await writer.drain()
        except (ConnectionError, OSError):
            await self._socket.close()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            for writer in self._writers.values():
                writer.close()

    async def _connect(self, index: int, port: int) -> None:
        try:
            reader, writer = await asyncio.open_connection(self._address, port)
        except OSError as error:
            text = f"error forwarding port {port} to {self._address}: {error}"
            await self._socket.send_bytes(bytes([2 * index + 1]) + text.encode())
            return
        self._writers[index] = writer
        self._tasks.append(asyncio.create_task(self._copy(index, reader)))

    async def _copy(self, index: int, reader: asyncio.StreamReader) -> None:
        try:
            while chunk := await reader.read(_CHUNK_BYTES):
                await self._socket.send_bytes(bytes([2 * index]) + chunk)
        except (ConnectionError, OSError) as error:
            await self._socket.send_bytes(bytes([2 * index + 1]) + str(error).encode())
        self._writers.pop(index).close()
        if not self._writers:
            await self._socket.close()
