"""The cluster: one store object with its resourceVersion, its children, pods, and watches."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from rstore_api.domain.kubernetes import REGION_LABEL, REVISION_LABEL
from rstore_kube.errors import ApiError
from rstore_operator.resource.model import StoreRef
from sim.regions.crd import status_problems, store_problems
from sim.regions.fleet import Fleet
from sim.regions.pods import Pods, revision_of
from sim.regions.sites import API_SITE, NAMESPACE, STORE
from sim.regions.wires import Wires
from sim.world import World
from stored_objects import Body, StoredObjects

if TYPE_CHECKING:
    from sim.regions.host import Host
    from sim.regions.operators import OperatorHost


class Kube(StoredObjects):
    """The cluster."""

    store: Body

    def __init__(self, world: World, wires: Wires, spec: Body, fleet: Fleet) -> None:
        super().__init__(NAMESPACE, STORE)
        self._world = world
        self.wires = wires
        self._fleet = fleet
        self.runs = Pods(fleet, world)
        self._lives = 0
        self.down = False
        self.times_out = 0.0
        """How many of the writes to the status are carried out and answered with 504 all the same."""
        self.watching: list[OperatorHost] = []
        self.events: list[str] = []
        self.on_intent: Callable[[Body, OperatorHost], None] = lambda _intent, _operator: None
        """A change of primary has got on, as this operator has just recorded; {}: it is over."""
        self.begin(spec)

    def begin(self, spec: Body) -> None:
        """The object, under another uid than the one before; that one's children went with it."""
        for kind, name in list(self.objects):
            self.delete_child(kind, name)
        self._lives += 1
        self.create(f"uid-{self._lives}", spec)

    @property
    def ref(self) -> StoreRef:
        """Of the object there is now."""
        return StoreRef(NAMESPACE, STORE, self.store["metadata"]["uid"])

    @property
    def spec(self) -> Body:
        """Of the store, as somebody may have edited it."""
        found: Body = self.store["spec"]
        return found

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
        self.changed(self.store)

    def edit(self, spec: Mapping[str, Any]) -> None:
        """An edit by a person; one that the API server would refuse is a mistake of the simulator."""
        problems = store_problems({**self.store, "spec": spec}, self.store)
        assert not problems, problems
        super().edit(spec)

    def restore_status(self, status: Body) -> None:
        """Replaces the status by an earlier one, as a restore of the object does."""
        self.store["status"] = copy.deepcopy(status)
        self.changed(self.store)

    def changed(self, item: Body) -> None:
        super().changed(item)
        for operator in self.watching:
            if operator.process is None or not self.reachable(operator.site):
                operator.missed_events = True
            else:
                when = self.wires.arrival(API_SITE, operator.site)
                shown = functools.partial(operator.store_changed, self.ref, str(self._version))
                tell = shown if item is self.store else operator.child_changed
                self.wires.loop.call_at(when, tell, context=operator.process.context())

    def reachable(self, site: str) -> bool:
        """Whether the API server answers requests from the site."""
        return not (self.down or self.wires.is_cut(site, API_SITE) or self.wires.is_cut(API_SITE, site))

    # ------------------------------------------------------------------ requests

    def record_status(self, patch: Body, version: str, operator: OperatorHost) -> Body:
        """What an operator records; it must be as the CRD wants it."""
        before = self.status
        self.patch_status(patch, version)
        self.refused("status", status_problems(self.status))
        self._note(before, self.status, operator)
        return self.store

    def refused(self, what: str, problems: list[str]) -> None:
        """What an operator writes must be as the API server wants it."""
        if problems:
            self._world.violated(f"the API server refuses the operator's {what}: {'; '.join(problems[:3])}")

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

    def apply(self, manifest: Mapping[str, Any]) -> Body:
        """Makes or changes a child, and what runs by it."""
        before = self._version
        item = super().apply(manifest)
        if self._version != before:
            if item["kind"] == "ConfigMap":
                self.runs.configure(item)
            elif item["kind"] == "StatefulSet":
                generation = item["metadata"].get("generation", 0) + 1
                item["metadata"]["generation"] = generation
                item["status"] = {"observedGeneration": generation, "updateRevision": revision_of(item)}
                self.runs.apply(item)
        return item

    def delete_child(self, kind: str, name: str, uid: str | None = None) -> Body | None:
        """Gone, and its pods with it."""
        item = super().delete_child(kind, name, uid)
        if item is not None and kind == "StatefulSet":
            self.runs.delete(item["metadata"]["labels"][REGION_LABEL])
        return item

    # ------------------------------------------------------------------ pods

    def pods(self) -> list[Body]:
        """As kubelets report them."""
        found = []
        for region in self._fleet.regions:
            for host in self._fleet.region(region):
                ready = "True" if host.ready_pod else "False"
                status = {"phase": "Running", "podIP": ip_of(host), "conditions": [{"type": "Ready", "status": ready}]}
                pod = self.runs.pod(host)
                meta: Body = {"name": host.name, "uid": pod.uid, "resourceVersion": f"{pod.uid}.{ready}.{pod.ending}"}
                meta["labels"] = {REGION_LABEL: region, REVISION_LABEL: pod.revision}
                if pod.ending:
                    meta["deletionTimestamp"] = "2026-01-01T00:00:00Z"
                found.append({"metadata": meta, "status": status})
        return found

    def claims(self) -> list[Body]:
        """Those of the volumes that are kept, also of regions that are gone."""
        return self.runs.claims()

    def delete_pod(self, name: str, uid: str, version: str) -> None:
        """One that its StatefulSet makes anew. Refused if the pod has changed since that version."""
        pod = next((body for body in self.pods() if body["metadata"]["name"] == name), None)
        if pod is None:
            return
        if (pod["metadata"]["uid"], pod["metadata"]["resourceVersion"]) != (uid, version):
            raise ApiError(409, "Conflict", "the pod has changed")
        if "deletionTimestamp" not in pod["metadata"]:
            self.runs.delete_pod(name)


def ip_of(host: Host) -> str:
    """A machine's address."""
    region, _, ordinal = host.name.rpartition("-")
    return f"10.0.{sum(region.encode()) % 250}.{int(ordinal) + 1}"
