"""The estimated cost of rules: the numbers are those that Kubernetes' own tests expect of its estimator."""

from __future__ import annotations

from typing import Any

import pytest
from localkube.apiserver.schema.expressions.checked import compile_expression
from localkube.apiserver.schema.expressions.declared import declare

Schema = dict[str, Any]


def cost(schema: Schema, rule: str) -> int:
    declared = declare(schema)
    assert declared is not None
    return compile_expression(rule, declared, optional_old=False).max_cost


def scalar(kind: str) -> Schema:
    if kind == "int-or-string":
        return {"x-kubernetes-int-or-string": True}
    return {"type": "string", "format": kind} if kind in ("date", "date-time", "duration") else {"type": kind}


def array(items: Schema, most: int | None = None) -> Schema:
    return {"type": "array", "items": items, **({} if most is None else {"maxItems": most})}


def mapping(values: Schema, most: int | None = None) -> Schema:
    return {"type": "object", "additionalProperties": values, **({} if most is None else {"maxProperties": most})}


def text(most: int | None = None) -> Schema:
    return {"type": "string", **({} if most is None else {"maxLength": most})}


def fields(**properties: Schema) -> Schema:
    return {"type": "object", "properties": properties}


OBJECT = {**fields(required=text(), optional=text()), "required": ["required"]}


@pytest.mark.parametrize(
    ("kind", "unbounded", "most", "bounded"),
    [
        ("number", 4718591, 10, 32),
        ("string", 3145727, 20, 62),
        ("boolean", 1887437, 5, 17),
        ("int-or-string", 4718591, 10, 32),
        ("duration", 2359295, 5, 17),
        ("date", 725936, 15, 47),
        ("date-time", 428963, 25, 77),
    ],
)
def test_a_list_without_a_maximum_counts_as_the_longest_that_fits_a_request(
    kind: str, unbounded: int, most: int, bounded: int
) -> None:
    assert cost(array(scalar(kind)), "self.all(x, true)") == unbounded
    assert cost(array(scalar(kind), most), "self.all(x, true)") == bounded


@pytest.mark.parametrize(
    ("values", "unbounded", "most", "bounded"),
    [
        (scalar("number"), 1348169, 10, 32),
        (scalar("string"), 1179647, 3, 11),
        (scalar("boolean"), 943718, 100, 302),
        (scalar("int-or-string"), 1348169, 15, 47),
        (scalar("duration"), 1048577, 5, 17),
        (scalar("date"), 524288, 10, 32),
        (scalar("date-time"), 349526, 25, 77),
        (OBJECT, 428963, 20, 62),
        (mapping(scalar("number")), 1179647, 10, 32),
        (array(scalar("number")), 1179647, 25, 77),
    ],
)
def test_a_map_without_a_maximum_counts_as_the_largest_that_fits_a_request(
    values: Schema, unbounded: int, most: int, bounded: int
) -> None:
    assert cost(mapping(values), "self.all(x, true)") == unbounded
    assert cost(mapping(values, most), "self.all(x, true)") == bounded


@pytest.mark.parametrize(
    ("schema", "rule", "expected"),
    [
        (array(array(scalar("number"))), "self.all(x, true)", 3145727),
        (array(OBJECT), "self.all(x, true)", 555128),
        (text(), "self.contains('test')", 314574),
        (text(10), "self.contains('test')", 5),
        (text(), "self.startsWith('test')", 2),
        (text(), "self.endsWith('test')", 2),
        (text(), 'size(self + "hello") > size("hello")', 314578),
        (text(4), 'size(self + "hello") > size("hello")', 7),
        (array(scalar("number")), "self[1] == 0.0", 2),
        (array(scalar("string")), "self[1] == self[1]", 314577),
        (array(scalar("number"), 10), "self.all(x, self.all(y, true))", 352),
        (array(scalar("number"), 10), "self.all(x, self.all(y, self.all(z, true)))", 3552),
        (text(), 'self.matches("x")', 314574),
        (text(50), 'self.matches("x")', 22),
        (text(), '"".matches("(((((((((())))))))))[0-9]")', 7),
        (text(), 'self.matches("")', 1),
        (mapping(text()), "self.all(x, x.contains(self[x]))", 2752507),
        (mapping(text(10), 10), "self.all(x, x.contains(self[x]))", 72),
        (mapping(scalar("number")), 'self["x"] == 0.0', 2),
        (text(), 'self == "x"', 2),
        (text(0), 'self == "x"', 1),
        (array(scalar("number")), "self.all(x, x == 0.0)", 6291454),
        (array(scalar("number"), 3 * 1024 * 2048), "self.all(x, x == 0.0)", 25165826),
        (array(mapping(OBJECT)), 'self.all(x, x["y"].required == "z")', 7340027),
        (array(mapping(OBJECT, 10), 10), 'self.all(x, x["y"].required == "z")', 72),
        (array(scalar("int-or-string")), "self[0] == 5", 3),
        (array(scalar("boolean")), "self[0] == false", 2),
        (array(OBJECT), "self[0] == null", 2),
        (array(array(scalar("number"))), "self[0][0] == -1.0", 3),
        (array(mapping(scalar("number"))), "self.all(x, x.y == 25.2)", 6291452),
        (array(mapping(scalar("number"))), "self[0].x > 2.0", 4),
        (mapping(scalar("integer")), "oldSelf.size() == self.size()", 5),
        (mapping(scalar("date-time")), 'self["a"] == self["b"]', 8),
        (mapping(scalar("duration")), 'self["c"] == self["d"]', 8),
        ({**text(), "enum": ["A", "B", "C", "LongValue"]}, "self.contains('A')", 2),
        ({**text(1000), "enum": ["A", "B", "C", "LongValue"]}, "self.contains('A')", 401),
        (scalar("int-or-string"), "isQuantity(self)", 314574),
        ({**scalar("int-or-string"), "maxLength": 20}, "isQuantity(self)", 9),
    ],
)
def test_costs_follow_sizes(schema: Schema, rule: str, expected: int) -> None:
    assert cost(schema, rule) == expected
