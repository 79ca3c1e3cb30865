"""Request bodies: JSON or YAML into plain objects, noticing duplicate keys."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

import yaml

from localkube.apiserver.errors import UNKNOWN_FORMAT, ApiError, bad_request, unsupported_media_type
from localkube.apiserver.http.protobuf import MEDIA_TYPE, decode_protobuf
from localkube.apiserver.jsonobj import Json, JsonObject

JSON_TYPES = frozenset({"application/json", ""})
YAML_TYPE = "application/yaml"
_NO_KIND = "couldn't get version/kind"
_SHOWN_BYTES = 30


@dataclass
class Body:
    """A decoded body, and the paths of keys that stand in it twice."""

    value: Json
    duplicates: list[str] = field(default_factory=list)
    data: bytes = b""
    """The body as it was sent."""
    repeated: list[str] = field(default_factory=list)
    """Where keys of YAML stand twice: ``line 6: key "color" already set in map``."""

    def as_object(self, kind: str = "Object", *, none_is_empty: bool = False) -> JsonObject:
        """Returns the body as an object of a kind; raises 400."""
        if self.value is None and none_is_empty:
            return {}
        if self.value is None:
            raise unrecognized(kind, "Object 'Kind' is missing in 'null'", self.data)
        if not isinstance(self.value, dict):
            names = {bool: "bool", int: "number", float: "number", str: "string", list: "array"}
            why = f"json: cannot unmarshal {names[type(self.value)]} into Go value of type struct"
            raise unrecognized(kind, f"{_NO_KIND}; json parse error: {why}", self.data)
        return self.value


def unrecognized(kind: str, why: str, data: bytes) -> ApiError:
    """400: a body that cannot be read as an object; the message shows how it begins."""
    more = " ..." if len(data) > _SHOWN_BYTES else ""
    begin = data[:_SHOWN_BYTES]
    shown = (begin.decode(errors="replace") if data.startswith(b"{") else begin.hex()) + more if data else "<empty>"
    return bad_request(f"the object provided is unrecognized (must be of type {kind}): {why} ({shown})")


def json_problem(data: bytes, error: ValueError | RecursionError) -> str:
    """Returns what is wrong with a text that is no JSON."""
    if isinstance(error, RecursionError):
        return "exceeded max depth"
    text = data.decode(errors="replace").rstrip()
    position = error.pos if isinstance(error, json.JSONDecodeError) else 0
    unterminated = isinstance(error, json.JSONDecodeError) and error.msg.startswith("Unterminated string")
    if position >= len(text) or unterminated:
        return "unexpected end of JSON input"
    where = "after top-level value" if "Extra data" in str(error) else "looking for beginning of value"
    return f"invalid character '{text[position]}' {where}"


def _no_constant(name: str) -> Json:
    raise ValueError(f"{name} is no value of JSON")


def decode_json(data: bytes, kind: str = "Object") -> Body:
    """Decode JSON; raises 400."""
    try:
        value, duplicates = json_value(data)
    except (ValueError, RecursionError) as error:
        raise unrecognized(kind, f"{_NO_KIND}; json parse error: {json_problem(data, error)}", data) from None
    return Body(value, duplicates, data)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is too large a number")
    return value


def json_value(data: bytes) -> tuple[Json, list[str]]:
    """Returns the value that a text in JSON is, and the paths of its repeated keys; raises ValueError or
    RecursionError."""
    repeated = _Repeated()
    value = json.loads(data, object_pairs_hook=repeated.object, parse_constant=_no_constant, parse_float=_finite)
    return value, list(dict.fromkeys(repeated.inside(value)))


class _Repeated:
    """Notes the keys that stand in an object twice, by their path in the order of the text; the last value counts."""

    def __init__(self) -> None:
        # By identity; the object is kept with them, so that no other one can have its identity.
        self._paths: dict[int, tuple[JsonObject, list[str]]] = {}

    def object(self, items: list[tuple[str, Json]]) -> JsonObject:
        """Returns an object of its keys and values."""
        made = dict(items)
        if not self._paths and len(made) == len(items):
            return made
        paths: list[str] = []
        seen: set[str] = set()
        for key, value in items:
            paths += (f"{key}{'' if path.startswith('[') else '.'}{path}" for path in self.inside(value))
            if key in seen:
                paths.append(key)
            seen.add(key)
        if paths:
            self._paths[id(made)] = (made, paths)
        return made

    def inside(self, value: Json) -> list[str]:
        """Returns the paths of repeated keys in a value."""
        if isinstance(value, list) and self._paths:
            return [
                f"[{index}]{'' if path.startswith('[') else '.'}{path}"
                for index, item in enumerate(value)
                for path in self.inside(item)
            ]
        return self._paths[id(value)][1] if id(value) in self._paths else []


def decode_yaml(data: bytes, doing: str = "") -> Body:
    """Decode YAML (of which JSON is a part); raises 400, with what was being done in front of the message."""
    try:
        value, duplicates = json_value(data)
    except (ValueError, RecursionError):
        pass
    else:
        if not duplicates:
            return Body(value, data=data)
    loader = _JsonLikeLoader(data)
    try:
        return Body(loader.get_single_data(), data=data, repeated=loader.repeated)
    except yaml.YAMLError as error:
        raise bad_request(f"{doing}error converting YAML to JSON: yaml: {error}") from None
    finally:
        loader.dispose()


def decode(data: bytes, content_type: str, kind: str = "Object") -> Body:
    """Decode an object of a kind by content type; raises 400 or 415."""
    media_type = content_type.split(";")[0].strip().lower()
    if media_type in JSON_TYPES:
        return decode_json(data, kind)
    if media_type == YAML_TYPE:
        return decode_yaml(data)
    if media_type == MEDIA_TYPE:
        return Body(decode_protobuf(data), data=data)
    raise unsupported_media_type(f"{UNKNOWN_FORMAT}application/json, {YAML_TYPE}, {MEDIA_TYPE}")


class _JsonLikeLoader(yaml.SafeLoader):
    """YAML 1.1 as Kubernetes reads it: times stay texts, y is true; it notices keys that stand in a map twice."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.repeated: list[str] = []

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Returns a map."""
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                self.repeated.append(f'line {key.start_mark.line + 1}: key "{key.value}" already set in map')
            if isinstance(key, yaml.ScalarNode):
                seen.add(key.value)
        return super().construct_mapping(node, deep)


_TRUE = ("y", "yes", "true", "on")
_FALSE = ("n", "no", "false", "off")


def _cases(words: tuple[str, ...]) -> list[str]:
    return [form for word in words for form in (word, word.capitalize(), word.upper())]


def _bool(loader: _JsonLikeLoader, node: yaml.ScalarNode) -> bool:
    return loader.construct_scalar(node).lower() in _TRUE


def _int(loader: _JsonLikeLoader, node: yaml.ScalarNode) -> int:
    text = loader.construct_scalar(node).replace("_", "")
    octal = re.fullmatch(r"([-+]?)0([0-7]+)", text)
    return int(f"{octal[1]}0o{octal[2]}" if octal else text, 0)


def _float(loader: _JsonLikeLoader, node: yaml.ScalarNode) -> float:
    return float(loader.construct_scalar(node).replace("_", ""))


_JsonLikeLoader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first, _construct in (
    ("bool", "|".join(_cases(_TRUE + _FALSE)), "yYnNtTfFoO", _bool),
    ("int", "[-+]?(0b[01_]+|0o?[0-7_]*|0x[0-9a-fA-F_]+|[1-9][0-9_]*)", "-+0123456789", _int),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+0123456789.", _float),
    ("null", "~|null|Null|NULL|", "~nN", None),
    ("merge", "<<", "<", None),
):
    _JsonLikeLoader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), [*_first, ""] if _tag == "null" else [*_first]
    )
    if _construct is not None:
        _JsonLikeLoader.add_constructor(f"tag:yaml.org,2002:{_tag}", _construct)
