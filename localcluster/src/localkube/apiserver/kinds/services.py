"""Services: their defaults, families of addresses, allocation of addresses and ports, what may change."""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Collection, Iterator

from localkube.apiserver.errors import ApiError, Cause
from localkube.apiserver.errors import invalid as refused
from localkube.apiserver.jsonobj import JsonObject, lookup
from localkube.apiserver.kinds.common import child, set_defaults
from localkube.apiserver.kinds.rules import (
    GoStruct,
    Table,
    always_named,
    check,
    duplicate,
    forbidden,
    invalid,
    labels,
    named,
    needed_one_of,
    one_of,
    port_number,
    port_or_name,
    required,
)
from localkube.apiserver.objects.store import Store
from localkube.apiserver.schema import formats

_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_WITH_NODE_PORTS = ("LoadBalancer", "NodePort")
_NODE_PORTS = range(30000, 32768)
_CLIENT_IP_SECONDS = 10800
_OF_ADDRESSES = ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy")


# ---- defaults


def default_service(obj: JsonObject, old: JsonObject | None) -> None:
    """Defaults of a Service."""
    spec = child(obj, "spec")
    spec["type"] = spec.get("type") or "ClusterIP"
    spec["sessionAffinity"] = spec.get("sessionAffinity") or "None"
    if spec["sessionAffinity"] == "None":
        spec.pop("sessionAffinityConfig", None)
    elif spec["sessionAffinity"] == "ClientIP":
        affinity = child(child(spec, "sessionAffinityConfig"), "clientIP")
        set_defaults(affinity, timeoutSeconds=_CLIENT_IP_SECONDS)
    for port in spec.get("ports") or []:
        port["protocol"] = port.get("protocol") or "TCP"
        port["targetPort"] = port.get("targetPort") or port.get("port") or 0
    if spec["type"] in _WITH_NODE_PORTS:
        set_defaults(spec, externalTrafficPolicy="Cluster")
    if spec["type"] in ("ClusterIP", *_WITH_NODE_PORTS):
        set_defaults(spec, internalTrafficPolicy="Cluster")
    if spec["type"] == "LoadBalancer":
        set_defaults(spec, allocateLoadBalancerNodePorts=True)
    if old is None:
        obj["status"] = {"loadBalancer": {}}


def complete_service(obj: JsonObject, old: JsonObject | None) -> None:
    """Families of addresses; an update keeps what was allocated and does not mention it."""
    spec = obj["spec"]
    if old is not None:
        _keep_allocated(spec, old["spec"])
    if spec["type"] != "ExternalName":
        _default_families(spec)


def _keep_allocated(spec: JsonObject, before: JsonObject) -> None:
    """What an update leaves out stays; what its type has no more use for goes, unless the update changes it."""
    had, has = before["type"] != "ExternalName", spec["type"] != "ExternalName"
    if had and has:
        if not spec.get("clusterIP") and not spec.get("clusterIPs"):
            _copy(spec, before, "clusterIP", "clusterIPs")
        elif not spec.get("clusterIP"):
            same = spec.get("clusterIPs") == before.get("clusterIPs")
            spec["clusterIP"] = before.get("clusterIP") if same else spec["clusterIPs"][0]
        if spec.get("clusterIP") == before.get("clusterIP") and not spec.get("clusterIPs"):
            _copy(spec, before, "clusterIPs")
        elif spec.get("clusterIP") != before.get("clusterIP") and spec.get("clusterIPs") == before.get("clusterIPs"):
            spec["clusterIPs"] = [spec["clusterIP"]]
        for name in ("ipFamilies", "ipFamilyPolicy"):
            if not spec.get(name):
                _copy(spec, before, name)
    elif had:
        for name in _OF_ADDRESSES:
            if spec.get(name) in (before.get(name), "Cluster"):
                spec.pop(name, None)
    if before["type"] in _WITH_NODE_PORTS:
        _keep_node_ports(spec, before)
        if spec["type"] not in _WITH_NODE_PORTS:
            for name in ("externalTrafficPolicy", "allocateLoadBalancerNodePorts", "healthCheckNodePort"):
                if spec.get(name) == before.get(name):
                    spec.pop(name, None)


