"""What is seen from outside while the pods of a store are replaced: by readers of the API, and by new clients."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from rstore_api.domain.kubernetes import POD, REGION_LABEL, pod_selector
from rstore_kube.access import from_kubeconfig
from rstore_kube.client import KubeClient
from rstore_testkit.patience import WAIT_SECONDS
from rstore_testkit.store import Store


@dataclass
class PodWatch:
    """The pods of some stores, looked at several times a second."""

    most_away: int = 0
    """The most pods of all stores that were away at one moment: deleted, and not replaced by one that was ready."""
    away: list[str] = field(default_factory=list)
    """Every pod in the order in which it went away."""
    regions: list[str] = field(default_factory=list)
    """The regions in that order, each once in a row."""
    stores: list[str] = field(default_factory=list)
    """The stores in that order, each once in a row."""
    labels: dict[str, dict[str, str]] = field(default_factory=dict)
    """The labels of every pod that was there at some moment."""
    begun: set[str] = field(default_factory=set)
    """The uids of the pods that were ready once. Such a pod is there until it is deleted: a probe that fails on a busy
    machine replaces nothing."""

    def look(self, pods: list[dict[str, Any]], before: set[str]) -> set[str]:
        """Returns the names of the pods that are there now."""
        self.begun |= {pod["metadata"]["uid"] for pod in pods if is_ready(pod)}
        there = {
            pod["metadata"]["name"]: pod["metadata"]["labels"]
            for pod in pods
            if pod["metadata"]["uid"] in self.begun and not pod["metadata"].get("deletionTimestamp")
        }
        self.labels |= there
        self.most_away = max(self.most_away, len(self.labels.keys() - there.keys()))
        for name in sorted(before - there.keys()):
            labels = self.labels[name]
            region, store = labels[REGION_LABEL], labels["replicatedstore.io/store"]
            self.away.append(name)
            if self.regions[-1:] != [region]:
                self.regions.append(region)
            if self.stores[-1:] != [store]:
                self.stores.append(store)
        return set(there)


def is_ready(pod: dict[str, Any]) -> bool:
    """Returns whether the pod is ready, and not on its way out."""
    conditions = pod.get("status", {}).get("conditions") or []
    ready = any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)
    return ready and not pod["metadata"].get("deletionTimestamp")


@asynccontextmanager
async def watching_pods(*stores: Store) -> AsyncIterator[PodWatch]:
    """Looks at the pods of these stores around a block."""
    seen, ended = PodWatch(), asyncio.Event()
    kubectl = stores[0].kubectl
    client = KubeClient(
        await from_kubeconfig(str(kubectl.kubeconfig)), field_manager="e2e", timeout_seconds=WAIT_SECONDS
    )

    async def look() -> None:
        before: set[str] = set()
        while not ended.is_set():
            pods = [
                pod
                for store in stores
                for pod in await client.list(POD, kubectl.namespace, labels=pod_selector(store.name))
            ]
            before = seen.look(pods, before)
            await asyncio.sleep(0.1)

    task = asyncio.create_task(look())
    try:
        yield seen
    finally:
        ended.set()
        await task
        await client.close()


@dataclass
class Connections:
    """New connections to a Service: how many were made, and why others were not."""

    made: int = 0
    refused: list[str] = field(default_factory=list)


@asynccontextmanager
async def connecting(store: Store, region: str | None = None) -> AsyncIterator[Connections]:
    """Makes a new TLS connection to a Service of the store every few milliseconds around a block."""
    files = store.tls or store.write_certificates()
    context = ssl.create_default_context(cafile=str(files.ca))
    context.load_cert_chain(str(files.cert), str(files.key))
    context.check_hostname = False
    context.set_alpn_protocols(["h2"])
    host, _, port = store.endpoint(region).rpartition(":")
    seen, ended = Connections(), asyncio.Event()

    async def connect() -> None:
        began = time.monotonic()
        while not ended.is_set():
            try:
                async with asyncio.timeout(WAIT_SECONDS):
                    _, writer = await asyncio.open_connection(host, int(port), ssl=context)
                seen.made += 1
                writer.close()
            except (OSError, TimeoutError) as error:
                seen.refused.append(f"after {time.monotonic() - began:.2f} s: {type(error).__name__} {error}")
            await asyncio.sleep(0.03)

    task = asyncio.create_task(connect())
    try:
        yield seen
    finally:
        ended.set()
        await task
