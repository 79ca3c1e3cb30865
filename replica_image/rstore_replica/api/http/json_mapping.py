"""Messages as JSON and back, as etcd's gateway maps them: protobuf's JSON mapping with the fields' own names.

The mapping is ``google.protobuf.json_format``'s. Around it: fields that are not known are left out, as etcd does, while
a value that is not known is refused; and base64 is checked, which Python's decoder would not do. Pure.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NoReturn, cast

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

MAX_DEPTH = 100
_SPACE = " \t\r\n"
_KINDS = {str: "string", list: "array", dict: "object", bool: "bool", int: "number", float: "number"}
_FIRST_ILLEGAL = re.compile(r"[^A-Za-z0-9+/\r\n]")


class JsonError(Exception):
    """A text is no JSON, or not that of the message."""


def message_from(text: bytes, kind: type[Message]) -> Message:
    """Returns the message in the first JSON value of the text; an empty one where there is none. Raises JsonError."""
    message = kind()
    try:
        decoded = text.decode().lstrip(_SPACE)
        value = _DECODER.raw_decode(decoded)[0] if decoded else None
        if value is not None:
            json_format.ParseDict(
                _known(value, cast(Descriptor, kind.DESCRIPTOR), 0), message, max_recursion_depth=MAX_DEPTH
            )
    except json.JSONDecodeError as error:
        raise JsonError("unexpected EOF" if error.pos >= len(decoded) else str(error)) from error
    except (ValueError, json_format.Error) as error:
        raise JsonError(str(error)) from error
    except RecursionError as error:
        raise JsonError("exceeded max depth") from error
    return message


def json_from(message: Message) -> bytes:
    """Returns the message as JSON without spaces; fields that have their default value are left out."""
    value = json_format.MessageToDict(message, preserving_proto_field_name=True)
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"invalid character {text[0]!r} looking for beginning of value")


_DECODER = json.JSONDecoder(parse_constant=_no_number)


@lru_cache(maxsize=256)
def _fields(descriptor: Descriptor) -> Mapping[str, FieldDescriptor]:
    """Returns the fields of a message by the names that they may have in JSON."""
    return {name: field for field in descriptor.fields for name in (field.camelcase_name, field.name)}


def _known(value: object, descriptor: Descriptor, depth: int) -> dict[str, Any]:
    """Returns a JSON object without the fields that the message does not have. Raises JsonError."""
    if not isinstance(value, dict):
        raise JsonError(
            f"json: cannot unmarshal {_KINDS.get(type(value), 'null')} into Go value of type map[string]json.RawMessage"
        )
    if depth >= MAX_DEPTH:
        raise JsonError("exceeded max depth")
    fields = _fields(descriptor)
    known: dict[str, Any] = {}
    for name, item in value.items():
        field = fields.get(name)
        if field is not None and item is not None:
            known[field.name] = _known_item(item, field, depth)
    return known


def _known_item(item: Any, field: FieldDescriptor, depth: int) -> Any:
    if field.is_repeated:
        if not isinstance(item, list):
            raise JsonError(f"json: cannot unmarshal {_KINDS[type(item)]} into Go value of type []json.RawMessage")
        return [_known_value(each, field, depth) for each in item]
    return _known_value(item, field, depth)


def _known_value(item: Any, field: FieldDescriptor, depth: int) -> Any:
    if field.message_type is not None:
        return _known(item, field.message_type, depth + 1)
    if field.type == FieldDescriptor.TYPE_BYTES:
        _check_base64(item)
    return item


def _check_base64(item: object) -> None:
    """Raises JsonError with the position at which Go's decoder finds it."""
    if not isinstance(item, str):
        raise JsonError(f"json: cannot unmarshal {_KINDS.get(type(item), 'null')} into Go value of type []uint8")
    text = item.replace("\r", "").replace("\n", "")
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        illegal = _FIRST_ILLEGAL.search(item)
        position = illegal.start() if illegal is not None else len(item) // 4 * 4
        raise JsonError(f"illegal base64 data at input byte {position}") from error


class ValueSplitter:
    """Takes JSON objects that follow each other apart, as their bytes come, in one pass."""

    def __init__(self, max_bytes: int) -> None:
        """``max_bytes``: of one object."""
        self._max_bytes = max_bytes
        self._value = bytearray()
        self._depth = 0
        self._in_string = self._escaped = False

    @property
    def is_incomplete(self) -> bool:
        """Whether an object has begun and not ended."""
        return bool(self._value)

    def feed(self, data: bytes) -> list[bytes]:
        """Returns the objects that are complete now. Raises JsonError."""
        complete: list[bytes] = []
        at = 0
        while at < len(data):
            if not self._depth:
                begin = _NO_SPACE.search(data, at)
                if begin is None:
                    break
                at = begin.start()
                if data[at] != _BRACE:
                    raise JsonError(f"invalid character {chr(data[at])!r} looking for beginning of object")
            end = self._object_end(data, at)
            self._value += data[at:end]
            at = end
            if len(self._value) > self._max_bytes:
                raise JsonError(f"a request of more than {self._max_bytes} bytes")
            if not self._depth and self._value:
                complete.append(bytes(self._value))
                self._value.clear()
        return complete

    def _object_end(self, data: bytes, at: int) -> int:
        """Returns the position behind the object's end, or the end of what has come."""
        if self._escaped and at < len(data):
            self._escaped, at = False, at + 1
        while (found := (_IN_STRING if self._in_string else _STRUCTURE).search(data, at)) is not None:
            at = found.end()
            mark = data[at - 1]
            if mark == _QUOTE:
                self._in_string = not self._in_string
            elif mark == _BACKSLASH:
                self._escaped, at = at >= len(data), at + 1
            elif mark in _OPENING:
                self._depth += 1
                if self._depth > MAX_DEPTH:
                    raise JsonError("exceeded max depth")
            else:
                self._depth -= 1
                if not self._depth:
                    return at
        return len(data)


_NO_SPACE = re.compile(rb"[^ \t\r\n]")
_STRUCTURE, _IN_STRING = re.compile(rb'["{}\[\]]'), re.compile(rb'["\\]')
_QUOTE, _BACKSLASH, _BRACE, _OPENING = ord('"'), ord("\\"), ord("{"), frozenset(b"{[")
