"""Endpoints and EndpointSlices: their defaults, and what is wrong with them."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from localkube.apiserver.errors import Cause
from localkube.apiserver.jsonobj import Json, JsonObject
from localkube.apiserver.kinds.common import child, set_defaults
from localkube.apiserver.kinds.rules import (
    always_named,
    immutable,
    invalid,
    needed_one_of,
    port_number,
    required,
    unsupported,
)
from localkube.apiserver.schema import formats

_PROTOCOL = needed_one_of("SCTP", "TCP", "UDP")


def special_address(text: str) -> list[str]:
    """Returns why an address cannot be that of an endpoint."""
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
    """Returns what is wrong with Endpoints."""
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
    """Returns what is wrong with an EndpointSlice; its type of address is fixed."""
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
