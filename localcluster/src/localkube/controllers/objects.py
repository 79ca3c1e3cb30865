"""Small pure helpers on objects: names, owners, conditions, times, selectors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from localkube.apiserver.resources import Resource
from localkube.controllers.resources import Obj

Key = tuple[str, str]
"""(namespace, name); the namespace is empty for cluster-scoped objects."""


def meta(obj: Obj) -> dict[str, Any]:
    """Returns the object's metadata."""
    result: dict[str, Any] = obj.setdefault("metadata", {})
    return result


def key_of(obj: Obj) -> Key:
    """Returns the object's (namespace, name)."""
    metadata = meta(obj)
    return metadata.get("namespace", ""), metadata["name"]


def uid_of(obj: Obj) -> str:
    """Returns the object's uid, empty when it has none yet."""
    uid: str = meta(obj).get("uid", "")
    return uid


def labels_of(obj: Obj) -> dict[str, str]:
    """Returns the object's labels."""
    return meta(obj).get("labels") or {}


def is_deleting(obj: Obj) -> bool:
    """Deletion was asked for."""
    return bool(meta(obj).get("deletionTimestamp"))


def controller_ref(obj: Obj) -> dict[str, Any] | None:
    """Returns the owner reference of the managing controller, if there is one."""
    for ref in meta(obj).get("ownerReferences") or []:
        if ref.get("controller"):
            return dict(ref)
    return None


def is_controlled_by(obj: Obj, owner: Obj) -> bool:
    """Returns whether the managing controller of `obj` is `owner`."""
    ref = controller_ref(obj)
    return ref is not None and ref.get("uid") == uid_of(owner)


def owner_reference(owner: Obj, resource: Resource, *, controller: bool = True) -> dict[str, Any]:
    """Returns a reference to put into a child's `ownerReferences`."""
    ref: dict[str, Any] = {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "name": meta(owner)["name"],
        "uid": uid_of(owner),
    }
    if controller:
        ref["controller"] = True
        ref["blockOwnerDeletion"] = True
    return ref


def rfc3339(seconds: float) -> str:
    """Returns an epoch time in the API's format, whole seconds, UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: str | None) -> float | None:
    """Returns the epoch seconds of an API time."""
    if not text:
        return None
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def short_hash(value: object, length: int = 10) -> str:
    """Returns a stable hash of a JSON value, usable in names and labels."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(text.encode()).hexdigest()
    alphabet = "bcdfghjklmnpqrstvwxz2456789"
    number = int(digest, 16)
    letters = []
    for _ in range(length):
        number, rest = divmod(number, len(alphabet))
        letters.append(alphabet[rest])
    return "".join(letters)


def set_condition(
    conditions: Sequence[Mapping[str, Any]],
    kind: str,
    status: bool | None,
    now: float,
    *,
    reason: str = "",
    message: str = "",
    update_time: bool = False,
) -> list[dict[str, Any]]:
    """Returns the conditions with one set (None is Unknown); its transition time changes only when its status does."""
    text = "Unknown" if status is None else str(status)
    result: list[dict[str, Any]] = []
    placed = False
    for condition in conditions:
        entry = dict(condition)
        if entry.get("type") == kind:
            placed = True
            changed = entry.get("status") != text
            entry.update(_condition_fields(text, reason, message))
            for name, value in (("reason", reason), ("message", message)):
                if not value:
                    entry.pop(name, None)
            if changed:
                entry["lastTransitionTime"] = rfc3339(now)
                if update_time:
                    entry["lastUpdateTime"] = rfc3339(now)
        result.append(entry)
    if not placed:
        entry = {"type": kind, "lastTransitionTime": rfc3339(now), **_condition_fields(text, reason, message)}
        if update_time:
            entry["lastUpdateTime"] = rfc3339(now)
        result.append(entry)
    return result


def _condition_fields(status: str, reason: str, message: str) -> dict[str, str]:
    fields = {"status": status}
    if reason:
        fields["reason"] = reason
    if message:
        fields["message"] = message
    return fields


def condition_true(obj: Obj, kind: str) -> bool:
    """Returns whether the object's status has the condition with status True."""
    return any(
        c.get("type") == kind and c.get("status") == "True" for c in (obj.get("status") or {}).get("conditions") or []
    )


def condition_since(obj: Obj, kind: str) -> float | None:
    """Epoch seconds at which the condition last changed its status."""
    for condition in (obj.get("status") or {}).get("conditions") or []:
        if condition.get("type") == kind:
            return parse_time(condition.get("lastTransitionTime"))
    return None


def pod_ready(pod: Obj) -> bool:
    """Returns whether the pod's Ready condition is True."""
    return condition_true(pod, "Ready")


def pod_available(pod: Obj, min_ready_seconds: int, now: float) -> bool:
    """Returns whether the pod has been Ready for at least `min_ready_seconds`."""
    if not pod_ready(pod):
        return False
    since = condition_since(pod, "Ready")
    return min_ready_seconds <= 0 or (since is not None and now - since >= min_ready_seconds)


def claims_of(pod: Obj) -> list[str]:
    """Names of the claims a pod mounts."""
    volumes = pod["spec"].get("volumes") or []
    return [v["persistentVolumeClaim"]["claimName"] for v in volumes if "persistentVolumeClaim" in v]


def pod_finished(pod: Obj) -> bool:
    """Returns whether the pod's phase is Succeeded or Failed."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def selector_matches(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """Returns a `LabelSelector` (matchLabels, matchExpressions) against labels; an absent selector matches nothing."""
    if selector is None:
        return False
    if any(labels.get(name) != value for name, value in (selector.get("matchLabels") or {}).items()):
        return False
    return all(requirement_matches(r, labels) for r in selector.get("matchExpressions") or [])


def requirement_matches(requirement: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Returns whether labels meet one requirement of a selector; none meets an unknown operator."""
    name, operator = requirement.get("key", ""), requirement.get("operator")
    values = requirement.get("values") or []
    present = name in labels
    if operator == "In":
        return present and labels[name] in values
    if operator == "NotIn":
        return not present or labels[name] not in values
    if operator == "Exists":
        return present
    if operator == "DoesNotExist":
        return not present
    if operator in ("Gt", "Lt") and present and len(values) == 1:
        try:
            left, right = int(labels[name]), int(values[0])
        except ValueError:
            return False
        return left > right if operator == "Gt" else left < right
    return False


def scaled(value: int | str | None, total: int, *, round_up: bool, default: int) -> int:
    """Returns an int-or-percent of `total` (`maxSurge`, `maxUnavailable`, `minAvailable`)."""
    if value is None:
        return default
    if isinstance(value, int):
        return value
    if value.endswith("%"):
        product = total * int(value[:-1])
        return -(-product // 100) if round_up else product // 100
    return int(value)
