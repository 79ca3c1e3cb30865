"""The functions that rules may call, with the types they take and give. Pure.

CEL's own, then what Kubernetes adds: https://kubernetes.io/docs/reference/using-api/cel/#cel-options-language-features-and-libraries
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
_OPERATORS = """
_?_:_(bool, A, A) A
_&&_(bool, bool) bool
_||_(bool, bool) bool
!_(bool) bool
@not_strictly_false(bool) bool
cel.@mapInsert(map(A, B), A, B) map(A, B)
cel.@mapInsert(map(A, B), map(A, B)) map(A, B)
_==_(A, A) bool
_!=_(A, A) bool
@in(A, list(A)) bool
@in(A, map(A, B)) bool
_[_](list(A), int) A
_[_](map(A, B), A) B
_[?_](list(A), int) optional(A)
_[?_](map(A, B), A) optional(B)
_[?_](optional(list(A)), int) optional(A)
_[?_](optional(map(A, B)), A) optional(B)
_[_](optional(list(A)), int) optional(A)
_[_](optional(map(A, B)), A) optional(B)
-_(int) int
-_(double) double
_+_(int, int) int
_+_(uint, uint) uint
_+_(double, double) double
_+_(string, string) string
_+_(bytes, bytes) bytes
_+_(list(A), list(A)) list(A)
_+_(duration, duration) duration
_+_(timestamp, duration) timestamp
_+_(duration, timestamp) timestamp
_-_(int, int) int
_-_(uint, uint) uint
_-_(double, double) double
_-_(duration, duration) duration
_-_(timestamp, duration) timestamp
_-_(timestamp, timestamp) duration
_*_(int, int) int
_*_(uint, uint) uint
_*_(double, double) double
_/_(int, int) int
_/_(uint, uint) uint
_/_(double, double) double
_%_(int, int) int
_%_(uint, uint) uint
"""
_STANDARD = """
size(string) int
size(bytes) int
size(list(A)) int
size(map(A, B)) int
string.size() int
bytes.size() int
list(A).size() int
map(A, B).size() int
string.contains(string) bool
string.startsWith(string) bool
string.endsWith(string) bool
string.matches(string) bool
matches(string, string) bool
dyn(A) dyn
type(A) type
bool(bool) bool
bool(string) bool
bytes(bytes) bytes
bytes(string) bytes
double(double) double
double(int) double
double(uint) double
double(string) double
duration(duration) duration
duration(string) duration
duration(int) duration
int(int) int
int(uint) int
int(double) int
int(string) int
int(duration) int
int(timestamp) int
string(string) string
string(bool) string
string(bytes) string
string(double) string
string(duration) string
string(int) string
string(timestamp) string
string(uint) string
string(ip) string
string(cidr) string
timestamp(timestamp) timestamp
timestamp(string) timestamp
timestamp(int) timestamp
uint(uint) uint
uint(int) uint
uint(double) uint
uint(string) uint
timestamp.getFullYear() int
timestamp.getFullYear(string) int
timestamp.getMonth() int
timestamp.getMonth(string) int
timestamp.getDayOfYear() int
timestamp.getDayOfYear(string) int
timestamp.getDayOfMonth() int
timestamp.getDayOfMonth(string) int
timestamp.getDate() int
timestamp.getDate(string) int
timestamp.getDayOfWeek() int
timestamp.getDayOfWeek(string) int
timestamp.getHours() int
timestamp.getHours(string) int
timestamp.getMinutes() int
timestamp.getMinutes(string) int
timestamp.getSeconds() int
timestamp.getSeconds(string) int
timestamp.getMilliseconds() int
timestamp.getMilliseconds(string) int
duration.getHours() int
duration.getMinutes() int
duration.getSeconds() int
duration.getMilliseconds() int
optional.of(A) optional(A)
optional.ofNonZeroValue(A) optional(A)
optional.none() optional(A)
optional.unwrap(list(optional(A))) list(A)
list(optional(A)).unwrapOpt() list(A)
list(A).first() optional(A)
list(A).last() optional(A)
optional(A).hasValue() bool
optional(A).value() A
optional(A).or(optional(A)) optional(A)
optional(A).orValue(A) A
"""
_TEXTS = """
string.charAt(int) string
string.indexOf(string) int
string.indexOf(string, int) int
string.lastIndexOf(string) int
string.lastIndexOf(string, int) int
string.lowerAscii() string
string.upperAscii() string
string.trim() string
string.replace(string, string) string
string.replace(string, string, int) string
string.split(string) list(string)
string.split(string, int) list(string)
string.substring(int) string
string.substring(int, int) string
list(string).join() string
list(string).join(string) string
string.format(list(dyn)) string
strings.quote(string) string
string.find(string) string
string.findAll(string) list(string)
string.findAll(string, int) list(string)
"""
_LISTS = """
list(A).indexOf(A) int
list(A).lastIndexOf(A) int
list(A).slice(int, int) list(A)
list(dyn).flatten() list(dyn)
list(dyn).flatten(int) list(dyn)
list(A).distinct() list(A)
list(A).reverse() list(A)
lists.range(int) list(int)
sets.contains(list(A), list(A)) bool
sets.equivalent(list(A), list(A)) bool
sets.intersects(list(A), list(A)) bool
"""
_KUBERNETES = """
url(string) url
isURL(string) bool
url.getScheme() string
url.getHost() string
url.getHostname() string
url.getPort() string
url.getEscapedPath() string
url.getQuery() map(string, list(string))
ip(string) ip
isIP(string) bool
ip.isCanonical(string) bool
ip.family() int
ip.isUnspecified() bool
ip.isLoopback() bool
ip.isLinkLocalMulticast() bool
ip.isLinkLocalUnicast() bool
ip.isGlobalUnicast() bool
cidr(string) cidr
isCIDR(string) bool
cidr.containsIP(string) bool
cidr.containsIP(ip) bool
cidr.containsCIDR(string) bool
cidr.containsCIDR(cidr) bool
cidr.ip() ip
cidr.prefixLength() int
cidr.masked() cidr
quantity(string) quantity
isQuantity(string) bool
sign(quantity) int
quantity.isGreaterThan(quantity) bool
quantity.isLessThan(quantity) bool
quantity.compareTo(quantity) int
quantity.asApproximateFloat() double
quantity.asInteger() int
quantity.isInteger() bool
quantity.add(quantity) quantity
quantity.add(int) quantity
quantity.sub(quantity) quantity
quantity.sub(int) quantity
semver(string) semver
semver(string, bool) semver
isSemver(string) bool
isSemver(string, bool) bool
semver.isGreaterThan(semver) bool
semver.isLessThan(semver) bool
semver.compareTo(semver) int
semver.major() int
semver.minor() int
semver.patch() int
format.validate(string) optional(list(string))
format.named(string) optional(format)
"""
FORMATS = (
    "dns1123Label",
    "dns1123Subdomain",
    "dns1035Label",
    "qualifiedName",
    "dns1123LabelPrefix",
    "dns1123SubdomainPrefix",
    "dns1035LabelPrefix",
    "labelValue",
    "uri",
    "uuid",
    "byte",
    "date",
    "datetime",
)
_NAMESPACED = frozenset(
    {"cel.@mapInsert", "optional.of", "optional.ofNonZeroValue", "optional.none", "optional.unwrap", "strings.quote"}
    | {"lists.range", "sets.contains", "sets.equivalent", "sets.intersects", "ip.isCanonical", "format.named"}
)
"""Functions whose names have a dot in them; everything else before a dot is what a method is called on."""
SORT_BY = "@sortByAssociatedKeys"
_COMPARED = ("bool", "int", "uint", "double", "string", "bytes", "timestamp", "duration")
_NUMBERS = ("int", "uint", "double")
_NAMED = {kind.value: Type(kind) for kind in Kind} | {"duration": types.DURATION, "timestamp": types.TIMESTAMP}
_OPAQUE = {
    "url": "kubernetes.URL",
    "ip": "net.IP",
    "cidr": "net.CIDR",
    "quantity": "kubernetes.Quantity",
    "semver": "kubernetes.Semver",
    "format": "kubernetes.NamedFormat",
}
_LINE = re.compile(
    r"(?:(?P<on>[a-z]+(?:\((?:[^()]|\([^()]*\))*\))?)\.)?"
    r"(?P<name>[^.(]+|_\?_:_)\((?P<takes>.*)\) (?P<gives>\S.*)"
)

# Names of types that can stand in an expression: ``type(self) == string``.
TYPE_NAMES = frozenset(
    {"bool", "int", "uint", "double", "string", "bytes", "list", "map", "null_type", "type", "optional_type"}
    | {"google.protobuf.Duration", "google.protobuf.Timestamp", *_OPAQUE.values()}
)


def _compared() -> list[str]:
    pairs = [(kind, kind) for kind in _COMPARED]
    pairs += [(left, right) for left in _NUMBERS for right in _NUMBERS if left != right]
    return [f"{name}({left}, {right}) bool" for name in ("_<_", "_<=_", "_>_", "_>=_") for left, right in pairs]


def _of_lists() -> list[str]:
    lines = []
    for kind in ("int", "uint", "double", "bool", "duration", "timestamp", "string", "bytes"):
        lines += [f"list({kind}).isSorted() bool", f"list({kind}).min() {kind}", f"list({kind}).max() {kind}"]
        lines += [f"list({kind}).sort() list({kind})", f"list(A).{SORT_BY}(list({kind})) list(A)"]
    lines += [f"list({kind}).sum() {kind}" for kind in ("int", "uint", "double", "duration")]
    return lines


def _split(text: str) -> list[str]:
    return [part.strip() for part in re.split(r",(?![^(]*\))", text) if part.strip()]


def _type(text: str) -> Type:
    name, _, rest = text.partition("(")
    parameters = tuple(_type(part) for part in _split(rest.removesuffix(")"))) if rest else ()
    if name == "optional":
        return types.optional_of(parameters[0])
    if name in _OPAQUE:
        return Type(Kind.OPAQUE, _OPAQUE[name])
    if name.isupper():
        return Type(Kind.PARAMETER, name)
    return Type(_NAMED[name].kind, parameters=parameters)


def _overload(line: str) -> Overload:
    found = _LINE.fullmatch(line)
    if found is None:
        raise ValueError(line)
    on, name = found["on"], found["name"]
    takes = tuple(_type(part) for part in _split(found["takes"]))
    gives = _type(found["gives"])
    if on is None or f"{on}.{name}" in _NAMESPACED:
        return Overload(name if on is None else f"{on}.{name}", False, takes, gives)
    return Overload(name, True, (_type(on), *takes), gives)


def _declared() -> dict[str, list[Overload]]:
    lines = "\n".join((_OPERATORS, _STANDARD, _TEXTS, _LISTS, _KUBERNETES)).split("\n")
    lines += [*_compared(), *_of_lists()]
    functions: dict[str, list[Overload]] = {}
    for line in lines:
        if line:
            made = _overload(line)
            functions.setdefault(made.function, []).append(made)
    for name in FORMATS:
        functions[f"format.{name}"] = [Overload(f"format.{name}", False, (), _type("format"))]
    return functions


FUNCTIONS = _declared()
"""Overloads by the name of the function."""
