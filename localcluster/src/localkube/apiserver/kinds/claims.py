"""Claims, volumes and storage classes: their defaults, what is wrong with them, what of them may change."""

from __future__ import annotations

from collections.abc import Iterator

from localkube.apiserver.errors import Cause
from localkube.apiserver.jsonobj import Json, JsonObject, copy_json, lookup
from localkube.apiserver.kinds.common import child, set_defaults
from localkube.apiserver.kinds.rules import (
    Table,
    amount,
    amount_not_negative,
    check,
    forbidden,
    immutable,
    invalid,
    label_selector,
    named,
    needed,
    needed_named,
    one_of,
    positive_amount,
    required,
    unsupported,
)
from localkube.apiserver.schema import formats

PROTECTION = "kubernetes.io/pvc-protection"
_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
_IMMUTABLE = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"


def default_claim(obj: JsonObject, old: JsonObject | None) -> None:
    """Defaults of a PersistentVolumeClaim."""
    spec = child(obj, "spec")
    set_defaults(spec, volumeMode="Filesystem")
    child(spec, "resources")
    if old is None:
        obj["status"] = {"phase": "Pending"}


def _access_modes(value: Json, path: str) -> Iterator[Cause]:
    modes = value or []
    if not modes:
        yield required(path, "at least 1 access mode is required")
    for mode in modes:
        if mode not in _MODES:
            yield unsupported(path, mode, _MODES)
    if "ReadWriteOncePod" in modes and {*modes} & {*_MODES} - {"ReadWriteOncePod"}:
        yield forbidden(path, "may not use ReadWriteOncePod with other access modes")


def _size(value: Json, path: str) -> list[Cause]:
    size, at = ((value or {}).get("requests") or {}).get("storage"), f"{path}[storage]"
    return [required(at)] if size is None else positive_amount(size, at)


def _source(value: Json, path: str) -> Iterator[Cause]:
    if value is None:
        return
    yield from check((("name", needed()), ("kind", needed())), value, path)
    if not value.get("apiGroup") and value.get("kind") != "PersistentVolumeClaim":
        why = "must be 'PersistentVolumeClaim' when referencing the default apiGroup"
        yield invalid(path, value.get("kind") or "", why)
    yield from named(formats.dns_subdomain)(value.get("apiGroup"), f"{path}.apiGroup")


_CLAIM: Table = (
    ("accessModes", _access_modes),
    ("selector", label_selector),
    ("resources", _size),
    ("storageClassName", named(formats.dns_subdomain)),
    ("volumeMode", one_of("Block", "Filesystem")),
    ("dataSource", _source),
    ("dataSourceRef", _source),
    ("volumeAttributesClassName", named(formats.dns_subdomain)),
)


def validate_claim(obj: JsonObject, old: JsonObject | None, subresource: str = "") -> list[Cause]:
    """Returns what is wrong with a PersistentVolumeClaim, or with how it changed."""
    if subresource == "status":
        capacity = lookup(obj, "status", "capacity")
        return check((("{*}", amount_not_negative),), capacity, "status.capacity")
    spec = obj["spec"]
    causes = check(_CLAIM, spec, "spec")
    if old is None:
        return causes
    before = old["spec"]
    bound = lookup(obj, "status", "phase") == "Bound"
    if _fixed(spec, before, bound=bound) != _fixed(before, before, bound=bound):
        causes.append(forbidden("spec", _IMMUTABLE))
    size, size_before = (lookup(item, "resources", "requests", "storage") for item in (spec, before))
    shrinks = size is not None and size_before is not None and amount(size) < amount(size_before)
    if shrinks and amount(size) <= amount(lookup(old, "status", "capacity", "storage", default="0")):
        at = "spec.resources.requests.storage"
        causes.append(forbidden(at, "field can not be less than status.capacity"))
    if spec.get("volumeMode") != before.get("volumeMode"):
        causes.append(immutable("volumeMode", spec.get("volumeMode")))
    if bound and before.get("volumeAttributesClassName") and not spec.get("volumeAttributesClassName"):
        word = "nil" if spec.get("volumeAttributesClassName") is None else "an empty string"
        why = f"update from non-nil value to {word} is forbidden"
        causes.append(forbidden("spec.volumeAttributesClassName", why))
    return causes


