"""Strategic merge patch for built-in kinds. Pure."""

from __future__ import annotations

from rstore_devcluster.apiserver.http.errors import bad_request
from rstore_devcluster.apiserver.jsonobj import Json, JsonObject, copy_json
from rstore_devcluster.apiserver.schema.node import Node

_DELETE_PRIMITIVE = "$deleteFromPrimitiveList/"
_SET_ORDER = "$setElementOrder/"
_RETAIN_KEYS = "$retainKeys"
_PATCH = "$patch"


def strategic_merge(node: Node | None, target: JsonObject, patch: JsonObject) -> JsonObject:
    """The object after the patch; raises 400 for a directive that makes no sense."""
    directive = patch.get(_PATCH)
    if directive == "replace":
        return {key: copy_json(value) for key, value in patch.items() if key != _PATCH}
    if directive == "delete":
        return {}
    if directive not in (None, "merge"):
        raise bad_request(f"unknown patch type: {directive}")
    merged: JsonObject = {key: copy_json(value) for key, value in target.items()}
    retained = patch.get(_RETAIN_KEYS)
    if retained is not None:
        merged = {key: value for key, value in merged.items() if key in retained}
    for key, value in patch.items():
        if key in (_PATCH, _RETAIN_KEYS) or key.startswith(_SET_ORDER):
            continue
        if key.startswith(_DELETE_PRIMITIVE):
            name = key.removeprefix(_DELETE_PRIMITIVE)
            merged[name] = [item for item in merged.get(name) or [] if item not in value]
            continue
        child = node.child(key) if node is not None else None
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            present = merged.get(key)
            made = strategic_merge(child, present if isinstance(present, dict) else {}, value)
            if made or value.get(_PATCH) != "delete":
                merged[key] = made
            else:
                merged.pop(key, None)
        elif isinstance(value, list):
            present = merged.get(key)
            merged[key] = _merge_list(child, present if isinstance(present, list) else [], value)
        else:
            merged[key] = value
    for key, order in patch.items():
        if key.startswith(_SET_ORDER):
            name = key.removeprefix(_SET_ORDER)
            child = node.child(name) if node is not None else None
            if isinstance(merged.get(name), list):
                merged[name] = _ordered(child, merged[name], order)
    return merged


def _merge_key(node: Node | None) -> str:
    return "" if node is None else str(node.raw.get("x-kubernetes-patch-merge-key") or "")


def _merging(node: Node | None) -> bool:
    return node is not None and "merge" in str(node.raw.get("x-kubernetes-patch-strategy") or "")


def _merge_list(node: Node | None, target: list[Json], patch: list[Json]) -> list[Json]:
    if any(isinstance(item, dict) and item.get(_PATCH) == "replace" for item in patch):
        return [copy_json(item) for item in patch if not (isinstance(item, dict) and item.get(_PATCH) == "replace")]
    if not _merging(node):
        return [copy_json(item) for item in patch]
    name = _merge_key(node)
    merged: list[Json] = [copy_json(item) for item in target]
    for item in patch:
        if not name:
            if item not in merged:
                merged.append(copy_json(item))
            continue
        if not isinstance(item, dict) or name not in item:
            raise bad_request(f"map: {item} does not contain declared merge key: {name}")
        at = next((index for index, old in enumerate(merged) if old.get(name) == item[name]), None)
        if item.get(_PATCH) == "delete":
            if at is not None:
                del merged[at]
        elif at is None:
            merged.append(strategic_merge(node.items if node is not None else None, {}, item))
        else:
            merged[at] = strategic_merge(node.items if node is not None else None, merged[at], item)
    return merged


def _ordered(node: Node | None, items: list[Json], order: list[Json]) -> list[Json]:
    name = _merge_key(node)
    ranks = [entry.get(name) if isinstance(entry, dict) else entry for entry in order]

    def identity(item: Json) -> Json:
        return item.get(name) if name and isinstance(item, dict) else item

    listed = sorted((item for item in items if identity(item) in ranks), key=lambda item: ranks.index(identity(item)))
    others = [item for item in items if identity(item) not in ranks]
    return listed + others
