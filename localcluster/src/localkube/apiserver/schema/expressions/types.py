"""Types of CEL expressions. https://github.com/google/cel-spec/blob/master/doc/langdef.md#values"""

from __future__ import annotations

import enum
from dataclasses import dataclass

OPTIONAL = "optional_type"


class Kind(enum.Enum):
    """What a type is, apart from its parameters. The values are as messages name them."""

    DYN = "dyn"
    ERROR = "!error!"
    NULL = "null"
    BOOL = "bool"
    INT = "int"
    DOUBLE = "double"
    STRING = "string"
    BYTES = "bytes"
    DURATION = "google.protobuf.Duration"
    TIMESTAMP = "google.protobuf.Timestamp"
    LIST = "list"
    MAP = "map"
    OBJECT = "object"
    OPAQUE = "opaque"
    PARAMETER = "parameter"


@dataclass(frozen=True)
class Type:
    """A type. ``declared`` is what a schema says of an object; two objects are of one type when it is the same one."""

    kind: Kind
    name: str = ""
    parameters: tuple[Type, ...] = ()
    declared: object = None

    def __str__(self) -> str:
        shown = self.name or self.kind.value
        return f"{shown}({', '.join(map(str, self.parameters))})" if self.parameters else shown

    @property
    def is_optional(self) -> bool:
        """Returns whether values are optional."""
        return self.kind is Kind.OPAQUE and self.name == OPTIONAL

    @property
    def is_scalar(self) -> bool:
        """Returns whether values are of a fixed size (texts are not)."""
        return self.kind in _SCALARS or (self.is_optional and self.parameters[0].is_scalar)


_SCALARS = frozenset({Kind.BOOL, Kind.DOUBLE, Kind.DURATION, Kind.INT, Kind.TIMESTAMP})

DYN = Type(Kind.DYN)
ERROR = Type(Kind.ERROR)
NULL = Type(Kind.NULL)
BOOL = Type(Kind.BOOL)
INT = Type(Kind.INT)
DOUBLE = Type(Kind.DOUBLE)
STRING = Type(Kind.STRING)
BYTES = Type(Kind.BYTES)
DURATION = Type(Kind.DURATION)
TIMESTAMP = Type(Kind.TIMESTAMP)


def list_of(item: Type) -> Type:
    """Returns the type of lists."""
    return Type(Kind.LIST, parameters=(item,))


def map_of(key: Type, value: Type) -> Type:
    """Returns the type of maps."""
    return Type(Kind.MAP, parameters=(key, value))


def optional_of(value: Type) -> Type:
    """Returns the type of values that may be missing."""
    return Type(Kind.OPAQUE, OPTIONAL, (value,))


class Unifier:
    """Which types stand for the type parameters of one expression, as far as its parts have been looked at."""

    def __init__(self) -> None:
        self._bound: dict[Type, Type] = {}
        self._fresh = 0

    def fresh(self) -> Type:
        """Returns a type parameter that stands for nothing yet."""
        self._fresh += 1
        return Type(Kind.PARAMETER, f"_{self._fresh}")

    def instance(self, types: tuple[Type, ...]) -> tuple[Type, ...]:
        """Types of a declaration with parameters of their own in place of its parameters."""
        names: dict[str, Type] = {}

        def rename(of: Type) -> Type:
            if of.kind is Kind.PARAMETER:
                if of.name not in names:
                    names[of.name] = self.fresh()
                return names[of.name]
            return Type(of.kind, of.name, tuple(rename(item) for item in of.parameters), of.declared)

        return tuple(rename(of) for of in types)

    def resolved(self, of: Type, *, unbound_as_dyn: bool = False) -> Type:
        """Returns a type with what its parameters stand for put in."""
        if of.kind is Kind.PARAMETER:
            if of in self._bound:
                return self.resolved(self._bound[of], unbound_as_dyn=unbound_as_dyn)
            return DYN if unbound_as_dyn else of
        if not of.parameters:
            return of
        parameters = tuple(self.resolved(item, unbound_as_dyn=unbound_as_dyn) for item in of.parameters)
        return Type(of.kind, of.name, parameters, of.declared)

    def assign(self, given: tuple[Type, ...], wanted: tuple[Type, ...]) -> bool:
        """Returns whether values of the given types may stand where others are wanted; binds parameters when they
        may."""
        before = dict(self._bound)
        if len(given) == len(wanted) and all(
            self._assign(left, right) for left, right in zip(given, wanted, strict=True)
        ):
            return True
        self._bound = before
        return False

    def _assign(self, given: Type, wanted: Type) -> bool:
        if wanted.kind is Kind.PARAMETER:
            fits, bound = self._substitute(given, wanted)
            if fits or bound:
                return fits
        if given.kind is Kind.PARAMETER:
            return self._substitute(wanted, given)[0]
        if {given.kind, wanted.kind} & {Kind.DYN, Kind.ERROR}:
            return True
        if Kind.NULL in (given.kind, wanted.kind):
            other = wanted if given.kind is Kind.NULL else given
            return other.kind in (Kind.NULL, Kind.OBJECT, Kind.DURATION, Kind.TIMESTAMP, Kind.OPAQUE)
        if given.kind is not wanted.kind or given.name != wanted.name or given.declared is not wanted.declared:
            return False
        pairs = zip(given.parameters, wanted.parameters, strict=True)
        return all(self._assign(left, right) for left, right in pairs)

    def _substitute(self, of: Type, parameter: Type) -> tuple[bool, bool]:
        """Returns whether a type may stand for a parameter, and whether something stood for it before."""
        if of == parameter:
            return True, True
        bound = self._bound.get(parameter)
        if bound is None:
            if self._occurs(parameter, of):
                return False, False
            self._bound[parameter] = of
            return True, False
        if of == bound:
            return True, True
        if not self._assign(of, bound):
            return False, True
        general = of if _less_specific(of, bound) else bound
        if not self._occurs(parameter, general):
            self._bound[parameter] = general
        return True, True

    def _occurs(self, parameter: Type, within: Type) -> bool:
        if within == parameter:
            return True
        if within.kind is Kind.PARAMETER:
            return within in self._bound and self._occurs(parameter, self._bound[within])
        return any(self._occurs(parameter, item) for item in within.parameters)


def _less_specific(left: Type, right: Type) -> bool:
    if left.kind in (Kind.DYN, Kind.PARAMETER):
        return True
    if right.kind in (Kind.DYN, Kind.PARAMETER) or left.kind is not right.kind or left.name != right.name:
        return False
    if left.declared is not right.declared:
        return False
    return all(_less_specific(one, other) for one, other in zip(left.parameters, right.parameters, strict=True))
