"""One connection to a port of a pod, through the API server and the kubelet.

Each message is a channel's number and bytes: 0 carries the port's bytes both ways, 1 the kubelet's error message.
The first message of each channel repeats the number of the port.
"""

from __future__ import annotations

import aiohttp

PROTOCOL = "v4.channel.k8s.io"
_DATA, _ERROR = 0, 1
_PORT_BYTES = 2


class PodPort:
    """The bytes of one connection. ``error`` is the far side's error message, "" while there is none."""

    def __init__(self, connection: aiohttp.ClientWebSocketResponse) -> None:
        self._connection = connection
        self._begun: set[int] = set()
        self.error = ""

    async def read(self) -> bytes:
        """Returns the next bytes from the pod; none at the end of the connection."""
        while True:
            message = await self._connection.receive()
            if message.type is not aiohttp.WSMsgType.BINARY:
                return b""
            channel, content = message.data[0], message.data[1:]
            if channel not in self._begun:
                self._begun.add(channel)
                content = content[_PORT_BYTES:]
            if channel == _ERROR:
                self.error += content.decode(errors="replace")
            elif channel == _DATA and content:
                return bytes(content)

    async def write(self, content: bytes) -> None:
        """Send bytes to the pod. Raises ConnectionError when the connection has ended."""
        await self._connection.send_bytes(bytes([_DATA]) + content)

    async def close(self) -> None:
        """End the connection."""
        await self._connection.close()
