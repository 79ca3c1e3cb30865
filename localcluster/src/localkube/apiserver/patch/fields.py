"""Sets of fields, as ``metadata.managedFields`` holds them (FieldsV1).

A field is a path of elements: ``f:name`` (a key), ``k:{"name":"x"}`` (an item of a keyed list), ``v:"x"`` (of a set).
The rules are those of Kubernetes' structured-merge-diff: a set names the leaves of a value, the items of keyed lists
and sets, and the keys of maps that are not declared one by one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

from localkube.apiserver.jsonobj import Json, JsonObject, same
from localkube.apiserver.schema.node import Node

Path = tuple[str, ...]
Fields = frozenset[Path]


class _Missing:
    """Stands for a value that is not there, which is not the same as null."""


MISSING = _Missing()

SYSTEM_FIELDS: Fields = frozenset(
    {("f:apiVersion",), ("f:kind",), ("f:metadata",)}
    | {
        ("f:metadata", f"f:{name}")
        for name in (
            *("name", "namespace", "creationTimestamp", "selfLink", "uid", "clusterName", "generation"),
            *("managedFields", "resourceVersion"),
        )
    }
)
"""Fields that nobody owns."""


def compact(value: Json) -> str:
    """Canonical JSON."""
    return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)


def item_key(node: Node, item: Json) -> str:
    """Returns the path element of a keyed list's item; missing keys count with their defaults."""
    items = node.items
    key: JsonObject = {}
    for name in node.map_keys:
        value = item.get(name) if isinstance(item, dict) else None
        if value is None and items is not None:
            value = items.default_of(name)
        if value is not None:
            key[name] = value
    return "k:" + compact(key)


def element_of(node: Node, item: Json) -> str:
    """Returns the path element of an item of a keyed list or a set."""
    return item_key(node, item) if node.list_type == "map" else "v:" + compact(item)


def child_of(node: Node | None, element: str) -> Node | None:
    """Returns the schema below a path element; None where anything may stand."""
    if node is None:
        return None
    return node.child(element[2:]) if element.startswith("f:") else node.items


# ---- the shape of a value: what it is walked as


def shape_of(node: Node | None, value: Json) -> str:
    """``map``, ``list`` or ``scalar``; the schema says it, and where there is none the value does ("" for null)."""
    if node is not None:
        if node.type == "array":
            return "list"
        if node.type == "object" or node.properties:
            return "map"
        if node.type or node.int_or_string or node.raw.get("x-kubernetes-quantity"):
            return "scalar"
    if isinstance(value, dict):
        return "map"
    if isinstance(value, list):
        return "list"
    return "" if value is None or value is MISSING else "scalar"


def atomic(node: Node | None, shape: str) -> bool:
    """Returns whether a value of this shape is owned as a whole."""
    if shape == "map":
        return node is not None and node.atomic_map
    return shape != "list" or node is None or node.list_type not in ("map", "set")


def merges_as(node: Node | None, value: Json) -> str:
    """``map`` or ``list`` for a value whose parts are owned one by one, "" for one that is owned as a whole."""
    shape = shape_of(node, value)
    expected: type = dict if shape == "map" else list
    return shape if isinstance(value, expected) and not atomic(node, shape) else ""


def field_set(node: Node | None, value: Json) -> Fields:
    """Returns the fields that an applied object names."""
    fields: set[Path] = set()
    _collect(node, value, (), fields)
    return frozenset(fields)


def _collect(node: Node | None, value: Json, path: Path, fields: set[Path]) -> None:
    shape = shape_of(node, value)
    if shape == "" or shape == "scalar" or atomic(node, shape):
        fields.add(path)
    elif shape == "map" and isinstance(value, dict):
        for name, item in value.items():
            at = (*path, f"f:{name}")
            _collect(node.child(name) if node is not None else None, item, at, fields)
            if item is None or item == {} or node is None or node.field(name) is None:
                fields.add(at)
    elif isinstance(value, list) and node is not None:
        for item in value:
            at = (*path, element_of(node, item))
            _collect(node.items, item, at, fields)
            fields.add(at)


def owned_as_one(node: Node | None, fields: Fields) -> Fields:
    """Returns the fields as a schema has them that was changed since: inside what it now owns as a whole there are
    none."""
    return frozenset(_outside_atoms(node, path) for path in fields)


def _outside_atoms(node: Node | None, path: Path) -> Path:
    for depth, element in enumerate(path):
        shape = shape_of(node, None) if node is not None else ""
        if shape in ("map", "list") and atomic(node, shape):
            return path[:depth]
        node = child_of(node, element)
    return path


# ---- what differs between two values


@dataclass
class Comparison:
    """The fields by which a new value differs from an old one."""

    added: set[Path] = field(default_factory=set)
    modified: set[Path] = field(default_factory=set)
    removed: set[Path] = field(default_factory=set)

    def note(self, path: Path, old: Json, new: Json) -> None:
        """Sort a leaf into one of the three, or into none where nothing changed."""
        if old is MISSING:
            self.added.add(path)
        elif new is MISSING:
            self.removed.add(path)
        elif not same(old, new):
            self.modified.add(path)

    def without(self, prefixes: Fields) -> Comparison:
        """Returns the comparison without fields at or below some paths."""
        return Comparison(*(set(without(frozenset(s), prefixes)) for s in (self.added, self.modified, self.removed)))


