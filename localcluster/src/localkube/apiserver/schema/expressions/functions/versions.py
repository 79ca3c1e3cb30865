"""Semantic versions, compared as https://semver.org says. Their methods of comparison are those of quantities."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from localkube.apiserver.schema.expressions.values import EvaluationError

_NUMBER = "(0|[1-9][0-9]*)"
_SEMVER = re.compile(rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:-([0-9A-Za-z.-]+))?(?:\+([0-9A-Za-z.-]+))?")


@functools.total_ordering
@dataclass(frozen=True, eq=False)
class Semver:
    """A semantic version; build metadata does not count."""

    TYPE_NAME: ClassVar[str] = "kubernetes.Semver"
    numbers: tuple[int, int, int]
    before: tuple[str, ...] = ()
    """The identifiers of a version before the release."""

    def _order(self) -> tuple[Any, ...]:
        parts = tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in self.before)
        return self.numbers, not self.before, parts

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Semver) and self._order() == other._order()

    def __lt__(self, other: Semver) -> bool:
        return self._order() < other._order()

    def __hash__(self) -> int:
        return hash(self._order())


def _read(text: str, normalize: bool = False) -> Semver:
    found = _SEMVER.fullmatch(_normalized(text) if normalize else text)
    if found is None:
        raise EvaluationError(f"failed to parse semver: {text}")
    before = tuple(found[4].split(".")) if found[4] else ()
    return Semver((int(found[1]), int(found[2]), int(found[3])), before)


def _normalized(text: str) -> str:
    """Without a leading v and leading zeros, and with all three numbers."""
    numbers, rest = re.match(r"([^-+]*)(.*)", text.removeprefix("v"), re.DOTALL).groups()  # type: ignore[union-attr]
    parts = [part.lstrip("0") or "0" if part else part for part in numbers.split(".")]
    return ".".join([*parts, "0", "0"][: max(3, len(parts))]) + rest


def _is_semver(text: str, normalize: bool = False) -> bool:
    try:
        _read(text, normalize)
    except EvaluationError:
        return False
    return True


GLOBALS: dict[str, Callable[..., Any]] = {"semver": _read, "isSemver": _is_semver}
METHODS: dict[str, Callable[..., Any]] = {
    "major": lambda version: version.numbers[0],
    "minor": lambda version: version.numbers[1],
    "patch": lambda version: version.numbers[2],
}
