"""The region that an archiver reads from."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Protocol

from rstore_api.dialling.endpoint import Endpoint
from rstore_api.dialling.stream import LinkBrokenError
from rstore_api.errors import StoreError
from rstore_api.methods import ARCHIVE_BASE, ARCHIVE_FOLLOW, Method, RequestT, ResponseT
from rstore_api.proto.rstore_pb2 import BaseRequest, FollowRequest, FollowResponse, SnapshotChunk
from rstore_api.tls import TlsSource

SILENCE_SECONDS = 15.0
"""A replica that sends nothing for so long is given up; it says where it is once a second."""
BASE_SILENCE_SECONDS = 120.0
"""As above, of a base: among many deleted keys the next one that is there may be far."""


class SourceError(Exception):
    """The region gave no rows; the same request, of another replica or later, may succeed."""


class Source(Protocol):
    """Streams of rows."""

    def follow(self, request: FollowRequest, /) -> AsyncGenerator[FollowResponse]:
        """Yields what follows, the beginning first. Raises SourceError."""

    def base(self, request: BaseRequest, /) -> AsyncGenerator[SnapshotChunk]:
        """Yields the chunks of a base. Raises SourceError."""


class RegionSource:
    """The replicas of a region, tried one after the other."""

    def __init__(self, addresses: Callable[[], tuple[str, ...]], tls: TlsSource | None) -> None:
        """``addresses``: ``host:port`` of the peer ports, as they are now."""
        self._addresses = addresses
        self._tls = tls
        self._next = 0
        self._have_compacted = 0
        """Replicas that have compacted, one after the other, what was asked for."""

    async def follow(self, request: FollowRequest) -> AsyncGenerator[FollowResponse]:
        """Implements :class:`Source`."""
        async with aclosing(self._stream(ARCHIVE_FOLLOW, request, SILENCE_SECONDS)) as stream:
            async for response in stream:
                if response.begin.compacted and self._have_compacted < len(self._addresses()) - 1:
                    # The replica that was read before may have kept it for this archiver.
                    self._have_compacted += 1
                    self._next += 1
                    raise SourceError(f"{response.begin.replica} has compacted what follows; the others are asked")
                self._have_compacted = 0
                yield response

    async def base(self, request: BaseRequest) -> AsyncGenerator[SnapshotChunk]:
        """Implements :class:`Source`."""
        async with aclosing(self._stream(ARCHIVE_BASE, request, BASE_SILENCE_SECONDS)) as stream:
            async for chunk in stream:
                yield chunk

    async def _stream(
        self, method: Method[RequestT, ResponseT], request: RequestT, silence_seconds: float
    ) -> AsyncGenerator[ResponseT]:
        addresses = self._addresses()
        turn, address = self._next, addresses[self._next % len(addresses)]
        try:
            async with Endpoint(address, tls=self._tls) as endpoint:
                stream = await endpoint.open_stream(method)
                try:
                    await stream.send(request)
                    await stream.done_sending()
                    while True:
                        async with asyncio.timeout(silence_seconds):
                            response = await stream.receive()
                        if response is None:
                            return
                        yield response
                finally:
                    await stream.close()
        except TimeoutError as error:
            self._next = turn + 1
            raise SourceError(f"{address} has sent nothing for {silence_seconds:.0f} s") from error
        except (StoreError, LinkBrokenError, ValueError) as error:
            self._next = turn + 1
            raise SourceError(f"{address}: {error}") from error
