"""A call that streams both ways."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic

from grpc import aio

from rstore_api.dialling.channels import close
from rstore_api.methods import Method, RequestT, ResponseT

OnFailure = Callable[[aio.AioRpcError], object]


class LinkBrokenError(Exception):
    """The connection cannot be made, broke, or went silent. It is always worth trying again."""


class StreamCall(Generic[RequestT, ResponseT]):
    """One call of a streaming method. Not shared: one task sends, one receives."""

    def __init__(
        self,
        channel: aio.Channel,
        method: Method[RequestT, ResponseT],
        *,
        metadata: Sequence[tuple[str, str]] = (),
        release: Callable[[], Awaitable[None]] | None = None,
        on_failure: OnFailure | None = None,
    ) -> None:
        """Begins the call on a channel, which is this call's from now on, unless ``release`` is called at its end.

        ``on_failure`` is called with the status of a call that has failed. Raises LinkBrokenError.
        """
        self._release = release
        self._on_failure = on_failure
        self._channel = channel
        self._response = method.response
        multicallable: Any = channel.stream_stream(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )
        try:
            self._call = multicallable(metadata=tuple(metadata))
        except aio.UsageError as error:
            raise LinkBrokenError("the channel was closed") from error

    async def send(self, request: RequestT) -> None:
        """Hands one message to gRPC, waiting for its flow control. Raises LinkBrokenError."""
        try:
            await self._call.write(request)
        except aio.AioRpcError as error:
            raise self._broken(error) from error
        except (aio.UsageError, asyncio.InvalidStateError) as error:
            raise LinkBrokenError("the stream has ended") from error

    async def done_sending(self) -> None:
        """Says that no more messages come. Raises LinkBrokenError."""
        try:
            await self._call.done_writing()
        except aio.AioRpcError as error:
            raise self._broken(error) from error
        except (aio.UsageError, asyncio.InvalidStateError) as error:
            raise LinkBrokenError("the stream has ended") from error

    async def receive(self) -> ResponseT | None:
        """Returns the next message, None at the orderly end. Raises LinkBrokenError."""
        try:
            response = await self._call.read()
        except aio.AioRpcError as error:
            raise self._broken(error) from error
        except (aio.UsageError, asyncio.InvalidStateError) as error:
            raise LinkBrokenError("the stream has ended") from error
        return response if isinstance(response, self._response) else None

    async def close(self) -> None:
        """Cancels the call, and closes its channel. To be called once."""
        self._call.cancel()
        await (close(self._channel) if self._release is None else self._release())

    def _broken(self, error: aio.AioRpcError) -> LinkBrokenError:
        if self._on_failure is not None:
            self._on_failure(error)
        return LinkBrokenError(f"{error.code().name}: {error.details() or 'no details'}")
