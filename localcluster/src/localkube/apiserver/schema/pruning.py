"""Dropping fields a schema does not declare, and filling in its defaults. Both change the value in place."""

from __future__ import annotations

from localkube.apiserver.jsonobj import Json, copy_json
from localkube.apiserver.schema.node import Node

_TYPE_META = frozenset({"apiVersion", "kind", "metadata"})


def prune(node: Node, value: Json, path: str = "", *, root: bool = True) -> list[str]:
    """Remove what is not declared; returns the paths removed, such as ``spec.regions[0].colour``."""
    removed: list[str] = []
    if isinstance(value, dict):
        for name in list(value):
            at = f"{path}.{name}" if path else name
            if root and name in _TYPE_META and node.field(name) is None:
                continue
            child = node.child(name)
            if child is not None:
                removed += prune(child, value[name], at, root=False)
            elif not node.open:
                del value[name]
                removed.append(at)
    elif isinstance(value, list):
        items = node.items
        if items is not None:
            for index, item in enumerate(value):
                removed += prune(items, item, f"{path}[{index}]", root=False)
    return removed


def apply_defaults(node: Node, value: Json) -> None:
    """Fill in defaults, also for a null that the schema does not allow; drop such a null where there is no default.

    In a list it stays: there is nothing to drop it to, and validation refuses it.
    """
    if isinstance(value, dict):
        for name in node.properties:
            child = node.field(name)
            if child is not None and name not in value and child.raw.get("default") is not None:
                value[name] = copy_json(child.raw["default"])
        for name in list(value):
            child = node.child(name)
            if child is None:
                continue
            if value[name] is None and not child.nullable:
                value[name] = copy_json(child.raw.get("default"))
                if value[name] is None:
                    del value[name]
                    continue
            apply_defaults(child, value[name])
    elif isinstance(value, list) and node.items is not None:
        for index, item in enumerate(value):
            if item is None and not node.items.nullable:
                value[index] = copy_json(node.items.raw.get("default"))
            apply_defaults(node.items, value[index])
