"""CEL expressions: every declared function is there and does what CEL and Kubernetes say; types are checked."""

from __future__ import annotations

from typing import Any

import pytest
from localkube.apiserver.schema.expressions import ast
from localkube.apiserver.schema.expressions.checked import CompilationError, compile_expression
from localkube.apiserver.schema.expressions.declarations import FUNCTIONS
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
        ("self.made + duration('1h') > timestamp('2024-01-01T00:00:00Z')", "bool"),
        ("has(self.free) && self.__namespace__ == self.a__dash__b__dot__c__slash__d", "bool"),
        ("type(self.port) == int ? self.port > 1 : self.port.endsWith('%')", "bool"),
        ("[1, 2].sum() == 3 && [].size() == 0", "bool"),
        ("[]", "list(dyn)"),
        ("{'a': [1]}['a'][0]", "int"),
        ("quantity('1').add(2).compareTo(quantity('3'))", "int"),
        ("optional.of(self.name).orValue('x')", "string"),
        ("url('https://a').getQuery()", "map(string, list(string))"),
        ("self == oldSelf", "bool"),
        ("self.names.all(i, n, i < 3 && n != '')", "bool"),
        ("self.labels.exists(k, v, k == v)", "bool"),
        ("self.?name", "optional_type(string)"),
        ("self.?labels[?'a'].orValue('') + self.names[?0].orValue('x')", "string"),
        ("self.?name.optMap(n, size(n)).orValue(0)", "int"),
        ("self.names.transformList(i, n, n + string(i))", "list(string)"),
        ("self.labels.transformMap(k, v, size(v))", "map(string, int)"),
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
        ("self.names.sum() == 1", "no matching overload for 'sum' applied to 'list(string).()'"),
        ("[1, 'a']", "expected type 'int' but found 'string'"),
        ("self.count.all(x, true)", "expression of type 'int' cannot be range of a comprehension"),
        ("self.names.all(x, 1)", "no matching overload for '_&&_'"),
        ("x > 1", "undeclared reference to 'x'"),
        ("self.name.contains('a', 'b')", "no matching overload for 'contains'"),
        ("contains(self.name, 'a')", "no matching overload for 'contains'"),
        ("self.name.frobnicate()", "undeclared reference to 'frobnicate'"),
        ("self.names.includes('a')", "undeclared reference to 'includes'"),
        ("self.names.sortBy(n, self.labels) == []", "no matching overload for '@sortByAssociatedKeys'"),
        ("has(self)", "invalid argument to has() macro"),
        ("self.name.matches('[')", "invalid matches argument"),
        ("self.name.find('(?=x)') == ''", "invalid find argument"),
        ("duration('soon') > duration('1s')", "invalid duration argument"),
        ("timestamp('never') < self.made", "invalid timestamp argument"),
        ("timestamp(-62135596801) < self.made", "invalid timestamp argument"),
        ("self.count > 99999999999999999999", "invalid int literal"),
        ("self.?nope.hasValue()", "undefined field 'nope'"),
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
        ("1 == 1.0 && 2u == 2", True),
        ("dyn(1) == 'a' || dyn('a') != dyn(1)", True),
        ("1 / 0 > 1 || true", True),
        ("[0, 1].exists(x, 1 / x == 1) && ![0, 1].all(x, 1 / x == 2)", True),
        ("[1, 2, 3].filter(x, x > 1).map(x, x * 2)", [4, 6]),
        ("[1, 2, 2].exists_one(x, x == 1)", True),
        ("{'a': 1, 'b': 2}.map(k, k)", ["a", "b"]),
        ("['b', 'a'].all(i, x, x != string(i))", True),
        ("'%d %s %f'.format([1, 'abc', 1.0]) + '%e'.format([3.14])", "1 abc 1.0000003.140000×10⁰⁰"),
        ("'l1\\nl2' == '''l1\nl2''' && r'\\n' == '\\\\n' && '\\u00e9\\x41\\101' == 'éAA'", True),
        ("b'\\x41\\303' == b'A\\xc3' && b'é' == bytes('é')", True),
        ("[5, 6].transformList(i, x, x > 5, i + x)", [7]),
        ("{'a': 1}.transformMapEntry(k, v, {v: k})", {1: "a"}),
        ("[3, 1, 2].sort() == [1, 2, 3] && ['bb', 'a'].sortBy(x, size(x)) == ['a', 'bb']", True),
        ("[1, 2].existsOne(i, x, i + x == 3)", True),
        ("{'a': 1}.transformMap(k, v, k + string(v))", {"a": "a1"}),
        ("'tacocat'.indexOf('o', 2) + 'tacocat'.lastIndexOf('ac')", 4),
        ("'hello'.charAt(4) + 'hello'.substring(1, 3)", "oel"),
        ("'a,b,c'.split(',', 2)", ["a", "b,c"]),
        ("' x '.trim().upperAscii() + 'É'.lowerAscii()", "XÉ"),
        ("'aXbX'.replace('X', '-', 1)", "a-bX"),
        ("'abc'.matches('^a.c$') && !'abc'.matches('^b')", True),
        ("'a1b22'.findAll('[0-9]+')", ["1", "22"]),
        ("'%s=%d %.2f'.format(['x', 3, 1.5])", "x=3 1.50"),
        ("strings.quote('a\"b')", '"a\\"b"'),
        ("[3, 1, 2].min() + [3, 1, 2].max()", 4),
        ("[duration('1s'), duration('2s')].sum() == duration('3s')", True),
        ("[1, 2].isSorted() && !['b', 'a'].isSorted()", True),
        ("[[1], [2, [3]]].flatten()", [1, 2, [3]]),
        ("[1, 1, 2].distinct() == lists.range(3).slice(1, 3)", True),
        ("sets.equivalent([1, 2], [2, 1]) && sets.contains([1, 2], [1])", True),
        ("string(duration('90m')) + string(timestamp('2024-01-01T01:00:00+01:00'))", "5400s2024-01-01T01:00:00+01:00"),
        ("timestamp('2024-03-01T00:30:00Z').getDate('-01:00')", 29),
        ("duration('1h30m').getMinutes()", 90),
        ("timestamp('2024-01-02T00:00:00Z') - timestamp('2024-01-01T00:00:00Z') == duration('24h')", True),
        ("quantity('1Gi').compareTo(quantity('1024Mi')) == 0 && sign(quantity('-1')) == -1", True),
        ("quantity('1500m').isInteger() || quantity('2k').asInteger() == 2000", True),
        ("url('https://u@a.io:8443/x%20y?q=1&q=2').getHost()", "a.io:8443"),
        ("url('https://[::1]:80/').getHostname() + url('https://[::1]:80/').getPort()", "::180"),
        ("isURL('https://a.io/x') && isURL('/path') && !isURL('nope') && !isURL('http://a b/')", True),
        ("isIP('10.0.0.1') && !isIP('10.0.0.01') && !isIP('::ffff:1.2.3.4') && !isIP('fe80::1%eth0')", True),
        ("ip('::1').isLoopback() && ip('8.8.8.8').isGlobalUnicast() && ip.isCanonical('::1')", True),
        ("cidr('10.1.2.3/8').masked() == cidr('10.0.0.0/8') && cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16')", True),
        ("isCIDR('10.0.0.0/8') && !isCIDR('10.0.0.0') && cidr('10.0.0.0/8').ip().family() == 4", True),
        ("semver('1.2.3').isLessThan(semver('1.10.0')) && semver('1.0.0-rc.1').compareTo(semver('1.0.0')) < 0", True),
        ("isSemver('v1.2', true) && !isSemver('v1.2')", True),
        ("format.dns1123Label().validate('ok').hasValue()", False),
        ("format.named('uuid').value().validate('x').value()", ["does not match the UUID format"]),
        ("format.dns1123LabelPrefix().validate('ok-').hasValue()", False),
        ("optional.none().orValue(1) + optional.of(2).value()", 3),
        ("type(1) == int && type([]) == list && type(duration('1s')) == google.protobuf.Duration", True),
        ("has({'a': {'b': 1}}.a.b)", True),
        ("{'a': 1}.?a.orValue(0) + {'a': 1}.?b.orValue(5)", 6),
        ("[1, 2][?1].value() + [1, 2][?9].orValue(9)", 11),
        ("{'a': {'b': 2}}.?a.?b.optMap(v, v * 10).value()", 20),
        ("optional.none().optFlatMap(v, optional.of(v)).hasValue()", False),
        ("optional.unwrap([optional.of(1), optional.none()]) + [[3].first().value()]", [1, 3]),
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
        ("0u - 1u", "unsigned integer overflow"),
        ("int('x')", "type conversion error from 'string' to 'int'"),
        ("duration('soon')", "type conversion error from 'string' to 'google.protobuf.Duration'"),
        ("timestamp('never')", "type conversion error from 'string' to 'google.protobuf.Timestamp'"),
        ("dyn('a') + 1", "no such overload"),
        ("dyn(1) ? 1 : 2", "no such overload"),
        ("'abc'.substring(2, 9)", "index out of range: 9"),
        ("optional.none().value()", "optional.none() dereference"),
        ("quantity('lots')", "quantities must match the regular expression"),
        ("[].max()", "max called on empty list"),
        ("1 / 0 > 1 || false", "division by zero"),
    ],
)
def test_errors(source: str, error: str) -> None:
    with pytest.raises(EvaluationError) as caught:
        evaluate(ast.parse(source), {})
    assert error in caught.value.text


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
