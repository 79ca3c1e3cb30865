"""Sets of fields, as ``metadata.managedFields`` holds them (FieldsV1). Pure.

A field is a path of elements: ``f:name`` (a key), ``k:{"name":"x"}`` (an item of a keyed list), ``v:"x"`` (of a set).
"""

from __future__ import annotations

import json

from rstore_devcluster.apiserver.jsonobj import Json, JsonObject
from rstore_devcluster.apiserver.schema.node import Node

Path = tuple[str, ...]
ITEM = object()
"""Stands for the value of a keyed list's item as a whole: it compares equal to itself only."""

SYSTEM_FIELDS = frozenset(
    {("f:apiVersion",), ("f:kind",), ("f:metadata",)}
    | {
        ("f:metadata", f"f:{name}")
        for name in (
            *("name", "namespace", "creationTimestamp", "uid", "resourceVersion", "generation", "managedFields"),
            *("selfLink", "deletionTimestamp", "deletionGracePeriodSeconds", "clusterName"),
        )
    }
)


def compact(value: Json) -> str:
    """Canonical JSON."""
    return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)


def item_key(node: Node, item: Json) -> str:
    """The path element of a keyed list's item; missing keys count with their defaults."""
    items = node.items
    key: JsonObject = {}
    for name in node.map_keys:
        value = item.get(name) if isinstance(item, dict) else None
        if value is None and items is not None:
            value = items.default_of(name)
        if value is not None:
            key[name] = value
    return "k:" + compact(key)


def leaves(node: Node | None, value: Json, path: Path = ()) -> dict[Path, object]:
    """Every leaf field of a value, with what it holds; fields the server manages are left out."""
    found: dict[Path, object] = {}
    _collect(node, value, path, found)
    return found


def _collect(node: Node | None, value: Json, path: Path, found: dict[Path, object]) -> None:
    if isinstance(value, dict) and not (node is not None and node.atomic_map):
        if not value and path and path not in SYSTEM_FIELDS:
            found[path] = value
        for name, item in value.items():
            at = (*path, f"f:{name}")
            if at in SYSTEM_FIELDS and len(at) > 1:
                continue
            if at in (("f:apiVersion",), ("f:kind",)):
                continue
            _collect(node.child(name) if node is not None else None, item, at, found)
    elif isinstance(value, list) and node is not None and node.list_type == "map":
        if not value:
            found[path] = value
        for item in value:
            at = (*path, item_key(node, item))
            found[at] = ITEM
            _collect(node.items, item, at, found)
    elif isinstance(value, list) and node is not None and node.list_type == "set":
        if not value:
            found[path] = value
        for item in value:
            found[(*path, "v:" + compact(item))] = item
    elif path:
        found[path] = value


def to_fields_v1(paths: frozenset[Path]) -> JsonObject:
    """The nested form of a set."""
    root: JsonObject = {}
    for path in sorted(paths):
        at = root
        for element in path:
            at = at.setdefault(element, {})
        at["."] = {}
    _drop_leaf_dots(root)
    return root


def _drop_leaf_dots(tree: JsonObject) -> None:
    for key, child in tree.items():
        if key == ".":
            continue
        if set(child) == {"."}:
            child.clear()
        else:
            _drop_leaf_dots(child)


def from_fields_v1(tree: JsonObject, path: Path = ()) -> frozenset[Path]:
    """The set of a nested form."""
    found: set[Path] = set()
    for key, child in tree.items():
        if key == ".":
            found.add(path)
        elif not child:
            found.add((*path, key))
        else:
            found |= from_fields_v1(child, (*path, key))
    return frozenset(found)


def display(path: Path) -> str:
    """A path as people read it: ``.spec.containers[name="x"].image``."""
    text = ""
    for element in path:
        kind, body = element[0], element[2:]
        if kind == "f":
            text += f".{body}"
        elif kind == "k":
            parts = ",".join(f"{name}={compact(value)}" for name, value in json.loads(body).items())
            text += f"[{parts}]"
        else:
            text += f"[={body}]"
    return text


def remove(node: Node | None, value: Json, path: Path) -> None:
    """Remove a field from a value in place; a container that becomes empty by it goes too."""
    element, rest = path[0], path[1:]
    kind, body = element[0], element[2:]
    if kind == "f":
        if not isinstance(value, dict) or body not in value:
            return
        if not rest:
            del value[body]
            return
        before = len(value[body]) if isinstance(value[body], (dict, list)) else 0
        remove(node.child(body) if node is not None else None, value[body], rest)
        if before and not value[body]:
            del value[body]
        return
    if not isinstance(value, list):
        return
    for index, item in enumerate(value):
        matches = (
            item_key(node, item) == element if kind == "k" and node is not None else "v:" + compact(item) == element
        )
        if matches:
            if not rest:
                del value[index]
            elif not (node is not None and rest[0][2:] in node.map_keys and len(rest) == 1):
                remove(node.items if node is not None else None, item, rest)
            return
