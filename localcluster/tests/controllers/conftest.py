"""Controllers over the plain store, with a clock and pods that the test moves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from localkube.apiserver.resources import PrinterColumn, Registry, Resource
from localkube.controllers.api import Api
from localkube.controllers.budgets import BudgetController
from localkube.controllers.claims import ClaimController, ensure_default_class
from localkube.controllers.deployment import DeploymentController
from localkube.controllers.endpoints import EndpointsController
from localkube.controllers.engine import Context, Manager
from localkube.controllers.garbage import GarbageCollector
from localkube.controllers.namespaces import NamespaceController
from localkube.controllers.objects import rfc3339
from localkube.controllers.replicaset import ReplicaSetController
from localkube.controllers.resources import NAMESPACES, PODS, Obj
from localkube.controllers.scheduler import Scheduler
from localkube.controllers.statefulset import StatefulSetController
from plain_store import plain_store


class FakeClock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.seconds = 1_800_000_000.0

    def now(self) -> float:
        return self.seconds


class ControllerHarness:
    """What the tests of controllers use."""

    def __init__(self, directory: Path) -> None:
        self.clock = FakeClock()
        registry = Registry()
        registry.add(Resource("example.org", "v1", "widgets", "Widget", schema={"type": "object"}, columns=_NO_COLUMNS))
        self.store = plain_store(registry, clock=lambda: datetime.fromtimestamp(self.clock.seconds, UTC))
        self.api = Api(self.store, lambda namespace, name: f"{namespace}-{name}")
        self.context = Context(self.api, self.clock)
        self.manager = Manager(
            self.context,
            [
                StatefulSetController,
                DeploymentController,
                ReplicaSetController,
                GarbageCollector,
                NamespaceController,
                EndpointsController,
                BudgetController,
                Scheduler,
                lambda context: ClaimController(context, directory),
            ],
        )

    def controller(self, kind: type) -> Any:
        return next(c for c in self.manager.controllers if isinstance(c, kind))

    def names(self, key: str, namespace: str = "default") -> list[str]:
        return [o["metadata"]["name"] for o in self.store.list(key, namespace).items]

    def find(self, key: str, name: str, namespace: str | None = "default") -> Obj:
        return self.store.find(key, namespace, name) or {}

    def status(self, key: str, name: str) -> Obj:
        return self.find(key, name).get("status") or {}

    def events(self, reason: str) -> list[str]:
        return [e["message"] for e in self.store.list("events").items if e["reason"] == reason]

    async def set_ready(self, name: str, ready: bool = True, ip: str = "127.9.9.9") -> None:
        """Play the kubelet: the pod runs, and is ready or not."""
        pod = await self.api.get(PODS, "default", name)
        condition = {"type": "Ready", "status": "True" if ready else "False"}
        pod["status"] = {
            "phase": "Running",
            "podIP": ip,
            "conditions": [{**condition, "lastTransitionTime": rfc3339(self.clock.now())}],
        }
        await self.api.update_status(PODS, "default", pod)

    async def finish_deletion(self, name: str) -> None:
        """Play the kubelet: the pod's processes have ended."""
        await self.api.delete(PODS, "default", name, grace_seconds=0)

    async def until(self, condition: Callable[[], Any], what: str, seconds: float = 60.0) -> Any:
        """Wait for a condition, within real time."""
        deadline = time.monotonic() + seconds
        while not (value := condition()):
            assert time.monotonic() < deadline, f"not within {seconds}s: {what}"
            await asyncio.sleep(0.01)
        return value

    async def settled(self) -> None:
        """Wait until nothing has been written for a while: for checks that something does not happen."""
        seen, quiet = -1, 0
        while quiet < 10:
            await asyncio.sleep(0.01)
            quiet = quiet + 1 if self.store.resource_version == seen else 0
            seen = self.store.resource_version


_NO_COLUMNS: tuple[PrinterColumn, ...] = ()


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[ControllerHarness]:
    """Running controllers over an empty cluster with the namespace `default`."""
    harness = ControllerHarness(tmp_path)
    await harness.api.create(NAMESPACES, None, {"metadata": {"name": "default"}})
    await ensure_default_class(harness.context)
    await harness.manager.start()
    try:
        yield harness
    finally:
        await harness.manager.stop()


@pytest.fixture
def make_sts() -> Callable[..., Obj]:
    """Builds StatefulSets."""

    def make(name: str = "db", replicas: int = 3, *, image: str = "app:1", **spec: Any) -> Obj:
        return {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {
                "replicas": replicas,
                "serviceName": "peers",
                "selector": {"matchLabels": {"app": name}},
                "template": {
                    "metadata": {"labels": {"app": name}},
                    "spec": {"containers": [{"name": "main", "image": image}], "nodeName": "n1"},
                },
                **spec,
            },
        }

    return make
