"""CustomResourceDefinitions: defaults, and the resources they define. (``definition`` validates them.)"""

from __future__ import annotations

from localkube.apiserver.jsonobj import JsonObject, lookup
from localkube.apiserver.resources import PrinterColumn, Resource
from localkube.apiserver.schema.definition.canonical import canonical_spec
from localkube.apiserver.schema.definition.life import (
    TERMINATING,
    deprecation_warning,
    first_status,
    has_condition,
)


def default_crd(obj: JsonObject, old: JsonObject | None) -> None:
    """Defaults of a definition; its stored version is noted in the status. (``definition.life`` says what follows.)"""
    spec = obj.setdefault("spec", {})
    canonical_spec(spec)
    names = spec["names"]
    if names["kind"]:
        names.setdefault("singular", names["kind"].lower())
        names.setdefault("listKind", f"{names['kind']}List")
    spec.setdefault("conversion", {"strategy": "None"})
    stores = next((version["name"] for version in spec.get("versions") or [] if version["storage"]), None)
    status = obj["status"] = {**first_status(stores), **(obj.get("status") or {})}
    changed = old is None or spec != old["spec"]
    if stores is not None and (not status["storedVersions"] or (changed and stores not in status["storedVersions"])):
        status["storedVersions"] = [*(status["storedVersions"] or []), stores]


def resources_of(crd: JsonObject) -> list[Resource]:
    """Returns the resources a definition serves under its accepted names, one for each served version."""
    return [_resource(crd, version) for version in crd["spec"]["versions"] if version.get("served")]


def stored_resource(crd: JsonObject) -> Resource:
    """Returns the resource of the stored version, which need not be served."""
    return next(_resource(crd, version) for version in crd["spec"]["versions"] if version.get("storage"))


def _resource(crd: JsonObject, version: JsonObject) -> Resource:
    spec = crd["spec"]
    accepted = lookup(crd, "status", "acceptedNames") or {}
    names = accepted if accepted.get("plural") else spec["names"]
    subresources = version.get("subresources") or {}
    scale = subresources.get("scale") or {}
    columns = tuple(
        PrinterColumn(
            column["name"],
            column["type"],
            column["jsonPath"],
            int(column.get("priority") or 0),
            column.get("format") or "",
            column.get("description") or "",
        )
        for column in version.get("additionalPrinterColumns") or []
    )
    return Resource(
        group=spec["group"],
        version=version["name"],
        plural=names["plural"],
        kind=names["kind"] or spec["names"]["kind"],
        namespaced=spec["scope"] == "Namespaced",
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        subresources=frozenset(subresources),
        generation=True,
        singular=names.get("singular") or "",
        list_kind=names.get("listKind") or "",
        schema=version["schema"]["openAPIV3Schema"],
        columns=columns,
        scale_paths=(
            scale.get("specReplicasPath") or ".spec.replicas",
            scale.get("statusReplicasPath") or ".status.replicas",
            scale.get("labelSelectorPath") or "",
        ),
        storage_version=next(item["name"] for item in spec["versions"] if item.get("storage")),
        versions=tuple(item["name"] for item in spec["versions"]),
        terminating=has_condition(crd, TERMINATING),
        deprecation=deprecation_warning(spec, version),
        unconditional_update=False,
    )
