"""HTTP/2's frames (RFC 9113, section 6): numbers and bytes. Pure."""

from __future__ import annotations

import struct
from enum import Enum, IntEnum

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)

END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
HAS_PRIORITY = 0x20

SETTING_ENABLE_PUSH = 0x2
SETTING_MAX_CONCURRENT_STREAMS = 0x3
SETTING_INITIAL_WINDOW_SIZE = 0x4
SETTING_MAX_FRAME_SIZE = 0x5
SETTING_MAX_HEADER_LIST_SIZE = 0x6

DEFAULT_WINDOW = 65_535
DEFAULT_MAX_FRAME_BYTES = 16_384
MAX_FRAME_BYTES_LIMIT = (1 << 24) - 1
MAX_WINDOW = (1 << 31) - 1
MAX_STREAM = (1 << 31) - 1
"""Stream numbers have 31 bits; the one above them is reserved, and is ignored (section 4.1)."""

FRAME_HEADER = struct.Struct(">HBBBI")
"""Length in two parts (16 and 8 bits), kind, flags, stream."""
FRAME_HEADER_BYTES = 9
_SETTING = struct.Struct(">HI")
_U32 = struct.Struct(">I")
_TWO_U32 = struct.Struct(">II")


class Code(IntEnum):
    """Error codes (section 7)."""

    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    FLOW_CONTROL_ERROR = 0x3
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    COMPRESSION_ERROR = 0x9
    ENHANCE_YOUR_CALM = 0xB


class Work(Enum):
    """What a frame makes the other side do although it brings no call forward."""

    SETTINGS = "settings"
    PING = "ping"
    RESET = "reset"
    REFUSED = "refused"
    """Headers that begin no call."""
    SMALL_WINDOW = "small_window"
    """A window update that lets a few bytes of what waits go."""
    OTHER = "other"


class WireError(Exception):
    """The other side breaks the protocol; the connection cannot go on. ``code`` is sent to it."""

    def __init__(self, code: Code, text: str) -> None:
        super().__init__(text)
        self.code = code


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame."""
    size = len(payload)
    return FRAME_HEADER.pack(size >> 8, size & 0xFF, kind, flags, stream) + payload


def settings(values: dict[int, int]) -> bytes:
    """A SETTINGS frame."""
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(name, value) for name, value in values.items()))


def read_settings(payload: bytes) -> list[tuple[int, int]]:
    """The (name, value) pairs of a SETTINGS frame. Raises WireError."""
    if len(payload) % _SETTING.size:
        raise WireError(Code.FRAME_SIZE_ERROR, "settings of a broken length")
    return list(_SETTING.iter_unpack(payload))


def check_setting(name: int, value: int, *, of_server: bool) -> None:
    """Raises WireError when a setting has a value that it may not have (section 6.5.2)."""
    if name == SETTING_ENABLE_PUSH and value > (0 if of_server else 1):
        raise WireError(Code.PROTOCOL_ERROR, "a value of ENABLE_PUSH that is not allowed")
    if name == SETTING_INITIAL_WINDOW_SIZE and value > MAX_WINDOW:
        raise WireError(Code.FLOW_CONTROL_ERROR, "a window that is too large")
    if name == SETTING_MAX_FRAME_SIZE and not DEFAULT_MAX_FRAME_BYTES <= value <= MAX_FRAME_BYTES_LIMIT:
        raise WireError(Code.PROTOCOL_ERROR, "a frame size out of bounds")


def header_block(stream: int, block: bytes, *, end_stream: bool, max_frame_bytes: int) -> bytes:
    """A header block in a HEADERS frame, and CONTINUATION frames where it does not fit into one."""
    first, rest = block[:max_frame_bytes], block[max_frame_bytes:]
    flags = END_STREAM if end_stream else 0
    out = frame(HEADERS, flags if rest else flags | END_HEADERS, stream, first)
    while rest:
        part, rest = rest[:max_frame_bytes], rest[max_frame_bytes:]
        out += frame(CONTINUATION, 0 if rest else END_HEADERS, stream, part)
    return out


def window_update(stream: int, bytes_more: int) -> bytes:
    """A WINDOW_UPDATE frame."""
    return frame(WINDOW_UPDATE, 0, stream, _U32.pack(bytes_more))


def rst_stream(stream: int, code: Code) -> bytes:
    """A RST_STREAM frame."""
    return frame(RST_STREAM, 0, stream, _U32.pack(code))


def goaway(last_stream: int, code: Code, text: str = "") -> bytes:
    """A GOAWAY frame."""
    return frame(GOAWAY, 0, 0, _TWO_U32.pack(last_stream, code) + text.encode())


def read_u32(payload: bytes, *, size: int = 4) -> int:
    """The number at the beginning of a payload that must be ``size`` bytes long, its highest bit not counted."""
    if len(payload) != size:
        raise WireError(Code.FRAME_SIZE_ERROR, "a frame of the wrong size")
    return int(_U32.unpack_from(payload)[0]) & MAX_WINDOW


def unpadded(flags: int, payload: bytes) -> bytes:
    """A DATA or HEADERS payload without padding and priority. Raises WireError."""
    start, end = 0, len(payload)
    if flags & PADDED:
        if not payload:
            raise WireError(Code.FRAME_SIZE_ERROR, "padding without a length")
        start, end = 1, end - payload[0]
    if flags & HAS_PRIORITY:
        start += 5
    if start > end:
        raise WireError(Code.PROTOCOL_ERROR, "more padding than frame")
    return payload[start:end]
