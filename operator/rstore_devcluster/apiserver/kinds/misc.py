"""The remaining built-in kinds: namespaces, nodes, budgets, leases, network policies, endpoints. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from rstore_devcluster.apiserver.http.errors import Cause
from rstore_devcluster.apiserver.jsonobj import Json, JsonObject
from rstore_devcluster.apiserver.kinds.common import child, set_defaults
from rstore_devcluster.apiserver.kinds.pod_specs import taint_effect
from rstore_devcluster.apiserver.kinds.rules import (
    GoStruct,
    Table,
    always_named,
    at_least,
    check,
    immutable,
    invalid,
    label_selector,
    needed_one_of,
    one_of,
    port_number,
    port_or_name,
    required,
    share_of_pods,
    unsupported,
)
from rstore_devcluster.apiserver.objects.metadata import content_causes
from rstore_devcluster.apiserver.schema import formats

_PROTOCOL = needed_one_of("SCTP", "TCP", "UDP")


# ---- namespaces and nodes


def default_namespace(obj: JsonObject, old: JsonObject | None) -> None:
    """Defaults of a Namespace."""
    child(obj, "spec")
    if old is None:
        obj["status"] = {"phase": "Active"}
    child(obj["metadata"], "labels")["kubernetes.io/metadata.name"] = obj["metadata"]["name"]


def complete_namespace(obj: JsonObject, old: JsonObject | None) -> None:
    """The finalizer of a new Namespace."""
    if old is None:
        set_defaults(obj["spec"], finalizers=["kubernetes"])


def default_node(obj: JsonObject, old: JsonObject | None) -> None:  # noqa: ARG001
    """Defaults of a Node."""
    child(obj, "spec")


def _taints(value: Json, path: str) -> Iterator[Cause]:
    seen: set[tuple[str, str]] = set()
    for index, taint in enumerate(value or []):
        at = f"{path}[{index}]"
        yield from always_named(formats.qualified_name)(taint.get("key"), f"{at}.key")
        for why in formats.label_value(taint.get("value") or ""):
            yield invalid(f"{at}.value", taint["value"], why)
        if not taint.get("effect"):
            yield required(f"{at}.effect")
        yield from taint_effect(taint.get("effect"), f"{at}.effect")
        key = (taint.get("key") or "", taint.get("effect") or "")
        if key in seen:
            yield Cause(at, "Duplicate value: taints must be unique by key and effect pair", "FieldValueDuplicate")
        seen.add(key)


def validate_node(obj: JsonObject, old: JsonObject | None, subresource: str = "") -> list[Cause]:
    """What is wrong with a Node; an update is checked twice, as the real server does it."""
    if subresource == "status":
        return []
    causes = list(_taints((obj.get("spec") or {}).get("taints"), "metadata.taints"))
    return causes if old is None else causes * 2 + content_causes(obj["metadata"])


# ---- disruption budgets


def default_budget(obj: JsonObject, old: JsonObject | None) -> None:
    """Defaults of a PodDisruptionBudget."""
    child(obj, "spec")
    if old is None:
        obj["status"] = {"disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0}


_BUDGET: Table = (
    ("minAvailable", share_of_pods),
    ("maxUnavailable", share_of_pods),
    ("selector", label_selector),
    ("unhealthyPodEvictionPolicy", one_of("AlwaysAllow", "IfHealthyBudget")),
)
_BUDGET_STATUS: Table = tuple(
    (name, at_least(0)) for name in ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods")
)


def validate_budget(obj: JsonObject, old: JsonObject | None, subresource: str = "") -> list[Cause]:  # noqa: ARG001
    """What is wrong with a PodDisruptionBudget."""
    if subresource == "status":
        return check(_BUDGET_STATUS, obj.get("status"), "status")
    spec = obj["spec"]
    causes = []
    if spec.get("minAvailable") is not None and spec.get("maxUnavailable") is not None:
        names = ("minAvailable", "selector", "maxUnavailable", "unhealthyPodEvictionPolicy")
        shown = GoStruct.of(spec, *((name[0].upper() + name[1:], name, None) for name in names))
        causes.append(invalid("spec", shown, "minAvailable and maxUnavailable cannot be both set"))
    return causes + check(_BUDGET, spec, "spec")


# ---- leases


def default_lease(obj: JsonObject, old: JsonObject | None) -> None:  # noqa: ARG001
    """Defaults of a Lease."""
    child(obj, "spec")


def complete_lease(obj: JsonObject, old: JsonObject | None) -> None:  # noqa: ARG001
    """Without the feature of coordinated election two fields of a Lease are dropped."""
    for name in ("strategy", "preferredHolder"):
        obj["spec"].pop(name, None)


_LEASE: Table = (
    ("leaseDurationSeconds", at_least(1, "must be greater than 0")),
    ("leaseTransitions", at_least(0)),
)


def validate_lease(obj: JsonObject, old: JsonObject | None, subresource: str = "") -> list[Cause]:  # noqa: ARG001
    """What is wrong with a Lease."""
    return check(_LEASE, obj["spec"], "spec")


# ---- network policies


def default_network_policy(obj: JsonObject, old: JsonObject | None) -> None:  # noqa: ARG001
    """Defaults of a NetworkPolicy: its types follow from its rules, ports are TCP."""
    spec = child(obj, "spec")
    child(spec, "podSelector")
    for direction in ("ingress", "egress"):
        for rule in spec.get(direction) or []:
            for port in rule.get("ports") or []:
                set_defaults(port, protocol="TCP")
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]


def _policy_port(value: Json, path: str) -> Iterator[Cause]:
    port, end = value.get("port"), value.get("endPort")
    if port is not None:
        yield from port_or_name(port, f"{path}.port")
    if end is None:
        return
    if port is None:
        yield required(f"{path}.endPort", "may not be specified when `port` is not specified")
    elif isinstance(port, str):
        yield invalid(f"{path}.endPort", end, "may not be specified when `port` is non-numeric")
    elif end < port:
        yield invalid(f"{path}.endPort", end, "must be greater than or equal to `port`")
    yield from port_number(end, f"{path}.endPort")


def _block(value: Json, path: str) -> Iterator[Cause]:
    if not value.get("cidr"):
        yield required(f"{path}.cidr")
        return
    wrong = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
    try:
        network = ipaddress.ip_network(value["cidr"], strict=False)
    except ValueError:
        yield invalid(f"{path}.cidr", value["cidr"], wrong)
        return
    for index, text in enumerate(value.get("except") or []):
        at = f"{path}.except[{index}]"
        try:
            part = ipaddress.ip_network(text, strict=False)
        except ValueError:
            yield invalid(at, text, wrong)
            continue
        inside = part.version == network.version and part != network and part.subnet_of(network)  # type: ignore[arg-type]
        if not inside:
            yield invalid(at, text, f'must be a strict subset of `cidr` ("{value["cidr"]}")')


def _peer(value: Json, path: str) -> Iterator[Cause]:
    yield from label_selector(value.get("podSelector"), f"{path}.podSelector")
    yield from label_selector(value.get("namespaceSelector"), f"{path}.namespaceSelector")
    chosen = [name for name in ("podSelector", "namespaceSelector") if value.get(name) is not None]
    if value.get("ipBlock") is not None:
        yield from _block(value["ipBlock"], f"{path}.ipBlock")
        if chosen:
            why = "may not be specified when podSelector or namespaceSelector is specified"
            yield Cause(path, f"Forbidden: {why}", "FieldValueForbidden")
    elif not chosen:
        yield required(path, "must specify a peer")


def _policy_types(value: Json, path: str) -> Iterator[Cause]:
    if len(value or []) > 2:
        yield invalid(path, value, "may not specify more than two policyTypes")
        return
    for index, name in enumerate(value or []):
        yield from one_of("Ingress", "Egress", ordered=True)(name, f"{path}[{index}]")


_NETWORK_POLICY: Table = (
    ("podSelector", label_selector),
    *((f"{rules}[*].ports[*]", _policy_port) for rules in ("ingress", "egress")),
    *((f"{rules}[*].ports[*].protocol", one_of("SCTP", "TCP", "UDP")) for rules in ("ingress", "egress")),
    ("ingress[*].from[*]", _peer),
    ("egress[*].to[*]", _peer),
    ("policyTypes", _policy_types),
)


def validate_network_policy(obj: JsonObject, old: JsonObject | None, subresource: str = "") -> list[Cause]:  # noqa: ARG001
    """What is wrong with a NetworkPolicy."""
    return check(_NETWORK_POLICY, obj["spec"], "spec")


# ---- endpoints


def special_address(text: str) -> list[str]:
    """Why an address cannot be that of an endpoint."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return ["must be a valid IP address"]
    rules = (
        (address.is_unspecified, f"may not be unspecified ({text})"),
        (address.is_loopback, "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
        (address.is_link_local, "may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
        (
            address in ipaddress.ip_network("224.0.0.0/24") or address in ipaddress.ip_network("ff02::/16"),
            "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)",
        ),
    )
    return [why for broken, why in rules if broken]


def default_endpoints(obj: JsonObject, old: JsonObject | None) -> None:  # noqa: ARG001
    """Defaults of Endpoints."""
    for subset in obj.get("subsets") or []:
        for port in subset.get("ports") or []:
            set_defaults(port, protocol="TCP")


def validate_endpoints(obj: JsonObject, old: JsonObject | None, subresource: str = "") -> list[Cause]:  # noqa: ARG001
    """What is wrong with Endpoints."""
    return list(_subsets(obj.get("subsets")))


def _subsets(value: Json) -> Iterator[Cause]:
    for index, subset in enumerate(value or []):
        path = f"subsets[{index}]"
        if not subset.get("addresses") and not subset.get("notReadyAddresses"):
            yield required(path, "must specify `addresses` or `notReadyAddresses`")
        for field in ("addresses", "notReadyAddresses"):
            for number, address in enumerate(subset.get(field) or []):
                at, text = f"{path}.{field}[{number}].ip", address.get("ip") or ""
                for why in formats.ip_address(text) or special_address(text):
                    yield invalid(at, text, why)
        ports = subset.get("ports") or []
        for number, port in enumerate(ports):
            at = f"{path}.ports[{number}]"
            if port.get("name"):
                yield from always_named(formats.dns_label)(port["name"], f"{at}.name")
            elif len(ports) > 1:
                yield required(f"{at}.name")
            yield from port_number(port.get("port"), f"{at}.port")
            yield from _PROTOCOL(port.get("protocol"), f"{at}.protocol")


def default_endpoint_slice(obj: JsonObject, old: JsonObject | None) -> None:  # noqa: ARG001
    """Defaults of an EndpointSlice."""
    for port in obj.get("ports") or []:
        set_defaults(port, name="", protocol="TCP")
    for endpoint in obj.get("endpoints") or []:
        child(endpoint, "conditions")
    obj.setdefault("endpoints", None)
    obj.setdefault("ports", None)


_FAMILIES = {"IPv4": 4, "IPv6": 6}


def validate_endpoint_slice(obj: JsonObject, old: JsonObject | None, subresource: str = "") -> list[Cause]:  # noqa: ARG001
    """What is wrong with an EndpointSlice; its type of address is fixed."""
    causes = list(_slice(obj))
    if old is not None and obj.get("addressType") != old.get("addressType"):
        causes.append(immutable("addressType", obj.get("addressType")))
        causes = [cause for cause in causes if not cause.field.startswith("endpoints")]
    return causes


def _slice(obj: JsonObject) -> Iterator[Cause]:
    family = obj.get("addressType")
    if not family:
        yield required("addressType")
    elif family not in (*_FAMILIES, "FQDN"):
        yield unsupported("addressType", family, ("FQDN", "IPv4", "IPv6"))
    for index, endpoint in enumerate(obj.get("endpoints") or []):
        path = f"endpoints[{index}].addresses"
        addresses = endpoint.get("addresses") or []
        if not addresses:
            yield required(path, "must contain at least 1 address")
        for number, text in enumerate(addresses):
            if family in _FAMILIES:
                yield from _address(text, family, path, number)
    names: set[str] = set()
    for index, port in enumerate(obj.get("ports") or []):
        at, name = f"ports[{index}]", port.get("name") or ""
        if name:
            yield from always_named(formats.dns_label)(name, f"{at}.name")
        if name in names:
            yield Cause(at, f'Duplicate value: "{name}"', "FieldValueDuplicate")
        names.add(name)
        yield from _PROTOCOL(port.get("protocol"), f"{at}.protocol")


def _address(text: str, family: str, path: str, number: int) -> Iterator[Cause]:
    problems = formats.ip_address(text)
    if problems or ipaddress.ip_address(text).version != _FAMILIES[family]:
        yield invalid(path, text, f"must be an {family} address")
    for why in special_address(text):
        yield invalid(f"{path}[{number}]", text, why)
