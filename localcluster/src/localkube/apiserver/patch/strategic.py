"""Strategic merge patch for built-in kinds.

After ``k8s.io/apimachinery/pkg/util/strategicpatch``: lists that have a merge key are merged item by item, those of
plain values as sets; new items come first; directives in the patch replace, delete, retain and put in order.
"""

from __future__ import annotations

from collections.abc import Callable

from localkube.apiserver.errors import ApiError, bad_request
from localkube.apiserver.jsonobj import Json, JsonObject, copy_json, without_nulls
from localkube.apiserver.schema.node import Node
from localkube.apiserver.schema.rendering import plain

_DELETE_PRIMITIVE = "$deleteFromPrimitiveList/"
_SET_ORDER = "$setElementOrder/"
_RETAIN_KEYS = "$retainKeys"
_PATCH = "$patch"


def strategic_merge(node: Node | None, target: JsonObject, patch: JsonObject) -> JsonObject:
    """Returns the object after the patch; raises 400 or 500, as Kubernetes does, for a directive that makes no
    sense."""
    return _merge_map(node, copy_json(target), patch)


def _refused(message: str) -> ApiError:
    return ApiError(500, "", message)


def _merge_map(node: Node | None, original: JsonObject, patch: JsonObject) -> JsonObject:
    if _PATCH in patch:
        return _replaced(patch)
    patch = dict(patch)
    _retain_keys(original, patch)
    for key in [key for key in patch if key.startswith(_SET_ORDER)]:
        _merge_in_order(node, original, patch, key.removeprefix(_SET_ORDER), patch.pop(key))
    for key, value in patch.items():
        deletes = key.startswith(_DELETE_PRIMITIVE)
        name = key.removeprefix(_DELETE_PRIMITIVE)
        child = node.child(name) if node is not None else None
        present = original.get(name)
        if value is None:
            original.pop(name, None)
        elif isinstance(value, dict) and not deletes:
            merged = _merge_map(child, present if isinstance(present, dict) else {}, value)
            original[name] = merged if isinstance(present, dict) else without_nulls(merged)
        elif isinstance(value, list) and isinstance(present, list):
            original[name] = _merge_list(child, present, value, deletes=deletes)
        elif isinstance(value, list) and not deletes:
            original[name] = _merge_list(child, [], value)
        elif not deletes:
            original[name] = value
    return original


def _replaced(patch: JsonObject) -> JsonObject:
    directive = patch[_PATCH]
    if directive == "replace":
        return {key: copy_json(value) for key, value in patch.items() if key != _PATCH}
    if directive == "delete":
        return {}
    raise _unknown(patch)


def _unknown(patch: JsonObject) -> ApiError:
    return _refused(f"unknown patch type: {patch[_PATCH]} in map: {plain(patch)}")


def _retain_keys(original: JsonObject, patch: JsonObject) -> None:
    """Remove from the original what ``$retainKeys`` does not name, and the directive from the patch."""
    if _RETAIN_KEYS not in patch:
        return
    retained = patch.pop(_RETAIN_KEYS)
    given = {key for key, value in patch.items() if value is not None and not key.startswith("$")}
    if not isinstance(retained, list) or not given <= set(retained):
        raise bad_request("invalid patch format of retainKeys")
    for key in [key for key in original if key not in retained]:
        del original[key]


# ---- lists


Identity = Callable[[Json], Json]


def _merge_key(node: Node | None) -> str:
    return "" if node is None else str(node.raw.get("x-kubernetes-patch-merge-key") or "")


def _identity(node: Node | None) -> Identity:
    """Returns what tells the items of a list apart: the value at its merge key, or the item itself."""
    name = _merge_key(node)
    return lambda item: item.get(name) if name and isinstance(item, dict) else item


def _merge_list(node: Node | None, original: list[Json], patch: list[Json], *, deletes: bool = False) -> list[Json]:
    if deletes:
        return [item for item in original if item not in patch]
    if node is None or "merge" not in str(node.raw.get("x-kubernetes-patch-strategy") or ""):
        return copy_json(patch)  # type: ignore[no-any-return]
    name = _merge_key(node)
    if name:
        return _merge_items(node, name, original, patch)
    merged: list[Json] = []
    for item in (*original, *patch):
        if item not in merged:
            merged.append(item)
    return _ordered(merged, patch, original, _identity(node))


def _merge_items(node: Node, name: str, original: list[Json], patch: list[Json]) -> list[Json]:
    """Merge a list of maps by the value at ``name``."""
    identity = _identity(node)
    given = []
    replace = False
    for item in patch:
        if not isinstance(item, dict):
            raise _refused(f"map: {plain(item)} does not contain declared merge key: {name}")
        directive = item.get(_PATCH)
        if directive is None:
            given.append(item)
        elif directive == "replace":
            replace = True
        elif directive == "delete":
            value = _value_at(item, name)
            original = [old for old in original if identity(old) != value]
        elif directive == "merge":
            raise _refused("merging lists cannot yet be specified in the patch")
        else:
            raise _unknown(item)
    if replace:
        return copy_json(given)  # type: ignore[no-any-return]
    merged = list(original)
    for item in given:
        value = _value_at(item, name)
        at = next((index for index, old in enumerate(merged) if identity(old) == value), None)
        if at is None:
            merged.append(without_nulls(_merge_map(node.items, {}, item)))
        else:
            merged[at] = _merge_map(node.items, merged[at], item)
    return _ordered(merged, given, original, identity)


def _value_at(item: JsonObject, name: str) -> Json:
    if name not in item:
        raise _refused(f"map: {plain(item)} does not contain declared merge key: {name}")
    return item[name]


def _ordered(items: list[Json], wanted: list[Json], present: list[Json], identity: Identity) -> list[Json]:
    """Returns the items in the wanted order, between them those that are only present, each where it stands if it
    can."""
    ranks = [identity(item) for item in wanted]
    places = [identity(item) for item in present]
    listed = sorted((item for item in items if identity(item) in ranks), key=lambda item: ranks.index(identity(item)))
    others = [item for item in items if identity(item) not in ranks]
    merged: list[Json] = []
    while listed and others:
        left, right = identity(others[0]), identity(listed[0])
        before = left in places and right in places and places.index(left) < places.index(right)
        merged.append((others if before else listed).pop(0))
    return [*merged, *others, *listed]


def _merge_in_order(node: Node | None, original: JsonObject, patch: JsonObject, name: str, order: Json) -> None:
    """Merge a list that has a ``$setElementOrder`` into the original, and take it out of the patch."""
    child = node.child(name) if node is not None else None
    identity = _identity(child)
    if not isinstance(order, list):
        raise bad_request("invalid patch format of setElementOrder list")
    present, given = original.get(name), patch.get(name)
    if given is not None:
        _check_order(given, order, identity)
    if given is None and present is None:
        return
    patch.pop(name, None)
    present = present if isinstance(present, list) else []
    merged = present if given is None else _merge_list(child, present, given)
    original[name] = _ordered(merged, order, present, identity)


def _check_order(given: Json, order: list[Json], identity: Identity) -> None:
    if not isinstance(given, list):
        raise bad_request("invalid patch format of setElementOrder list")
    kept = [identity(item) for item in given if not (isinstance(item, dict) and _PATCH in item)]
    remaining = iter([identity(item) for item in order])
    if not all(item in remaining for item in kept):
        raise _refused(
            f"The order in patch list:\n{plain(given)}\n doesn't match $setElementOrder list:\n{plain(order)}\n"
        )
