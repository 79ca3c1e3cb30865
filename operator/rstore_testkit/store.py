"""One ReplicatedStore seen from outside: the Kubernetes API for the object, the etcd API for the data."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rstore_api.client import Client, prefix_end
from rstore_api.domain import names
from rstore_api.domain.kubernetes import CHILD_KINDS, EVENT, POD, REVISION_LABEL, STORE, pod_selector
from rstore_api.proto import rpc_pb2
from rstore_api.tls import TlsFiles
from rstore_kube.access import from_kubeconfig
from rstore_kube.client import KubeClient

from rstore_testkit.load import Ledger, Verdict, Written, judge, wait_until
from rstore_testkit.patience import WAIT_SECONDS
from rstore_testkit.tools import Kubectl

PAGE_KEYS = 5000
_REQUEST_SECONDS = 30.0


@dataclass(frozen=True)
class RegionHash:
    """The HashKV of one region."""

    region: str
    revision: int
    hash: int


class Store:
    """A store that was applied. Leaving the context closes its connections.

    Its object and events are polled all the time, so they are read without kubectl, which would take thirty times the
    processor time.
    """

    def __init__(self, kubectl: Kubectl, name: str, directory: Path) -> None:
        self.kubectl = kubectl
        self.name = name
        self._directory = directory
        self.tls: TlsFiles | None = None
        self._clients: dict[str, Client] = {}
        self._kube: KubeClient | None = None

    async def __aenter__(self) -> Store:
        return self

    async def __aexit__(self, *_: object) -> None:
        clients, self._clients = self._clients, {}
        for client in clients.values():
            await client.close()
        kube, self._kube = self._kube, None
        if kube is not None:
            await kube.close()

    # ---- the object

    async def kube(self, *args: str) -> str:
        """Runs kubectl off the event loop, so that a load on it is not held up. Raises ToolError."""
        return await asyncio.to_thread(self.kubectl.run, *args)

    async def kube_get(self, *args: str) -> dict[str, Any]:
        """`kubectl get ARGS -o json`, parsed, off the event loop. Raises ToolError."""
        return await asyncio.to_thread(self.kubectl.get, *args)

    async def object(self) -> dict[str, Any]:
        """Returns the ReplicatedStore as it is now."""
        return await (await self._connected()).get(STORE, self.kubectl.namespace, self.name)

    async def status(self) -> dict[str, Any]:
        """Returns its status, which is empty before the operator has written it."""
        status: dict[str, Any] = (await self.object()).get("status", {})
        return status

    async def regions(self) -> list[str]:
        """Returns the names of its regions, in the order of the spec."""
        return [region["name"] for region in (await self.object())["spec"]["regions"]]

    async def events(self) -> list[tuple[str, str, str]]:
        """Returns (type, reason, message) of every Event about the object, oldest first."""
        fields = f"involvedObject.name={self.name}"
        events = await (await self._connected()).list(EVENT, self.kubectl.namespace, fields=fields)
        return [(event["type"], event["reason"], event.get("message", "")) for event in events]

    async def wait_event(
        self, reason: str, text: str = "", *, kind: str = "", timeout_seconds: float = WAIT_SECONDS
    ) -> list[str]:
        """Waits for an Event of that reason with ``text`` in its message, and of that type where one is given; returns
        the messages of all such, oldest first. An Event is posted after the status that it reports was written."""
        messages: list[str] = []

        async def is_posted() -> bool:
            messages[:] = [
                message
                for one, why, message in await self.events()
                if why == reason and text in message and kind in ("", one)
            ]
            return bool(messages)

        await wait_until(is_posted, timeout_seconds=timeout_seconds, what=f"event {reason} {text}", poll_seconds=0.3)
        return messages

    async def wait_steady(self, *, primary: str | None = None, timeout_seconds: float = WAIT_SECONDS) -> None:
        """Waits for phase Steady, condition Ready, and, if given, that primary."""

        async def steady() -> bool:
            status = await self.status()
            ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", []))
            return (
                ready
                and status.get("phase") == "Steady"
                and not status.get("failover")
                and (primary is None or status.get("primaryRegion") == primary)
            )

        await wait_until(
            steady, timeout_seconds=timeout_seconds, what=f"{self.name} Steady, primary {primary}", poll_seconds=0.5
        )

    async def wait_rolled(self, *, timeout_seconds: float = 2 * WAIT_SECONDS) -> None:
        """Waits until every pod is ready and of its StatefulSet's newest template, and the store is Steady."""
        kube, namespace = await self._connected(), self.kubectl.namespace

        async def rolled() -> bool:
            sets = await kube.list(CHILD_KINDS["StatefulSet"], namespace, labels=pod_selector(self.name))
            pods = await kube.list(POD, namespace, labels=pod_selector(self.name))
            newest = {item["status"].get("updateRevision") for item in sets}
            seen = [item["status"].get("observedGeneration") == item["metadata"]["generation"] for item in sets]
            return all(seen) and {pod["metadata"]["labels"].get(REVISION_LABEL) for pod in pods} == newest

        await wait_until(rolled, timeout_seconds=timeout_seconds, what=f"{self.name} rolled", poll_seconds=0.5)
        await self.wait_steady(timeout_seconds=timeout_seconds)

    async def wait_reported(self, revision: int, *, timeout_seconds: float = WAIT_SECONDS) -> None:
        """Waits until the status shows that every region has that revision and that the log streams to the others.

        Positions are written every few seconds only, so a status may be older than a write that was acknowledged.
        """

        async def reported() -> bool:
            regions = (await self.status()).get("regions", [])
            return bool(regions) and all(
                region.get("revision", 0) >= revision and (region.get("connected") or region.get("role") == "Primary")
                for region in regions
            )

        what = f"{self.name}: a status that tells of revision {revision} in every region"
        await wait_until(reported, timeout_seconds=timeout_seconds, what=what, poll_seconds=0.3)

    async def _connected(self) -> KubeClient:
        if self._kube is None:
            access = await from_kubeconfig(str(self.kubectl.kubeconfig))
            self._kube = KubeClient(access, field_manager="rstore-testkit", timeout_seconds=_REQUEST_SECONDS)
        return self._kube

    # ---- the data

    def write_certificates(self) -> TlsFiles:
        """Writes the store's client certificate where etcdctl and our client can read it."""
        data = self.kubectl.get("secret", names.client_tls_secret(self.name))["data"]
        self._directory.mkdir(parents=True, exist_ok=True)
        for file_name in ("ca.crt", "tls.crt", "tls.key"):
            path = self._directory / file_name
            path.touch(mode=0o600)
            path.write_bytes(base64.b64decode(data[file_name]))
        self.tls = TlsFiles.in_directory(self._directory)
        return self.tls

    def endpoint(self, region: str | None = None) -> str:
        """Returns host:port of a region's client Service, or of the store-wide one, which selects the primary."""
        name = names.store_object(self.name) if region is None else names.region_object(self.name, region)
        if self.kubectl.reach is not None:
            return self.kubectl.reach(name)
        service = self.kubectl.get("service", name)
        return f"{service['spec']['clusterIP']}:{names.CLIENT_PORT}"

    def client(self, region: str | None = None) -> Client:
        """Returns a client of one region's Service, which lives until this object is closed."""
        tls = self.tls or self.write_certificates()
        key = region or ""
        if key not in self._clients:
            self._clients[key] = Client([self.endpoint(region)], tls=tls)
        return self._clients[key]

    def new_client(self, region: str | None = None) -> Client:
        """Returns a client with a connection of its own, which the caller closes."""
        return Client([self.endpoint(region)], tls=self.tls or self.write_certificates())

    def writer(self, client: Client, *, timeout_seconds: float = 10.0) -> Callable[[bytes, bytes], Awaitable[int]]:
        """Returns a put function for :class:`~rstore_testkit.load.Load`."""

        async def put(key: bytes, value: bytes) -> int:
            response = await client.put(key, value, timeout_seconds=timeout_seconds)
            return int(response.header.revision)

        return put

    async def read_all(self, region: str, prefix: bytes) -> dict[bytes, Written]:
        """Returns everything under a prefix as one region has it (serializable: that region's own data)."""
        client, start, revision = self.client(region), prefix, 0
        pairs: dict[bytes, Written] = {}
        while True:
            request = rpc_pb2.RangeRequest(
                key=start, range_end=prefix_end(prefix), revision=revision, serializable=True, limit=PAGE_KEYS
            )
            response = await client.range(request)
            pairs.update((kv.key, Written(kv.value, kv.mod_revision, kv.version)) for kv in response.kvs)
            if not response.more:
                return pairs
            revision = revision or response.header.revision
            start = response.kvs[-1].key + b"\0"

    async def revision(self, region: str) -> int:
        """Returns the revision of a region, by its own (serializable) answer."""
        response = await self.client(region).get(b"\0", serializable=True)
        return int(response.header.revision)

    async def wait_converged(self, *, timeout_seconds: float = WAIT_SECONDS) -> int:
        """Waits until every region has the same revision, and returns it. Writers must have stopped."""
        regions = await self.regions()
        revisions: list[int] = []

        async def equal() -> bool:
            revisions[:] = [await self.revision(region) for region in regions]
            return len(set(revisions)) == 1

        await wait_until(equal, timeout_seconds=timeout_seconds, what=f"equal revisions in {regions}")
        return revisions[0]

    async def hashes(self, revision: int) -> list[RegionHash]:
        """Returns the HashKV of every region at one revision."""
        answers = []
        for region in await self.regions():
            answer = await self.client(region).hash_kv(revision)
            answers.append(RegionHash(region, int(answer.hash_revision), int(answer.hash)))
        return answers

    async def judge(self, ledger: Ledger, prefix: bytes = b"load/") -> dict[str, Verdict]:
        """Compares every region with the answers that the writers got."""
        return {region: judge(ledger, await self.read_all(region, prefix)) for region in await self.regions()}
