"""The encoding of protocol buffers, as far as messages are joined out of bytes that are encoded already.

A message inside another is its tag, its length and its bytes.
"""

from __future__ import annotations

_LENGTH_DELIMITED = 2


def tag(field: int) -> bytes:
    """Returns the tag of a field that holds a message, a string or bytes. Raises ValueError for fields from 16 on."""
    if not 0 < field < 16:
        raise ValueError(f"field {field} has a longer tag")
    return bytes((field << 3 | _LENGTH_DELIMITED,))


def nested(tag: bytes, data: bytes) -> bytes:
    """Returns an encoded message as a field of another."""
    return tag + varint(len(data)) + data


def varint(number: int) -> bytes:
    """Encodes a number that is not negative, seven bits in a byte."""
    if number < 0x80:
        return bytes((number,))
    if number < 0x4000:
        return bytes((number & 0x7F | 0x80, number >> 7))
    encoded = bytearray()
    while number >= 0x80:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
