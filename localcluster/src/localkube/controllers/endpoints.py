"""Endpoints and EndpointSlices of Services that select pods."""

from __future__ import annotations

from typing import Any

from localkube.apiserver.errors import ApiError
from localkube.apiserver.resources import Resource
from localkube.controllers.engine import Context, Controller
from localkube.controllers.informer import Change
from localkube.controllers.objects import (
    Key,
    is_deleting,
    key_of,
    labels_of,
    meta,
    owner_reference,
    pod_finished,
    pod_ready,
    uid_of,
)
from localkube.controllers.resources import ENDPOINT_SLICES, ENDPOINTS, PODS, SERVICES, Obj

MANAGED_BY = "endpointslice-controller.k8s.io"


class EndpointsController(Controller):
    """Keeps one Endpoints and one EndpointSlice (up to 1000 addresses) per Service with a selector."""

    name = "endpoints"

    def setup(self) -> None:
        """Wake by services, by pods that they select, and by endpoints changed by others."""
        self.watch_own(SERVICES)
        self.context.informers.of(PODS).subscribe(self._on_pod)
        self.context.informers.of(ENDPOINTS).subscribe(lambda _c, _o, obj: self._touch(obj))
        self.context.informers.of(ENDPOINT_SLICES).subscribe(lambda _c, _o, obj: self._touch(obj))

    def _touch(self, obj: Obj) -> None:
        name = labels_of(obj).get("kubernetes.io/service-name") or meta(obj)["name"]
        self.enqueue((meta(obj)["namespace"], name))

    def _on_pod(self, _change: Change, old: Obj | None, pod: Obj) -> None:
        for key in services_of(self.context, old, pod):
            self.enqueue(key)

    async def reconcile(self, key: Key) -> float | None:
        """Write the endpoints of one Service when they differ."""
        service = self.context.informers.of(SERVICES).get(*key)
        endpoints = self.context.informers.of(ENDPOINTS).copy_of(*key)
        if service is None:
            if endpoints is not None and labels_of(endpoints).get("endpoints.kubernetes.io/managed-by") == self.name:
                await self._delete(ENDPOINTS, endpoints)
            return None
        if not service["spec"].get("selector") or service["spec"].get("type") == "ExternalName":
            return None
        pods = [p for p in self.context.informers.of(PODS).items(key[0]) if selects(service, p)]
        await self._write(ENDPOINTS, endpoints, build_endpoints(service, pods), ("subsets",))
        wanted = build_slice(service, pods)
        existing = self.context.informers.of(ENDPOINT_SLICES).copy_of(key[0], wanted["metadata"]["name"])
        await self._write(ENDPOINT_SLICES, existing, wanted, ("endpoints", "ports", "addressType"))
        return None

    async def _write(self, resource: Resource, existing: Obj | None, wanted: Obj, fields: tuple[str, ...]) -> None:
        namespace = meta(wanted)["namespace"]
        if existing is None:
            try:
                await self.api.create(resource, namespace, wanted)
            except ApiError as error:
                if not error.already_exists:
                    raise
                raise ApiError(409, "Conflict", "created at the same time") from error
            return
        if any((existing.get(f) or []) != (wanted.get(f) or []) for f in fields):
            for field in fields:
                existing[field] = wanted.get(field) or []
            await self.api.update(resource, namespace, existing)

    async def _delete(self, resource: Resource, obj: Obj) -> None:
        try:
            await self.api.delete(resource, meta(obj)["namespace"], meta(obj)["name"], uid=uid_of(obj))
        except ApiError as error:
            if not error.not_found:
                raise


def services_of(context: Context, old: Obj | None, pod: Obj) -> list[Key]:
    """Returns the Services that select a pod as it is, or as it was before."""
    services = context.informers.of(SERVICES).items(meta(pod)["namespace"])
    return [key_of(item) for item in services if selects(item, pod) or (old is not None and selects(item, old))]


def selects(service: Obj, pod: Obj) -> bool:
    """Returns whether the Service's selector matches the pod's labels (an empty selector selects nothing)."""
    selector = service["spec"].get("selector") or {}
    labels = labels_of(pod)
    return bool(selector) and all(labels.get(k) == v for k, v in selector.items())


