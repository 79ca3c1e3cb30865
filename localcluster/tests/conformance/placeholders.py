"""Placeholders of the recordings: which value of this server each of them stands for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

PLACEHOLDER = re.compile(r"<(?:uid|rv|list-rv|continue|suffix|ip|node-port)-\d+>|<time>|<microtime>|<age>|<rv>")
_NUMBERED = re.compile(r"<([a-z-]+)-\d+>")
_ANY_TIME = {"<time>": "2024-01-01T00:00:00Z", "<microtime>": "2024-01-01T00:00:00.000000Z"}
_PATTERNS = {
    "<time>": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:Z|[+-]\d\d:\d\d)",
    "<microtime>": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(?:Z|[+-]\d\d:\d\d)",
    "<age>": r"(?:\d+[smhd])+",
    "<rv>": r"\d+",
    "uid": r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    "rv": r"\d+",
    "list-rv": r"\d+",
    "continue": r".+",
    "suffix": r"[a-z0-9]{5}",
    "ip": r"[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+",
    "node-port": r"\d+",
}
_DISTINCT = ("uid", "rv", "continue", "suffix")
"""Kinds of which two placeholders never stand for the same value."""
_ONLY_GO_WRITES = re.compile(
    r"json: cannot unmarshal|strconv\.|parsing time|Go struct|&user\.|&value\.|\[\]string\{|StorageError|in scheme \""
    r"|yaml:|invalid character|compilation failed:|error parsing regexp:|spec is immutable after creation"
)
ABSENT = "(absent)"


@dataclass(frozen=True)
class Difference:
    """Where an answer is not as recorded."""

    path: str
    recorded: Any
    answered: Any

    def __str__(self) -> str:
        return f"{self.path}: recorded {self.recorded!r:.300}, answered {self.answered!r:.300}"


def _kind(placeholder: str) -> str:
    match = _NUMBERED.fullmatch(placeholder)
    return match.group(1) if match else placeholder


@dataclass
class Bindings:
    """What the placeholders of one case stand for; learned from answers, used in the requests after them."""

    namespace: str
    node: str
    values: dict[str, str] = field(default_factory=dict)

    def fill(self, value: Any) -> Any:
        """A recorded request's part with values in the place of placeholders."""
        if isinstance(value, dict):
            return {self.fill(key): self.fill(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.fill(item) for item in value]
        if not isinstance(value, str):
            return value
        value = self._names(value)
        if re.fullmatch(r"<node-port-\d+>", value):
            return int(self.values[value])
        return PLACEHOLDER.sub(lambda match: _ANY_TIME.get(match[0]) or self.values.get(match[0], match[0]), value)

    def differences(self, recorded: Any, answered: Any, path: str = "") -> Iterator[Difference]:
        """Every place in which an answer is not as recorded. Keys of objects have no order, 1 and 1.0 are equal."""
        if isinstance(recorded, dict) and isinstance(answered, dict):
            filled = {self.fill(key): item for key, item in recorded.items()}
            for key, item in filled.items():
                if key in answered:
                    yield from self.differences(item, answered[key], f"{path}.{key}")
                else:
                    yield Difference(f"{path}.{key}", item, ABSENT)
            for key in answered.keys() - filled.keys():
                yield Difference(f"{path}.{key}", ABSENT, answered[key])
        elif isinstance(recorded, list) and isinstance(answered, list):
            for index, (one, other) in enumerate(zip(recorded, answered, strict=False)):
                yield from self.differences(one, other, f"{path}[{index}]")
            if len(recorded) != len(answered):
                yield Difference(f"{path}.length", len(recorded), len(answered))
        elif isinstance(recorded, str) and (isinstance(answered, str) or "<node-port-" in recorded):
            if not self.matches(recorded, str(answered)):
                yield Difference(path, recorded, answered)
        elif not _same_scalar(recorded, answered):
            yield Difference(path, recorded, answered)

    def matches(self, recorded: str, answered: str) -> bool:
        """True if a text is as recorded; placeholders that have no value yet get theirs.

        Of a text that only a program in Go can write, what comes before those words counts."""
        recorded = self._names(recorded)
        pattern, placeholders, at = "", [], 0
        only_go = _ONLY_GO_WRITES.search(recorded)
        compared = recorded[: only_go.start()] if only_go else recorded
        for match in PLACEHOLDER.finditer(compared):
            placeholder = match[0]
            value_pattern = _PATTERNS.get(placeholder) or _PATTERNS[_kind(placeholder)]
            pattern += re.escape(compared[at : match.start()]) + f"({value_pattern})"
            placeholders.append(placeholder)
            at = match.end()
        pattern += re.escape(compared[at:]) + (".*" if only_go else "")
        answer = re.fullmatch(pattern, answered, re.DOTALL)
        return answer is not None and all(map(self._bind, placeholders, answer.groups()))

    def _names(self, text: str) -> str:
        return text.replace("{ns}", self.namespace).replace("{node}", self.node)

    def _bind(self, placeholder: str, value: str) -> bool:
        """False if the placeholder already stands for another value, or another one stands for this value."""
        if not _NUMBERED.fullmatch(placeholder):
            return True
        if placeholder in self.values:
            return self.values[placeholder] == value
        kind = _kind(placeholder)
        if kind in _DISTINCT and value in {bound for name, bound in self.values.items() if _kind(name) == kind}:
            return False
        self.values[placeholder] = value
        return True


def _same_scalar(one: Any, other: Any) -> bool:
    if (
        isinstance(one, int | float)
        and isinstance(other, int | float)
        and isinstance(one, bool) == isinstance(other, bool)
    ):
        return one == other
    return type(one) is type(other) and bool(one == other)