def without(fields: Fields, prefixes: Fields) -> Fields:
    """Returns the fields that are neither among the prefixes nor below one of them."""
    if not prefixes:
        return fields
    return frozenset(path for path in fields if not any(path[: len(prefix)] == prefix for prefix in prefixes))


def compare(node: Node | None, old: Json, new: Json) -> Comparison:
    """Returns what differs, in a comparison of values as the API shows them: fields that it always writes count as
    there."""
    comparison = Comparison()
    _compare(node, old, new, (), comparison)
    return comparison


def _compare(node: Node | None, old: Json, new: Json, path: Path, out: Comparison) -> None:
    if old is not MISSING and new is not MISSING and same(old, new):
        return
    shapes = {shape for shape in (shape_of(node, old), shape_of(node, new)) if shape} or {"scalar"}
    leaf = False
    for shape in shapes:
        if shape == "map":
            left, right = _members(node, old), _members(node, new)
        elif shape == "list" and not atomic(node, shape) and node is not None:
            left, right = _items(node, old), _items(node, new)
        else:
            left, right = {}, {}
        if atomic(node, shape) or not (left or right):
            out.note(path, old, new)
            leaf = True
            continue
        for element in {**left, **right}:
            before, after = left.get(element, MISSING), right.get(element, MISSING)
            if isinstance(before, _Twins) or isinstance(after, _Twins):
                out.note((*path, element), before, after)
            else:
                _compare(child_of(node, element), before, after, (*path, element), out)
    if not leaf and path:
        if old is MISSING:
            out.added.add(path)
        elif new is MISSING:
            out.removed.add(path)


def _members(node: Node | None, value: Json) -> JsonObject:
    if not isinstance(value, dict):
        return {}
    zeros = node.zeros if node is not None else {}
    return {f"f:{name}": item for name, item in {**zeros, **value}.items()}


class _Twins(list[Json]):
    """Items of a list that have the same key, which are compared as one."""


def _items(node: Node, value: Json) -> JsonObject:
    items: JsonObject = {}
    for item in value if isinstance(value, list) else []:
        element = element_of(node, item)
        if element in items:
            present = items[element]
            items[element] = _Twins([*(present if isinstance(present, _Twins) else [present]), item])
        else:
            items[element] = item
    return items


# ---- forms


def to_fields_v1(fields: Fields) -> JsonObject:
    """Returns the nested form of a set."""
    root: JsonObject = {}
    for path in sorted(fields):
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


def from_fields_v1(tree: Json, path: Path = ()) -> Fields:
    """Returns the set of a nested form; raises ValueError for what is none."""
    if not isinstance(tree, dict):
        raise ValueError(f"{tree!r} is not a set of fields")
    fields: set[Path] = set()
    for key, child in tree.items():
        if key == ".":
            fields.add(path)
        elif key[:2] not in ("f:", "k:", "v:", "i:"):
            raise ValueError(f"{key!r} is not an element of a path")
        elif not child:
            fields.add((*path, key))
        else:
            fields |= from_fields_v1(child, (*path, key))
    return frozenset(fields)


def display(path: Path) -> str:
    """Returns a path as people read it: ``.spec.containers[name="x"].image``."""
    text = ""
    for element in path:
        kind, body = element[0], element[2:]
        if kind == "f":
            text += f".{body}"
        elif kind == "k":
            parts = ",".join(f"{name}={compact(value)}" for name, value in json.loads(body).items())
            text += f"[{parts}]"
        elif kind == "v":
            text += f"[={body}]"
        else:
            text += f"[{body}]"
    return text


def in_order(fields: Fields) -> list[Path]:
    """Returns the fields as Kubernetes lists them: at each level first those that end there, then those that go on."""
    return sorted(fields, key=lambda path: [(index < len(path) - 1, element) for index, element in enumerate(path)])


# ---- taking fields away


def with_parents(node: Node | None, fields: Fields) -> Fields:
    """Returns the fields, and the declared fields that they are in."""
    parents: set[Path] = set()
    for path in fields:
        at = node
        for depth, element in enumerate(path[:-1], 1):
            if at is None:
                break
            if element.startswith("f:") and at.field(element[2:]) is not None:
                parents.add(path[:depth])
            at = child_of(at, element)
    return fields | parents


def remove_fields(node: Node | None, value: Json, fields: Fields) -> Json:
    """Returns a value without some fields; a map or list that held nothing else becomes null."""
    return _remove(node, value, to_fields_v1(fields)) if fields else value


def _remove(node: Node | None, value: Json, tree: JsonObject) -> Json:
    shape = shape_of(node, value)
    if shape == "scalar" or shape == "":
        return value
    if not value or atomic(node, shape):
        return None
    if isinstance(value, dict):
        kept = {f"f:{name}": item for name, item in value.items()}
        remaining = {key[2:]: item for key, item in _remaining(node, kept.items(), tree)}
        return remaining or None
    if isinstance(value, list) and node is not None:
        elements = [(element_of(node, item), item) for item in value]
        return [item for _, item in _remaining(node, elements, tree)] or None
    return value


def _remaining(node: Node | None, items: Iterator[tuple[str, Json]] | Json, tree: JsonObject) -> Iterator[Json]:
    for element, item in items:
        below = tree.get(element)
        if below is None:
            yield element, item
        elif below and "." not in below:
            yield element, _remove(child_of(node, element), item, below)
