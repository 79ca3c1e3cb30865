"""Handing a request on to the primary's leader, on the client port, with this replica's own certificate; and asking
other replicas there for this one.

A request that changes something is sent to one replica after another only while each says, or the lack of a
connection proves, that nothing happened. A connection that breaks after sending leaves OutcomeUnknown.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from rstore_api.client.identity import format_request_id
from rstore_api.dialling.channels import Resolve, system_resolve
from rstore_api.dialling.endpoint import Endpoint
from rstore_api.dialling.pool import Pool
from rstore_api.domain.limits import MAX_REGIONS, MAX_REPLICAS
from rstore_api.errors import (
    REQUEST_ID_KEY,
    DeadlineExceeded,
    NoLeader,
    NoPrimary,
    NotLeader,
    NotReady,
    ShuttingDown,
    StoreError,
    TooManyRequests,
    Unreachable,
)
from rstore_api.methods import Method, RequestT, ResponseT
from rstore_api.proto.rstore_pb2 import RequestId

from rstore_replica.api.auth.credentials import FORWARDED_KEY, SYSTEM
from rstore_replica.api.routing.route import ForwardTo
from rstore_replica.tls import CertificateStore

CLIENT_KEY = "rstore-forwarded-for"
"""Metadata of such a request: the address of the client, see ``CallInfo.client``."""

MAX_ENDPOINTS = MAX_REGIONS * MAX_REPLICAS
MAX_IN_FLIGHT = 4096
CONNECT_TIMEOUT_SECONDS = 1.0
ABANDON_SECONDS = 0.5
"""How long requests that were handed to a region which is primary no more may still be answered: one that stopped in
good order has answered long before, one that was lost or hangs never will."""

_TRY_ANOTHER = (NotLeader, NoLeader, NotReady, ShuttingDown, TooManyRequests, Unreachable)


class Forwarder:
    """Connections to replicas of all regions, and each region's leader as last known."""

    def __init__(
        self,
        *,
        replica: str,
        certificates: CertificateStore | None,
        resolve: Resolve = system_resolve,
        on_forward: Callable[[str], None] = lambda _path: None,
    ) -> None:
        """``certificates`` None: plaintext, for tests. ``on_forward`` gets the path of each request handed on."""
        self._metadata: tuple[tuple[str, str], ...] = ((FORWARDED_KEY, replica),)
        self._certificates = certificates
        self._resolve = resolve
        self._on_forward = on_forward
        self._endpoints = Pool(self._open, limit=MAX_ENDPOINTS)  # by region and address
        self._leaders: dict[str, str] = {}
        self._primary = ""
        self._closing: set[asyncio.Task[None]] = set()
        self._in_flight = 0

    async def call(
        self,
        target: ForwardTo,
        method: Method[RequestT, ResponseT],
        request: RequestT,
        *,
        deadline: float,
        client: str = "",
        request_id: RequestId | None = None,
        credentials: tuple[tuple[str, str], ...] = (),
    ) -> ResponseT:
        """Returns the answer of the region's leader. Raises a StoreError; NoPrimary when no replica could be reached.

        ``client``, ``request_id`` and ``credentials`` go with the request.
        """
        if self._in_flight >= MAX_IN_FLIGHT:
            raise TooManyRequests
        self._in_flight += 1
        metadata = (*self._metadata, (CLIENT_KEY, client), *credentials)
        if request_id is not None:
            metadata = (*metadata, (REQUEST_ID_KEY, format_request_id(request_id)))
        try:
            return await self._call(target, method, request, deadline=deadline, metadata=metadata)
        finally:
            self._in_flight -= 1

    async def ask(
        self, member: tuple[str, str], method: Method[RequestT, ResponseT], request: RequestT, seconds: float
    ) -> ResponseT:
        """Returns what one replica, named by region and client address, answers by itself to a question of this one's
        own. Raises StoreError.
        """
        metadata = (*self._metadata, *SYSTEM.metadata(None))
        async with self._endpoints.use(member) as endpoint:
            return await endpoint.call(method, request, timeout_seconds=seconds, metadata=metadata)

    def primary_is(self, region: str) -> None:
        """Notes the primary region: soon after another has become it, no answer of the one before is waited for.

        What such a request has done is unknown, unless it only read.
        """
        if region != self._primary:
            self._primary = region
            asyncio.get_running_loop().call_later(ABANDON_SECONDS, self._abandon_others, region)

    def _abandon_others(self, region: str) -> None:
        if region != self._primary:
            return
        task = asyncio.create_task(self._endpoints.close(lambda key: key[0] != region))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Closes every connection."""
        await asyncio.gather(self._endpoints.close(), *self._closing)

    async def _call(
        self,
        target: ForwardTo,
        method: Method[RequestT, ResponseT],
        request: RequestT,
        *,
        deadline: float,
        metadata: tuple[tuple[str, str], ...],
    ) -> ResponseT:
        clock = asyncio.get_running_loop().time
        addresses = deque(replica.client_address for replica in target.replicas)
        leader = self._leaders.get(target.region)
        if leader is not None and leader in addresses:
            addresses.appendleft(leader)
        tried: set[str] = set()
        last: StoreError = NoPrimary(f"no replica of {target.region} is known")
        while addresses:
            address = addresses.popleft()
            if address in tried:
                continue
            tried.add(address)
            remaining = deadline - clock()
            if remaining <= 0:
                raise DeadlineExceeded
            self._on_forward(method.path)
            try:
                async with self._endpoints.use((target.region, address)) as endpoint:
                    response = await endpoint.call(method, request, timeout_seconds=remaining, metadata=metadata)
            except _TRY_ANOTHER as error:
                last = NoPrimary(error.detail) if isinstance(error, Unreachable) else error
                if self._leaders.get(target.region) == address:
                    del self._leaders[target.region]
                hint = target.client_address_of(error.leader) if isinstance(error, NotLeader) else None
                if hint is not None:
                    addresses.appendleft(hint)
                continue
            self._leaders[target.region] = address
            return response
        raise last

    def _open(self, key: tuple[str, str]) -> Endpoint:
        try:
            return Endpoint(
                key[1],
                tls=self._certificates,
                resolve=self._resolve,
                connect_timeout_seconds=CONNECT_TIMEOUT_SECONDS,
            )
        except ValueError as error:
            raise Unreachable(str(error)) from error
