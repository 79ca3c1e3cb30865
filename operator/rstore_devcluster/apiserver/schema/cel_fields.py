"""A static look at CEL rules: fields they select must be declared, as the type check of a real API server demands."""

from __future__ import annotations

from typing import Any

import lark

from rstore_devcluster.apiserver.schema.node import Node

_BINDING_MACROS = frozenset({"all", "exists", "exists_one", "filter", "map"})
_ROOT_PROPERTIES = {
    "apiVersion": {"type": "string"},
    "kind": {"type": "string"},
    "metadata": {"type": "object", "properties": {"name": {"type": "string"}, "generateName": {"type": "string"}}},
}


def root_node(node: Node) -> Node:
    """The schema of a whole object as its rules see it."""
    return Node({**node.raw, "properties": {**(node.raw.get("properties") or {}), **_ROOT_PROPERTIES}})


def undefined_fields(tree: lark.Tree[Any], node: Node) -> list[str]:
    """Names selected from ``self`` or ``oldSelf`` that the schema does not declare."""
    found: list[str] = []
    _walk(tree, {"self": node, "oldSelf": node}, found)
    return found


def _walk(tree: Any, scope: dict[str, Node | None], found: list[str]) -> Node | None:
    if not isinstance(tree, lark.Tree):
        return None
    children = tree.children
    if tree.data == "ident":
        return scope.get(str(children[0]))
    if tree.data == "member_dot":
        return _select(_walk(children[0], scope, found), str(children[1]), found)
    if tree.data == "member_index":
        base = _walk(children[0], scope, found)
        _walk(children[1], scope, found)
        return _element(base) or (base.additional if base is not None else None)
    if tree.data == "member_dot_arg":
        return _call(tree, scope, found)
    if len(children) == 1:
        return _walk(children[0], scope, found)
    for child in children:
        _walk(child, scope, found)
    return None


def _call(tree: lark.Tree[Any], scope: dict[str, Node | None], found: list[str]) -> Node | None:
    children = tree.children
    base = _walk(children[0], scope, found)
    name = str(children[1])
    arguments = children[2].children if len(children) > 2 and isinstance(children[2], lark.Tree) else []
    if name in _BINDING_MACROS and arguments:
        variable = next(arguments[0].scan_values(lambda token: isinstance(token, lark.Token)), None)
        inner = {**scope, str(variable): _element(base)}
        for argument in arguments[1:]:
            _walk(argument, inner, found)
        return base if name == "filter" else None
    for argument in arguments:
        _walk(argument, scope, found)
    return None


def _element(base: Node | None) -> Node | None:
    return base.items if base is not None else None


def _select(base: Node | None, name: str, found: list[str]) -> Node | None:
    if base is None or base.type != "object" or base.open or "__" in name:
        return None
    child = base.child(name)
    if child is None:
        found.append(name)
    return child
