"""The rules of object metadata: names, generations, what an update may change, how an object is deleted. Pure."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from rstore_devcluster.apiserver.http.errors import ApiError, Cause, bad_request, conflict, invalid
from rstore_devcluster.apiserver.jsonobj import JsonObject, format_time, lookup, metadata_of
from rstore_devcluster.apiserver.objects.resources import Resource

FOREGROUND_FINALIZER = "foregroundDeletion"
ORPHAN_FINALIZER = "orphan"
DNS_LABEL = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
DNS_SUBDOMAIN = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
LABEL_KEY = re.compile(r"^([a-zA-Z0-9]([-a-zA-Z0-9.]*[a-zA-Z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$")
LABEL_VALUE = re.compile(r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$")
PATH_SEGMENT_NAMES = frozenset({"roles", "rolebindings", "clusterroles", "clusterrolebindings"})
LABEL_NAMES = frozenset({"namespaces", "services"})
MAX_ANNOTATION_BYTES = 256 * 1024
_SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_SUBDOMAIN_HINT = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_LABEL_HINT = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
_LABEL_VALUE_HINT = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)


def generate_name(prefix: str) -> str:
    """``prefix`` and five random characters, 63 in all at most."""
    return prefix[:58] + "".join(secrets.choice(_SUFFIX_ALPHABET) for _ in range(5))


def name_causes(resource: Resource, name: str) -> list[Cause]:
    """What is wrong with a name."""
    if resource.plural in PATH_SEGMENT_NAMES:
        bad = name in (".", "..") or "/" in name or "%" in name
        return [Cause("metadata.name", f"Invalid value: \"{name}\": may not contain '/' or '%'")] if bad else []
    if resource.plural in LABEL_NAMES and resource.group == "":
        if len(name) > 63:
            return [Cause("metadata.name", f'Invalid value: "{name}": must be no more than 63 characters')]
        return [] if DNS_LABEL.match(name) else [Cause("metadata.name", f'Invalid value: "{name}": {_LABEL_HINT}')]
    if len(name) > 253:
        return [Cause("metadata.name", f'Invalid value: "{name}": must be no more than 253 characters')]
    return [] if DNS_SUBDOMAIN.match(name) else [Cause("metadata.name", f'Invalid value: "{name}": {_SUBDOMAIN_HINT}')]


def metadata_causes(obj: JsonObject) -> list[Cause]:
    """What is wrong with labels, annotations and owner references."""
    metadata = obj["metadata"]
    causes = label_causes(metadata.get("labels"), "metadata.labels")
    annotations = metadata.get("annotations") or {}
    if not isinstance(annotations, dict):
        raise bad_request("metadata.annotations must be a map of strings")
    size = 0
    for key, value in annotations.items():
        if not isinstance(value, str):
            raise bad_request(f"metadata.annotations[{key}]: a string is needed, found {type(value).__name__}")
        if not LABEL_KEY.match(key):
            causes.append(Cause("metadata.annotations", f'Invalid value: "{key}": name part is not a qualified name'))
        size += len(key) + len(value)
    if size > MAX_ANNOTATION_BYTES:
        causes.append(
            Cause(
                "metadata.annotations",
                f"Too long: may not be more than {MAX_ANNOTATION_BYTES} bytes",
                "FieldValueTooLong",
            )
        )
    controllers = 0
    for index, owner in enumerate(metadata.get("ownerReferences") or []):
        for required in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(required):
                path = f"metadata.ownerReferences[{index}].{required}"
                causes.append(Cause(path, 'Invalid value: "": must not be empty'))
        controllers += bool(owner.get("controller"))
    if controllers > 1:
        causes.append(
            Cause("metadata.ownerReferences", "Invalid value: Only one reference can have Controller set to true")
        )
    return causes


def label_causes(labels: JsonObject | None, path: str) -> list[Cause]:
    """What is wrong with a map of labels."""
    causes = []
    if not isinstance(labels or {}, dict):
        raise bad_request(f"{path} must be a map of strings")
    for key, value in (labels or {}).items():
        if not isinstance(value, str):
            raise bad_request(f"{path}[{key}]: a string is needed, found {type(value).__name__}")
        if not LABEL_KEY.match(key) or len(key.rsplit("/", 1)[-1]) > 63:
            causes.append(Cause(path, f'Invalid value: "{key}": name part is not a qualified name'))
        if not LABEL_VALUE.match(value):
            causes.append(Cause(path, f'Invalid value: "{value}": {_LABEL_VALUE_HINT}'))
    return causes


def content(obj: JsonObject, *, without_status: bool) -> JsonObject:
    """The part of an object that ``generation`` counts."""
    left_out = {"metadata", "status", "apiVersion", "kind"} if without_status else {"metadata", "apiVersion", "kind"}
    return {key: value for key, value in obj.items() if key not in left_out}


def carry_metadata(resource: Resource, obj: JsonObject, old: JsonObject) -> None:
    """Put back what an update may not change, and refuse what contradicts it; raises 400, 409 or 422."""
    new, before = metadata_of(obj), old["metadata"]
    name = before["name"]
    if new.get("uid") and new["uid"] != before["uid"]:
        raise conflict(
            resource.group,
            resource.plural,
            name,
            f"Precondition failed: UID in precondition: {new['uid']}, UID in object meta: {before['uid']}",
        )
    given = str(new.get("resourceVersion") or "")
    if given and given != before["resourceVersion"]:
        raise conflict(resource.group, resource.plural, name)
    for field in ("uid", "creationTimestamp", "generation", "resourceVersion", "deletionTimestamp"):
        _carry(new, before, field)
    _carry(new, before, "deletionGracePeriodSeconds")
    new.pop("selfLink", None)
    if "generateName" in before:
        new["generateName"] = before["generateName"]
    if before.get("deletionTimestamp"):
        added = set(new.get("finalizers") or []) - set(before.get("finalizers") or [])
        if added:
            listed = ", ".join(f'"{item}"' for item in sorted(added))
            message = (
                "Forbidden: no new finalizers can be added if the object is being deleted, "
                f"found new finalizers []string{{{listed}}}"
            )
            raise invalid(
                resource.group, resource.kind, name, [Cause("metadata.finalizers", message, "FieldValueForbidden")]
            )


def _carry(new: JsonObject, before: JsonObject, field: str) -> None:
    if field in before:
        new[field] = before[field]
    else:
        new.pop(field, None)


def check_preconditions(resource: Resource, obj: JsonObject, preconditions: JsonObject | None) -> None:
    """Raise 409 unless the object has the uid and resourceVersion asked for."""
    metadata = obj["metadata"]
    for field, shown in (("uid", "UID"), ("resourceVersion", "ResourceVersion")):
        wanted = (preconditions or {}).get(field)
        if wanted and wanted != metadata[field]:
            raise conflict(
                resource.group,
                resource.plural,
                metadata["name"],
                f"Precondition failed: {shown} in precondition: {wanted}, {shown} in object meta: {metadata[field]}",
            )


@dataclass(frozen=True)
class DeleteOptions:
    """What a delete asks for."""

    grace_period_seconds: int | None = None
    propagation_policy: str = ""
    preconditions: JsonObject | None = None
    dry_run: bool = False


def deletion_ready(obj: JsonObject) -> bool:
    """Whether nothing holds back an object that is being deleted."""
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
    return max(0, int(asked))


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
    grace = _grace_seconds(resource, obj, options.grace_period_seconds)
    already = metadata.get("deletionTimestamp")
    if already:
        grace = min(grace, int(metadata.get("deletionGracePeriodSeconds") or 0))
    if not already or grace < int(metadata.get("deletionGracePeriodSeconds") or 0):
        metadata["deletionTimestamp"] = format_time(now + timedelta(seconds=grace))
        metadata["deletionGracePeriodSeconds"] = grace
        if not already and metadata.get("generation"):
            metadata["generation"] += 1
    if resource.key == "namespaces":
        obj.setdefault("status", {})["phase"] = "Terminating"
    return deletion_ready(obj)


def require_name(resource: Resource, obj: JsonObject) -> str:
    """The object's name, generated from ``generateName`` where that is given; raises 422."""
    metadata = metadata_of(obj)
    name = metadata.get("name")
    if name is not None and not isinstance(name, str):
        raise bad_request("metadata.name must be a string")
    if not name and metadata.get("generateName"):
        name = metadata["name"] = generate_name(metadata["generateName"])
    if not name:
        cause = Cause("metadata.name", "Required value: name or generateName is required", "FieldValueRequired")
        raise invalid(resource.group, resource.kind, "", [cause])
    causes = name_causes(resource, name)
    if causes:
        raise invalid(resource.group, resource.kind, name, causes)
    return str(name)


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
