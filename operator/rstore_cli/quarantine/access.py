"""Reaches the replicas that have a tail: through their peer ports, with the operator's certificate."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from rstore_api.client import TlsPem
from rstore_api.client.quarantine import tail_pages
from rstore_api.dialling.endpoint import Endpoint
from rstore_api.domain import names
from rstore_api.errors import StoreError
from rstore_api.methods import QUARANTINE_LIST
from rstore_api.proto.rstore_pb2 import QuarantinedRow, QuarantineListRequest, QuarantineReadRequest

from rstore_cli.cluster import Cluster, Pod
from rstore_cli.connect import open_pod, read_certificates, tls_of
from rstore_cli.errors import CliError
from rstore_cli.quarantine.tails import Holding, RegionTail, is_called, tails_of

PARALLEL_REPLICAS = 8


@dataclass(frozen=True)
class Access:
    """A store's replicas and the certificate to ask them with."""

    cluster: Cluster
    store: str
    tls: TlsPem
    pods: tuple[Pod, ...] = field(default=())

    @classmethod
    async def to(cls, cluster: Cluster, store: str) -> Access:
        """Returns the access to the store of that name. Raises CliError."""
        await cluster.store(store)
        pem = await read_certificates(cluster, store, names.operator_tls_secret(store))
        pods = sorted(await cluster.pods(store), key=lambda pod: (pod.region, pod.name))
        return cls(cluster, store, tls_of(pem), tuple(pods))

    @asynccontextmanager
    async def open(self, replica: str) -> AsyncIterator[Endpoint]:
        """A connection to one replica."""
        async with open_pod(
            self.cluster, replica, names.PEER_PORT, lambda address: Endpoint(address, tls=self.tls)
        ) as endpoint:
            yield endpoint

    async def holdings(self) -> list[Holding]:
        """Returns every replica's answer, or why it did not answer."""
        gate = asyncio.Semaphore(PARALLEL_REPLICAS)

        async def ask(pod: Pod) -> Holding:
            if not pod.ready:
                return Holding(pod.region, pod.name, problem="not ready, was not asked")
            try:
                async with gate, self.open(pod.name) as replica:
                    answer = await replica.call(QUARANTINE_LIST, QuarantineListRequest(), timeout_seconds=5.0)
            except (StoreError, CliError) as error:
                return Holding(pod.region, pod.name, problem=str(error))
            leaving = answer.leaving if answer.HasField("leaving") else None
            return Holding(pod.region, pod.name, answer.is_leader, tuple(answer.tails), leaving)

        return list(await asyncio.gather(*(ask(pod) for pod in self.pods)))

    async def find(self, wanted: str) -> RegionTail:
        """Returns the tail that ``wanted`` names. Raises CliError if there is none, or more than one."""
        holdings = await self.holdings()
        matches = [tail for tail in tails_of(holdings) if is_called(tail, wanted)]
        if len(matches) == 1:
            return matches[0]
        hint = f"`rstore quarantine list {self.store}` shows what there is"
        if matches:
            called = ", ".join(tail.name for tail in matches)
            raise CliError(f"{wanted} is in {len(matches)} regions: {called}", hint=hint)
        silent = [f"{holding.replica}: {holding.problem}" for holding in holdings if holding.problem]
        silence = f" ({'; '.join(silent)})" if silent else ""
        raise CliError(f'store "{self.store}" has no tail "{wanted}" in quarantine{silence}', hint=hint)

    async def rows(
        self, tail: RegionTail, *, key: bytes = b"", range_end: bytes = b"", timeout_seconds: float
    ) -> AsyncGenerator[list[QuarantinedRow], None]:
        """Yields the rows of a tail, page by page. Where one replica fails, the next one is asked for the rest."""
        request = QuarantineReadRequest(file=tail.file, key=key, range_end=range_end)
        problem = CliError(
            f"no replica that can be reached holds {tail.name}",
            hint=f"`rstore quarantine list {self.store}` shows who holds it",
        )
        for replica in tail.holders:
            try:
                async with self.open(replica) as endpoint:
                    async for page in tail_pages(endpoint, request, timeout_seconds=timeout_seconds):
                        yield list(page.rows)
                    return
            except (StoreError, CliError) as error:
                problem = CliError(str(error), hint=f"`rstore quarantine list {self.store}` shows who holds it")
        raise problem
