"""The type check of an expression: names and fields are declared, and each call has an overload that fits."""

from __future__ import annotations

from dataclasses import dataclass, field

from localkube.apiserver.schema.expressions import ast, types
from localkube.apiserver.schema.expressions.declarations import FUNCTIONS, Overload
from localkube.apiserver.schema.expressions.declared import Declared
from localkube.apiserver.schema.expressions.types import Kind, Type, Unifier


class ExpressionTypeError(Exception):
    """An expression does not fit the types; carries the place and the reason."""

    def __init__(self, at: ast.Expr, text: str) -> None:
        super().__init__(text)
        self.at = at
        self.text = text


@dataclass
class Checked:
    """What the check found out, by part of the expression."""

    types: dict[ast.Expr, Type] = field(default_factory=dict)
    overloads: dict[ast.Expr, tuple[Overload, ...]] = field(default_factory=dict)


def check(expression: ast.Expr, variables: dict[str, Type]) -> Checked:
    """Check an expression; raises ExpressionTypeError for the first thing that does not fit."""
    checker = _Checker()
    checker.of(expression, dict(variables))
    checked = checker.checked
    checked.types = {part: checker.unifier.resolved(of, unbound_as_dyn=True) for part, of in checked.types.items()}
    return checked


class _Checker:
    def __init__(self) -> None:
        self.checked = Checked()
        self.unifier = Unifier()

    def of(self, part: ast.Expr, scope: dict[str, Type]) -> Type:
        self.checked.types[part] = self._of(part, scope)
        return self.checked.types[part]

    def _of(self, part: ast.Expr, scope: dict[str, Type]) -> Type:
        if isinstance(part, ast.Literal):
            return _literal(part)
        if isinstance(part, ast.Ident):
            return self._name(part, part.name, scope)
        if isinstance(part, ast.Select):
            return self._select(part, scope)
        if isinstance(part, ast.Call):
            return self._call(part, scope)
        if isinstance(part, ast.ListLiteral):
            return types.list_of(self._joined(list(part.items), scope))
        if isinstance(part, ast.MapLiteral):
            keys = self._joined([key for key, _ in part.entries], scope)
            return types.map_of(keys, self._joined([value for _, value in part.entries], scope))
        if isinstance(part, ast.Comprehension):
            return self._comprehension(part, scope)
        raise TypeError(type(part).__name__)

    def _name(self, part: ast.Expr, name: str, scope: dict[str, Type]) -> Type:
        if name in scope:
            return scope[name]
        raise ExpressionTypeError(part, f"undeclared reference to '{name}' (in container '')")

    def _select(self, part: ast.Select, scope: dict[str, Type]) -> Type:
        declared = self._field(part, self.unifier.resolved(self.of(part.operand, scope)))
        return types.BOOL if part.test else declared

    def _field(self, part: ast.Select, target: Type) -> Type:
        if target.kind is Kind.MAP:
            return target.parameters[1]
        if isinstance(target.declared, Declared):
            declared = target.declared.fields.get(part.field)
            if declared is None:
                raise ExpressionTypeError(part, f"undefined field '{part.field}'")
            return declared.type
        if target.kind is Kind.PARAMETER:
            self.unifier.assign((types.DYN,), (target,))
        elif target.kind not in (Kind.DYN, Kind.ERROR):
            raise ExpressionTypeError(part, f"type '{target}' does not support field selection")
        return types.DYN

    def _call(self, part: ast.Call, scope: dict[str, Type]) -> Type:
        given = [self.of(argument, scope) for argument in part.args]
        name, method = part.function, part.target is not None
        if part.target is not None:
            given.insert(0, self.of(part.target, scope))
        if name not in FUNCTIONS:
            raise ExpressionTypeError(part, f"undeclared reference to '{name}' (in container '')")
        return self._resolve(part, name, tuple(given), method=method)

    def _resolve(self, part: ast.Call, name: str, given: tuple[Type, ...], *, method: bool) -> Type:
        fitting: list[Overload] = []
        result: Type | None = None
        for overload in FUNCTIONS[name]:
            if overload.method is not method:
                continue
            *takes, gives = self.unifier.instance((*overload.takes, overload.gives))
            if not self.unifier.assign(given, tuple(takes)):
                continue
            fitting.append(overload)
            gives = self.unifier.resolved(gives)
            if result is None:
                result = gives
            elif result.kind is not Kind.DYN and gives != result:
                result = types.DYN
        if result is None:
            shown = [str(self.unifier.resolved(of, unbound_as_dyn=True)) for of in given]
            listed = f"{shown[0]}.({', '.join(shown[1:])})" if method else f"({', '.join(shown)})"
            raise ExpressionTypeError(part, f"found no matching overload for '{name}' applied to '{listed}'")
        self.checked.overloads[part] = tuple(fitting)
        return result

    def _joined(self, parts: list[ast.Expr], scope: dict[str, Type]) -> Type:
        """Returns the one type that all items of a literal have."""
        joined: Type | None = None
        for part in parts:
            item = self.of(part, scope)
            if joined is None:
                joined = item
            elif not self.unifier.assign((item,), (joined,)):
                raise ExpressionTypeError(part, f"expected type '{joined}' but found '{item}'")
            elif item.kind is Kind.DYN:
                joined = types.DYN
        return joined if joined is not None else self.unifier.fresh()

    def _comprehension(self, part: ast.Comprehension, scope: dict[str, Type]) -> Type:
        over = self.unifier.resolved(self.of(part.range, scope))
        carried = self.of(part.start, scope)
        if over.kind in (Kind.LIST, Kind.MAP):
            variable = over.parameters[0]
        elif over.kind in (Kind.DYN, Kind.ERROR, Kind.PARAMETER):
            variable = types.DYN
        else:
            raise ExpressionTypeError(
                part.range,
                f"expression of type '{over}' cannot be range of a comprehension (must be list, map, or dynamic)",
            )
        inside = {**scope, ast.ACCUMULATOR: carried}
        loop = {**inside, part.variable: variable}
        for wanted, inner in ((types.BOOL, part.condition), (carried, part.step)):
            given = self.of(inner, loop)
            if not self.unifier.assign((given,), (wanted,)):
                raise ExpressionTypeError(inner, f"expected type '{wanted}' but found '{given}'")
        return self.of(part.result, inside)


def _literal(part: ast.Literal) -> Type:
    value = part.value
    if value is None:
        return types.NULL
    if isinstance(value, bool):
        return types.BOOL
    if isinstance(value, int):
        return types.INT
    if isinstance(value, float):
        return types.DOUBLE
    return types.STRING
