"""A runner over the plain store: no API server, no TLS, real processes."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from localkube.apiserver.errors import ApiError
from localkube.controllers.api import Api
from localkube.controllers.claims import ClaimController, ensure_default_class
from localkube.controllers.endpoints import EndpointsController
from localkube.controllers.engine import Context, Manager
from localkube.controllers.nodes import DEFAULT_NODES, ensure_nodes
from localkube.controllers.resources import NAMESPACES, PODS, SERVICE_ACCOUNTS
from localkube.controllers.scheduler import Scheduler
from localkube.controllers.statefulset import StatefulSetController
from localkube.network import ClusterNetwork
from localkube.proxy import ServiceProxy
from localkube.runner.access import ClusterAccess
from localkube.runner.backoff import RestartPolicy
from localkube.runner.dns import DnsFile
from localkube.runner.runner import Runner, RunnerOptions
from plain_store import plain_store


class RunnerHarness:
    """What the tests of the runner use."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.store = plain_store()
        self.api = Api(self.store, lambda namespace, name: f"token-of-{namespace}-{name}")
        self.context = Context(self.api)
        self.network = ClusterNetwork.take()
        volumes = directory / "volumes"
        self.manager = Manager(
            self.context,
            [
                Scheduler,
                StatefulSetController,
                EndpointsController,
                ServiceProxy,
                lambda context: ClaimController(context, volumes),
            ],
        )
        self.runner = Runner(
            self.context,
            RunnerOptions(
                directory=directory,
                volumes_dir=volumes,
                dns_file=directory / "dns.json",
                access=ClusterAccess("https://127.0.0.1:1", b"ca"),
                nodes=frozenset(n.name for n in DEFAULT_NODES),
                host_ip=self.network.api_host,
                images={"tiny": (sys.executable, "-c"), "missing": ("/no/such/program",)},
                restarts=RestartPolicy(initial_seconds=0.2, max_seconds=0.4),
            ),
            self.network.pods.allocate,
            self.network.pods.release,
        )
        self.dns = DnsFile(self.context, directory / "dns.json")

    async def start(self) -> None:
        for name in ("default", "kube-system"):
            await self.api.create(NAMESPACES, None, {"metadata": {"name": name}})
            await self.api.create(SERVICE_ACCOUNTS, name, {"metadata": {"name": "default"}})
        await ensure_nodes(self.context, DEFAULT_NODES, self.network.api_host)
        await ensure_default_class(self.context)
        await self.manager.start()
        self.dns.start()
        await self.runner.start()

    async def stop(self) -> None:
        await self.runner.stop()
        await self.manager.stop()
        self.network.release()

    async def create_pod(self, name: str, script: str, *, pod: dict[str, Any] | None = None, **container: Any) -> None:
        """A pod with one container `main` that runs a Python script."""
        spec = {
            "containers": [{"name": "main", "image": "tiny:1", "args": [script], **container}],
            "terminationGracePeriodSeconds": 5,
            **(pod or {}),
        }
        await self.api.create(PODS, "default", {"metadata": {"name": name, "labels": {"app": name}}, "spec": spec})

    def pod(self, name: str) -> dict[str, Any] | None:
        return self.store.find("pods", "default", name)

    def status(self, name: str) -> dict[str, Any]:
        pod = self.pod(name)
        return (pod or {}).get("status") or {}

    def container(self, name: str) -> dict[str, Any]:
        statuses = self.status(name).get("containerStatuses") or [{}]
        return statuses[0]

    def events(self, name: str) -> list[str]:
        found = self.store.list("events", "default").items
        return [f"{e['reason']}: {e['message']}" for e in found if e["involvedObject"]["name"] == name]

    async def until(self, condition: Callable[[], Any], what: str, seconds: float = 60.0) -> Any:
        """Wait for a condition; fails with a description after a deadline."""
        deadline = time.monotonic() + seconds
        while not (value := condition()):
            if time.monotonic() > deadline:
                names = [p["metadata"]["name"] for p in self.store.list("pods").items]
                seen = {n: (self.status(n), self.events(n)) for n in names}
                raise AssertionError(f"not within {seconds}s: {what}; pods: {seen}")
            await asyncio.sleep(0.02)
        return value

    async def until_ready(self, name: str) -> dict[str, Any]:
        return await self.until(lambda: self.container(name).get("ready") and self.pod(name), f"{name} ready")

    async def until_gone(self, name: str) -> None:
        await self.until(lambda: self.pod(name) is None, f"{name} gone")

    async def delete_pod(self, name: str, grace: int | None = None) -> None:
        try:
            await self.api.delete(PODS, "default", name, grace_seconds=grace)
        except ApiError as error:
            if not error.not_found:
                raise


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[RunnerHarness]:
    """A running harness; nothing of it is left afterwards."""
    harness = RunnerHarness(tmp_path / "cluster")
    await harness.start()
    try:
        yield harness
    finally:
        pids = list(harness.runner.processes())
        await harness.stop()
        for pid in pids:
            assert not Path(f"/proc/{pid}").exists(), f"process {pid} outlived the runner"
