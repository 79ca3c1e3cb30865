"""The life of a definition: the names it gets, whether it is served, how it goes.

Each function returns what comes next; the caller (``objects/definitions.py``) writes and does it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from localkube.apiserver.jsonobj import JsonObject, copy_json, lookup
from localkube.apiserver.resources import version_order

CLEANUP_FINALIZER = "customresourcecleanup.apiextensions.k8s.io"
NAMES_ACCEPTED = "NamesAccepted"
ESTABLISHED = "Established"
TERMINATING = "Terminating"


def has_condition(crd: JsonObject, kind: str) -> bool:
    """Returns whether a condition is True."""
    condition = _condition(crd.get("status") or {}, kind)
    return condition is not None and condition["status"] == "True"


def _condition(status: JsonObject, kind: str) -> JsonObject | None:
    return next((item for item in status.get("conditions") or [] if item["type"] == kind), None)


def _set_condition(status: JsonObject, kind: str, value: bool, reason: str, message: str, now: str) -> None:
    before = _condition(status, kind)
    text = "True" if value else "False"
    since = before["lastTransitionTime"] if before is not None and before["status"] == text else now
    condition = {"type": kind, "status": text, "lastTransitionTime": since, "reason": reason, "message": message}
    if before is not None:
        before.update(condition)
    else:
        status["conditions"] = [*(status.get("conditions") or []), condition]


def first_status(stored_version: str | None) -> JsonObject:
    """Returns the status of a new definition: nothing is accepted yet."""
    versions = [stored_version] if stored_version is not None else []
    return {"conditions": None, "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": versions}


def next_status(crd: JsonObject, others: Iterable[JsonObject], now: str) -> JsonObject:
    """Returns the status of a definition after one step: names that no other one of its group has are accepted.

    Once all are, a second step establishes it. What was accepted or established before stays so.
    """
    status: JsonObject = copy_json(crd["status"])
    accepted, conflict = _accepted_names(crd["spec"]["names"], status["acceptedNames"], others)
    status["acceptedNames"] = accepted
    if conflict is None:
        _set_condition(status, NAMES_ACCEPTED, True, "NoConflicts", "no conflicts found", now)
    else:
        _set_condition(status, NAMES_ACCEPTED, False, *conflict, now)
    if has_condition(crd, ESTABLISHED):
        return status
    message = "the initial names have been accepted"
    if conflict is not None:
        if _condition(status, ESTABLISHED) is None:
            _set_condition(status, ESTABLISHED, False, "NotAccepted", "not all names are accepted", now)
    elif status == crd["status"]:
        _set_condition(status, ESTABLISHED, True, "InitialNamesAccepted", message, now)
    else:
        _set_condition(status, ESTABLISHED, False, "Installing", message, now)
    return status


def _accepted_names(
    wanted: JsonObject, accepted: JsonObject, others: Iterable[JsonObject]
) -> tuple[JsonObject, tuple[str, str] | None]:
    """Returns the names that are accepted, and the reason and text of the last conflict."""
    taken = [lookup(other, "status", "acceptedNames") or {} for other in others]
    resources = {name for names in taken for name in _resource_names(names)}
    kinds = {names.get(field) for names in taken for field in ("kind", "listKind")}
    result, conflict = dict(accepted), None
    for field, used in (
        ("plural", resources),
        ("singular", resources),
        ("shortNames", resources),
        ("kind", kinds),
        ("listKind", kinds),
    ):
        asked, before = wanted.get(field), accepted.get(field)
        names = asked if isinstance(asked, list) else [asked]
        present = before if isinstance(before, list) else [before]
        clashes = [f"{json.dumps(name)} is already in use" for name in names if name in used and name not in present]
        if clashes:
            reason = f"{field[0].upper()}{field[1:]}Conflict"
            conflict = (reason, clashes[0] if len(clashes) == 1 else f"[{', '.join(clashes)}]")
        else:
            result[field] = asked
    result["categories"] = wanted.get("categories")
    return {name: value for name, value in result.items() if value or name in ("plural", "kind")}, conflict


def _resource_names(names: JsonObject) -> list[str]:
    single = [names[field] for field in ("plural", "singular") if names.get(field)]
    return single + list(names.get("shortNames") or [])


def begin_deletion(crd: JsonObject, now: str) -> None:
    """Mark a definition, in place, as one that goes when its objects have gone."""
    metadata = crd["metadata"]
    if metadata.get("deletionTimestamp"):
        return
    metadata["deletionTimestamp"] = now
    if CLEANUP_FINALIZER not in (metadata.get("finalizers") or []):
        metadata["finalizers"] = [*(metadata.get("finalizers") or []), CLEANUP_FINALIZER]
    message = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon"
    _set_condition(crd["status"], TERMINATING, True, "InstanceDeletionPending", message, now)


def deleting_status(crd: JsonObject, now: str) -> JsonObject:
    """Returns the status of a definition whose objects are being deleted."""
    status: JsonObject = copy_json(crd["status"])
    message = "CustomResource deletion is in progress"
    _set_condition(status, TERMINATING, True, "InstanceDeletionInProgress", message, now)
    return status


def deleted(crd: JsonObject, now: str) -> JsonObject:
    """Returns a definition whose objects have gone, without the finalizer that kept it."""
    gone: JsonObject = copy_json(crd)
    gone["metadata"]["finalizers"] = [item for item in crd["metadata"]["finalizers"] if item != CLEANUP_FINALIZER]
    _set_condition(gone["status"], TERMINATING, False, "InstanceDeletionCompleted", "removed all instances", now)
    return gone


def deprecation_warning(spec: JsonObject, version: JsonObject) -> str:
    """Returns what requests through a deprecated version are warned of; empty for another version."""
    if not version.get("deprecated"):
        return ""
    if version.get("deprecationWarning") is not None:
        return str(version["deprecationWarning"])
    group, kind, name = spec["group"], spec["names"]["kind"], version["name"]
    better = [
        other["name"]
        for other in spec["versions"]
        if other.get("served") and not other.get("deprecated") and version_order(other["name"]) < version_order(name)
    ]
    instead = f"; use {group}/{min(better, key=version_order)} {kind}" if better else ""
    return f"{group}/{name} {kind} is deprecated{instead}"
