"""Clients that hold leases: they ask any replica of any region, renew in time or not, and go away."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from rstore_api import errors, methods
from rstore_api.dialling.endpoint import Endpoint
from rstore_api.proto import rpc_pb2 as rpc
from rstore_api.proto import rstore_pb2
from sim.regions.clients import CLIENT_PORT, PATIENCE_SECONDS
from sim.regions.host import Host
from sim.regions.ledger import Ledger
from sim.regions.sites import SiteProcess, clients_site

TIMES_TO_LIVE = (2, 3, 6)
CALM_SECONDS = 40.0
"""So long after everything is well there is no lease any more that nobody renews."""


class LeaseClients:
    """One in each region."""

    def __init__(
        self, ledger: Ledger, address_of: Callable[[Host], str], rng: random.Random, regions: Iterable[str]
    ) -> None:
        self._ledger = ledger
        self._address_of = address_of
        self._processes = [SiteProcess(f"leases-{region}", 1, clients_site(region)) for region in regions]
        self._rngs = [random.Random(rng.random()) for _ in self._processes]
        self._number = 0
        self.stopping = False

    def start(self) -> list[asyncio.Task[None]]:
        """Begins; returns the tasks."""
        pairs = zip(self._processes, self._rngs, strict=True)
        return [process.spawn(self._run(process.name, rng)) for process, rng in pairs]

    async def gone(self) -> None:
        """Returns once no lease is left, and notes if some are too late."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + CALM_SECONDS
        while left := {
            host.name: [lease.id for lease in host.replica.machine.leases(None, 100)[0]]
            for host in self._ledger.fleet.wanted()
            if host.replica is not None and host.replica.machine.leases(None, 100)[0]
        }:
            if loop.time() > ends:
                self._ledger.violated(f"leases that nobody renews for {CALM_SECONDS:g} s are still there: {left}")
                return
            await asyncio.sleep(0.5)

    async def _run(self, name: str, rng: random.Random) -> None:
        while not self.stopping:
            with suppress(errors.StoreError):  # it begins with another lease
                await self._hold(name, rng)
            await asyncio.sleep(rng.uniform(0.1, 1.0))

    async def _hold(self, name: str, rng: random.Random) -> None:
        self._number += 1
        lease, seconds = self._number, rng.choice(TIMES_TO_LIVE)
        await self._ask(rng, methods.LEASE_GRANT, rpc.LeaseGrantRequest(ID=lease, TTL=seconds))
        key = b"z/%s/%d" % (name.encode(), rng.randrange(3))
        value = b"lease %d" % lease
        await self._ask(rng, methods.PUT, rpc.PutRequest(key=key, value=value, lease=lease))
        for _ in range(rng.randrange(8)):
            await asyncio.sleep(rng.uniform(0.1, 0.9) * seconds)
            renewed = await self._ask(rng, methods.RENEW_LEASES, rstore_pb2.RenewLeasesRequest(ids=[lease]))
            if self.stopping or not renewed.seconds[0]:
                return
        if rng.random() < 0.2:
            await self._ask(rng, methods.LEASE_REVOKE, rpc.LeaseRevokeRequest(ID=lease))

    async def _ask(self, rng: random.Random, method: Any, request: Any) -> Any:
        hosts = self._ledger.fleet.wanted() or list(self._ledger.fleet.all_hosts())
        async with Endpoint(f"{self._address_of(rng.choice(hosts))}:{CLIENT_PORT}", tls=None) as endpoint:
            return await endpoint.call(method, request, timeout_seconds=rng.choice(PATIENCE_SECONDS))
