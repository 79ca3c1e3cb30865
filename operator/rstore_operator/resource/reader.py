"""Reads one object of a raw spec field by field: every problem is collected, and the default is used instead."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rstore_api.domain.limits import Bounds

from rstore_operator.resource.units import format_duration_ms, format_quantity, parse_duration_ms, parse_quantity


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: where (``spec.regions[1].name``) and what."""

    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


class Reader:
    """One object of the spec; every problem goes to the shared list and the default is used instead."""

    def __init__(self, raw: object, path: str, problems: list[Problem]) -> None:
        self.path = path
        self.problems = problems
        if raw is None:
            raw = {}
        if not isinstance(raw, Mapping):
            self.problem("", "must be an object")
            raw = {}
        self.raw: Mapping[str, Any] = raw

    def problem(self, name: str, message: str) -> None:
        self.problems.append(Problem(f"{self.path}.{name}" if name else self.path, message))

    def child(self, name: str) -> Reader:
        return Reader(self.raw.get(name), f"{self.path}.{name}", self.problems)

    def text(self, name: str, default: str, *, choices: tuple[str, ...] = ()) -> str:
        value = self.raw.get(name, default)
        if not isinstance(value, str) or not value:
            self.problem(name, "must be a non-empty string")
            return default
        if choices and value not in choices:
            self.problem(name, f"must be one of {', '.join(choices)}, not {value!r}")
            return default
        return value

    def optional_text(self, name: str, *, choices: tuple[str, ...] = ()) -> str:
        """A text; "" when it is absent."""
        return self.text(name, "", choices=choices) if self.raw.get(name) is not None else ""

    def truth(self, name: str, default: bool) -> bool:
        value = self.raw.get(name, default)
        if not isinstance(value, bool):
            self.problem(name, f"must be true or false, not {value!r}")
            return default
        return value

    def mapping(self, name: str) -> Mapping[str, Any] | None:
        return None if self.raw.get(name) is None else self.child(name).raw

    def texts(self, name: str) -> Mapping[str, str]:
        """A map of texts, such as labels."""
        values = self.mapping(name) or {}
        for key, value in values.items():
            if not isinstance(value, str):
                self.problem(f"{name}.{key}", f"must be a string, not {value!r}")
        return {str(key): str(value) for key, value in values.items()}

    def objects(self, name: str) -> tuple[Mapping[str, Any], ...] | None:
        raw = self.raw.get(name)
        if raw is None:
            return None
        if not isinstance(raw, list) or not all(isinstance(item, Mapping) for item in raw):
            self.problem(name, "must be a list of objects")
            return None
        return tuple(raw)

    def integer(self, name: str, bounds: Bounds) -> int:
        value = self.raw.get(name, bounds.default)
        if isinstance(value, bool) or not isinstance(value, int):
            self.problem(name, f"must be a whole number, not {value!r}")
            return bounds.default
        if not bounds.low <= value <= bounds.high:
            self.problem(name, f"must be from {bounds.low} to {bounds.high}, not {value}")
            return bounds.default
        return value

    def duration_ms(self, name: str, bounds: Bounds) -> int:
        """A duration in milliseconds."""
        return self._measure(name, bounds, parse_duration_ms, format_duration_ms)

    def quantity(self, name: str, bounds: Bounds) -> int:
        """A quantity, as a whole number."""
        return self._measure(name, bounds, parse_quantity, format_quantity)

    def resources(self, default_requests: Mapping[str, str]) -> tuple[Mapping[str, str], Mapping[str, str] | None]:
        """Requests and limits of a container. A resource with a limit and no request requests its limit, as in a pod;
        the default is for an object that gives neither."""
        requests, most = self._quantities("requests"), self._quantities("limits")
        if requests is None and not most:
            requests = default_requests
        return {**(most or {}), **(requests or {})}, most

    def _quantities(self, name: str) -> Mapping[str, str] | None:
        if self.raw.get(name) is None:
            return None
        values = self.child(name)
        for key, value in values.raw.items():
            try:
                if parse_quantity(value) < 0:
                    values.problem(key, "must not be negative")
            except ValueError as error:
                values.problem(key, str(error))
        return {str(key): str(value) for key, value in values.raw.items()}

    def _measure(self, name: str, bounds: Bounds, parse: Callable[[object], Any], text: Callable[[int], str]) -> int:
        if name not in self.raw:
            return bounds.default
        try:
            value = parse(self.raw[name])
        except ValueError as error:
            self.problem(name, str(error))
            return bounds.default
        if not bounds.low <= value <= bounds.high:
            self.problem(name, f"must be from {text(bounds.low)} to {text(bounds.high)}")
            return bounds.default
        return int(value)
