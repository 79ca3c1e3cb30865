"""CEL expressions: every declared function is there and does what CEL and Kubernetes say; types are checked."""

from __future__ import annotations

from typing import Any

import pytest
from localkube.apiserver.schema.expressions import ast
from localkube.apiserver.schema.expressions.checked import CompilationError, compile_expression
from localkube.apiserver.schema.expressions.declarations import FUNCTIONS, UNSUPPORTED
from localkube.apiserver.schema.expressions.declared import declare, escaped
from localkube.apiserver.schema.expressions.evaluate import evaluate
from localkube.apiserver.schema.expressions.functions import GLOBALS, METHODS
from localkube.apiserver.schema.expressions.values import EvaluationError, KeyedList

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "count": {"type": "integer"},
        "ratio": {"type": "number"},
        "on": {"type": "boolean"},
        "port": {"x-kubernetes-int-or-string": True},
        "made": {"type": "string", "format": "date-time"},
        "long": {"type": "string", "format": "duration"},
        "names": {"type": "array", "items": {"type": "string"}},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "namespace": {"type": "string"},
        "a-b.c/d": {"type": "string"},
        "unknown": {"x-kubernetes-preserve-unknown-fields": True},
    },
}


def test_every_declared_function_is_there() -> None:
    decided_by_the_evaluator = {"_&&_", "_||_", "_?_:_", ast.NOT_STRICTLY_FALSE}
    for name, overloads in FUNCTIONS.items():
        for overload in overloads:
            if name not in decided_by_the_evaluator:
                assert name in (METHODS if overload.method else GLOBALS), overload
    assert set(GLOBALS) <= set(FUNCTIONS)
    assert set(METHODS) <= set(FUNCTIONS)
    assert not UNSUPPORTED & set(FUNCTIONS)


@pytest.mark.parametrize(
    ("source", "output"),
    [
        ("self.name.startsWith('a') && self.count > 1", "bool"),
        ("self.count < 1.5 && self.ratio >= 2", "bool"),
        ("self.port == 1 || self.port == 'http'", "bool"),
        ("self.port + self.port", "dyn"),
        ("self.port + 1", "int"),
        ("self.names.map(n, size(n))", "list(int)"),
        ("self.labels.all(k, self.labels[k] != '')", "bool"),
        ("self.labels['a'] + self.labels.b", "string"),
        ("has(self.free) && self.__namespace__ == self.a__dash__b__dot__c__slash__d", "bool"),
        ("[]", "list(dyn)"),
        ("{'a': [1]}['a'][0]", "int"),
        ("self.made > timestamp('2024-01-01T00:00:00Z') || self.long < duration('1h')", "bool"),
        ("string(self.port) + string(1.5)", "string"),
        ("self == oldSelf", "bool"),
    ],
)
def test_types_that_fit(source: str, output: str) -> None:
    declared = declare(SCHEMA)
    assert declared is not None
    assert str(compile_expression(source, declared, optional_old=False).output) == output


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("self.nope", "undefined field 'nope'"),
        ("self.free.any", "undefined field 'any'"),
        ("self.unknown == 1", "undefined field 'unknown'"),
        ("self.namespace", "undefined field 'namespace'"),
        ("self.name.x", "type 'string' does not support field selection"),
        ("self.name == 1", "no matching overload for '_==_' applied to '(string, int)'"),
        ("self.count == 1.0", "no matching overload for '_==_' applied to '(int, double)'"),
        ("self.count + 1.0", "no matching overload for '_+_'"),
        ("self.name && self.on", "no matching overload for '_&&_'"),
        ("self.on ? 1 : 'a'", "no matching overload for '_?_:_'"),
        ("self.names[self.name]", "no matching overload for '_[_]' applied to '(list(string), string)'"),
        ("1 in self.names", "no matching overload for '@in' applied to '(int, list(string))'"),
        ("[1, 'a']", "expected type 'int' but found 'string'"),
        ("self.count.all(x, true)", "expression of type 'int' cannot be range of a comprehension"),
        ("self.names.all(x, 1)", "no matching overload for '_&&_'"),
        ("x > 1", "undeclared reference to 'x'"),
        ("self.name.contains('a', 'b')", "no matching overload for 'contains'"),
        ("contains(self.name, 'a')", "no matching overload for 'contains'"),
        ("self.name.frobnicate()", "undeclared reference to 'frobnicate'"),
        ("self.names.includes('a')", "undeclared reference to 'includes'"),
        ("has(self)", "invalid argument to has() macro"),
        ("self.name.matches('[')", "invalid matches argument"),
        ("duration('soon') > duration('1s')", "invalid duration argument"),
        ("timestamp('never') < self.made", "invalid timestamp argument"),
        ("self.count > 99999999999999999999", "invalid int literal"),
        ("(" * 400 + "1" + ")" * 400, "recursion limit"),
        ("self.name ==", "Syntax error"),
        ("oldSelf == self", ""),
    ],
)
def test_types_that_do_not_fit(source: str, problem: str) -> None:
    declared = declare(SCHEMA)
    assert declared is not None
    with pytest.raises(CompilationError) as caught:
        compile_expression(source, declared, optional_old=problem == "")
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("1 + 2 * 3 - 4 / 3 % 2", 6),
        ("-7 / 2 == -3 && -7 % 3 == -1", True),
        ("1 / 0 > 1 || true", True),
        ("[0, 1].exists(x, 1 / x == 1) && ![0, 1].all(x, 1 / x == 2)", True),
        ("[1, 2, 3].filter(x, x > 1).map(x, x * 2)", [4, 6]),
        ("[1, 2, 2].exists_one(x, x == 1)", True),
        ("{'a': 1, 'b': 2}.map(k, k)", ["a", "b"]),
        ("'l1\\nl2' == '''l1\nl2''' && r'\\n' == '\\\\n' && '\\u00e9\\x41\\101' == 'éAA'", True),
        ("'abc'.matches('^a.c$') && !'abc'.matches('^b')", True),
        ("has({'a': {'b': 1}}.a.b)", True),
    ],
)
def test_values(source: str, value: Any) -> None:
    assert evaluate(ast.parse(source), {}) == value


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("{'a': 1}.b", "no such key: b"),
        ("[1][5]", "index out of bounds: 5"),
        ("1 / 0", "division by zero"),
        ("1 % 0", "modulus by zero"),
        ("9223372036854775807 + 1", "integer overflow"),
        ("duration('soon')", "type conversion error from 'string' to 'google.protobuf.Duration'"),
        ("timestamp('never')", "type conversion error from 'string' to 'google.protobuf.Timestamp'"),
        ("quantity('lots')", "quantities must match the regular expression"),
        ("1 / 0 > 1 || false", "division by zero"),
    ],
)
def test_errors(source: str, error: str) -> None:
    with pytest.raises(EvaluationError) as caught:
        evaluate(ast.parse(source), {})
    assert error in caught.value.text


