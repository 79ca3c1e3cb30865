"""Header blocks: read through a cache, written without any state.

Clients send nearly the same few blocks for ever. As long as a block does not change the table of the connection (RFC
7541, section 2.3.2) and the table has not changed since, the same bytes mean the same headers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

from hpack import Decoder, HPACKError
from hpack.table import HeaderTable

from rstore_wire.frames import Code, WireError

MAX_HEADER_LIST_BYTES = 16_384
MAX_CACHED_BLOCKS = 256
MAX_CACHED_BLOCK_BYTES = 1024

Headers = list[tuple[bytes, bytes]]
T = TypeVar("T")


class _CountingTable(HeaderTable):
    """Knows how often it has changed."""

    changes = 0

    def add(self, name: bytes, value: bytes) -> None:
        self.changes += 1
        super().add(name, value)

    @property
    def maxsize(self) -> int:
        return int(super().maxsize)

    @maxsize.setter
    def maxsize(self, newmax: int) -> None:
        self.changes += 1
        HeaderTable.maxsize.fset(self, newmax)  # type: ignore[attr-defined]  # the property of the base class


class HeaderReader(Generic[T]):
    """One connection's incoming blocks, each as what ``understand`` makes of its headers."""

    def __init__(self, understand: Callable[[Headers], T]) -> None:
        self._understand = understand
        self._decoder: Any = Decoder(max_header_list_size=MAX_HEADER_LIST_BYTES)
        self._table = self._decoder.header_table = _CountingTable()
        self._known: dict[bytes, T] = {}

    def read(self, block: bytes) -> T:
        """What the block says. Raises WireError: after that the connection's blocks cannot be read any more."""
        cached = self._known.get(block)
        if cached is not None:
            return cached
        before = self._table.changes
        try:
            headers: Headers = [(bytes(name), bytes(value)) for name, value in self._decoder.decode(block, raw=True)]
        except HPACKError as error:
            raise WireError(Code.COMPRESSION_ERROR, f"headers cannot be read: {error}") from error
        result = self._understand(headers)
        if self._table.changes != before:
            self._known.clear()
        elif len(block) <= MAX_CACHED_BLOCK_BYTES:
            if len(self._known) >= MAX_CACHED_BLOCKS:
                self._known.clear()
            self._known[block] = result
        return result

    def understand_again(self) -> None:
        """Has every block understood anew when it comes next."""
        self._known.clear()


_PSEUDO_HEADERS = frozenset({b":method", b":scheme", b":path", b":authority"})
_OF_CONNECTIONS = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"})
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+")
_BAD_VALUE = re.compile(rb"[\0\r\n]|^[ \t]|[ \t]$")


def headers_problem(headers: Headers) -> str:
    """What makes a request malformed (RFC 9113, sections 8.2 and 8.3); empty when nothing does."""
    pseudo: set[bytes] = set()
    regular = False
    for name, value in headers:
        if name.startswith(b":"):
            if name not in _PSEUDO_HEADERS or name in pseudo or regular:
                return f"pseudo-header {name!r} unknown, repeated or behind others"
            pseudo.add(name)
        else:
            regular = True
            if not _NAME.fullmatch(name):
                return f"header name {name!r}"
            if name in _OF_CONNECTIONS or (name == b"te" and value != b"trailers"):
                return f"header {name!r} of a connection"
        if _BAD_VALUE.search(value):
            return f"value of header {name!r}"
    return ""


def block(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A block of literals that touches no table (RFC 7541, section 6.2.2)."""
    return b"".join(b"\0" + _string(name) + _string(value) for name, value in headers)


def _string(text: bytes) -> bytes:
    return _integer(len(text)) + text


def _integer(number: int) -> bytes:
    """With a prefix of seven bits (section 5.1)."""
    if number < 127:
        return bytes((number,))
    encoded = bytearray((127,))
    number -= 127
    while number >= 128:
        encoded.append(number % 128 + 128)
        number //= 128
    encoded.append(number)
    return bytes(encoded)


_TIMEOUT_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}


def timeout_seconds(text: str) -> float:
    """Returns what a header ``grpc-timeout`` says. Raises ValueError."""
    if not 1 < len(text) <= 9 or not text[:-1].isdecimal() or text[-1] not in _TIMEOUT_UNITS:
        raise ValueError(text)
    return int(text[:-1]) * _TIMEOUT_UNITS[text[-1]]
