"""The most that an expression can cost, estimated from the sizes that a schema allows.

The unit is about the time of one simple operation. The rules are those of cel-go's type checker (``checker/cost.go``)
and of Kubernetes' libraries, so that expressions are accepted and refused as by a real server.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from localkube.apiserver.schema.expressions import ast
from localkube.apiserver.schema.expressions.call_costs import RULES, Argument
from localkube.apiserver.schema.expressions.check import Checked
from localkube.apiserver.schema.expressions.declared import MAX_REQUEST_BYTES, Declared
from localkube.apiserver.schema.expressions.ranges import MAX, NOTHING, ONE, TRAVERSAL, UNKNOWN, Range, exactly
from localkube.apiserver.schema.expressions.types import Kind, Type

_NEW_LIST, _NEW_MAP = 10, 30


def most_occurrences(declared: Declared) -> int:
    """Returns how often values can be there at most in an object that still fits a request."""
    return MAX_REQUEST_BYTES // (declared.least_bytes + 1)


@dataclass(frozen=True)
class _Entry:
    """Sizes of the keys and values of a list or map that an expression makes."""

    of_list: bool
    key: Range
    value: Range

    def __or__(self, other: _Entry) -> _Entry:
        return _Entry(self.of_list, self.key | other.key, self.value | other.value)


@dataclass(frozen=True)
class _Local:
    """What a variable of a loop stands for: a place in the schema, or sizes."""

    path: tuple[str, ...]
    size: Range | None
    entry: _Entry | None = None


def max_cost(expression: ast.Expr, checked: Checked, declared: Declared) -> int:
    """Returns the most that one evaluation of a checked expression costs, with ``self`` and ``oldSelf`` as declared."""
    return _Estimator(checked, declared).cost(expression).high


@dataclass
class _Estimator:
    checked: Checked
    declared: Declared
    paths: dict[ast.Expr, tuple[str, ...]] = field(default_factory=dict)
    sizes: dict[ast.Expr, Range] = field(default_factory=dict)
    entries: dict[ast.Expr, _Entry] = field(default_factory=dict)
    scope: dict[str, _Local] = field(default_factory=dict)

    def cost(self, part: ast.Expr) -> Range:
        """Returns the cost of a part; notes the place in the schema and the size of its value."""
        if isinstance(part, ast.Literal):
            return NOTHING
        if isinstance(part, ast.Ident):
            local = self.scope.get(part.name)
            self.paths[part] = local.path if local is not None else (part.name,)
            return ONE
        if isinstance(part, ast.Select):
            return self._select(part)
        if isinstance(part, ast.Call):
            return self._call(part)
        if isinstance(part, ast.ListLiteral):
            return self._list(part)
        if isinstance(part, ast.MapLiteral):
            return self._map(part)
        if isinstance(part, ast.Comprehension):
            return self._comprehension(part)
        raise TypeError(type(part).__name__)

    def _select(self, part: ast.Select) -> Range:
        total = self.cost(part.operand)
        if part.test:
            return total
        if self.checked.types[part.operand].kind in (Kind.MAP, Kind.OBJECT, Kind.PARAMETER):
            total += ONE
        self.paths[part] = (*self._path(part.operand), part.field)
        return total

    def _call(self, part: ast.Call) -> Range:
        total = NOTHING
        costs = [self.cost(argument) for argument in part.args]
        arguments = [self._argument(argument) for argument in part.args]
        target = None
        if part.target is not None:
            total += self.cost(part.target)
            target = self._argument(part.target)
        called: Range | None = None
        size: Range | None = None
        for overload in self.checked.overloads[part]:
            own, result = self._function(part, overload.takes, target, arguments, costs)
            called = own if called is None else called | own
            if result is not None:
                size = result if size is None else size | result
            if part.function == "_[_]":
                of = part.args[0]
                entry = self._entry(of)
                size = entry.value if entry is not None else None
                is_list = overload.takes[0].kind is Kind.LIST
                self.paths[part] = (*self._path(of), "@items" if is_list else "@values")
            if size is None:
                size = self._size(part)
        if size is not None:
            self.sizes[part] = size
        return total + (called if called is not None else NOTHING)

    def _function(
        self,
        part: ast.Call,
        takes: tuple[Type, ...],
        target: Argument | None,
        arguments: list[Argument],
        costs: list[Range],
    ) -> tuple[Range, Range | None]:
        """Returns the cost of a call with its arguments, and the size of its result where that is known."""
        function, together = part.function, NOTHING
        for cost in costs:
            together += cost
        if function in ("_&&_", "_||_"):
            return Range(costs[0].low, together.high), None
        if function == "_?_:_":
            chosen = self._entry(part.args[1]), self._entry(part.args[2])
            if chosen[0] is not None and chosen[1] is not None:
                self.entries[part] = chosen[0] | chosen[1]
            return costs[0] + (costs[1] | costs[2]), arguments[1].size | arguments[2].size
        if function == "_+_" and takes[0].kind in (Kind.STRING, Kind.LIST):
            left, right = self._entry(part.args[0]), self._entry(part.args[1])
            if left is not None and right is not None:
                self.entries[part] = left | right
            size = arguments[0].size + arguments[1].size
            return together + (ONE if takes[0].kind is Kind.LIST else size.by(TRAVERSAL)), size
        if function == "string" and takes[0].kind is Kind.BYTES:
            size = arguments[0].size
            return together + size.by(TRAVERSAL), Range(size.low // 4, size.high)
        rule = RULES.get(function)
        own = rule(target, arguments, takes) if rule is not None else None
        return together + (own if own is not None else ONE), None

    def _list(self, part: ast.ListLiteral) -> Range:
        total, size = exactly(_NEW_LIST), Range(MAX if part.items else 0, 0)
        for item in part.items:
            total += self.cost(item)
            size |= self._size(item) or UNKNOWN
        self.entries[part] = _Entry(True, ONE, size)
        return total

    def _map(self, part: ast.MapLiteral) -> Range:
        total = exactly(_NEW_MAP)
        keys = values = Range(MAX if part.entries else 0, 0)
        for key, value in part.entries:
            total += self.cost(key) + self.cost(value)
            keys |= self._size(key) or UNKNOWN
            values |= self._size(value) or UNKNOWN
        self.entries[part] = _Entry(False, keys, values)
        return total

    def _comprehension(self, part: ast.Comprehension) -> Range:
        total = self.cost(part.range) + self.cost(part.start)
        before = dict(self.scope)
        carried = _Local(self._path(part.start), self._size(part.start), self._entry(part.start))
        self.scope[ast.ACCUMULATOR] = carried
        self._loop_variable(part)
        each = self.cost(part.condition) + self.cost(part.step)
        self.scope = {**before, ast.ACCUMULATOR: carried}
        total += self.cost(part.result)
        self.scope = before
        count = self._size(part.range) or UNKNOWN
        if isinstance(part.start, ast.Literal):
            self.sizes[part] = self._size(part.start) or UNKNOWN
        else:
            self.sizes[part] = count
            step = self._entry(part.step)
            if step is not None:
                self.entries[part] = step
        return total + count * each

    def _loop_variable(self, part: ast.Comprehension) -> None:
        entry, path = self._entry(part.range), self._path(part.range)
        is_list = entry.of_list if entry is not None else self.checked.types[part.range].kind is Kind.LIST
        value = _Local((*path, "@items" if is_list else "@values"), entry.value if entry is not None else None)
        key = _Local((*path, "@keys"), entry.key if entry is not None else None)
        self.scope[part.variable] = value if is_list else key

    def _path(self, part: ast.Expr) -> tuple[str, ...]:
        if isinstance(part, ast.Ident) and part.name in self.scope:
            return self.scope[part.name].path
        return self.paths.get(part, ())

    def _entry(self, part: ast.Expr) -> _Entry | None:
        if part in self.entries:
            return self.entries[part]
        local = self.scope.get(part.name) if isinstance(part, ast.Ident) else None
        return local.entry if local is not None else None

    def _size(self, part: ast.Expr) -> Range | None:
        """Returns the size of a value: known from the expression, or allowed by the schema, or fixed by its type."""
        if part in self.sizes:
            return self.sizes[part]
        literal = _literal_size(part)
        if literal is not None:
            return literal
        declared = self._declared_size(self._path(part))
        if declared is not None:
            self.sizes[part] = declared
            return declared
        if self.checked.types[part].is_scalar:
            return ONE
        local = self.scope.get(part.name) if isinstance(part, ast.Ident) else None
        return local.size if local is not None else None

    def _declared_size(self, path: tuple[str, ...]) -> Range | None:
        """Returns what the schema allows at a path that begins with ``self`` or ``oldSelf``."""
        if not path:
            return None
        here: Declared | None = self.declared
        for name in path[1:]:
            if here is None:
                return None
            if name in ("@items", "@values"):
                here = here.element
            elif name == "@keys":
                here = here.key
            else:
                here = here.fields.get(name)
        return Range(0, here.most_elements) if here is not None else None

    def _argument(self, part: ast.Expr) -> Argument:
        return Argument(self.checked.types[part], self._size(part) or UNKNOWN)


def _literal_size(part: ast.Expr) -> Range | None:
    if isinstance(part, ast.Literal):
        return exactly(len(part.value)) if isinstance(part.value, str) else ONE
    if isinstance(part, ast.ListLiteral):
        return exactly(len(part.items))
    if isinstance(part, ast.MapLiteral):
        return exactly(len(part.entries))
    return None
