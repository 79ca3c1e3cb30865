"""How much of a stream a client may send ahead of who reads it."""

from __future__ import annotations

import asyncio
import struct

import pytest
from rstore_replica.api.listeners import peer_server
from rstore_replica.wire import frames
from rstore_replica.wire.stream import STREAM_WINDOW_BYTES
from unit.wire.wire_servers import SERVICE, RawClient, channel_to, serving


@pytest.mark.parametrize(
    ("options", "expected"), [({}, STREAM_WINDOW_BYTES), ({"stream_window_bytes": 9 << 20}, 9 << 20)]
)
async def test_clients_are_told_the_window_of_a_stream(options: dict[str, int], expected: int) -> None:
    async with serving(**options) as (_, _, port):
        raw = await RawClient.connect(port)
        _, _, payload = await raw.next_of(frames.SETTINGS)
        assert dict(struct.iter_unpack(">HI", payload))[frames.SETTING_INITIAL_WINDOW_SIZE] == expected
        raw.close()


@pytest.mark.parametrize("window_bytes", [1 << 20, 16 << 20])
async def test_a_client_goes_on_sending_until_the_window_is_full(window_bytes: int) -> None:
    """The servicer takes nothing."""
    message, most = bytes(100_000), 80
    async with serving(stream_window_bytes=window_bytes) as (_, echo, port), channel_to(port) as channel:
        chat = channel.stream_stream(f"/{SERVICE}/Stuck")()
        sent = 0
        try:
            async with asyncio.timeout(1.0):
                for sent in range(most):  # noqa: B007
                    await chat.write(message)
                sent = most
        except TimeoutError:
            pass
        chat.cancel()
        assert echo.started.is_set()
    if window_bytes > most * len(message):
        assert sent == most
    else:
        assert window_bytes // 2 < sent * len(message) < 4 * window_bytes


def test_the_peer_port_lets_a_source_have_a_whole_replication_window_on_its_way() -> None:
    assert peer_server(services=(), replication_window_bytes=8 << 20).stream_window_bytes == 16 << 20
    assert peer_server(services=(), replication_window_bytes=1 << 40).stream_window_bytes == frames.MAX_WINDOW
