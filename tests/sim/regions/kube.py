"""The Kubernetes API as the operator uses it: one store object with its resourceVersion, its children, pods, watches.

And what stands behind it: a StatefulSet that is made has its pods' processes started.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from rstore_operator.cluster.k8s import KubernetesError
from rstore_operator.resource.model import StoreRef
from rstore_operator.specs.labels import REGION_LABEL
from rstore_replica.config import parse_config
from sim.regions.sites import API_SITE, NAMESPACE, STORE
from sim.regions.wires import WORLD, Wires
from sim.world import World

if TYPE_CHECKING:
    from sim.regions.host import Host
    from sim.regions.operators import OperatorHost

T = TypeVar("T")
Body = dict[str, Any]
REF = StoreRef(NAMESPACE, STORE, "uid-1")


class Kube:
    """The cluster."""

    def __init__(self, world: World, wires: Wires, spec: Body, hosts: dict[str, list[Host]]) -> None:
        self._world = world
        self.wires = wires
        self._hosts = hosts
        self._version = 1
        self.down = False
        self.watching: list[OperatorHost] = []
        self.events: list[str] = []
        self.on_intent: Callable[[Body, OperatorHost], None] = lambda _intent, _operator: None
        """A change of primary has got on, as this operator has just recorded; {}: it is over."""
        self.objects: dict[tuple[str, str], Body] = {}
        self.store: Body = {
            "metadata": {
                "name": STORE,
                "namespace": NAMESPACE,
                "uid": REF.uid,
                "generation": 1,
                "annotations": {},
                "resourceVersion": "1",
            },
            "spec": spec,
        }

    @property
    def status(self) -> Body:
        """Of the store."""
        found: Body = self.store.get("status") or {}
        return found

    @property
    def annotations(self) -> dict[str, str]:
        """Of the store."""
        found: dict[str, str] = self.store["metadata"]["annotations"]
        return found

    def annotate(self, **values: str | None) -> None:
        """As a person does it; None takes one off."""
        for name, value in values.items():
            key = f"replicatedstore.io/{name.replace('_', '-')}"
            if value is None:
                self.annotations.pop(key, None)
            else:
                self.annotations[key] = value
        self._changed(self.store)

    def _changed(self, item: Body) -> None:
        self._version += 1
        item["metadata"]["resourceVersion"] = str(self._version)
        for operator in self.watching:
            if operator.process is not None and self.reachable(operator.site):
                when = self.wires.arrival(API_SITE, operator.site)
                tell = operator.store_changed if item is self.store else operator.child_changed
                self.wires.loop.call_at(when, tell, str(self._version), context=operator.process.context())

    def reachable(self, site: str) -> bool:
        """Whether it answers whoever is there."""
        return not (self.down or self.wires.is_cut(site, API_SITE) or self.wires.is_cut(API_SITE, site))

    # ------------------------------------------------------------------ requests

    def patch_status(self, patch: Body, version: str, operator: OperatorHost) -> Body:
        """Merges; refused unless the object is still of that version."""
        if version != self.store["metadata"]["resourceVersion"]:
            raise KubernetesError(409, "Conflict", "the object has been modified")
        before = self.status
        self.store["status"] = after = _merged(before, patch)
        self._changed(self.store)
        self._note(before, after, operator)
        return self.store

    def _note(self, before: Body, after: Body, operator: OperatorHost) -> None:
        intent = after.get("failover")
        if intent != before.get("failover"):
            self.on_intent(intent or {}, operator)
            text = "none"
            if intent:
                text = (
                    f"{intent.get('mode')} {intent.get('from')} to {intent.get('to')} epoch {intent.get('epoch')}: "
                    f"{intent.get('step')}"
                )
            self._world.trace.fault(f"status: {text}")
        if after.get("phase") != before.get("phase"):
            self._world.trace.add(f"status: phase {after.get('phase')}")

    def remove_annotations(self, values: Mapping[str, str]) -> Body:
        """Each that still has its value; none if one has changed."""
        if any(self.annotations.get(key) != value for key, value in values.items()):
            raise KubernetesError(422, "Invalid", "the value to test is another")
        for key in values:
            del self.annotations[key]
        self._changed(self.store)
        return self.store

    def apply(self, manifest: Mapping[str, Any]) -> Body:
        """Makes or changes a child."""
        key = (manifest["kind"], manifest["metadata"]["name"])
        known = self.objects.get(key)
        item = _copy(manifest)
        if key[0] == "Service" and "clusterIP" not in item["spec"]:
            item["spec"]["clusterIP"] = known["spec"]["clusterIP"] if known else f"10.1.0.{len(self.objects) + 1}"
        if known is not None:
            item["metadata"]["resourceVersion"] = known["metadata"]["resourceVersion"]
            if item == known:
                return known
        self.objects[key] = item
        self._changed(item)
        if key[0] == "StatefulSet" and known is None:
            self._run_pods(item)
        return item

    def delete_child(self, kind: str, name: str) -> None:
        """Gone."""
        self.objects.pop((kind, name), None)

    # ------------------------------------------------------------------ pods

    def _run_pods(self, stateful_set: Body) -> None:
        name = stateful_set["metadata"]["name"]
        config = parse_config(self.objects[("ConfigMap", name)]["data"]["replica.json"].encode())
        for host in self._hosts[stateful_set["metadata"]["labels"][REGION_LABEL]]:
            host.config = config
            host.wanted = True
            self.wires.loop.call_later(0.05, self._start, host, context=WORLD)

    def _start(self, host: Host) -> None:
        if not host.running:
            host.start()

    def pods(self) -> list[Body]:
        """As kubelets report them."""
        found = []
        for region, hosts in self._hosts.items():
            if ("StatefulSet", f"{STORE}-{region}") not in self.objects:
                continue
            for host in hosts:
                ready = "True" if host.ready_pod else "False"
                status = {"phase": "Running", "podIP": ip_of(host), "conditions": [{"type": "Ready", "status": ready}]}
                meta = {"name": host.name, "labels": {REGION_LABEL: region}}
                found.append({"metadata": meta, "status": status})
        return found


class ApiOf:
    """The API and its watches as one operator has them. See ``rstore_operator.reconcile.StoreApi`` and ``Watched``."""

    def __init__(self, kube: Kube, operator: OperatorHost, rng: random.Random) -> None:
        self._kube = kube
        self._operator = operator
        self._rng = rng
        self._seen: tuple[list[Body], list[Body]] = ([], [])

    async def _ask(self, what: str, work: Callable[[], T]) -> T:
        kube, site = self._kube, self._operator.site
        loop = asyncio.get_running_loop()
        self._operator.step(f"asks to {what}")
        await asyncio.sleep(kube.wires.arrival(site, API_SITE) - loop.time())
        if not kube.reachable(site):
            await asyncio.sleep(self._rng.choice([0.01, 1.0]))
            raise ConnectionError("the API server cannot be reached")
        result = work()
        self._operator.step(f"has asked to {what}")
        await asyncio.sleep(kube.wires.arrival(API_SITE, site) - loop.time())
        if not kube.reachable(site):
            await asyncio.sleep(1.0)
            raise TimeoutError("the API server does not answer")
        return _copy(result)

    async def get_store(self, namespace: str, name: str) -> Body:
        return await self._ask("read the object", lambda: self._kube.store)

    async def patch_status(self, namespace: str, name: str, patch: Body, resource_version: str) -> Body:
        return await self._ask(
            "record the status", lambda: self._kube.patch_status(patch, resource_version, self._operator)
        )

    async def remove_annotations(self, namespace: str, name: str, values: Mapping[str, str]) -> None:
        await self._ask("remove annotations", lambda: self._kube.remove_annotations(values))

    async def get_child(self, kind: str, namespace: str, name: str) -> Body | None:
        return await self._ask("read a child", lambda: self._kube.objects.get((kind, name)))

    async def apply(self, manifest: Mapping[str, Any]) -> Body:
        return await self._ask("apply a child", lambda: self._kube.apply(manifest))

    async def delete_child(self, kind: str, namespace: str, name: str, uid: str) -> None:
        await self._ask("delete a child", lambda: self._kube.delete_child(kind, name))

    async def post_event(
        self, ref: StoreRef, resource_version: str, reason: str, message: str, warning: bool, now: datetime
    ) -> None:
        await self._ask("post an event", lambda: self._kube.events.append(f"{reason}: {message}"))

    def children(self) -> Iterable[Body]:
        return self._look()[0]

    def pods(self) -> Iterable[Body]:
        return self._look()[1]

    def _look(self) -> tuple[list[Body], list[Body]]:
        """What the watches have shown: nothing new while the API is away."""
        if self._kube.reachable(self._operator.site):
            self._seen = (list(self._kube.objects.values()), self._kube.pods())
        return self._seen


def ip_of(host: Host) -> str:
    """A machine's address."""
    region, _, ordinal = host.name.rpartition("-")
    return f"10.0.{sum(region.encode()) % 250}.{int(ordinal) + 1}"


def _copy(item: T) -> T:
    return msgspec.json.decode(msgspec.json.encode(item))  # type: ignore[no-any-return]


def _merged(target: Any, patch: Any) -> Any:
    """JSON merge patch."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merged(result.get(key), value)
    return result
