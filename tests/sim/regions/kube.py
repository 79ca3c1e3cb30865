"""The cluster: one store object with its resourceVersion, its children, pods, and watches."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from rstore_api.domain.kubernetes import REGION_LABEL
from rstore_kube.errors import ApiError
from rstore_operator.resource.model import StoreRef
from sim.regions.crd import status_problems, store_problems
from sim.regions.fleet import Fleet
from sim.regions.pods import Pods
from sim.regions.sites import API_SITE, NAMESPACE, STORE
from sim.regions.wires import Wires
from sim.world import World

if TYPE_CHECKING:
    from sim.regions.host import Host
    from sim.regions.operators import OperatorHost

Body = dict[str, Any]


class Kube:
    """The cluster."""

    def __init__(self, world: World, wires: Wires, spec: Body, fleet: Fleet) -> None:
        self._world = world
        self.wires = wires
        self._fleet = fleet
        self.runs = Pods(fleet, world)
        self._version = 1
        self._lives = 0
        self.down = False
        self.times_out = 0.0
        """How many of the writes to the status are carried out and answered with 504 all the same."""
        self.watching: list[OperatorHost] = []
        self.events: list[str] = []
        self.on_intent: Callable[[Body, OperatorHost], None] = lambda _intent, _operator: None
        """A change of primary has got on, as this operator has just recorded; {}: it is over."""
        self.objects: dict[tuple[str, str], Body] = {}
        self.store: Body = {}
        self.create(spec)

    def create(self, spec: Body) -> None:
        """The object, under another uid than the one before; that one's children went with it."""
        for kind, name in list(self.objects):
            self.delete_child(kind, name)
        self._lives += 1
        self.store = {
            "metadata": {
                "name": STORE,
                "namespace": NAMESPACE,
                "uid": f"uid-{self._lives}",
                "generation": 1,
                "annotations": {},
                "resourceVersion": "",
            },
            "spec": copy.deepcopy(spec),
        }
        self._changed(self.store)

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
        self._changed(self.store)

    def edit(self, spec: Body) -> None:
        """As a person does it, who would be told what is wrong with it."""
        problems = store_problems({**self.store, "spec": spec}, self.store)
        assert not problems, problems
        self.store["spec"] = copy.deepcopy(spec)
        self.store["metadata"]["generation"] += 1
        self._changed(self.store)

    def restore_status(self, status: Body) -> None:
        """As who restores an object from what was kept of it."""
        self.store["status"] = copy.deepcopy(status)
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
            raise ApiError(409, "Conflict", "the object has been modified")
        before = self.status
        after = _merged(before, patch)
        self.refused("status", status_problems(after))
        self.store["status"] = after
        self._changed(self.store)
        self._note(before, after, operator)
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

    def remove_annotations(self, values: Mapping[str, str]) -> Body:
        """Each that still has its value; none if one has changed."""
        if any(self.annotations.get(key) != value for key, value in values.items()):
            raise ApiError(422, "Invalid", "the value to test is another")
        for key in values:
            del self.annotations[key]
        self._changed(self.store)
        return self.store

    def apply(self, manifest: Mapping[str, Any]) -> Body:
        """Makes or changes a child."""
        key = (manifest["kind"], manifest["metadata"]["name"])
        known = self.objects.get(key)
        item: Body = copy.deepcopy(dict(manifest))
        if item["metadata"]["ownerReferences"][0]["uid"] != self.ref.uid:
            raise ApiError(422, "Invalid", "the owner is gone")
        if key[0] == "Service" and "clusterIP" not in item["spec"]:
            item["spec"]["clusterIP"] = known["spec"]["clusterIP"] if known else f"10.1.0.{len(self.objects) + 1}"
        if known is not None:
            item["metadata"] |= {name: known["metadata"][name] for name in ("uid", "resourceVersion")}
            if item == known:
                return known
        else:
            item["metadata"]["uid"] = f"child-{self._version}"
        self.objects[key] = item
        self._changed(item)
        if key[0] == "ConfigMap":
            self.runs.configure(item)
        elif key[0] == "StatefulSet":
            self.runs.apply(item)
        return item

    def delete_child(self, kind: str, name: str, uid: str | None = None) -> None:
        """Gone, and its pods with it; refused when it is another than that of ``uid``."""
        item = self.objects.get((kind, name))
        if item is not None:
            if uid not in (None, item["metadata"]["uid"]):
                raise ApiError(409, "Conflict", "the uid in the precondition is another's")
            del self.objects[(kind, name)]
            if kind == "StatefulSet":
                self.runs.delete(item["metadata"]["labels"][REGION_LABEL])
            self._changed(item)

    # ------------------------------------------------------------------ pods

    def pods(self) -> list[Body]:
        """As kubelets report them."""
        found = []
        for region in self._fleet.regions:
            for host in self._fleet.region(region):
                ready = "True" if host.ready_pod else "False"
                status = {"phase": "Running", "podIP": ip_of(host), "conditions": [{"type": "Ready", "status": ready}]}
                meta = {"name": host.name, "labels": {REGION_LABEL: region}}
                found.append({"metadata": meta, "status": status})
        return found


def ip_of(host: Host) -> str:
    """A machine's address."""
    region, _, ordinal = host.name.rpartition("-")
    return f"10.0.{sum(region.encode()) % 250}.{int(ordinal) + 1}"


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