@pytest.mark.parametrize("name", sorted(UNSUPPORTED))
def test_functions_that_are_not_supported_are_refused_by_name(name: str) -> None:
    declared = declare(SCHEMA)
    assert declared is not None
    for source in (f"self.names.{name}(x, x)", f"{name}(self.name)"):
        with pytest.raises(CompilationError, match=rf"{name}\(.* is not supported by this server"):
            compile_expression(source, declared, optional_old=False)


@pytest.mark.parametrize("source", ["1u == 1", "b'a' == b'b'", "self.names.all(i, n, n != '')", "optional.of(1)"])
def test_forms_that_are_not_supported_are_refused(source: str) -> None:
    declared = declare(SCHEMA)
    assert declared is not None
    with pytest.raises(CompilationError):
        compile_expression(source, declared, optional_old=False)


def test_lists_with_keys_are_equal_in_any_order_and_joined_by_key() -> None:
    texts = KeyedList(["a", "b"], ())
    ports = KeyedList([{"n": "a", "p": 1}, {"n": "b", "p": 2}], ("n",))
    scope = {"texts": texts, "ports": ports}
    assert evaluate(ast.parse("texts == ['b', 'a'] && texts + ['b', 'c'] == ['c', 'b', 'a']"), scope)
    assert evaluate(ast.parse("(ports + [{'n': 'a', 'p': 9}]).size() == 2"), scope)
    assert evaluate(ast.parse("ports + [{'n': 'a', 'p': 9}]"), scope)[0] == {"n": "a", "p": 9}


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plain", "plain"),
        ("a-b", "a__dash__b"),
        ("a__b", "a__underscores__b"),
        ("if", "__if__"),
        ("namespace", "__namespace__"),
        ("1a", None),
        ("a b", None),
        ("", None),
    ],
)
def test_names_of_properties_in_expressions(name: str, shown: str | None) -> None:
    assert escaped(name) == shown
