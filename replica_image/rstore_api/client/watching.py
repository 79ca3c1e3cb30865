"""Follows the changes of keys across lost connections and replicas that end, without a loss or a duplicate."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from rstore_api.client.login import REFUSALS, Refusals, Streams, status_of
from rstore_api.dialling.endpoint import retry_delay_seconds
from rstore_api.dialling.stream import LinkBrokenError
from rstore_api.errors import (
    Compacted,
    InvalidAuthToken,
    InvalidRequest,
    NotSupported,
    PermissionDenied,
    StoreError,
    TooManyRequests,
    Unreachable,
    UserEmpty,
)
from rstore_api.methods import WATCH
from rstore_api.proto import kv_pb2, rpc_pb2

REQUIRE_LEADER = (("hasleader", "true"),)
"""A replica that has lost its leader for some seconds ends the stream, and another one is asked."""
_REFUSALS: tuple[type[StoreError], ...] = (PermissionDenied, TooManyRequests, UserEmpty, InvalidAuthToken)


@dataclass(frozen=True)
class Changes:
    """Events of whole revisions, in order. Without events: nothing else has happened up to ``revision``."""

    revision: int
    events: tuple[kv_pb2.Event, ...]


async def follow(
    endpoints: Sequence[Streams], request: rpc_pb2.WatchCreateRequest, *, rng: random.Random
) -> AsyncGenerator[Changes, None]:
    """Yields what happens from ``start_revision`` on (0: from now on), for ever, from any of the endpoints.

    The first item comes at once, and has no events: what follows are all changes after its revision. Raises Compacted
    with ``compact_revision`` when some of the changes are gone, PermissionDenied, InvalidRequest or TooManyRequests
    when the watch is refused, NotSupported where there is no watch.
    """
    following = _Following(request)
    attempt, refusals = 0, Refusals()
    while True:
        endpoint = endpoints[attempt % len(endpoints)]
        try:
            async with aclosing(following.once(endpoint)) as items:
                async for changes in items:
                    attempt -= attempt // len(endpoints) * len(endpoints)  # it works: the pauses begin anew
                    refusals.clear()
                    yield changes
        except LinkBrokenError as error:
            failure = status_of(error)
            if isinstance(failure, NotSupported | PermissionDenied):
                raise failure from error
            if isinstance(failure, REFUSALS):
                refusals.note(failure, endpoint)
        except StoreError as error:
            if not isinstance(error, Unreachable):
                refusals.note(error, endpoint)
                continue
        attempt += 1
        rounds, within_round = divmod(attempt, len(endpoints))
        if within_round == 0:
            await asyncio.sleep(retry_delay_seconds(rounds, rng))


class _Following:
    """How far a watch has come."""

    def __init__(self, request: rpc_pb2.WatchCreateRequest) -> None:
        self._request = rpc_pb2.WatchCreateRequest()
        self._request.CopyFrom(request)
        self._request.watch_id, self._request.fragment = 0, False
        self._began = False

    async def once(self, endpoint: Streams) -> AsyncGenerator[Changes, None]:
        """Yields what comes of one stream. Raises LinkBrokenError when that ends."""
        stream = await endpoint.open_stream(WATCH, metadata=REQUIRE_LEADER)
        try:
            await stream.send(rpc_pb2.WatchRequest(create_request=self._request))
            while (response := await stream.receive()) is not None:
                for changes in self._take(response):
                    yield changes
        finally:
            await stream.close()
        raise LinkBrokenError("the stream has ended")

    def _take(self, response: rpc_pb2.WatchResponse) -> list[Changes]:
        if response.canceled:
            raise self._refusal(response)
        revision = response.header.revision
        if response.created:
            if not self._request.start_revision:
                self._request.start_revision = revision + 1
            began, self._began = self._began, True
            return [] if began else [Changes(self._request.start_revision - 1, ())]
        if response.events:
            revision = response.events[-1].kv.mod_revision
        self._request.start_revision = max(self._request.start_revision, revision + 1)
        return [Changes(revision, tuple(response.events))]

    def _refusal(self, response: rpc_pb2.WatchResponse) -> StoreError:
        if response.compact_revision:
            first = self._request.start_revision
            text = (
                f"changes from revision {first} on were asked for, those from {response.compact_revision} on are kept"
            )
            return Compacted(text, compact_revision=response.compact_revision)
        refused = next((kind for kind in _REFUSALS if response.cancel_reason.endswith(kind.text)), None)
        return InvalidRequest(response.cancel_reason) if refused is None else refused()
