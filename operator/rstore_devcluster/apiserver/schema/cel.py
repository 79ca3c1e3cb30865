"""CEL validation rules of CRDs (``x-kubernetes-validations``): compiled once, checked for unknown functions."""

from __future__ import annotations

import dataclasses
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
from rstore_devcluster.apiserver.schema.structural import (
    ABSENT,
    NOWHERE,
    Absent,
    earlier_field,
    earlier_item,
    same,
    shown,
)

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


@dataclass
class Findings:
    """What rules say of a value: causes to refuse it, and causes that are only worth a warning."""

    refused: list[Cause] = dataclasses.field(default_factory=list)
    warned: list[Cause] = dataclasses.field(default_factory=list)


def has_rules(schema: Json) -> bool:
    """Whether there is a rule anywhere in a schema."""
    if not isinstance(schema, dict):
        return False
    inside = [*(schema.get("properties") or {}).values(), schema.get("items"), schema.get("additionalProperties")]
    return bool(schema.get("x-kubernetes-validations")) or any(map(has_rules, inside))


def check(node: Node, value: Json, old: Json | Absent = ABSENT, path: str = "", *, root: bool = True) -> Findings:
    """Every rule that does not hold. ``old`` is the value before an update.

    A rule about what an update leaves as it was only warns, unless it looks at the old value: a stricter definition
    does not lock objects that were valid before (Kubernetes calls it ratcheting).
    """
    findings = Findings()
    _check(findings, node, value, old, path, root=root)
    return findings


def _check(findings: Findings, node: Node, value: Json, old: Json | Absent, path: str, *, root: bool = False) -> None:
    if value is None:
        return
    if old is None:
        old = ABSENT
    rules = node.raw.get("x-kubernetes-validations")
    if rules:
        values = {"self": to_cel(node, value, root=root)}
        if old is not ABSENT:
            values["oldSelf"] = to_cel(node, old, root=root)
        unchanged = old is not ABSENT and same(value, old)
        for rule in rules:
            cause = _check_rule(rule, values, value, path)
            if cause is not None:
                warns = unchanged and not compile_expression(rule["rule"]).uses_old
                (findings.warned if warns else findings.refused).append(cause)
    if isinstance(value, dict):
        for name, item in value.items():
            child = node.child(name)
            if child is not None and not (root and name == "metadata"):
                declared = f"{path}.{name}" if path else name
                at = declared if node.field(name) is not None else f"{path}[{name}]"
                _check(findings, child, item, earlier_field(name, old), at)
    elif isinstance(value, list) and node.items is not None:
        for index, item in enumerate(value):
            _check(findings, node.items, item, earlier_item(node, item, old), f"{path}[{index}]")


def _check_rule(rule: JsonObject, values: dict[str, Any], value: Json, path: str) -> Cause | None:
    program = compile_expression(rule["rule"])
    if program.uses_old and "oldSelf" not in values and not rule.get("optionalOldSelf"):
        return None
    reason = rule.get("reason") or "FieldValueInvalid"
    at = f"{path}{_field_path(rule.get('fieldPath') or '')}".removeprefix(".") or NOWHERE
    try:
        if bool(program.evaluate(values)):
            return None
        message = _message(rule, values)
    except CelError as error:
        message = f"rule: {rule['rule']}: {error}"
    scalar = not isinstance(value, (dict, list))
    if reason == "FieldValueDuplicate":
        return Cause(at, f"Duplicate value: {shown(value)}" if scalar else "Duplicate value", reason)
    lead = {"FieldValueForbidden": "Forbidden", "FieldValueRequired": "Required value"}.get(reason)
    if lead is None:
        lead = f"Invalid value: {shown(value)}" if scalar else "Invalid value"
    return Cause(at, f"{lead}: {message}", reason)


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
