"""Clients in every region, over the same connections as everybody: they ask any replica, and note what it says."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from types import SimpleNamespace
from typing import Any

from rstore_api import errors, methods
from rstore_api.dialling.endpoint import Endpoint
from rstore_api.proto import rpc_pb2 as rpc
from sim.clients import Clients
from sim.history import Operation, Outcome
from sim.process import PROCESS
from sim.regions.fleet import Fleet
from sim.regions.host import Host
from sim.regions.sites import SiteProcess, clients_site
from sim.trace import Trace

PATIENCE_SECONDS = (0.3, 1.0, 4.0)
CLIENT_PORT = 2379
_METHODS: dict[str, Any] = {"put": methods.PUT, "delete_range": methods.DELETE_RANGE, "txn": methods.TXN}


class RegionClients(Clients):
    """Each client belongs to a region and prefers its replicas."""

    def __init__(
        self,
        fleet: Fleet,
        address_of: Callable[[Host], str],
        rng: random.Random,
        trace: Trace,
        *,
        regions: Iterable[str],
        keys: int,
        pause_seconds: float,
        compactions: float,
    ) -> None:
        super().__init__([], rng, trace, keys=keys, pause_seconds=pause_seconds)
        self._fleet = fleet
        self._address_of = address_of
        self._compactions = compactions
        self.compacted = 0
        self._processes = {region: SiteProcess(f"clients-{region}", 1, clients_site(region)) for region in regions}
        self._endpoints: dict[tuple[str, str], Endpoint] = {}
        self.local: set[int] = set()
        """Numbers of the operations that read what a replica had just then."""

    async def run(self, count: int) -> None:
        """Until :attr:`stopping`; so many clients, spread over the regions."""
        processes = list(self._processes.values())
        tasks = [processes[client % len(processes)].spawn(self._one(client)) for client in range(count)]
        await asyncio.gather(*tasks)

    async def operate(self, client: int) -> Operation:
        """As the other clients; now and then history is given up before that."""
        self._hosts = self._fleet.wanted() or list(self._fleet.all_hosts())  # type: ignore[assignment]
        if self._compactions and self._rng.random() < self._compactions:
            await self._compact(self._rng.choice(self._hosts))
        return await super().operate(client)

    async def _compact(self, host: Any) -> None:
        seen = max((item.revision for item in self.operations if item.outcome is Outcome.DONE), default=1)
        try:
            await self._ask(
                host, methods.COMPACT, rpc.CompactionRequest(revision=max(1, seen - self._rng.choice([0, 5])))
            )
            self.compacted += 1
        except errors.StoreError as error:
            self._trace.add(f"not compacted: {error.code}")

    async def _call(self, host: Any, operation: Operation, work: Callable[[Any], Awaitable[None]]) -> None:
        async def submit(request: Any, _response: Any, *, deadline: float) -> Any:
            return await self._write(host, request)

        batcher = SimpleNamespace(submit=submit)
        remote = SimpleNamespace(name=host.name, batcher=batcher, ask=lambda *call: self._ask(host, *call))
        try:
            await work(remote)
            operation.outcome = Outcome.DONE
        except errors.StoreError as error:
            operation.outcome = Outcome.NOTHING if error.outcome == "none" else Outcome.UNKNOWN

    async def _write(self, host: Host, request: Any) -> Any:
        kind = request.WhichOneof("request")
        return await self._ask(host, _METHODS[kind], getattr(request, kind))

    async def _ask(self, host: Host, method: Any, request: Any) -> Any:
        process = PROCESS.get()
        assert isinstance(process, SiteProcess)
        site = process.site
        endpoint = self._endpoints.get((site, host.name))
        if endpoint is None:
            address = f"{self._address_of(host)}:{CLIENT_PORT}"
            endpoint = self._endpoints[(site, host.name)] = Endpoint(address, tls=None)
        return await endpoint.call(method, request, timeout_seconds=self._rng.choice(PATIENCE_SECONDS))

    def _get(self) -> tuple[Operation, Callable[[Any], Awaitable[None]]]:
        """One key or all of them; one in four reads what the replica itself has."""
        rng = self._rng
        everything, local = rng.random() < 0.3, rng.random() < 0.25
        keys = self._keys if everything else [rng.choice(self._keys)]
        what = "all" if everything else keys[0].decode()
        operation = self._new(f"{'local ' if local else ''}get {what}", changes=False)
        if local:
            self.local.add(operation.number)
        request = rpc.RangeRequest(key=b"k" if everything else keys[0], serializable=local)
        if everything:
            request.range_end = b"l"

        async def work(remote: Any) -> None:
            response = await remote.ask(methods.RANGE, request)
            found = {item.key: item.value for item in response.kvs}
            operation.revision = response.header.revision
            operation.seen = tuple((key, found.get(key)) for key in keys)

        return operation, work