def serving(pod: Obj) -> bool:
    """Returns whether the pod has an address and has not finished."""
    return bool((pod.get("status") or {}).get("podIP")) and not pod_finished(pod)


def is_included_ready(service: Obj, pod: Obj) -> bool:
    """Returns whether the pod counts as a ready address of the Service."""
    if service["spec"].get("publishNotReadyAddresses"):
        return True
    return pod_ready(pod) and not is_deleting(pod)


def target_port(service_port: dict[str, Any], pod: Obj) -> int | None:
    """Returns the pod's port number behind a service port; None when the pod has no port of that name."""
    target = service_port.get("targetPort", service_port["port"])
    if isinstance(target, int):
        return target or int(service_port["port"])
    if isinstance(target, str) and target.isdigit():
        return int(target)
    for container in pod["spec"].get("containers") or []:
        for port in container.get("ports") or []:
            if port.get("name") == target:
                return int(port["containerPort"])
    return None


def _target_ref(pod: Obj) -> dict[str, str]:
    return {"kind": "Pod", "namespace": meta(pod)["namespace"], "name": meta(pod)["name"], "uid": uid_of(pod)}


def _ports(service: Obj, pods: list[Obj]) -> list[dict[str, Any]]:
    result = []
    for port in service["spec"].get("ports") or []:
        number = next((n for p in pods if (n := target_port(port, p)) is not None), None)
        if number is None and not isinstance(port.get("targetPort", port["port"]), int):
            continue
        entry: dict[str, Any] = {"port": number or port.get("targetPort", port["port"]), "protocol": "TCP"}
        if port.get("protocol"):
            entry["protocol"] = port["protocol"]
        if port.get("name"):
            entry["name"] = port["name"]
        result.append(entry)
    return result


def build_endpoints(service: Obj, pods: list[Obj]) -> Obj:
    """Returns the Endpoints object of a Service."""
    shown = [p for p in pods if serving(p)]
    subset: dict[str, Any] = {}
    for field, members in (
        ("addresses", [p for p in shown if is_included_ready(service, p)]),
        ("notReadyAddresses", [p for p in shown if not is_included_ready(service, p) and not is_deleting(p)]),
    ):
        addresses = []
        for pod in members:
            address: dict[str, Any] = {"ip": pod["status"]["podIP"], "targetRef": _target_ref(pod)}
            if pod["spec"].get("nodeName"):
                address["nodeName"] = pod["spec"]["nodeName"]
            if pod["spec"].get("hostname") and pod["spec"].get("subdomain") == meta(service)["name"]:
                address["hostname"] = pod["spec"]["hostname"]
            addresses.append(address)
        if addresses:
            subset[field] = addresses
    if subset:
        subset["ports"] = _ports(service, shown)
    return {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {
            "name": meta(service)["name"],
            "namespace": meta(service)["namespace"],
            "labels": {**labels_of(service), "endpoints.kubernetes.io/managed-by": EndpointsController.name},
        },
        "subsets": [subset] if subset else [],
    }


def build_slice(service: Obj, pods: list[Obj]) -> Obj:
    """Returns the EndpointSlice of a Service."""
    shown = [p for p in pods if serving(p)]
    endpoints = []
    for pod in shown[:1000]:
        ready, terminating = pod_ready(pod), is_deleting(pod)
        endpoint: dict[str, Any] = {
            "addresses": [pod["status"]["podIP"]],
            "conditions": {
                "ready": is_included_ready(service, pod),
                "serving": ready,
                "terminating": terminating,
            },
            "targetRef": _target_ref(pod),
        }
        if pod["spec"].get("nodeName"):
            endpoint["nodeName"] = pod["spec"]["nodeName"]
        if pod["spec"].get("hostname") and pod["spec"].get("subdomain") == meta(service)["name"]:
            endpoint["hostname"] = pod["spec"]["hostname"]
        endpoints.append(endpoint)
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{meta(service)['name']}-ipv4",
            "namespace": meta(service)["namespace"],
            "labels": {
                "kubernetes.io/service-name": meta(service)["name"],
                "endpointslice.kubernetes.io/managed-by": MANAGED_BY,
            },
            "ownerReferences": [owner_reference(service, SERVICES)],
        },
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": _ports(service, shown),
    }
