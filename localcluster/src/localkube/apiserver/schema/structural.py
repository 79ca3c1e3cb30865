"""Validation of values against structural schemas, with the messages Kubernetes gives."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from localkube.apiserver.errors import Cause
from localkube.apiserver.jsonobj import Json, JsonObject, same
from localkube.apiserver.schema.limits import (
    NOWHERE,
    TYPE_INVALID,
    format_cause,
    number_causes,
    out_of_bounds,
    string_cause,
    type_cause,
    type_name,
)
from localkube.apiserver.schema.node import Node
from localkube.apiserver.schema.rendering import json_text, quoted, shown

MAX_CAUSES = 1000


class Absent(enum.Enum):
    """The type of ``ABSENT``."""

    ABSENT = enum.auto()


ABSENT: Final = Absent.ABSENT
"""In place of an earlier value: there is none, or an update cannot tell which it is."""


def validate(node: Node, value: Json, path: str = "", *, root: bool = True) -> list[Cause]:
    """Returns everything wrong with a value, up to a bound: its structure, and items that a list has twice.

    The metadata of a whole object (``root``) is left out.
    """
    listed = value
    if root and isinstance(value, dict):
        listed = {name: item for name, item in value.items() if name != "metadata"}
    return (structure_causes(node, value, path, root=root) + list(duplicate_causes(node, listed, path)))[:MAX_CAUSES]


def structure_causes(
    node: Node, value: Json, path: str = "", *, root: bool = True, old: Json | Absent = ABSENT, base: str = ""
) -> list[Cause]:
    """Returns what a schema says against a value, up to a bound.

    ``old``: the value before an update. What an update leaves as it was is not checked again (Kubernetes calls it
    ratcheting): a stricter schema does not lock objects that were valid before. ``base``: the field of the whole
    value, which stands in a cause's field but not in its message.
    """
    causes = _checked(node, value, path, old, root=root).causes[:MAX_CAUSES]
    return [replace(cause, field=_located(cause.field, base)) for cause in causes]


def _located(at: str, base: str) -> str:
    if at in ("", NOWHERE):
        return base or NOWHERE
    return at if not base else f"{base}{at}" if at.startswith("[") else f"{base}.{at}"


@dataclass(slots=True)
class _Outcome:
    """What was wrong, and how many checks passed: junctors report their best alternative."""

    causes: list[Cause] = field(default_factory=list)
    passed: int = 0

    def add(self, *causes: Cause | None) -> None:
        for cause in causes:
            if cause is not None and cause not in self.causes:
                self.causes.append(cause)

    def merge(self, other: _Outcome) -> None:
        self.add(*other.causes)
        self.passed += other.passed


def _checked(node: Node, value: Json, path: str, old: Json | Absent, *, root: bool = False) -> _Outcome:
    outcome = _Outcome()
    wrong = type_cause(node, value, path)
    outcome.add(wrong)
    outcome.passed += wrong is None
    if value is not None:
        _junctors(outcome, node, value, path)
        outcome.passed += 1
        if isinstance(value, str):
            outcome.add(string_cause(node.raw, value, path), format_cause(node, value, path))
            outcome.passed += 1
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            outcome.add(*number_causes(node, value, path))
            outcome.passed += 2
        elif isinstance(value, list):
            _list(outcome, node, value, path, old)
            outcome.passed += 2
        elif isinstance(value, dict):
            _object(outcome, node, value, path, old, root)
            outcome.passed += 1
    options = node.raw.get("enum")
    if options and not any(same(value, option) for option in options):
        outcome.add(_not_one_of(path, value, options))
    if outcome.causes and old is not ABSENT and same(value, old):
        return _Outcome(passed=outcome.passed)
    return outcome


def _not_one_of(path: str, value: Json, options: list[Json]) -> Cause:
    texts = (option if isinstance(option, str) else json_text(option) for option in options)
    supported = ", ".join(quoted(text) for text in texts)
    message = f"Unsupported value: {shown(value)}: supported values: {supported}"
    return Cause(path, message, "FieldValueNotSupported")


def too_many(path: str, count: int, limit: int) -> Cause:
    """Returns a list or map with more items than allowed."""
    return Cause(path, f"Too many: {count}: must have at most {limit} items", "FieldValueTooMany")


def _list(outcome: _Outcome, node: Node, value: list[Json], path: str, old: Json | Absent) -> None:
    raw, items, count = node.raw, node.items, len(value)
    if items is not None:
        for index, item in enumerate(value):
            outcome.merge(_checked(items, item, f"{path}[{index}]", earlier_item(node, item, old)))
    if "minItems" in raw and count < raw["minItems"]:
        outcome.add(out_of_bounds(path, count, f"should have at least {raw['minItems']} items"))
    if "maxItems" in raw and count > raw["maxItems"]:
        outcome.add(too_many(path, count, raw["maxItems"]))


def earlier_item(node: Node, item: Json, old: Json | Absent) -> Json | Absent:
    """Returns an item's value before the update: only lists of the type ``map`` tell which it was."""
    if node.list_type != "map" or not isinstance(old, list) or not isinstance(item, dict):
        return ABSENT
    for before in old:
        if isinstance(before, dict) and all(before.get(key) == item.get(key) for key in node.map_keys):
            return before
    return ABSENT