def _keep_node_ports(spec: JsonObject, before: JsonObject) -> None:
    earlier = {(port.get("name"), port.get("protocol"), port["port"]): port for port in before.get("ports") or []}
    kept = spec["type"] in _WITH_NODE_PORTS
    unchanged = [port.get("nodePort") for port in spec.get("ports") or []] == [
        port.get("nodePort") for port in before.get("ports") or []
    ]
    for port in spec.get("ports") or []:
        allocated = earlier.get((port.get("name"), port.get("protocol"), port.get("port")))
        if kept and not port.get("nodePort") and allocated and allocated.get("nodePort"):
            port["nodePort"] = allocated["nodePort"]
        elif not kept and unchanged:
            port.pop("nodePort", None)


def _copy(spec: JsonObject, before: JsonObject, *names: str) -> None:
    for name in names:
        if name in before:
            spec[name] = before[name]


def _default_families(spec: JsonObject) -> None:
    if spec.get("clusterIP") and not spec.get("clusterIPs"):
        spec["clusterIPs"] = [spec["clusterIP"]]
    if _headless(spec) and not spec.get("selector"):
        # Its endpoints are written by somebody else, so they may be of both families.
        families = spec.get("ipFamilies") or ["IPv4"]
        if not spec.get("ipFamilyPolicy"):
            spec["ipFamilyPolicy"] = "RequireDualStack"
        if spec["ipFamilyPolicy"] != "SingleStack" and len(families) == 1:
            families = [*families, "IPv6" if families[0] == "IPv4" else "IPv4"]
        spec["ipFamilies"] = families
        return
    set_defaults(spec, ipFamilyPolicy="SingleStack")
    if not spec.get("ipFamilies"):
        spec["ipFamilies"] = ["IPv4"]


def _headless(spec: JsonObject) -> bool:
    return spec.get("clusterIP") == "None"


# ---- validation


_PORT: Table = (
    ("port", port_number),
    ("protocol", needed_one_of("SCTP", "TCP", "UDP")),
    ("targetPort", port_or_name),
    ("appProtocol", named(formats.qualified_name)),
)


def _ports(spec: JsonObject) -> Iterator[Cause]:
    ports = spec.get("ports") or []
    if not ports and spec["type"] != "ExternalName" and not _headless(spec):
        yield required("spec.ports")
    names: set[str] = set()
    pairs: set[tuple[object, object]] = set()
    node_ports: set[tuple[object, object]] = set()
    for index, port in enumerate(ports):
        at, name = f"spec.ports[{index}]", port.get("name") or ""
        if not name and len(ports) > 1:
            yield required(f"{at}.name")
        elif name:
            yield from named(formats.dns_label)(name, f"{at}.name")
            if name in names:
                yield duplicate(f"{at}.name", name)
            names.add(name)
        yield from check(_PORT, port, at)
        pair = (port.get("protocol"), port.get("port"))
        if pair in pairs:
            shown = GoStruct.of(
                {"protocol": pair[0], "port": pair[1]},
                ("Name", "name", ""),
                ("Protocol", "protocol", ""),
                ("AppProtocol", "appProtocol", None),
                ("Port", "port", 0),
                ("TargetPort", "targetPort", 0),
                ("NodePort", "nodePort", 0),
            )
            yield duplicate(at, shown)
        pairs.add(pair)
        if port.get("nodePort"):
            if spec["type"] == "ClusterIP":
                yield forbidden(f"{at}.nodePort", "may not be used when `type` is 'ClusterIP'")
            elif (port.get("protocol"), port["nodePort"]) in node_ports:
                yield duplicate(f"{at}.nodePort", port["nodePort"])
            node_ports.add((port.get("protocol"), port["nodePort"]))


