"""The token of a user of etcd's auth: fetched with a password, and anew when it is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from grpc import aio

from rstore_api.dialling.endpoint import TEMPORARY, Endpoint, failure_of
from rstore_api.dialling.stream import LinkBrokenError, StreamCall
from rstore_api.errors import (
    AuthNotEnabled,
    AuthOldRevision,
    InvalidAuthToken,
    StoreError,
    Unreachable,
    UserEmpty,
)
from rstore_api.methods import Method, RequestT, ResponseT
from rstore_api.proto import rpc_pb2

TOKEN_KEY = "token"
MAX_REFUSALS = 2
"""Of one request, or of a watch in a row: a token that was just fetched is good, unless the user has changed."""
STREAM_LOGIN_SECONDS = 5.0

REFUSALS: tuple[type[StoreError], ...] = (InvalidAuthToken, UserEmpty, AuthOldRevision)
"""Errors that another token may help against. Nothing was carried out."""

Metadata = tuple[tuple[str, str], ...]
Authenticate = Callable[[rpc_pb2.AuthenticateRequest, float], Awaitable[rpc_pb2.AuthenticateResponse]]


@dataclass(frozen=True)
class User:
    """A user of etcd's auth."""

    name: str
    password: str = field(repr=False)


class Login:
    """What says who the user is, with each request: a token while auth is on; nothing without a user."""

    def __init__(self, user: User | None, authenticate: Authenticate) -> None:
        """``authenticate`` sends that request, in so many seconds at most."""
        self._user = user
        self._authenticate = authenticate
        self._token: str | None = None
        """"" while auth is off; None: none was fetched, or it was refused."""
        self._fetching = asyncio.Lock()

    async def metadata(self, timeout_seconds: float) -> Metadata:
        """Returns what goes with a request. Raises AuthFailed, NoPasswordUser, Unreachable or another StoreError."""
        user = self._user
        if user is None:
            return ()
        if self._token is None:
            try:
                async with asyncio.timeout(timeout_seconds):
                    await self._fetch(user, timeout_seconds)
            except TimeoutError as error:
                raise Unreachable("no time left after authenticating") from error
        return ((TOKEN_KEY, self._token),) if self._token else ()

    async def _fetch(self, user: User, timeout_seconds: float) -> None:
        async with self._fetching:
            if self._token is not None:
                return
            try:
                request = rpc_pb2.AuthenticateRequest(name=user.name, password=user.password)
                self._token = (await self._authenticate(request, timeout_seconds)).token
            except AuthNotEnabled:
                self._token = ""

    def refused(self, error: StoreError, sent: Metadata) -> bool:
        """Returns whether a request that was refused with what was ``sent`` may be sent again, with new metadata."""
        if isinstance(error, AuthOldRevision):
            return True
        if self._user is None or not isinstance(error, InvalidAuthToken | UserEmpty):
            return False
        if isinstance(error, UserEmpty) and sent:
            return False
        if sent == (((TOKEN_KEY, self._token),) if self._token else ()):
            self._token = None
        return True


def status_of(error: LinkBrokenError) -> StoreError | None:
    """Returns what a stream has ended with, None when that was no status."""
    cause = error.__cause__
    return failure_of(cause, changes=False) if isinstance(cause, aio.AioRpcError) else None


class Streams(Protocol):
    """Opens streams to one replica."""

    async def open_stream(
        self, method: Method[RequestT, ResponseT], *, metadata: Sequence[tuple[str, str]] = ()
    ) -> StreamCall[RequestT, ResponseT]:
        """As :meth:`Endpoint.open_stream`."""

    def refused(self, error: StoreError) -> bool:
        """Returns whether a stream that answered with this error may be opened again."""


class Refusals:
    """The refusals of streams in a row, each opened in place of the one before."""

    def __init__(self) -> None:
        self._count = 0

    def clear(self) -> None:
        """To be called when a stream works."""
        self._count = 0

    def note(self, error: StoreError, streams: Streams) -> None:
        """Returns when the stream that answered with this error may be opened again, else raises the error."""
        self._count += 1
        if self._count > MAX_REFUSALS or not streams.refused(error):
            raise error


class UserStreams:
    """Opens streams of one endpoint that say who the user is."""

    def __init__(self, endpoint: Endpoint, login: Login) -> None:
        self._endpoint = endpoint
        self._login = login
        self._sent: Metadata = ()

    async def open_stream(
        self, method: Method[RequestT, ResponseT], *, metadata: Sequence[tuple[str, str]] = ()
    ) -> StreamCall[RequestT, ResponseT]:
        """As :meth:`Endpoint.open_stream`. Raises AuthFailed or NoPasswordUser, too."""
        try:
            sent = await self._login.metadata(STREAM_LOGIN_SECONDS)
        except TEMPORARY as error:
            raise Unreachable(str(error)) from error
        self._sent = sent
        return await self._endpoint.open_stream(
            method, metadata=(*metadata, *sent), on_failure=partial(self._failed, sent)
        )

    def refused(self, error: StoreError) -> bool:
        """Returns whether a stream that answered with this error may be opened again."""
        return self._login.refused(error, self._sent)

    def _failed(self, sent: Metadata, failure: aio.AioRpcError) -> None:
        self._login.refused(failure_of(failure, changes=False), sent)
