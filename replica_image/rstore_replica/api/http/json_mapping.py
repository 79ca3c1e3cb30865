"""Messages as JSON and back, as etcd's gateway maps them: protobuf's JSON mapping with the fields' own names.

The mapping is ``google.protobuf.json_format``'s. Around it: fields that are not known are left out, as etcd does, while
a value that is not known is refused; and base64 is checked, which Python's decoder would not do. Pure.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, NoReturn, cast

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

MAX_DEPTH = 100
MAX_VALUES = 50_000
"""Of a request; each takes about as long as a kilobyte of text."""
SLICE_BYTES = 4 << 10
"""Of a message that becomes JSON at a time."""
ELEMENTS_PER_STEP = 50
"""Of a list of messages."""
ELEMENT_BYTES = 100
"""What the conversion of a message takes, however small it is, in bytes that take as long."""
_SPACE = " \t\r\n"
_KINDS = {str: "string", list: "array", dict: "object", bool: "bool", int: "number", float: "number"}
_FIRST_ILLEGAL = re.compile(r"[^A-Za-z0-9+/\r\n]")


Pace = Callable[[], None]


def _no_pause() -> None:
    """For conversions that take no time to speak of."""


class JsonError(Exception):
    """A text is no JSON, or not that of the message."""


def message_from(text: bytes, kind: type[Message], pace: Pace = _no_pause) -> Message:
    """Returns the message in the first JSON value of the text; an empty one where there is none. Raises JsonError.

    It calls ``pace`` between steps of about a millisecond.
    """
    message = kind()
    if text.count(b",") + text.count(b"{") + text.count(b"[") > MAX_VALUES:
        raise JsonError(f"a request of more than {MAX_VALUES} values")
    try:
        decoded = text.decode().lstrip(_SPACE)
        value = _DECODER.raw_decode(decoded)[0] if decoded else None
        if value is not None:
            _fill(message, value, pace)
    except json.JSONDecodeError as error:
        raise JsonError("unexpected EOF" if error.pos >= len(decoded) else str(error)) from error
    except (ValueError, json_format.Error) as error:
        raise JsonError(str(error)) from error
    except RecursionError as error:
        raise JsonError("exceeded max depth") from error
    return message


def _fill(message: Message, value: object, pace: Pace) -> None:
    """Sets the message's fields. Raises JsonError, json_format.Error."""
    fields = _fields(cast(Descriptor, message.DESCRIPTOR))
    alone: dict[str, Any] = {}
    for name, item in _object(value).items():
        field = fields.get(name)
        if field is None or item is None:
            continue
        if field.message_type is None or not field.is_repeated:
            alone[field.name] = _known_item(item, field, 0)
            continue
        elements = getattr(message, field.name)
        for number, element in enumerate(_array(item)):
            if number % ELEMENTS_PER_STEP == 0:
                pace()
            known = _known(element, field.message_type, 1)
            json_format.ParseDict(known, elements.add(), max_recursion_depth=MAX_DEPTH)
    json_format.ParseDict(alone, message, max_recursion_depth=MAX_DEPTH)


def json_from(message: Message, pace: Pace = _no_pause) -> bytes:
    """Returns the message as JSON without spaces; fields that have their default value are left out.

    It is made in slices of a few milliseconds, with a call of ``pace`` before each: Python's encoder would keep all
    other threads waiting until the end of a large value.
    """
    if message.ByteSize() <= SLICE_BYTES:
        return _encoded(json_format.MessageToDict(message, preserving_proto_field_name=True))
    parts = []
    for field, value in message.ListFields():
        if field.message_type is None:
            text = _scalar_json(message, field)
        elif field.is_repeated:
            text = b"[" + b",".join(_elements(value, pace)) + b"]"
        else:
            text = json_from(value, pace)
        parts.append(b'"%s":%s' % (field.name.encode(), text))
    return b"{" + b",".join(parts) + b"}"


def _elements(values: Iterable[Message], pace: Pace) -> Iterator[bytes]:
    size = SLICE_BYTES
    for value in values:
        if size >= SLICE_BYTES:
            pace()
            size = 0
        size += value.ByteSize() + ELEMENT_BYTES
        yield json_from(value, pace)


def _scalar_json(message: Message, field: FieldDescriptor) -> bytes:
    """Returns the JSON of one field that holds no messages."""
    alone = type(message)()
    if field.is_repeated:
        getattr(alone, field.name).extend(getattr(message, field.name))
    else:
        setattr(alone, field.name, getattr(message, field.name))
    return _encoded(json_format.MessageToDict(alone, preserving_proto_field_name=True)[field.name])


def _encoded(value: object) -> bytes:
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
    if depth >= MAX_DEPTH:
        raise JsonError("exceeded max depth")
    fields = _fields(descriptor)
    known: dict[str, Any] = {}
    for name, item in _object(value).items():
        field = fields.get(name)
        if field is not None and item is not None:
            known[field.name] = _known_item(item, field, depth)
    return known


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong_kind(value, "map[string]json.RawMessage")
    return value


def _array(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise _wrong_kind(value, "[]json.RawMessage")
    return value


def _wrong_kind(value: object, wanted: str) -> JsonError:
    return JsonError(f"json: cannot unmarshal {_KINDS.get(type(value), 'null')} into Go value of type {wanted}")


def _known_item(item: Any, field: FieldDescriptor, depth: int) -> Any:
    if field.is_repeated:
        return [_known_value(each, field, depth) for each in _array(item)]
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
        raise _wrong_kind(item, "[]uint8")
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
