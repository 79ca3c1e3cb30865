"""Dropping fields a schema does not declare, and filling in its defaults. Both change the value in place."""

from __future__ import annotations

from rstore_devcluster.apiserver.jsonobj import Json, copy_json
from rstore_devcluster.apiserver.schema.node import Node

_TYPE_META = frozenset({"apiVersion", "kind", "metadata"})


def prune(node: Node, value: Json, path: str = "", *, root: bool = True) -> list[str]:
    """Remove what is not declared; returns the paths removed, such as ``spec.regions[0].colour``."""
    removed: list[str] = []
    if isinstance(value, dict):
        for name in list(value):
            at = f"{path}.{name}" if path else name
            if root and name in _TYPE_META and node.field(name) is None:
                continue
            if node.raw.get("x-kubernetes-embedded-resource") and name in _TYPE_META:
                continue
            child = node.child(name)
            if child is not None:
                removed += prune(child, value[name], at, root=False)
            elif not node.open and (node.type == "object" or node.properties):
                del value[name]
                removed.append(at)
    elif isinstance(value, list):
        items = node.items
        if items is not None:
            for index, item in enumerate(value):
                removed += prune(items, item, f"{path}[{index}]", root=False)
    return removed


def apply_defaults(node: Node, value: Json) -> None:
    """Fill in defaults; a null where the schema does not allow one counts as missing, as in Kubernetes."""
    if isinstance(value, dict):
        for name in node.properties:
            child = node.field(name)
            if child is None:
                continue
            default = child.raw.get("default")
            missing = name not in value or (value[name] is None and not child.raw.get("nullable"))
            if missing and default is not None:
                value[name] = copy_json(default)
        for name in list(value):
            child = node.child(name)
            if child is None:
                continue
            if value[name] is None and not child.raw.get("nullable") and node.field(name) is not None:
                del value[name]
                continue
            apply_defaults(child, value[name])
    elif isinstance(value, list) and node.items is not None:
        for item in value:
            apply_defaults(node.items, item)
