"""Validation rules of a schema: their parts, that they compile against its types, and what they may cost."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from localkube.apiserver.errors import Cause
from localkube.apiserver.jsonobj import JsonObject
from localkube.apiserver.schema.definition import field_path
from localkube.apiserver.schema.definition.causes import internal, invalid, not_supported, required
from localkube.apiserver.schema.definition.cost import Total, limit_causes, occurrences
from localkube.apiserver.schema.expressions.checked import CompilationError, compile_expression
from localkube.apiserver.schema.expressions.declared import Declared, declare
from localkube.apiserver.schema.expressions.estimate import most_occurrences
from localkube.apiserver.schema.expressions.ranges import times
from localkube.apiserver.schema.expressions.types import Kind

_RULES = "x-kubernetes-validations"
_REASONS = ("FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired")
_LINE_BREAK = re.compile(r"[\n\r]")


@dataclass(frozen=True)
class Scope:
    """Where rules stand: how often the value can be there (None: without a bound), and the sum of all costs."""

    total: Total
    occurrences: int | None = 1

    def inside(self, schema: JsonObject) -> Scope:
        """Returns the scope of what is directly inside a schema."""
        return replace(self, occurrences=occurrences(schema, self.occurrences))


def part_causes(schema: JsonObject, path: str) -> Iterator[Cause]:
    """Yields what is wrong with rules before they are compiled."""
    for index, rule in enumerate(schema.get(_RULES) or []):
        at = f"{path}.{_RULES}[{index}]"
        yield from _text_causes(rule, at)
        if rule.get("messageExpression") and not rule["messageExpression"].strip():
            yield required(f"{at}.messageExpression", "messageExpression must be non-empty if specified")
        if rule.get("reason") is not None and rule["reason"] not in _REASONS:
            yield not_supported(f"{at}.reason", rule["reason"], _REASONS)
        where = rule.get("fieldPath")
        if where:
            yield from _field_path_causes(schema, where, f"{at}.fieldPath")


def _text_causes(rule: JsonObject, at: str) -> Iterator[Cause]:
    source, message = rule["rule"].strip(), rule.get("message") or ""
    if not source:
        yield required(f"{at}.rule", "rule is not specified")
    elif message and not message.strip():
        yield invalid(f"{at}.message", message, "must be non-empty if specified")
    elif _LINE_BREAK.search(message.strip()):
        yield invalid(f"{at}.message", message, "must not contain line breaks")
    elif _LINE_BREAK.search(source) and not message.strip():
        yield required(f"{at}.message", "message must be specified if rule contains line breaks")


def _field_path_causes(schema: JsonObject, where: str, at: str) -> Iterator[Cause]:
    if not where.strip():
        yield invalid(at, where, "must be non-empty if specified")
    if _LINE_BREAK.search(where):
        yield invalid(at, where, "must not contain line breaks")
    try:
        field_path.resolve(schema, where)
    except ValueError:
        yield invalid(at, where, "must be a valid path")


def expression_causes(
    schema: JsonObject, path: str, scope: Scope, *, whole_object: bool, uncorrelatable: str | None
) -> Iterator[Cause]:
    """Yields what is wrong with the expressions of one schema's rules.

    ``uncorrelatable``: the path of the outermost list whose old and new items cannot be matched, None where all can.
    """
    rules = schema.get(_RULES) or []
    declared = declare(schema, whole_object=whole_object) if rules else None
    if rules and declared is None:
        why = "internal error: failed to construct type information for x-kubernetes-validations rules: "
        yield internal(f"{path}.{_RULES}", f"{why}unable to convert structural schema to CEL declarations")
        return
    for index, rule in enumerate(rules):
        if declared is not None:
            yield from _rule_causes(rule, f"{path}.{_RULES}[{index}]", declared, scope, uncorrelatable)


def _rule_causes(
    rule: JsonObject, at: str, declared: Declared, scope: Scope, uncorrelatable: str | None
) -> Iterator[Cause]:
    optional = bool(rule.get("optionalOldSelf"))
    uses_old = False
    cost = 0
    compiled = None
    try:
        compiled = compile_expression(rule["rule"], declared, optional_old=optional)
        if compiled.output.kind is Kind.BOOL:
            uses_old, cost = compiled.uses_old, compiled.max_cost
        else:
            compiled = None
            yield invalid(f"{at}.rule", _as_go(rule), "cel expression must evaluate to a bool")
    except CompilationError as error:
        yield invalid(f"{at}.rule", _as_go(rule), f"compilation failed: {error}")
    bound = scope.occurrences if scope.occurrences is not None else most_occurrences(declared)
    cost = times(cost, bound)
    yield from limit_causes("estimated rule cost", cost, f"{at}.rule")
    scope.total.add(f"{at}.rule", cost)
    if compiled is not None and rule.get("messageExpression"):
        yield from _message_causes(rule, f"{at}.messageExpression", declared, scope, optional=optional)
    if uses_old and uncorrelatable is not None:
        why = f"oldSelf cannot be used on the uncorrelatable portion of the schema within {uncorrelatable}"
        yield invalid(f"{at}.rule", rule["rule"], why)
    if not uses_old and rule.get("optionalOldSelf") is not None:
        why = "may not be set if oldSelf is not used in rule"
        yield invalid(f"{at}.optionalOldSelf", rule["optionalOldSelf"], why)


def _message_causes(rule: JsonObject, at: str, declared: Declared, scope: Scope, *, optional: bool) -> Iterator[Cause]:
    try:
        compiled = compile_expression(rule["messageExpression"], declared, optional_old=optional)
    except CompilationError as error:
        yield invalid(at, _as_go(rule), f"messageExpression compilation failed: {error}")
        return
    if compiled.output.kind is not Kind.STRING:
        yield invalid(at, _as_go(rule), "messageExpression must evaluate to a string")
        return
    yield from limit_causes("estimated messageExpression cost", compiled.max_cost, at)
    scope.total.add(at, compiled.max_cost)


def _as_go(rule: JsonObject) -> JsonObject:
    return {
        "Rule": rule["rule"],
        "Message": rule.get("message") or "",
        "MessageExpression": rule.get("messageExpression") or "",
        "Reason": rule.get("reason"),
        "FieldPath": rule.get("fieldPath") or "",
        "OptionalOldSelf": rule.get("optionalOldSelf"),
    }
