"""gRPC's length-prefixed messages inside a stream of bytes. Pure."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

PREFIX = struct.Struct(">BI")
PREFIX_BYTES = 5
ACCEPTED_ENCODINGS = b"identity,deflate,gzip"
_WINDOW_BITS = {"gzip": 31, "deflate": 15}


class MessageError(Exception):
    """What came is no message that can be taken. ``too_large``, or of a form that is not supported."""

    def __init__(self, text: str, *, too_large: bool = False) -> None:
        super().__init__(text)
        self.too_large = too_large


def prefixed(message: bytes) -> bytes:
    """A message as it is sent: uncompressed."""
    return PREFIX.pack(0, len(message)) + message


def offered(offer: Callable[[bytes], bool], before: bytes, middles: Sequence[bytes], after: bytes) -> int:
    """Offers the messages ``before + middle + after`` one by one until one is not taken; returns how many were."""
    for count, middle in enumerate(middles):
        if not offer(before + middle + after):
            return count
    return len(middles)


class Arrived(NamedTuple):
    """A message as it came."""

    body: bytes
    compressed: bool

    @property
    def wire_bytes(self) -> int:
        """What it took of the stream."""
        return len(self.body) + PREFIX_BYTES


class MessageReader:
    """Puts messages together again. They are decompressed one by one, when they are taken: see :meth:`unpacked`."""

    __slots__ = ("_encoding", "_max_bytes", "_rest")

    def __init__(self, *, max_bytes: int, encoding: str = "identity") -> None:
        """``encoding`` is what compressed messages are compressed with; none may be larger than ``max_bytes``."""
        self._max_bytes = max_bytes
        self._encoding = encoding
        self._rest = bytearray()

    @property
    def incomplete_bytes(self) -> int:
        """What has come of a message that is not complete."""
        return len(self._rest)

    def feed(self, data: bytes) -> list[Arrived]:
        """The messages that are complete now. Raises MessageError."""
        if self._rest:
            self._rest += data
            if len(self._rest) < PREFIX_BYTES or len(self._rest) - PREFIX_BYTES < self._size_at(self._rest, 0):
                return []
            data = bytes(self._rest)
            self._rest.clear()
        complete = []
        at, size = 0, len(data)
        while size - at >= PREFIX_BYTES:
            end = at + PREFIX_BYTES + self._size_at(data, at)
            if end > size:
                break
            complete.append(Arrived(data[at + PREFIX_BYTES : end], bool(data[at])))
            at = end
        if at < size:
            self._rest += data[at:]
        return complete

    def unpacked(self, message: Arrived) -> bytes:
        """What the message says. Raises MessageError."""
        return self._decompressed(message.body) if message.compressed else message.body

    def _size_at(self, data: bytes | bytearray, at: int) -> int:
        size: int = PREFIX.unpack_from(data, at)[1]
        if size > self._max_bytes:
            raise MessageError(f"Received message larger than max ({size} vs. {self._max_bytes})", too_large=True)
        return size

    def _decompressed(self, body: bytes) -> bytes:
        bits = _WINDOW_BITS.get(self._encoding)
        if bits is None:
            raise MessageError(f"a message is compressed, and the call says {self._encoding!r}")
        machine = zlib.decompressobj(bits)
        try:
            message = machine.decompress(body, self._max_bytes + 1)
        except zlib.error as error:
            raise MessageError(f"a message cannot be decompressed: {error}") from error
        if len(message) > self._max_bytes:
            raise MessageError(f"Received message larger than max (unpacked vs. {self._max_bytes})", too_large=True)
        if not machine.eof:
            raise MessageError("a compressed message ends early")
        return message
