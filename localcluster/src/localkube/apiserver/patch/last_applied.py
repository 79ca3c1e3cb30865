"""The annotation of client-side ``kubectl apply``, as server-side apply by kubectl takes an object over."""

from __future__ import annotations

import json

from localkube.apiserver.jsonobj import JsonObject, copy_json, lookup
from localkube.apiserver.patch.fields import Fields, compare, field_set
from localkube.apiserver.schema.formats import MAX_ANNOTATION_BYTES
from localkube.apiserver.schema.node import Node

MANAGER = "kubectl"
ANNOTATION = "kubectl.kubernetes.io/last-applied-configuration"


def fields_last_applied(node: Node | None, live: JsonObject) -> Fields:
    """Returns the fields that client-side apply set and nobody changed since: they are no conflict for kubectl."""
    text = lookup(live, "metadata", "annotations", ANNOTATION)
    try:
        applied = json.loads(text) if isinstance(text, str) else None
    except ValueError:
        return frozenset()
    if not isinstance(applied, dict):
        return frozenset()
    comparison = compare(node, applied, live)
    return field_set(node, applied) - comparison.added - comparison.modified - comparison.removed


def update_annotation(obj: JsonObject, applied: JsonObject) -> None:
    """Where the object has the annotation, let it say what was applied now, in place."""
    if not lookup(obj, "metadata", "annotations", ANNOTATION):
        return
    shown = copy_json(applied)
    metadata = shown.get("metadata") or {}
    metadata.pop("managedFields", None)
    (metadata.get("annotations") or {}).pop(ANNOTATION, None)
    text = json.dumps(shown, separators=(",", ":"), ensure_ascii=False) + "\n"
    obj["metadata"]["annotations"][ANNOTATION] = text if len(text.encode()) <= MAX_ANNOTATION_BYTES else ""
