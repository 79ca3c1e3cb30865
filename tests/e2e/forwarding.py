"""Forwards ports of this machine to Services of a cluster whose addresses cannot be reached from here."""

from __future__ import annotations

import asyncio
import random
import socket
import threading
from pathlib import Path

from rstore_api.domain.kubernetes import CHILD_KINDS, POD
from rstore_cli.errors import CliError
from rstore_cli.portforward import PortForward
from rstore_kube.access import from_kubeconfig
from rstore_kube.client import KubeClient
from rstore_kube.errors import ApiError
from rstore_kube.pod_port import PodPort

CLIENT_PORT = 2379
_DIAL_SECONDS = 2.0
_REQUEST_SECONDS = 15.0


def answers(address: str) -> bool:
    """Returns whether ``host:port`` takes a connection from this machine."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=_DIAL_SECONDS).close()
    except OSError:
        return False
    return True


class ServiceForwards:
    """Forwards connections to the client port of a ready pod that the Service selects at that moment, as kube-proxy
    would. It runs in a thread of its own, since each test has an event loop of its own.

    It asks the API itself and starts no kubectl: a process that is being started has a copy of every socket until it
    runs its program, so a port that is closed meanwhile still takes connections."""

    def __init__(self, kubeconfig: Path, namespace: str) -> None:
        self._kubeconfig = kubeconfig
        self._namespace = namespace
        self._client: KubeClient | None = None
        self._forwards: dict[str, PortForward] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="service-forwards", daemon=True)
        self._thread.start()

    def address(self, service: str) -> str:
        """Returns the ``host:port`` of this machine that is forwarded to the Service."""
        return asyncio.run_coroutine_threadsafe(self._address(service), self._loop).result(timeout=30)

    def stop(self) -> None:
        """Ends every connection and the thread."""
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(timeout=30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _address(self, service: str) -> str:
        if service not in self._forwards:
            forward = PortForward(lambda: self._open(service))
            self._forwards[service] = await forward.__aenter__()
        return self._forwards[service].endpoint

    async def _stop(self) -> None:
        for forward in self._forwards.values():
            await forward.__aexit__(None, None, None)
        if self._client is not None:
            await self._client.close()

    async def _open(self, service: str) -> PodPort:
        try:
            client = await self._connected()
            return await client.open_port(self._namespace, await self._ready_pod(client, service), CLIENT_PORT)
        except (ApiError, OSError, TimeoutError) as error:
            raise CliError(f"Service {service}: {error}") from error

    async def _connected(self) -> KubeClient:
        if self._client is None:
            access = await from_kubeconfig(str(self._kubeconfig))
            self._client = KubeClient(access, field_manager="e2e", timeout_seconds=_REQUEST_SECONDS)
        return self._client

    async def _ready_pod(self, client: KubeClient, service: str) -> str:
        selector = (await client.get(CHILD_KINDS["Service"], self._namespace, service))["spec"]["selector"]
        labels = ",".join(f"{key}={value}" for key, value in selector.items())
        ready = [
            pod["metadata"]["name"]
            for pod in await client.list(POD, self._namespace, labels=labels)
            if not pod["metadata"].get("deletionTimestamp")
            and any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))
        ]
        if not ready:
            raise CliError(f"no pod of Service {service} is ready")
        return random.choice(ready)