def _addresses(spec: JsonObject) -> Iterator[Cause]:
    addresses, families = spec.get("clusterIPs") or [], spec.get("ipFamilies") or []
    if spec["type"] == "ExternalName":
        for name in ("clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            if spec.get(name):
                yield forbidden(f"spec.{name}", "may not be set for ExternalName services")
        host = (spec.get("externalName") or "").removesuffix(".")
        if not host:
            yield required("spec.externalName")
        yield from named(formats.dns_subdomain)(host, "spec.externalName")
        return
    if _headless(spec) and spec["type"] in _WITH_NODE_PORTS:
        yield invalid("spec.clusterIPs[0]", "None", f"may not be set to 'None' for {spec['type']} services")
    if addresses and spec.get("clusterIP") != addresses[0]:
        yield invalid("spec.clusterIPs", addresses, "first value must match `clusterIP`")
    if len(addresses) > 2:
        yield invalid("spec.clusterIPs", addresses, "may only hold up to 2 values")
    for index, address in enumerate(addresses):
        at = f"spec.clusterIPs[{index}]"
        if address == "None":
            if len(addresses) > 1:
                yield invalid("spec.clusterIPs", addresses, "'None' must be the first and only value")
            continue
        problems = formats.ip_address(address)
        yield from (invalid(at, address, why) for why in problems)
        if not problems and index < len(families):
            family = f"IPv{ipaddress.ip_address(address).version}"
            if families[index] in ("IPv4", "IPv6") and family != families[index]:
                why = f"expected an {families[index]} value as indicated by `ipFamilies[{index}]`"
                yield invalid(at, address, why)
    for index, family in enumerate(families):
        yield from one_of("IPv4", "IPv6")(family, f"spec.ipFamilies[{index}]")
        if family in families[:index]:
            yield duplicate(f"spec.ipFamilies[{index}]", family)


_SPEC: Table = (
    ("selector", labels),
    ("type", needed_one_of(*_TYPES)),
    ("sessionAffinity", needed_one_of("ClientIP", "None")),
    ("ipFamilyPolicy", one_of("PreferDualStack", "RequireDualStack", "SingleStack")),
    ("internalTrafficPolicy", one_of("Cluster", "Local")),
    ("trafficDistribution", one_of("PreferClose", "PreferSameNode", "PreferSameZone")),
    ("externalIPs[*]", always_named(formats.ip_address)),
)


def _traffic(spec: JsonObject) -> Iterator[Cause]:
    external = spec["type"] in _WITH_NODE_PORTS or (spec["type"] == "ClusterIP" and bool(spec.get("externalIPs")))
    policy = spec.get("externalTrafficPolicy")
    if policy and not external:
        why = "may only be set for externally-accessible services"
        yield invalid("spec.externalTrafficPolicy", policy, why)
    elif policy:
        yield from one_of("Cluster", "Local")(policy, "spec.externalTrafficPolicy")
    if spec["sessionAffinity"] == "ClientIP":
        seconds = lookup(spec, "sessionAffinityConfig", "clientIP", "timeoutSeconds")
        if not 0 < seconds <= 86400:
            at = "spec.sessionAffinityConfig.clientIP.timeoutSeconds"
            yield invalid(at, seconds, "must be greater than 0 and less than 86400")
    balanced = spec["type"] == "LoadBalancer"
    why = "may only be used when `type` is 'LoadBalancer'"
    if spec.get("allocateLoadBalancerNodePorts") is not None and not balanced:
        yield forbidden("spec.allocateLoadBalancerNodePorts", why)
    if spec.get("loadBalancerClass") is not None and not balanced:
        yield forbidden("spec.loadBalancerClass", why)
    if spec.get("loadBalancerSourceRanges") and not balanced:
        yield forbidden("spec.LoadBalancerSourceRanges", why)


def validate_service(obj: JsonObject, old: JsonObject | None, subresource: str = "") -> list[Cause]:
    """Returns what is wrong with a Service, or with how it changed."""
    if subresource == "status":
        return []
    spec = obj["spec"]
    type_known = spec["type"] in _TYPES
    causes = [*_ports(spec), *check(_SPEC, spec, "spec")]
    if type_known:
        causes += [*_addresses(spec), *(_traffic(spec) if spec["sessionAffinity"] in ("ClientIP", "None") else ())]
    if old is not None and "ExternalName" not in (spec["type"], old["spec"]["type"]):
        before, now = old["spec"].get("clusterIPs") or [], spec.get("clusterIPs") or []
        if before and now[:1] != before[:1]:
            causes.append(invalid("spec.clusterIPs[0]", now, "may not change once set"))
    return causes


# ---- allocation


class ClusterIps:
    """Gives Services addresses and node ports out of their ranges."""

    def __init__(self, store: Store, cidr: str) -> None:
        self._store = store
        self._network = ipaddress.ip_network(cidr)
        self._next = 0

    def ensure(self, obj: JsonObject, old: JsonObject | None) -> None:
        """Check the families and what was asked for, and give what is missing (in place); raises 422 or 500."""
        spec = obj["spec"]
        if spec["type"] == "ExternalName":
            return
        causes = self._families(spec)
        if causes:
            raise refused("", "Service", obj["metadata"]["name"], causes)
        own = (obj["metadata"].get("namespace"), obj["metadata"]["name"])
        others = [
            stored.obj["spec"] for stored in self._store.peek_all("services") if (stored.namespace, stored.name) != own
        ]
        self._address(obj, {lookup(other, "clusterIP") for other in others}, old)
        if spec["type"] in _WITH_NODE_PORTS and spec.get("allocateLoadBalancerNodePorts") is not False:
            self._node_ports(obj, {port.get("nodePort") for other in others for port in other.get("ports") or []})

    def _families(self, spec: JsonObject) -> list[Cause]:
        if _headless(spec) and not spec.get("selector"):
            return []
        own = f"IPv{self._network.version}"
        causes = [
            invalid(f"spec.ipFamilies[{index}]", family, "not configured on this cluster")
            for index, family in enumerate(spec.get("ipFamilies") or [])
            if family != own and family in ("IPv4", "IPv6")
        ]
        if spec.get("ipFamilyPolicy") == "RequireDualStack":
            why = "this cluster is not configured for dual-stack services"
            causes.append(invalid("spec.ipFamilyPolicy", "RequireDualStack", why))
        return causes

    def _address(self, obj: JsonObject, used: Collection[str], old: JsonObject | None) -> None:
        spec = obj["spec"]
        asked = spec.get("clusterIP")
        if asked == "None" or (old is not None and asked and asked == old["spec"].get("clusterIP")):
            return
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

    def _check(self, name: str, asked: str, used: Collection[str]) -> None:
        if formats.ip_address(asked):
            return  # validation reports it
        why = ""
        if ipaddress.ip_address(asked) not in self._network:
            why = "the provided network does not match the current range"
        elif asked in used:
            why = "provided IP is already allocated"
        if why:
            cause = invalid("spec.clusterIPs", [asked], f"failed to allocate IP {asked}: {why}")
            raise refused("", "Service", name, [cause])

    def _node_ports(self, obj: JsonObject, used: Collection[int | None]) -> None:
        taken = {port for port in used if port}
        ports = obj["spec"].get("ports") or []
        for index, port in enumerate(ports):
            asked = port.get("nodePort")
            if not asked:
                continue
            why = ""
            if asked not in _NODE_PORTS:
                why = "provided port is not in the valid range. The range of valid ports is 30000-32767"
            elif asked in taken:
                why = "provided port is already allocated"
            if why:
                cause = invalid(f"spec.ports[{index}].nodePort", asked, why)
                raise refused("", "Service", obj["metadata"]["name"], [cause])
        taken |= {port["nodePort"] for port in ports if port.get("nodePort")}
        for port in ports:
            if not port.get("nodePort"):
                port["nodePort"] = next(number for number in _NODE_PORTS if number not in taken)
                taken.add(port["nodePort"])
