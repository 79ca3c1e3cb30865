"""How segments and parts of bases are written: a header in JSON, a compressed body, and checks of both.

All integers are big-endian::

    magic, 7 bytes: which kind | format version u8 = 1
    length of the header u32 | header, JSON | CRC32C of all before it u32
    length of the body u64 | length of it once unpacked u64 | body, zlib (RFC 1950) | CRC32C of the unpacked body u32
    SHA-256 of all before it, 32 bytes

The SHA-256 names the object: what follows it in a chain has it in its header. Decoding checks everything, and raises
:class:`Damaged` for whatever is not what was written, be it a single bit. A body is unpacked piece by piece, so that
what it takes unpacked is never in memory as a whole.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import google_crc32c
import msgspec

from rstore_backup.errors import Damaged

VERSION = 1
MAGIC_BYTES = 7
HEAD_BYTES = 64 << 10
"""So much of an object's beginning nearly always has its header."""
MAX_HEADER_BYTES = 8 << 20
MAX_BODY_BYTES = 1 << 30
LEVEL = 3
"""Of compression: a few tens of MB/s."""
PACKED_BYTES = 64 << 10
PIECE_BYTES = 1 << 20
"""Of a body: so many are unpacked at a time, and come out at most."""
DIGEST_BYTES = hashlib.sha256().digest_size

_START = struct.Struct(">7sBI")
_CRC = struct.Struct(">I")
_BODY = struct.Struct(">QQ")

HeaderT = TypeVar("HeaderT", bound=msgspec.Struct)


class NeedsMore(Exception):  # noqa: N818 # no error: the caller reads more
    """The header is longer than what was given."""

    def __init__(self, size_bytes: int) -> None:
        """``size_bytes`` of the object's beginning are needed."""
        super().__init__(f"{size_bytes} bytes are needed")
        self.size_bytes = size_bytes


@dataclass(frozen=True)
class Sealed:
    """An object of which everything is checked but its body, which is when it is read. ``sha256`` in hexadecimal is its
    own, as those that follow it name it.
    """

    name: str
    header: bytes
    sha256: str
    _packed: memoryview
    _packed_at: int
    _size_bytes: int
    _checksum: bytes

    def pieces(self) -> Iterator[bytes]:
        """Yields the body in pieces of at most PIECE_BYTES. Raises Damaged; of what came before nothing may be used
        then.
        """
        unpacking = zlib.decompressobj()
        checksum = size = 0
        try:
            for start in range(0, len(self._packed), PACKED_BYTES):
                packed: bytes | memoryview = self._packed[start : start + PACKED_BYTES]
                while piece := unpacking.decompress(packed, PIECE_BYTES):
                    size, checksum = size + len(piece), google_crc32c.extend(checksum, piece)
                    if size > self._size_bytes:
                        break
                    yield piece
                    packed = unpacking.unconsumed_tail
        except zlib.error as error:
            raise Damaged(self.name, self._packed_at, f"its body cannot be unpacked: {error}") from error
        if size != self._size_bytes or not unpacking.eof or unpacking.unused_data:
            raise Damaged(self.name, self._packed_at, f"its body is not the {self._size_bytes} bytes that it says")
        if _CRC.pack(checksum) != self._checksum:
            raise Damaged(self.name, self._packed_at + len(self._packed), "the checksum of its body does not match")


