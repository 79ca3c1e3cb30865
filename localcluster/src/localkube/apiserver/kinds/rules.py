"""Validation of built-in kinds as tables: which rule holds at which path.

A table is a tuple of ``(path, rule)``. A path is relative to where the table is applied; ``[*]`` stands for every item
of a list and ``{*}`` for every value of a map: ``containers[*].ports[*].name``, ``resources.requests{*}``. A rule gets
the value there (None where there is none) and its full path, and yields what is wrong with it.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal

from localkube.apiserver.errors import Cause
from localkube.apiserver.jsonobj import Json, JsonObject
from localkube.apiserver.schema import formats, quantity
from localkube.apiserver.schema.structural import shown

Rule = Callable[[Json, str], Iterable[Cause]]
Table = tuple[tuple[str, Rule], ...]

REQUIRED = "FieldValueRequired"
FORBIDDEN = "FieldValueForbidden"
UNSUPPORTED = "FieldValueNotSupported"
DUPLICATE = "FieldValueDuplicate"
NOT_FOUND = "FieldValueNotFound"
TOO_LONG = "FieldValueTooLong"
_STEP = re.compile(r"([^.\[{]+)|\[\*\]|\{\*\}")


class GoStruct(dict[str, Json]):
    """A structure as messages show Go's internal types: Go's field names, in the order of their declaration."""

    @classmethod
    def of(cls, value: JsonObject, *fields: tuple[str, str, Json]) -> GoStruct:
        """From an object and (Go's name, JSON name, zero value) of each field."""
        return cls({name: zero if value.get(key) is None else value[key] for name, key, zero in fields})


def _text(value: Json) -> str:
    return json.dumps(value, separators=(",", ":")) if isinstance(value, GoStruct) else shown(value)


# ---- causes


def required(path: str, why: str = "") -> Cause:
    """Returns the cause for a field that must be given."""
    return Cause(path, f"Required value: {why}" if why else "Required value", REQUIRED)


def invalid(path: str, value: Json, why: str) -> Cause:
    """Returns the cause for a value that is wrong."""
    return Cause(path, f"Invalid value: {_text(value)}: {why}")


def forbidden(path: str, why: str) -> Cause:
    """Returns the cause for a field that must not be given, or not be changed."""
    return Cause(path, f"Forbidden: {why}", FORBIDDEN)


def immutable(path: str, value: Json) -> Cause:
    """Returns the cause for a field that cannot change."""
    return invalid(path, value, formats.IMMUTABLE)


def unsupported(path: str, value: Json, supported: Iterable[str]) -> Cause:
    """Returns the cause for a value outside an enumeration."""
    listed = ", ".join(f'"{item}"' for item in supported)
    return Cause(path, f"Unsupported value: {shown(value)}: supported values: {listed}", UNSUPPORTED)


def duplicate(path: str, value: Json) -> Cause:
    """Returns the cause for a value that stands in a list before."""
    return Cause(path, f"Duplicate value: {_text(value)}", DUPLICATE)


def not_found(path: str, value: Json) -> Cause:
    """Returns the cause for a name of something that is not there."""
    return Cause(path, f"Not found: {shown(value)}", NOT_FOUND)


def too_long(path: str, limit: int) -> Cause:
    """Returns the cause for a value of too many bytes."""
    return Cause(path, f"Too long: may not be more than {limit} bytes", TOO_LONG)


# ---- tables


def check(table: Table, value: Json, path: str = "") -> list[Cause]:
    """Returns everything that a table finds wrong with a value that stands at ``path``."""
    return [cause for pattern, rule in table for cause in _apply(_steps(pattern), rule, value, path)]


@functools.cache
def _steps(pattern: str) -> tuple[str, ...]:
    return tuple(found[0] for found in _STEP.finditer(pattern))


def _apply(steps: tuple[str, ...], rule: Rule, value: Json, path: str) -> Iterator[Cause]:
    if not steps:
        yield from rule(value, path)
        return
    first, rest = steps[0], steps[1:]
    if first == "[*]":
        for index, item in enumerate(value if isinstance(value, list) else ()):
            yield from _apply(rest, rule, item, f"{path}[{index}]")
    elif first == "{*}":
        for key, item in (value if isinstance(value, dict) else {}).items():
            yield from _apply(rest, rule, item, f"{path}[{key}]")
    elif isinstance(value, dict):
        yield from _apply(rest, rule, value.get(first), f"{path}.{first}" if path else first)


# ---- rules


def needed(why: str = "") -> Rule:
    """Returns the rule that the field is given and not empty."""
    return lambda value, path: [required(path, why)] if value in (None, "", [], {}) else []


def one_of(*supported: str, ordered: bool = False) -> Rule:
    """Returns the rule that the text is one of these, or is missing. They are listed by name, else as given."""
    listed = supported if ordered else tuple(sorted(supported))
    return lambda value, path: [] if value is None or value in supported else [unsupported(path, value, listed)]


def needed_one_of(*supported: str, ordered: bool = False) -> Rule:
    """Returns the rule that the text is given and one of these."""
    supported_rule = one_of(*supported, ordered=ordered)
    return lambda value, path: [required(path)] if value in (None, "") else supported_rule(value, path)


def named(form: formats.Check) -> Rule:
    """Returns the rule that the text, where it is given and not empty, is of a form."""
    return lambda value, path: [invalid(path, value, why) for why in form(value)] if value else []


def needed_named(form: formats.Check) -> Rule:
    """Returns the rule that the text is given and of a form."""
    return lambda value, path: [invalid(path, value, why) for why in form(value)] if value else [required(path)]


def always_named(form: formats.Check) -> Rule:
    """Returns the rule that the text is of a form, the empty one included."""
    return lambda value, path: [invalid(path, value or "", why) for why in form(value or "")]


def at_least(low: int, why: str = formats.NOT_NEGATIVE) -> Rule:
    """Returns the rule that the number, where it is given, is not below a bound."""
    return lambda value, path: [invalid(path, value, why)] if value is not None and value < low else []


def between(low: int, high: int) -> Rule:
    """Returns the rule that the number, where it is given, is in a range."""
    why = f"must be between {low} and {high}, inclusive"
    return lambda value, path: [] if value is None or low <= value <= high else [invalid(path, value, why)]


def port_number(value: Json, path: str) -> list[Cause]:
    """Returns what is wrong with a port's number; a missing one is 0, which is none."""
    return [] if 0 < (value or 0) < 65536 else [invalid(path, value or 0, formats.PORT_RANGE)]


def port_or_name(value: Json, path: str) -> list[Cause]:
    """Returns what is wrong with a port by its number or name."""
    if isinstance(value, str):
        return [invalid(path, value, why) for why in formats.port_name(value)]
    return port_number(value, path)


def count_or_percentage(value: Json, path: str) -> list[Cause]:
    """Returns what is wrong with a number of pods or a share of them, where it is given."""
    if isinstance(value, str):
        return [invalid(path, value, why) for why in formats.percentage(value)]
    return list(at_least(0)(value, path))


def at_most_all(value: Json, path: str) -> list[Cause]:
    """Returns a cause for a share of pods above 100 %; a text that is no share is left to ``count_or_percentage``."""
    if isinstance(value, str) and not formats.percentage(value) and int(value[:-1]) > 100:
        return [invalid(path, value, "must not be greater than 100%")]
    return []


def share_of_pods(value: Json, path: str) -> list[Cause]:
    """Returns what is wrong with a number of pods, or a share of them up to 100 %."""
    return [*count_or_percentage(value, path), *at_most_all(value, path)]


def labels(value: Json, path: str) -> Iterator[Cause]:
    """Yields what is wrong with a map of labels."""
    for key, text in (value or {}).items():
        for why in formats.label_key(key):
            yield invalid(path, key, why)
        for why in formats.label_value(text):
            yield invalid(path, text, why)


_SET_OPERATORS = {"In": True, "NotIn": True, "Exists": False, "DoesNotExist": False}


def label_selector(value: Json, path: str) -> Iterator[Cause]:
    """Yields what is wrong with a ``metav1.LabelSelector``."""
    yield from labels((value or {}).get("matchLabels"), f"{path}.matchLabels")
    for index, term in enumerate((value or {}).get("matchExpressions") or []):
        at = f"{path}.matchExpressions[{index}]"
        operator, values = term.get("operator"), term.get("values") or []
        if operator not in _SET_OPERATORS:
            yield invalid(f"{at}.operator", operator or "", "not a valid selector operator")
        elif _SET_OPERATORS[operator] and not values:
            yield required(f"{at}.values", "must be specified when `operator` is 'In' or 'NotIn'")
        elif values and not _SET_OPERATORS[operator]:
            yield forbidden(f"{at}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
        for why in formats.qualified_name(term.get("key") or ""):
            yield invalid(f"{at}.key", term.get("key") or "", why)
        for number, text in enumerate(values):
            for why in formats.label_value(text):
                yield invalid(f"{at}.values[{number}]", text, why)


def amount(value: Json) -> Decimal:
    """Returns a quantity's value; what is no quantity was refused before."""
    return quantity.parse(str(value).strip())


def positive_amount(value: Json, path: str) -> list[Cause]:
    """Returns what is wrong with a quantity that, where it is given, must be above zero."""
    return [] if value is None or amount(value) > 0 else [invalid(path, value, formats.POSITIVE)]


def amount_not_negative(value: Json, path: str) -> list[Cause]:
    """Returns what is wrong with a quantity that, where it is given, must not be negative."""
    return [] if value is None or amount(value) >= 0 else [invalid(path, value, formats.NOT_NEGATIVE)]
