"""Requests and limits of containers and claims: names of resources, amounts, and how the two relate."""

from __future__ import annotations

from collections.abc import Iterator

from localkube.apiserver.errors import Cause
from localkube.apiserver.jsonobj import Json
from localkube.apiserver.kinds.rules import amount, amount_not_negative, forbidden, invalid, required
from localkube.apiserver.schema import formats

_OF_CONTAINERS = frozenset({"cpu", "memory", "ephemeral-storage"})
_HUGE_PAGES = "hugepages-"
_STANDARD = _OF_CONTAINERS | {
    *("storage", "pods", "services", "replicationcontrollers", "resourcequotas", "secrets", "configmaps"),
    *("persistentvolumeclaims", "services.nodeports", "services.loadbalancers"),
    *(f"{side}.{name}" for side in ("requests", "limits") for name in _OF_CONTAINERS),
    "requests.storage",
}


def _overcommitted(name: str) -> bool:
    """Returns whether a resource may be requested for less than its limit."""
    native = "/" not in name or "kubernetes.io/" in name
    return native and not name.startswith(_HUGE_PAGES)


def _name(name: str, path: str) -> Iterator[Cause]:
    problems = formats.qualified_name(name)
    if problems:
        yield from (invalid(path, name, why) for why in problems)
    elif "/" not in name and not name.startswith(_HUGE_PAGES):
        if name not in _STANDARD:
            yield invalid(path, name, "must be a standard resource type or fully qualified")
        if name not in _OF_CONTAINERS:
            yield invalid(path, name, "must be a standard resource for containers")
    elif name.startswith("requests."):
        yield invalid(path, name, "doesn't follow extended resource name standard")


def _amount(name: str, value: Json, path: str) -> Iterator[Cause]:
    yield from amount_not_negative(value, path)
    extended = "/" in name and "kubernetes.io/" not in name
    if extended and amount(value) != amount(value).to_integral_value():
        yield invalid(path, value, "must be an integer")


def resource_requirements(value: Json, path: str) -> Iterator[Cause]:
    """Yields what is wrong with the ``resources`` of a container."""
    limits, requests = (value or {}).get("limits") or {}, (value or {}).get("requests") or {}
    for side, listed in (("limits", limits), ("requests", requests)):
        for name, quantity in listed.items():
            at = f"{path}.{side}[{name}]"
            yield from _name(name, at)
            yield from _amount(name, quantity, at)
    for name, quantity in requests.items():
        limit = limits.get(name)
        if limit is None:
            if not _overcommitted(name):
                yield required(f"{path}.limits", "Limit must be set for non overcommitable resources")
        elif not _overcommitted(name) and amount(quantity) != amount(limit):
            yield invalid(f"{path}.requests", quantity, f"must be equal to {name} limit of {limit}")
        elif amount(quantity) > amount(limit):
            why = f"must be less than or equal to {name} limit of {limit}"
            yield invalid(f"{path}.requests", quantity, why)
    named = {*limits, *requests}
    if any(name.startswith(_HUGE_PAGES) for name in named) and not {"cpu", "memory"} & named:
        yield forbidden(path, "HugePages require cpu or memory")
