"""CustomResourceDefinitions: defaults, and the resources they define. (``definition`` validates them.) Pure."""

from __future__ import annotations

from rstore_devcluster.apiserver.jsonobj import JsonObject, format_time, parse_time
from rstore_devcluster.apiserver.objects.resources import PrinterColumn, Resource
from rstore_devcluster.apiserver.schema.definition.canonical import canonical_spec

CLEANUP_FINALIZER = "customresourcecleanup.apiextensions.k8s.io"


def default_crd(obj: JsonObject, old: JsonObject | None) -> None:
    """Defaults and status: an accepted definition is established at once."""
    spec = obj.setdefault("spec", {})
    canonical_spec(spec)
    names = spec["names"]
    if names["kind"]:
        names.setdefault("singular", names["kind"].lower())
        names.setdefault("listKind", f"{names['kind']}List")
    spec.setdefault("conversion", {"strategy": "None"})
    finalizers = obj["metadata"].setdefault("finalizers", [])
    if old is None and CLEANUP_FINALIZER not in finalizers:
        finalizers.append(CLEANUP_FINALIZER)
    if not finalizers:
        del obj["metadata"]["finalizers"]
    created = obj["metadata"].get("creationTimestamp")
    status = obj.setdefault("status", {})
    status["acceptedNames"] = dict(names)
    stored = list(status.get("storedVersions") or [])
    stores = next((version["name"] for version in spec.get("versions") or [] if version["storage"]), None)
    if stores is not None and stores not in stored:
        stored.append(stores)
    status["storedVersions"] = stored
    if not created:
        return
    since = format_time(parse_time(created))
    status["conditions"] = [
        {
            "type": "NamesAccepted",
            "status": "True",
            "lastTransitionTime": since,
            "reason": "NoConflicts",
            "message": "no conflicts found",
        },
        {
            "type": "Established",
            "status": "True",
            "lastTransitionTime": since,
            "reason": "InitialNamesAccepted",
            "message": "the initial names have been accepted",
        },
    ]


def resources_of(crd: JsonObject) -> list[Resource]:
    """The resources a definition serves, one for each served version."""
    spec = crd["spec"]
    names = spec["names"]
    storage = next(version["name"] for version in spec["versions"] if version.get("storage"))
    return [_resource(spec, names, version, storage) for version in spec["versions"] if version.get("served")]


def _resource(spec: JsonObject, names: JsonObject, version: JsonObject, storage: str) -> Resource:
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
    fields = frozenset(item["jsonPath"].lstrip(".") for item in version.get("selectableFields") or [])
    return Resource(
        group=spec["group"],
        version=version["name"],
        plural=names["plural"],
        kind=names["kind"],
        namespaced=spec["scope"] == "Namespaced",
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        subresources=frozenset(subresources),
        generation=True,
        field_labels=fields,
        singular=names["singular"],
        list_kind=names.get("listKind") or "",
        schema=version["schema"]["openAPIV3Schema"],
        columns=columns,
        scale_paths=(
            scale.get("specReplicasPath") or ".spec.replicas",
            scale.get("statusReplicasPath") or ".status.replicas",
            scale.get("labelSelectorPath") or "",
        ),
        storage_version=storage,
        unconditional_update=False,
    )