class Body:
    """Takes a body apart."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._unread = b""
        self._at = 0

    def take(self, size: int) -> bytes:
        """Returns the next ``size`` bytes; fewer where the body ends before. Raises what the pieces raise."""
        if (missing := size - (len(self._unread) - self._at)) > 0:
            parts = [self._unread[self._at :]]
            while missing > 0 and (piece := next(self._pieces, None)) is not None:
                parts.append(piece)
                missing -= len(piece)
            self._unread, self._at = b"".join(parts), 0
        taken = self._unread[self._at : self._at + size]
        self._at += len(taken)
        return taken


def seal(magic: bytes, header: msgspec.Struct, body: Iterable[bytes]) -> bytes:
    """Returns the object. The parts of its body are compressed one by one, so that no copy of all of it is made."""
    encoded = msgspec.json.encode(header)
    sealed = bytearray(_START.pack(magic, VERSION, len(encoded)) + encoded)
    sealed += _CRC.pack(google_crc32c.value(bytes(sealed)))
    lengths_at = len(sealed)
    sealed += bytes(_BODY.size)
    packing = zlib.compressobj(LEVEL)
    checksum = size = 0
    for part in body:
        checksum = google_crc32c.extend(checksum, part)
        size += len(part)
        sealed += packing.compress(part)
    sealed += packing.flush()
    _BODY.pack_into(sealed, lengths_at, len(sealed) - lengths_at - _BODY.size, size)
    sealed += _CRC.pack(checksum)
    sealed += hashlib.sha256(sealed).digest()
    return bytes(sealed)


def digest_of(data: bytes) -> str:
    """Returns the SHA-256 that an object as :func:`seal` made it ends with, in hexadecimal."""
    return data[-DIGEST_BYTES:].hex()


def header_of(name: str, magic: bytes, data: bytes) -> bytes:
    """Returns the header, checked, of the beginning of an object. Raises NeedsMore, Damaged."""
    return _header(name, magic, data)[0]


def unseal(name: str, magic: bytes, data: bytes) -> Sealed:
    """Returns what an object holds. Raises Damaged."""
    try:
        header, offset = _header(name, magic, data)
    except NeedsMore as error:
        raise Damaged(name, len(data), f"it was cut off: {error}, there are {len(data)}") from None
    if len(data) < offset + _BODY.size:
        raise Damaged(name, len(data), "it was cut off before its body")
    packed_bytes, body_bytes = _BODY.unpack_from(data, offset)
    begin = offset + _BODY.size
    size = begin + packed_bytes + _CRC.size + DIGEST_BYTES
    if body_bytes > MAX_BODY_BYTES:
        raise Damaged(name, offset, f"a body of {body_bytes} bytes, {MAX_BODY_BYTES} are the most")
    if len(data) != size:
        raise Damaged(name, min(len(data), size), f"it says {size} bytes, there are {len(data)}")
    digest = hashlib.sha256(memoryview(data)[:-DIGEST_BYTES])
    if digest.digest() != data[-DIGEST_BYTES:]:
        raise Damaged(name, size - DIGEST_BYTES, "its SHA-256 is not that of its contents: it was changed")
    end = begin + packed_bytes
    packed = memoryview(data)[begin:end]
    return Sealed(name, header, digest.hexdigest(), packed, begin, body_bytes, data[end : end + _CRC.size])


def decode_header(name: str, header: bytes, kind: type[HeaderT]) -> HeaderT:
    """Returns a header's contents; a field that this version does not know is an error. Raises Damaged."""
    try:
        return msgspec.json.decode(header, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Damaged(name, _START.size, f"its header cannot be read: {error}") from error


def _header(name: str, magic: bytes, data: bytes) -> tuple[bytes, int]:
    """Returns the header, and where the body's lengths are."""
    if len(data) < _START.size:
        raise NeedsMore(_START.size)
    kind, version, header_bytes = _START.unpack_from(data)
    if kind != magic:
        raise Damaged(name, 0, f"it begins with {kind!r}, not with {magic!r}")
    if version != VERSION:
        raise Damaged(name, MAGIC_BYTES, f"format version {version}, this version reads {VERSION}")
    if header_bytes > MAX_HEADER_BYTES:
        raise Damaged(name, MAGIC_BYTES + 1, f"a header of {header_bytes} bytes, {MAX_HEADER_BYTES} are the most")
    end = _START.size + header_bytes
    if len(data) < end + _CRC.size:
        raise NeedsMore(end + _CRC.size)
    if _CRC.pack(google_crc32c.value(data[:end])) != data[end : end + _CRC.size]:
        raise Damaged(name, end, "the checksum of its header does not match")
    return data[_START.size : end], end + _CRC.size
