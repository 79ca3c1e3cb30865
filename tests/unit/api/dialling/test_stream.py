"""What gRPC does when a call ends under it is a broken link to the stream, whatever gRPC calls it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import grpc.aio
import pytest
from rstore_api.dialling.stream import LinkBrokenError, StreamCall
from rstore_api.methods import STREAM
from rstore_api.proto import rstore_pb2 as pb


class Call:
    """A call on which everything fails."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def write(self, request: pb.StreamRequest) -> None:
        raise self._error

    async def read(self) -> None:
        raise self._error


@pytest.mark.parametrize("error", [grpc.aio.UsageError("closed"), asyncio.InvalidStateError("RPC already finished.")])
async def test_a_call_that_has_ended_is_a_broken_link(error: Exception) -> None:
    channel: Any = SimpleNamespace(stream_stream=lambda *_args, **_kinds: lambda **_options: Call(error))
    connection = StreamCall(channel, STREAM)
    with pytest.raises(LinkBrokenError):
        await connection.send(pb.StreamRequest())
    with pytest.raises(LinkBrokenError):
        await connection.receive()
