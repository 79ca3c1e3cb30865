"""The functions that rules may call, with the types they take and give.

They are the ones of CEL and Kubernetes that definitions of operators use most; UNSUPPORTED names the others.
https://kubernetes.io/docs/reference/using-api/cel/#cel-options-language-features-and-libraries
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from localkube.apiserver.schema.expressions import types
from localkube.apiserver.schema.expressions.types import Kind, Type


@dataclass(frozen=True)
class Overload:
    """One way to call a function. Of a method the first of ``takes`` is what it is called on."""

    function: str
    method: bool
    takes: tuple[Type, ...]
    gives: Type


# Each line: what the method is called on (or nothing), name, arguments, result. Capital letters are type parameters.
_FUNCTIONS = """
_?_:_(bool, A, A) A
_&&_(bool, bool) bool
_||_(bool, bool) bool
!_(bool) bool
@not_strictly_false(bool) bool
_==_(A, A) bool
_!=_(A, A) bool
@in(A, list(A)) bool
@in(A, map(A, B)) bool
_[_](list(A), int) A
_[_](map(A, B), A) B
-_(int) int
-_(double) double
_+_(int, int) int
_+_(double, double) double
_+_(string, string) string
_+_(list(A), list(A)) list(A)
_-_(int, int) int
_-_(double, double) double
_*_(int, int) int
_*_(double, double) double
_/_(int, int) int
_/_(double, double) double
_%_(int, int) int
size(string) int
size(list(A)) int
size(map(A, B)) int
string.size() int
list(A).size() int
map(A, B).size() int
string.contains(string) bool
string.startsWith(string) bool
string.endsWith(string) bool
string.matches(string) bool
matches(string, string) bool
string(string) string
string(bool) string
string(bytes) string
string(double) string
string(int) string
duration(string) duration
timestamp(string) timestamp
optional(A).hasValue() bool
optional(A).value() A
optional(A).or(optional(A)) optional(A)
optional(A).orValue(A) A
quantity(string) quantity
isQuantity(string) bool
quantity.isGreaterThan(quantity) bool
quantity.isLessThan(quantity) bool
quantity.compareTo(quantity) int
"""
_COMPARED = ("bool", "int", "double", "string", "bytes", "timestamp", "duration")
_NAMED = {kind.value: Type(kind) for kind in Kind} | {"duration": types.DURATION, "timestamp": types.TIMESTAMP}
_QUANTITY = Type(Kind.OPAQUE, "kubernetes.Quantity")
_LINE = re.compile(
    r"(?:(?P<on>[a-z]+(?:\((?:[^()]|\([^()]*\))*\))?)\.)?"
    r"(?P<name>[^.(]+|_\?_:_)\((?P<takes>.*)\) (?P<gives>\S.*)"
)


def _compared() -> list[str]:
    pairs = [(kind, kind) for kind in _COMPARED]
    pairs += [("int", "double"), ("double", "int")]
    return [f"{name}({left}, {right}) bool" for name in ("_<_", "_<=_", "_>_", "_>=_") for left, right in pairs]


def _split(text: str) -> list[str]:
    return [part.strip() for part in re.split(r",(?![^(]*\))", text) if part.strip()]


def _type(text: str) -> Type:
    name, _, rest = text.partition("(")
    parameters = tuple(_type(part) for part in _split(rest.removesuffix(")"))) if rest else ()
    if name == "optional":
        return types.optional_of(parameters[0])
    if name == "quantity":
        return _QUANTITY
    if name.isupper():
        return Type(Kind.PARAMETER, name)
    return Type(_NAMED[name].kind, parameters=parameters)


def _overload(line: str) -> Overload:
    parts = _LINE.fullmatch(line)
    if parts is None:
        raise ValueError(line)
    takes = tuple(_type(part) for part in _split(parts["takes"]))
    on = () if parts["on"] is None else (_type(parts["on"]),)
    return Overload(parts["name"], bool(on), (*on, *takes), _type(parts["gives"]))


def _declared() -> dict[str, list[Overload]]:
    functions: dict[str, list[Overload]] = {}
    for line in [*_FUNCTIONS.strip().split("\n"), *_compared()]:
        overload = _overload(line)
        functions.setdefault(overload.function, []).append(overload)
    return functions


FUNCTIONS = _declared()
"""Overloads by the name of the function."""

_UNSUPPORTED = """
existsOne transformList transformMap transformMapEntry sortBy optMap optFlatMap unwrap unwrapOpt first last none
ofNonZeroValue dyn type bool bytes double int uint getFullYear getMonth getDayOfYear getDayOfMonth getDate
getDayOfWeek getHours getMinutes getSeconds getMilliseconds charAt indexOf lastIndexOf lowerAscii upperAscii trim
replace split substring join format quote find findAll slice flatten distinct reverse range equivalent intersects
isSorted sum min max sort url isURL getScheme getHost getHostname getPort getEscapedPath getQuery ip isIP isCanonical
family isUnspecified isLoopback isLinkLocalMulticast isLinkLocalUnicast isGlobalUnicast cidr isCIDR containsIP
containsCIDR prefixLength masked sign asApproximateFloat asInteger isInteger add sub semver isSemver major minor
patch validate named
"""
UNSUPPORTED = frozenset(_UNSUPPORTED.split())
"""Functions and macros that Kubernetes has and this server refuses, with a message that says so."""
