"""The life of an object: its name, its versions, what an update may leave out, how it is deleted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from localkube.apiserver.errors import ApiError, Cause, bad_request, conflict, invalid
from localkube.apiserver.jsonobj import JsonObject, format_time, lookup, metadata_of
from localkube.apiserver.objects.metadata import FOREGROUND_FINALIZER, ORPHAN_FINALIZER, generate_name
from localkube.apiserver.resources import Resource


def content(obj: JsonObject, *, without_status: bool) -> JsonObject:
    """Returns the part of an object that ``generation`` counts."""
    left_out = {"metadata", "status", "apiVersion", "kind"} if without_status else {"metadata", "apiVersion", "kind"}
    return {key: value for key, value in obj.items() if key not in left_out}


def carry_metadata(obj: JsonObject, old: JsonObject) -> None:
    """Put back what an update may leave out, and what it cannot change without anybody noticing."""
    new, before = metadata_of(obj), old["metadata"]
    for field in ("creationTimestamp", "generation", "resourceVersion"):
        _carry(new, before, field)
    if before.get("deletionTimestamp"):
        new["deletionTimestamp"] = before["deletionTimestamp"]
    for field in ("uid", "deletionGracePeriodSeconds"):
        if field in before and new.get(field) in (None, ""):
            new[field] = before[field]
    new.pop("selfLink", None)


def check_version(resource: Resource, name: str, given: object, stored_version: str) -> None:
    """Raise unless an update with this resourceVersion may replace the stored object: 409, 422, or 500 for no number.

    Without a version, or with 0, it may where the kind allows it.
    """
    text = str(given or "0")
    if not (text.isascii() and text.isdecimal()):
        raise ApiError(500, "", f'strconv.ParseUint: parsing "{text}": invalid syntax')
    if int(text) == 0:
        if not resource.unconditional_update:
            message = "Invalid value: 0: must be specified for an update"
            raise invalid(resource.group, resource.plural, name, [Cause("metadata.resourceVersion", message)])
    elif int(text) != int(stored_version):
        raise conflict(resource.group, resource.plural, name)


def _carry(new: JsonObject, before: JsonObject, field: str) -> None:
    if field in before:
        new[field] = before[field]
    else:
        new.pop(field, None)


def check_preconditions(resource: Resource, obj: JsonObject, preconditions: JsonObject | None) -> None:
    """Raise 409 unless the object has the uid and resourceVersion asked for; it names the kind, not the resource."""
    metadata = obj["metadata"]
    for field, shown, hint in (
        ("uid", "UID", "deleted and then recreated"),
        ("resourceVersion", "ResourceVersion", "modified"),
    ):
        wanted, present = (preconditions or {}).get(field), metadata[field]
        if wanted and wanted != present:
            why = (
                f"the {shown} in the precondition ({wanted}) does not match the {shown} in record ({present}). "
                f"The object might have been {hint}"
            )
            raise conflict(resource.group, resource.kind, metadata["name"], why)


@dataclass(frozen=True)
class DeleteOptions:
    """What a delete asks for."""

    grace_period_seconds: int | None = None
    propagation_policy: str = ""
    preconditions: JsonObject | None = None
    dry_run: bool = False


def deletion_ready(obj: JsonObject) -> bool:
    """Returns whether nothing holds back an object that is being deleted."""
    metadata = obj["metadata"]
    if not metadata.get("deletionTimestamp") or metadata.get("finalizers"):
        return False
    if obj.get("kind") == "Namespace" and lookup(obj, "spec", "finalizers"):
        return False
    return not metadata.get("deletionGracePeriodSeconds")


def _grace_seconds(resource: Resource, obj: JsonObject, asked: int | None) -> int:
    if resource.key != "pods":
        return 0
    if asked is None:
        asked = lookup(obj, "spec", "terminationGracePeriodSeconds", default=30)
    if not lookup(obj, "spec", "nodeName") or lookup(obj, "status", "phase") in ("Succeeded", "Failed"):
        return 0
    return 1 if asked < 0 else int(asked)


def mark_deleted(resource: Resource, obj: JsonObject, options: DeleteOptions, now: datetime) -> bool:
    """Mark an object as being deleted (in place); True when it can be removed at once. Raises 409 or 422."""
    metadata = obj["metadata"]
    check_preconditions(resource, obj, options.preconditions)
    policy = options.propagation_policy
    if policy not in ("", "Background", "Foreground", "Orphan"):
        raise invalid(
            "",
            "DeleteOptions",
            metadata["name"],
            [Cause("propagationPolicy", f'Unsupported value: "{policy}"', "FieldValueNotSupported")],
        )
    finalizers = list(metadata.get("finalizers") or [])
    wanted = {"Foreground": FOREGROUND_FINALIZER, "Orphan": ORPHAN_FINALIZER}.get(policy)
    if policy:
        finalizers = [item for item in finalizers if item not in (FOREGROUND_FINALIZER, ORPHAN_FINALIZER)]
    if wanted:
        finalizers.append(wanted)
    if finalizers:
        metadata["finalizers"] = finalizers
    else:
        metadata.pop("finalizers", None)
    if resource.key == "namespaces":
        metadata.setdefault("deletionTimestamp", format_time(now))
        obj.setdefault("status", {})["phase"] = "Terminating"
    elif resource.key == "pods":
        _mark(metadata, _grace_seconds(resource, obj, options.grace_period_seconds), now)
    elif finalizers:
        _mark(metadata, 0, now)
    else:
        return True  # it goes at once, and is never seen as being deleted
    return deletion_ready(obj)


def _mark(metadata: JsonObject, grace: int, now: datetime) -> None:
    """Note when an object is to go; a later request can only shorten the time it has."""
    already = metadata.get("deletionTimestamp")
    if already and grace >= int(metadata.get("deletionGracePeriodSeconds") or 0):
        return
    metadata["deletionTimestamp"] = format_time(now + timedelta(seconds=grace))
    metadata["deletionGracePeriodSeconds"] = grace
    if not already and metadata.get("generation"):
        metadata["generation"] += 1


def make_name(obj: JsonObject) -> str:
    """Returns the object's name, generated from ``generateName`` where that is given and no name is; "" where neither
    is."""
    metadata = metadata_of(obj)
    name = metadata.get("name")
    if name is not None and not isinstance(name, str):
        raise bad_request("metadata.name must be a string")
    if not name and metadata.get("generateName"):
        name = metadata["name"] = generate_name(metadata["generateName"])
    return name or ""


def check_type(resource: Resource, obj: JsonObject) -> None:
    """Fill or check apiVersion and kind; raises 400."""
    kind = obj.setdefault("kind", resource.kind) or resource.kind
    api_version = obj.setdefault("apiVersion", resource.api_version) or resource.api_version
    if kind != resource.kind or api_version not in (resource.api_version, resource.stored_api_version):
        raise ApiError(
            400,
            "BadRequest",
            f"the API version in the data ({api_version}, Kind={kind}) does not match the expected API version "
            f"({resource.api_version}, Kind={resource.kind})",
        )
    obj["kind"] = resource.kind
    obj["apiVersion"] = resource.stored_api_version
