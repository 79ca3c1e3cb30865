"""Services of a cluster whose addresses cannot be reached from here, each behind a port of this machine."""

from __future__ import annotations

import asyncio
import random
import socket
import threading
from pathlib import Path

from rstore_cli.cluster import Cluster, Target
from rstore_cli.errors import CliError
from rstore_cli.portforward import PortForward
from rstore_kube.pod_port import PodPort
from rstore_testkit.tools import Kubectl

CLIENT_PORT = 2379
_DIAL_SECONDS = 2.0


def answers(address: str) -> bool:
    """Whether ``host:port`` takes a connection from this machine."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=_DIAL_SECONDS).close()
    except OSError:
        return False
    return True


class ServiceForwards:
    """Forwards connections to the client port of a ready pod that the Service selects at that moment, as kube-proxy
    would. It runs in a thread of its own, since each test has an event loop of its own."""

    def __init__(self, kubeconfig: Path, namespace: str) -> None:
        self._cluster = Cluster(Target(kubeconfig=kubeconfig, namespace=namespace))
        self._kubectl = Kubectl(kubeconfig, namespace)
        self._forwards: dict[str, PortForward] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="service-forwards", daemon=True)
        self._thread.start()

    def address(self, service: str) -> str:
        """``host:port`` of this machine behind which the Service is."""
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
        await self._cluster.close()

    async def _open(self, service: str) -> PodPort:
        pod = await asyncio.to_thread(self._ready_pod, service)
        return await self._cluster.open_port(pod, CLIENT_PORT)

    def _ready_pod(self, service: str) -> str:
        selector = self._kubectl.get("service", service)["spec"]["selector"]
        labels = ",".join(f"{key}={value}" for key, value in selector.items())
        pods = self._kubectl.get("pods", f"--selector={labels}")["items"]
        ready = [
            pod["metadata"]["name"]
            for pod in pods
            if not pod["metadata"].get("deletionTimestamp")
            and any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))
        ]
        if not ready:
            raise CliError(f"no pod of Service {service} is ready")
        return random.choice(ready)
