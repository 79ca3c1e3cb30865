"""CEL validation rules of CRDs (``x-kubernetes-validations``): compiled once, checked for unknown functions."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Any

import celpy
import lark
from celpy.evaluation import CELEvalError

from rstore_devcluster.apiserver.http.errors import Cause
from rstore_devcluster.apiserver.jsonobj import Json, JsonObject
from rstore_devcluster.apiserver.schema.cel_functions import FUNCTIONS, MACROS
from rstore_devcluster.apiserver.schema.cel_values import to_cel
from rstore_devcluster.apiserver.schema.node import Node
from rstore_devcluster.apiserver.schema.structural import shown

_REASONS = {
    "FieldValueInvalid": "FieldValueInvalid",
    "FieldValueForbidden": "FieldValueForbidden",
    "FieldValueRequired": "FieldValueRequired",
    "FieldValueDuplicate": "FieldValueDuplicate",
}
_PREFIX = {
    "FieldValueForbidden": "Forbidden: {message}",
    "FieldValueRequired": "Required value: {message}",
    "FieldValueDuplicate": "Duplicate value: {value}: {message}",
}
_BUILTIN = frozenset(
    {"size", "int", "uint", "double", "string", "bytes", "bool", "type", "dyn", "timestamp", "duration"}
    | {"contains", "startsWith", "endsWith", "matches", "getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear"}
    | {"getFullYear", "getHours", "getMilliseconds", "getMinutes", "getMonth", "getSeconds"}
)


class CelError(Exception):
    """An expression cannot be compiled, or uses what this server does not have."""


@dataclass(frozen=True)
class Program:
    """A compiled expression."""

    source: str
    runner: Any
    uses_old: bool
    tree: lark.Tree[Any]

    def evaluate(self, values: dict[str, Any]) -> Any:
        """The value; raises CelError when evaluation fails."""
        try:
            return self.runner.evaluate(values)
        except CELEvalError as error:
            inner = error.args[2] if len(error.args) > 2 else ()
            text = str(inner[0] if inner else error.args[0] if error.args else error)
            raise CelError(text) from None


@functools.cache
def compile_expression(source: str) -> Program:
    """Compile; raises CelError for bad syntax and for functions that are not known."""
    environment = celpy.Environment()
    try:
        tree = environment.compile(source)
    except celpy.CELParseError as error:
        raise CelError(f"compilation failed: {str(error).splitlines()[0]}") from None
    unknown = _functions(tree) - _BUILTIN - MACROS - frozenset(FUNCTIONS)
    if unknown:
        listed = ", ".join(sorted(unknown))
        raise CelError(f"compilation failed: undeclared reference to {listed!r}: this server does not have it")
    names = {str(token) for token in tree.scan_values(lambda token: isinstance(token, lark.Token))}
    runner = environment.program(tree, functions=dict(FUNCTIONS))
    return Program(source, runner, "oldSelf" in names, tree)


def _functions(tree: lark.Tree[Any]) -> set[str]:
    called = set()
    for node in tree.iter_subtrees():
        if node.data == "ident_arg":
            called.add(str(node.children[0]))
        elif node.data == "member_dot_arg":
            called.add(str(node.children[1]))
    return called


def check(node: Node, value: Json, old: Json = None, path: str = "", *, root: bool = True) -> list[Cause]:
    """Every rule that does not hold. ``old`` is the value before an update, None at creation.

    What an update leaves as it was is not checked again (Kubernetes calls it ratcheting): a stricter definition does
    not lock objects that were valid before.
    """
    causes: list[Cause] = []
    if old is not None and value == old and not root:
        return causes
    rules = node.raw.get("x-kubernetes-validations")
    if rules:
        values = {"self": to_cel(node, value, root=root)}
        if old is not None:
            values["oldSelf"] = to_cel(node, old, root=root)
        for rule in rules:
            cause = _check_rule(rule, values, value, path, has_old=old is not None)
            if cause is not None:
                causes.append(cause)
    if isinstance(value, dict):
        for name, item in value.items():
            child = node.child(name)
            if child is not None and not (root and name == "metadata"):
                before = old.get(name) if isinstance(old, dict) else None
                causes += check(child, item, before, f"{path}.{name}" if path else name, root=False)
    elif isinstance(value, list) and node.items is not None:
        for index, item in enumerate(value):
            causes += check(node.items, item, _matching(node, item, old), f"{path}[{index}]", root=False)
    return causes


def _matching(node: Node, item: Json, old: Json) -> Json:
    """The item's earlier value: only ``map`` lists tell which it is."""
    if node.list_type != "map" or not isinstance(old, list) or not isinstance(item, dict):
        return None
    keys = node.map_keys
    for before in old:
        if isinstance(before, dict) and all(before.get(key) == item.get(key) for key in keys):
            return before
    return None


def _check_rule(rule: JsonObject, values: dict[str, Any], value: Json, path: str, *, has_old: bool) -> Cause | None:
    program = compile_expression(rule["rule"])
    if program.uses_old and not has_old and not rule.get("optionalOldSelf"):
        return None
    reason = rule.get("reason") or "FieldValueInvalid"
    at = (
        path + _field_path(rule.get("fieldPath") or "")
        if path
        else _field_path(rule.get("fieldPath") or "").lstrip(".")
    )
    try:
        if bool(program.evaluate(values)):
            return None
        message = _message(rule, values)
    except CelError as error:
        message = f"rule: {rule['rule']}: {error}"
    text = _PREFIX.get(reason, "Invalid value: {value}: {message}")
    kind = "object" if isinstance(value, dict) else "array" if isinstance(value, list) else None
    return Cause(at, text.format(value=f'"{kind}"' if kind else shown(value), message=message), reason)


def _field_path(text: str) -> str:
    return re.sub(r"\['([^']+)'\]", r"[\1]", text)


def _message(rule: JsonObject, values: dict[str, Any]) -> str:
    expression = rule.get("messageExpression")
    if expression:
        try:
            text = compile_expression(expression).evaluate(values)
            if isinstance(text, str) and text.strip() and "\n" not in text:
                return str(text)
        except CelError:
            return str(rule.get("message") or f"failed rule: {rule['rule'].strip()}")
    return str(rule.get("message") or f"failed rule: {rule['rule'].strip()}")