def _fixed(spec: JsonObject, before: JsonObject, *, bound: bool) -> JsonObject:
    """Returns the part of a claim's spec that an update may not change.

    Binding fills in the volume and the class where they were missing; a bound claim may ask for another size.
    """
    kept: JsonObject = copy_json(spec)
    if not before.get("volumeName"):
        kept.pop("volumeName", None)
    if before.get("storageClassName") is None:
        kept.pop("storageClassName", None)
    if bound:
        (lookup(kept, "resources", "requests") or {}).pop("storage", None)
        kept.pop("volumeAttributesClassName", None)
    return kept


def grows(obj: JsonObject, old: JsonObject) -> bool:
    """Returns whether an update asks for more storage than before."""
    size, before = (lookup(item, "spec", "resources", "requests", "storage") for item in (obj, old))
    return size is not None and before is not None and amount(size) > amount(before)


def default_volume(obj: JsonObject, old: JsonObject | None) -> None:
    """Defaults of a PersistentVolume."""
    spec = child(obj, "spec")
    set_defaults(spec, volumeMode="Filesystem", persistentVolumeReclaimPolicy="Retain")
    if spec.get("hostPath") is not None:
        set_defaults(spec["hostPath"], type="")
    if old is None:
        obj["status"] = {"phase": "Pending"}


_NOT_SOURCES = frozenset(
    {"accessModes", "capacity", "claimRef", "mountOptions", "nodeAffinity", "persistentVolumeReclaimPolicy"}
    | {"storageClassName", "volumeAttributesClassName", "volumeMode"}
)


def _host_path(value: Json, path: str) -> list[Cause]:
    return [] if value is None or value.get("path") else [required(f"{path}.path")]


_VOLUME: Table = (
    ("accessModes", _access_modes),
    ("capacity", needed()),
    ("capacity{*}", positive_amount),
    ("persistentVolumeReclaimPolicy", one_of("Delete", "Recycle", "Retain")),
    ("storageClassName", named(formats.dns_subdomain)),
    ("volumeMode", one_of("Block", "Filesystem")),
    ("hostPath", _host_path),
)


def _volume_source(spec: JsonObject) -> JsonObject:
    return {name: value for name, value in spec.items() if name not in _NOT_SOURCES}


def validate_volume(obj: JsonObject, old: JsonObject | None, subresource: str = "") -> list[Cause]:
    """Returns what is wrong with a PersistentVolume, or with how it changed; what it is made of is fixed."""
    if subresource == "status":
        return []
    spec = obj["spec"]
    causes = check(_VOLUME, spec, "spec")
    capacity = spec.get("capacity") or {}
    if capacity and set(capacity) != {"storage"}:
        causes.append(unsupported("spec.capacity", sorted(capacity), ("storage",)))
    sources = _volume_source(spec)
    if not sources:
        causes.append(required("spec", "must specify a volume type"))
    elif len(sources) > 1:
        for name in list(sources)[1:]:
            causes.append(forbidden(f"spec.{name}", "may not specify more than 1 volume type"))
    if old is not None:
        if sources != _volume_source(old["spec"]):
            why = "spec.persistentvolumesource is immutable after creation"
            causes.append(forbidden("spec.persistentvolumesource", why))
        if spec.get("volumeMode") != old["spec"].get("volumeMode"):
            causes.append(immutable("volumeMode", spec.get("volumeMode")))
    return causes


def default_storage_class(obj: JsonObject, old: JsonObject | None) -> None:  # noqa: ARG001
    """Defaults of a StorageClass."""
    set_defaults(obj, reclaimPolicy="Delete", volumeBindingMode="Immediate")


_CLASS: Table = (
    ("provisioner", needed_named(formats.qualified_name)),
    ("reclaimPolicy", one_of("Delete", "Retain")),
    ("volumeBindingMode", one_of("Immediate", "WaitForFirstConsumer")),
)


def validate_storage_class(obj: JsonObject, old: JsonObject | None, subresource: str = "") -> list[Cause]:  # noqa: ARG001
    """Returns what is wrong with a StorageClass, or with how it changed."""
    causes = check(_CLASS, obj)
    if old is None:
        return causes
    if obj.get("parameters") != old.get("parameters"):
        causes.append(forbidden("parameters", "updates to parameters are forbidden."))
    for name in ("provisioner", "reclaimPolicy", "volumeBindingMode"):
        if obj.get(name) != old.get(name):
            causes.append(immutable(name, obj.get(name) or ""))
    return causes
