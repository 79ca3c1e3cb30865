"""Services: defaults, ClusterIP allocation, validation, immutable fields."""

from __future__ import annotations

import ipaddress
import itertools

from rstore_devcluster.apiserver.http.errors import ApiError, Cause, invalid
from rstore_devcluster.apiserver.jsonobj import JsonObject, lookup
from rstore_devcluster.apiserver.kinds.common import child, required, set_defaults, unsupported
from rstore_devcluster.apiserver.storage.store import Store

_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")


def default_service(obj: JsonObject, old: JsonObject | None) -> None:  # noqa: ARG001
    """Defaults of a Service."""
    spec = child(obj, "spec")
    set_defaults(spec, type="ClusterIP", sessionAffinity="None")
    for port in spec.get("ports") or []:
        set_defaults(port, protocol="TCP")
        set_defaults(port, targetPort=port.get("port"))
    if spec["type"] != "ExternalName":
        set_defaults(spec, internalTrafficPolicy="Cluster")


def complete_service(obj: JsonObject, old: JsonObject | None) -> None:
    """Families of addresses, and the ClusterIP where an update leaves it out."""
    spec = obj["spec"]
    if spec["type"] == "ExternalName":
        return
    set_defaults(spec, ipFamilyPolicy="SingleStack", ipFamilies=["IPv4"])
    if old is not None and not spec.get("clusterIP"):
        for name in ("clusterIP", "clusterIPs"):
            if name in old["spec"]:
                spec[name] = old["spec"][name]
    if spec.get("clusterIP") and not spec.get("clusterIPs"):
        spec["clusterIPs"] = [spec["clusterIP"]]
    if old is None:
        obj["status"] = {"loadBalancer": {}}


def validate_service(obj: JsonObject, old: JsonObject | None) -> list[Cause]:
    """What is wrong with a Service, or with how it changed."""
    spec = obj["spec"]
    causes: list[Cause] = []
    if spec["type"] not in _TYPES:
        causes.append(unsupported("spec.type", spec["type"], _TYPES))
    ports = spec.get("ports") or []
    if not ports and spec["type"] != "ExternalName" and spec.get("clusterIP") != "None":
        causes.append(required("spec.ports"))
    seen: set[tuple[object, object]] = set()
    names: set[str] = set()
    for index, port in enumerate(ports):
        at = f"spec.ports[{index}]"
        if not 0 < int(port.get("port") or 0) < 65536:
            message = f"Invalid value: {port.get('port')}: must be between 1 and 65535, inclusive"
            causes.append(Cause(f"{at}.port", message))
        if len(ports) > 1 and not port.get("name"):
            causes.append(required(f"{at}.name"))
        key = (port.get("port"), port.get("protocol"))
        if key in seen or (port.get("name") and port["name"] in names):
            causes.append(Cause(at, f"Duplicate value: {port.get('name') or port.get('port')}", "FieldValueDuplicate"))
        seen.add(key)
        names.add(port.get("name") or "")
    if old is not None and spec["type"] != "ExternalName":
        before = old["spec"].get("clusterIP")
        if before and spec.get("clusterIP") != before:
            message = f'Invalid value: ["{spec.get("clusterIP")}"]: may not change once set'
            causes.append(Cause("spec.clusterIPs[0]", message))
    if spec["type"] == "ExternalName" and not spec.get("externalName"):
        causes.append(required("spec.externalName"))
    return causes


class ClusterIps:
    """Gives Services addresses out of a range."""

    def __init__(self, store: Store, cidr: str) -> None:
        self._store = store
        self._network = ipaddress.ip_network(cidr)
        self._next = 0

    def ensure(self, obj: JsonObject) -> None:
        """Give a new Service a free ClusterIP, or check the one it asks for; raises 422 or 500."""
        spec = obj["spec"]
        asked = spec.get("clusterIP")
        if spec["type"] == "ExternalName" or asked == "None":
            return
        used = {lookup(stored.obj, "spec", "clusterIP") for stored in self._store.peek_all("services")}
        if asked:
            self._check(obj["metadata"]["name"], asked, used)
            return
        size = self._network.num_addresses
        for offset in itertools.islice(itertools.count(self._next), size):
            address = str(self._network[2 + offset % (size - 3)])
            if address not in used:
                self._next = offset + 1
                spec["clusterIP"] = address
                spec["clusterIPs"] = [address]
                return
        raise ApiError(500, "InternalError", "failed to allocate a serviceIP: range is full")

    def _check(self, name: str, asked: str, used: set[str]) -> None:
        why = ""
        try:
            if ipaddress.ip_address(asked) not in self._network:
                why = f"failed to allocate IP {asked}: the provided IP is not in the valid range {self._network}"
        except ValueError:
            why = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
        if asked in used:
            why = f"failed to allocate IP {asked}: provided IP is already allocated"
        if why:
            raise invalid("", "Service", name, [Cause("spec.clusterIPs", f'Invalid value: ["{asked}"]: {why}')])