def earlier_field(name: str, old: Json | Absent) -> Json | Absent:
    """Returns a field's value before the update."""
    return old[name] if isinstance(old, dict) and name in old else ABSENT


def _object(outcome: _Outcome, node: Node, value: JsonObject, path: str, old: Json | Absent, root: bool) -> None:
    raw, count = node.raw, len(value)
    if "minProperties" in raw and count < raw["minProperties"]:
        outcome.add(out_of_bounds(path, count, f"should have at least {raw['minProperties']} properties"))
        return
    if "maxProperties" in raw and count > raw["maxProperties"]:
        outcome.add(too_many(path, count, raw["maxProperties"]))
        return
    for name in (*(raw.get("required") or ()), *(("apiVersion", "kind") if node.embedded else ())):
        if name not in value:
            outcome.add(Cause(f"{path}.{name}" if path else name, "Required value", "FieldValueRequired"))
    for name, item in value.items():
        if root and name == "metadata":
            continue
        child = node.child(name)
        if child is not None:
            at = f"{path}.{name}" if path else name
            outcome.merge(_checked(child, item, at, earlier_field(name, old)))


def _junctors(outcome: _Outcome, node: Node, value: Json, path: str) -> None:
    raw, where = node.raw, f'"{path}"'

    def outcomes(name: str) -> list[_Outcome]:
        return [_checked(Node(schema), value, path, ABSENT) for schema in raw.get(name) or []]

    def broken(why: str) -> Cause:
        return Cause(NOWHERE, f'Invalid value: "": {where} must {why}')

    alternatives = outcomes("anyOf")
    if alternatives and all(alternative.causes for alternative in alternatives):
        outcome.add(broken("validate at least one schema (anyOf)"))
        outcome.merge(_best(alternatives))
    alternatives = outcomes("oneOf")
    count = sum(not alternative.causes for alternative in alternatives)
    if alternatives and count != 1:
        total = f"{count} valid alternatives" if count else "none valid"
        outcome.add(broken(f"validate one and only one schema (oneOf). Found {total}"))
        if not count:
            outcome.merge(_best(alternatives))
    parts = outcomes("allOf")
    for part in parts:
        outcome.merge(part)
    failed = sum(bool(part.causes) for part in parts)
    if failed:
        outcome.add(broken(f"validate all the schemas (allOf){'. None validated' if failed == len(parts) else ''}"))
    if "not" in raw and not _checked(Node(raw["not"]), value, path, ABSENT).causes:
        outcome.add(broken("not validate the schema (not)"))


def _best(alternatives: list[_Outcome]) -> _Outcome:
    return max(alternatives, key=lambda alternative: alternative.passed)


def duplicate_causes(node: Node, value: Json, path: str = "") -> Iterator[Cause]:
    """Items of a set, and keys of a list map, that are there twice; each is reported once."""
    if isinstance(value, dict):
        for name, item in value.items():
            declared = node.field(name)
            child = declared or node.additional
            if child is not None:
                at = f"{path}.{name}" if path else name
                yield from duplicate_causes(child, item, at if declared else f"{path}[{name}]")
    elif isinstance(value, list) and node.items is not None:
        counts: dict[str, int] = {}
        for index, item in enumerate(value):
            key = _identity(node, item)
            if key is not ABSENT:
                text = f"{type_name(key)} {json_text(key)}"
                counts[text] = counts.get(text, 0) + 1
                if counts[text] == 2:
                    yield Cause(f"{path}[{index}]", f"Duplicate value: {shown(key)}", "FieldValueDuplicate")
            yield from duplicate_causes(node.items, item, f"{path}[{index}]")


def _identity(node: Node, item: Json) -> Json | Absent:
    if node.list_type == "set" or node.raw.get("uniqueItems"):
        return item
    if node.list_type != "map" or not isinstance(item, dict) or node.items is None:
        return ABSENT
    key = {name: item.get(name, node.items.default_of(name)) for name in node.map_keys}
    return {name: part for name, part in key.items() if part is not None}


__all__ = [
    "ABSENT",
    "MAX_CAUSES",
    "NOWHERE",
    "TYPE_INVALID",
    "Absent",
    "duplicate_causes",
    "earlier_field",
    "earlier_item",
    "shown",
    "structure_causes",
    "type_name",
    "validate",
]
