"""The grammar of label selectors such as ``app=x,tier in (a,b),!old,size>2``.

The tokens, the order of the checks and their wording are those of ``k8s.io/apimachinery/pkg/labels``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from localkube.apiserver.errors import bad_request
from localkube.apiserver.schema.formats import label_key, label_value

_TOKEN = re.compile(r"[ \t\r\n]*(==|!=|[=!(),<>]|[^=!(),<> \t\r\n]+)")
_SYMBOLS = frozenset({"==", "!=", "=", "!", "(", ")", ",", "<", ">"})
_OPERATORS = {"=": "in", "==": "in", "in": "in", "!=": "notin", "notin": "notin", ">": "gt", "<": "lt"}
_INTEGER = re.compile(r"[+-]?\d+")
_END = ""


@dataclass(frozen=True)
class Requirement:
    """One term of a label selector; ``operator`` is one of exists, absent, in, notin, gt, lt."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Returns whether the labels satisfy this term; ``notin`` and ``!=`` also match where the key is missing."""
        present = self.key in labels
        match self.operator:
            case "exists":
                return present
            case "absent":
                return not present
            case "in":
                return present and labels[self.key] in self.values
            case "notin":
                return not present or labels[self.key] not in self.values
        if not present or not _INTEGER.fullmatch(labels[self.key]):
            return False
        limit, value = int(next(iter(self.values))), int(labels[self.key])
        return value > limit if self.operator == "gt" else value < limit


class _SyntaxError(Exception):
    """A text is no label selector."""


def parse_labels(text: str) -> tuple[Requirement, ...]:
    """Parse a label selector; raises a 400."""
    try:
        return tuple(_Parser(text).requirements())
    except _SyntaxError as error:
        raise bad_request(str(error)) from None


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens = [match[1] for match in _TOKEN.finditer(text)]
        self._at = 0

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else _END

    def _take(self) -> str:
        token = self._peek()
        self._at += 1
        return token

    def requirements(self) -> Iterator[Requirement]:
        """Yields every term."""
        while (token := self._peek()) != _END:
            if not _word(token) and token != "!":
                raise _SyntaxError(f"found '{token}', expected: !, identifier, or 'end of string'")
            try:
                yield self._requirement()
            except _SyntaxError as error:
                raise _SyntaxError(f"unable to parse requirement: {error}") from None
            separator = self._take()
            if separator == _END:
                return
            if separator != ",":
                raise _SyntaxError(f"found '{separator}', expected: ',' or 'end of string'")
            following = self._peek()
            if not _word(following) and following != "!":
                raise _SyntaxError(f"found '{following}', expected: identifier after ','")

    def _requirement(self) -> Requirement:
        negated = self._peek() == "!"
        if negated:
            self._take()
        key = self._take()
        if not _word(key):
            raise _SyntaxError(f"found '{key}', expected: identifier")
        problems = label_key(key)
        if problems:
            raise _SyntaxError(f'<nil>: Invalid value: "{key}": {"; ".join(problems)}')
        if negated or self._peek() in (_END, ","):
            return Requirement(key, "absent" if negated else "exists")
        token = self._take()
        operator = _OPERATORS.get(token)
        if operator is None:
            raise _SyntaxError(f"found '{token}', expected: in, notin, =, ==, !=, gt, lt")
        values = self._value_list() if token in ("in", "notin") else [self._value()]
        _check_values(key, operator, values)
        return Requirement(key, operator, frozenset(values))

    def _value(self) -> str:
        if self._peek() in (_END, ","):
            return ""
        token = self._take()
        if not _word(token):
            raise _SyntaxError(f"found '{token}', expected: identifier")
        return token

    def _value_list(self) -> list[str]:
        """Returns the values in parentheses, sorted; an empty place between commas is the empty value."""
        opening = self._take()
        if opening != "(":
            raise _SyntaxError(f"found '{opening}' expected: '('")
        if self._peek() not in (")", ",") and not _word(self._peek()):
            raise _SyntaxError(f"found '{self._peek()}', expected: ',', ')' or identifier")
        values = {""} if self._peek() in (")", ",") else set()
        while (token := self._take()) != ")":
            if token == ",":
                if self._peek() in (",", ")"):
                    values.add("")
            elif _word(token):
                values.add(token)
                if self._peek() not in (",", ")"):
                    raise _SyntaxError(f"found '{self._peek()}', expected: ',' or ')'")
            else:
                raise _SyntaxError(f"found '{token}', expected: ',', or identifier")
        return sorted(values)


def _word(token: str) -> bool:
    return token != _END and token not in _SYMBOLS


def _check_values(key: str, operator: str, values: list[str]) -> None:
    problems = []
    for index, value in enumerate(values):
        if operator in ("gt", "lt") and not _INTEGER.fullmatch(value):
            why = "for 'Gt', 'Lt' operators, the value must be an integer"
            problems.append(f'values[{index}]: Invalid value: "{value}": {why}')
        wrong = label_value(value)
        if wrong:
            problems.append(f'values[{index}][{key}]: Invalid value: "{value}": {"; ".join(wrong)}')
    if problems:
        raise _SyntaxError(problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]")
