"""Discovery documents: groups, versions and resources, aggregated (v2) and not. Pure functions of the registry."""

from __future__ import annotations

from collections.abc import Iterator

from localkube.apiserver.jsonobj import JsonObject
from localkube.apiserver.resources import VIRTUAL, Registry, Resource, VirtualResource

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
_CUSTOM_VERBS = ("delete", "deletecollection", "get", "list", "patch", "create", "update", "watch")
_RW = ["get", "patch", "update"]
_SUBRESOURCES: dict[str, tuple[list[str], str, str, str]] = {
    # name: (verbs, group, version, kind); an empty kind is that of the resource itself, an empty group and version too
    "status": (_RW, "", "", ""),
    "scale": (_RW, "autoscaling", "v1", "Scale"),
    "finalize": (["update"], "", "", ""),
    "log": (["get"], "", "", ""),
    "portforward": (["create", "get"], "", "", "PodPortForwardOptions"),
    "exec": (["create", "get"], "", "", "PodExecOptions"),
    "attach": (["create", "get"], "", "", "PodAttachOptions"),
    "proxy": (["create", "get"], "", "", "PodProxyOptions"),
    "binding": (["create"], "", "", "Binding"),
    "ephemeralcontainers": (_RW, "", "", ""),
    "eviction": (["create"], "policy", "v1", "Eviction"),
    "token": (["create"], "authentication.k8s.io", "v1", "TokenRequest"),
}


def subresource_verbs(name: str) -> list[str]:
    """Returns the verbs that a subresource takes."""
    return _SUBRESOURCES[name][0]


def paths(registry: Registry) -> list[str]:
    """Returns every path that is served, in order; ``/`` lists them."""
    served = {"/.well-known/openid-configuration", "/api", "/apis", "/openapi/v2", "/openapi/v3", "/version"}
    for check in ("/healthz", "/livez", "/readyz"):
        served |= {check, f"{check}/ping"}
    for group, versions in registry.group_versions().items():
        served |= {f"/apis/{group}"} if group else set()
        served |= {f"/apis/{group}/{version}" if group else f"/api/{version}" for version in versions}
    return sorted(served)


def _of(registry: Registry, group: str, version: str) -> list[Resource | VirtualResource]:
    served: tuple[Resource | VirtualResource, ...] = (*registry.all(), *VIRTUAL)
    return [item for item in served if (item.group, item.version) == (group, version)]


def accepts_aggregated(header: str) -> bool:
    """Returns whether an Accept header asks for the aggregated form, version 2."""
    for clause in header.split(","):
        parameters = {piece.strip() for piece in clause.split(";")}
        if {"g=apidiscovery.k8s.io", "v=v2", "as=APIGroupDiscoveryList"} <= parameters:
            return True
    return False


def api_versions(address: str) -> JsonObject:
    """``/api``, with the address that the server is reached at."""
    return {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
    }


def _group(name: str, versions: list[str]) -> JsonObject:
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def group_list(registry: Registry) -> JsonObject:
    """``/apis``."""
    groups = [_group(name, versions) for name, versions in registry.group_versions().items() if name]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def group(registry: Registry, name: str) -> JsonObject | None:
    """``/apis/<group>``; None for one that is not served."""
    versions = registry.group_versions().get(name)
    if not name or versions is None:
        return None
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(name, versions)}


def resource_list(registry: Registry, group_name: str, version: str) -> JsonObject | None:
    """``/api/v1`` and ``/apis/<group>/<version>``; None for one that is not served."""
    items = _of(registry, group_name, version)
    if not items:
        return None
    listed: list[JsonObject] = []
    for item in items:
        listed.extend(_listed(item))
    group_version = f"{group_name}/{version}" if group_name else version
    # The core group's list has no apiVersion, as always.
    of_list = {"kind": "APIResourceList", "apiVersion": "v1"} if group_name else {"kind": "APIResourceList"}
    return {**of_list, "groupVersion": group_version, "resources": listed}


def _listed(item: Resource | VirtualResource) -> Iterator[JsonObject]:
    if isinstance(item, VirtualResource):
        singular = item.kind.lower()
        yield {
            "name": item.plural,
            "singularName": singular,
            "namespaced": item.namespaced,
            "kind": item.kind,
            "verbs": ["create"],
        }
        return
    entry: JsonObject = {
        "name": item.plural,
        "singularName": item.singular_name,
        "namespaced": item.namespaced,
        "kind": item.kind,
        "verbs": _verbs(item),
    }
    if item.short_names:
        entry["shortNames"] = list(item.short_names)
    if item.categories:
        entry["categories"] = list(item.categories)
    yield entry
    for name in _subresources(item):
        verbs, group_name, version, kind = _SUBRESOURCES[name]
        sub: JsonObject = {
            "name": f"{item.plural}/{name}",
            "singularName": "",
            "namespaced": item.namespaced,
            "kind": kind or item.kind,
            "verbs": verbs,
        }
        if group_name:
            sub["group"] = group_name
        if version:
            sub["version"] = version
        yield sub


def _verbs(item: Resource) -> list[str]:
    """Returns the verbs in the order in which a real server lists them, which is another one for custom resources."""
    return list(_CUSTOM_VERBS) if item.custom else list(item.verbs)


def _subresources(item: Resource) -> list[str]:
    return sorted(item.subresources, reverse=item.custom)


def aggregated(registry: Registry, *, core: bool) -> JsonObject:
    """Returns the aggregated discovery document of ``/api`` (core) or ``/apis``."""
    items = []
    for name, versions in registry.group_versions().items():
        if (name == "") != core:
            continue
        listed = [
            {
                "version": version,
                "resources": [_aggregated_resource(item) for item in _of(registry, name, version)],
                "freshness": "Current",
            }
            for version in versions
        ]
        items.append({"metadata": {"name": name}, "versions": listed})
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    }


def _aggregated_resource(item: Resource | VirtualResource) -> JsonObject:
    own_kind = {"group": item.group, "version": item.version, "kind": item.kind}
    entry: JsonObject = {
        "resource": item.plural,
        "responseKind": own_kind,
        "scope": "Namespaced" if item.namespaced else "Cluster",
        "singularResource": item.kind.lower(),
        "verbs": ["create"],
    }
    if isinstance(item, VirtualResource):
        return entry
    entry["singularResource"] = item.singular_name
    entry["verbs"] = _verbs(item)
    if item.short_names:
        entry["shortNames"] = list(item.short_names)
    if item.categories:
        entry["categories"] = list(item.categories)
    subresources = []
    for name in _subresources(item):
        verbs, group_name, version, kind = _SUBRESOURCES[name]
        answered = {**own_kind, "kind": kind} if kind and not version else own_kind
        if version:
            answered = {"group": group_name, "version": version, "kind": kind}
        subresources.append({"subresource": name, "responseKind": answered, "verbs": verbs})
    if subresources:
        entry["subresources"] = subresources
    return entry
