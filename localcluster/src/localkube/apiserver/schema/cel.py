"""CEL validation rules of CRDs (``x-kubernetes-validations``), evaluated for objects."""

from __future__ import annotations

import dataclasses
import functools
import re
from dataclasses import dataclass
from typing import Any

from localkube.apiserver.errors import Cause
from localkube.apiserver.jsonobj import Json, JsonObject, same
from localkube.apiserver.schema.cel_values import to_cel
from localkube.apiserver.schema.expressions import ast
from localkube.apiserver.schema.expressions.evaluate import evaluate
from localkube.apiserver.schema.expressions.parser import ExpressionSyntaxError
from localkube.apiserver.schema.expressions.values import EvaluationError, Optional
from localkube.apiserver.schema.node import Node
from localkube.apiserver.schema.structural import (
    ABSENT,
    NOWHERE,
    Absent,
    earlier_field,
    earlier_item,
    shown,
)


class CelError(Exception):
    """An expression cannot be compiled, or its evaluation fails."""


@dataclass(frozen=True)
class Program:
    """A compiled expression."""

    source: str
    expression: ast.Expr
    uses_old: bool

    def evaluate(self, values: dict[str, Any]) -> Any:
        """Returns the value; raises CelError when evaluation fails."""
        try:
            return evaluate(self.expression, values)
        except EvaluationError as error:
            raise CelError(error.text) from None


@functools.lru_cache(maxsize=4096)
def compile_expression(source: str) -> Program:
    """Compile; raises CelError for bad syntax. (Types and functions were checked when the rule was defined.)"""
    try:
        expression = ast.parse(source)
    except ExpressionSyntaxError as error:
        raise CelError(f"compilation failed: {error}") from None
    return Program(source, expression, "oldSelf" in ast.names(expression))


@dataclass
class Findings:
    """What rules say of a value: causes to refuse it, and causes that are only worth a warning."""

    refused: list[Cause] = dataclasses.field(default_factory=list)
    warned: list[Cause] = dataclasses.field(default_factory=list)


def has_rules(schema: Json) -> bool:
    """Returns whether there is a rule anywhere in a schema."""
    if not isinstance(schema, dict):
        return False
    inside = [*(schema.get("properties") or {}).values(), schema.get("items"), schema.get("additionalProperties")]
    return bool(schema.get("x-kubernetes-validations")) or any(map(has_rules, inside))


def check(node: Node, value: Json, old: Json | Absent = ABSENT, path: str = "", *, root: bool = True) -> Findings:
    """Returns every rule that does not hold. ``old`` is the value before an update.

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
            cause = _check_rule(rule, values, value, path, kind=node.type)
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


def _check_rule(rule: JsonObject, values: dict[str, Any], value: Json, path: str, *, kind: str) -> Cause | None:
    """Returns what a rule finds wrong with a value; ``kind`` is the type that the schema gives it."""
    program = compile_expression(rule["rule"])
    if program.uses_old and "oldSelf" not in values and not rule.get("optionalOldSelf"):
        return None
    if rule.get("optionalOldSelf"):
        values = {**values, "oldSelf": Optional((values["oldSelf"],) if "oldSelf" in values else ())}
    reason = rule.get("reason") or "FieldValueInvalid"
    at = f"{path}{_field_path(rule.get('fieldPath') or '')}".removeprefix(".") or NOWHERE
    try:
        if program.evaluate(values) is True:
            return None
    except CelError as error:
        return Cause(path or NOWHERE, f"Invalid value: {shown(kind)}: {_failed(str(error), rule)}")
    message = _message(rule, values)
    scalar = not isinstance(value, (dict, list))
    if reason == "FieldValueDuplicate":
        return Cause(at, f"Duplicate value: {shown(value)}" if scalar else "Duplicate value", reason)
    lead = {"FieldValueForbidden": "Forbidden", "FieldValueRequired": "Required value"}.get(reason)
    if lead is None:
        lead = f"Invalid value: {shown(value)}" if scalar else "Invalid value"
    return Cause(at, f"{lead}: {message}", reason)


def _failed(error: str, rule: JsonObject) -> str:
    """Returns why a rule that ended in an error counts as broken."""
    shown_rule = str(rule.get("message") or rule["rule"]).strip()
    if error.startswith("no such overload"):
        why = "call arguments did not match a supported operator, function or macro signature for rule"
        return f"'{error}': {why}: {shown_rule}"
    return f"{error} evaluating rule: {shown_rule}"


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
