"""Network policies: their defaults, and what is wrong with them."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from localkube.apiserver.errors import Cause
from localkube.apiserver.jsonobj import Json, JsonObject
from localkube.apiserver.kinds.common import child, set_defaults
from localkube.apiserver.kinds.rules import (
    Table,
    check,
    invalid,
    label_selector,
    one_of,
    port_number,
    port_or_name,
    required,
)


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
    """Returns what is wrong with a NetworkPolicy."""
    return check(_NETWORK_POLICY, obj["spec"], "spec")
