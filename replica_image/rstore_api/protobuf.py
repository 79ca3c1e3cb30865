"""The encoding of protocol buffers, as far as messages are joined out of bytes that are encoded already. Pure.

A message inside another is its tag, its length and its bytes.
"""

from __future__ import annotations

_LENGTH_DELIMITED = 2


def tag(field: int) -> bytes:
    """What announces a message, a string or bytes; for fields below 16."""
    if not 0 < field < 16:
        raise ValueError(f"field {field} has a longer tag")
    return bytes((field << 3 | _LENGTH_DELIMITED,))


def nested(tag: bytes, data: bytes) -> bytes:
    """A message as a field of another."""
    return tag + varint(len(data)) + data


def varint(number: int) -> bytes:
    """A number that is not negative, seven bits in a byte."""
    if number < 0x80:
        return bytes((number,))
    found = bytearray()
    while number >= 0x80:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)
