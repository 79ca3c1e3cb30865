"""A lease that the client keeps alive, through lost connections, changes of leader and of primary."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType

from rstore_api.client.login import Streams
from rstore_api.dialling.endpoint import retry_delay_seconds
from rstore_api.dialling.stream import LinkBrokenError, StreamCall
from rstore_api.errors import LeaseNotFound, StoreError
from rstore_api.methods import LEASE_GRANT, LEASE_KEEP_ALIVE, LEASE_REVOKE
from rstore_api.proto import rpc_pb2

RENEWALS_PER_LIFE = 3
"""A lease is renewed so often within its time to live."""
REVOKE_SECONDS = 2.0

Call = Callable[..., Awaitable[object]]


class Lease:
    """A lease from entering ``async with`` on: it is renewed until that is left, and then revoked with all its keys.

    Attach keys with ``Client.put(..., lease=lease.id)``. Whoever acts on the strength of a lease asks :attr:`alive`
    before each step, or waits for :meth:`lost` beside its work.
    """

    def __init__(
        self, call: Call, endpoints: Sequence[Streams], request: rpc_pb2.LeaseGrantRequest, rng: random.Random
    ) -> None:
        """``call`` makes one call by any endpoint. See :meth:`Client.lease`."""
        self._call = call
        self._endpoints = endpoints
        self._request = request
        self._rng = rng
        self._until = 0.0
        self._lost = asyncio.Event()
        self._keeping: asyncio.Task[None] | None = None
        self.id = 0
        self.ttl_seconds = 0
        """As granted."""

    @property
    def alive(self) -> bool:
        """Whether the lease certainly lives at this moment: the time that was promised last is not over."""
        return not self._lost.is_set() and _now() < self._until

    async def lost(self) -> None:
        """Returns when the lease has ended, or when the client can no longer know that it lives."""
        await self._lost.wait()

    async def __aenter__(self) -> Lease:
        sent_at = _now()
        response = await self._call(LEASE_GRANT, self._request, timeout_seconds=max(5.0, float(self._request.TTL)))
        assert isinstance(response, rpc_pb2.LeaseGrantResponse)
        self.id, self.ttl_seconds = response.ID, response.TTL
        self._until = sent_at + response.TTL
        self._keeping = asyncio.create_task(self._keep())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        self._lost.set()
        try:
            request = rpc_pb2.LeaseRevokeRequest(ID=self.id)
            await self._call(LEASE_REVOKE, request, timeout_seconds=REVOKE_SECONDS)
        except LeaseNotFound:
            pass  # it has ended before
        except StoreError:
            if kind is None:
                raise

    async def _keep(self) -> None:
        """Renews the lease until it is lost."""
        attempt = 0
        try:
            async with asyncio.timeout_at(self._until) as life:
                while True:
                    endpoint = self._endpoints[attempt % len(self._endpoints)]
                    try:
                        stream = await endpoint.open_stream(LEASE_KEEP_ALIVE)
                        try:
                            if not await self._renew(stream, life):
                                return
                        finally:
                            await stream.close()
                    except (LinkBrokenError, StoreError):
                        attempt += 1
                    rounds, within_round = divmod(attempt, len(self._endpoints))
                    if within_round == 0:
                        await asyncio.sleep(retry_delay_seconds(rounds, self._rng))
        except TimeoutError:
            pass  # nobody has renewed it in time
        finally:
            self._lost.set()

    async def _renew(
        self,
        stream: StreamCall[rpc_pb2.LeaseKeepAliveRequest, rpc_pb2.LeaseKeepAliveResponse],
        life: asyncio.Timeout,
    ) -> bool:
        """Renews over one stream for as long as that lasts; returns whether the lease lives."""
        pause_seconds = self.ttl_seconds / RENEWALS_PER_LIFE
        while True:
            sent_at = _now()
            await stream.send(rpc_pb2.LeaseKeepAliveRequest(ID=self.id))
            try:
                async with asyncio.timeout(pause_seconds):
                    response = await stream.receive()
            except TimeoutError as error:
                raise LinkBrokenError("no answer") from error
            if response is None:
                raise LinkBrokenError("the stream has ended")
            if response.TTL <= 0:
                return False
            self._until = sent_at + response.TTL
            life.reschedule(self._until)
            await asyncio.sleep(max(0.0, sent_at + pause_seconds - _now()))


def _now() -> float:
    return asyncio.get_running_loop().time()
