"""The packed form of rows, on disk and in the stream between regions.

A **row** is the outcome of one change of one key, of one lease, or of one user or role: the request that made it is
gone. All integers are big-endian.

Body (the value under a row's key on disk), 28 bytes and the two byte strings::

    version u8 = 1 | flags u8 (bit 0: deletion, bit 1: of a lease, bit 2: of auth, bit 3: of a long key)
    | key length u16 | create revision u64 | version u64 | lease i64 | key | value (the rest)

A key of more than 511 bytes is a long one: its key length is 0 there, and follows as a u32 before the key.
A deletion has create revision, version and lease 0 and no value. In a row of a lease the key is its id (i64) and the
value two i64: the seconds to live as granted, and those that were left at that revision (0: all). In a row of auth the
key is the name of a user or role, the value a message, see ``rstore_replica/mvcc/data/auth.py``.

Batch (the ``rows`` of a StreamBatch), 9 bytes and the frames::

    version u8 = 1 | number of rows u32 | CRC32C of all frames u32
    frame: revision u64 | sub-revision u32 | body length u32 | body

Decoding checks every length and the checksum, and raises :class:`DamagedRows`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence

import google_crc32c
import msgspec

from rstore_api.domain.epochs import EpochStart, after_jumps
from rstore_api.domain.limits import MAX_KEY_BYTES, SHORT_KEY_BYTES

FORMAT_VERSION = 1
FLAG_DELETION = 1
KEY, LEASE, AUTH = 0, 2, 4
"""What a row is of: the bits of the flags that say so."""
KIND_BITS = LEASE | AUTH
LONG_KEY = 8
"""The bit of the flags of a row of a long key; set in rows of keys alone."""
SPECIAL_BITS = KIND_BITS | LONG_KEY
LEVELS: Mapping[int, int] = {KEY: 1, LEASE: 2, AUTH: 3}
"""The feature level of the first version that reads rows of each kind."""
LONG_KEYS_LEVEL = 4
"""The feature level of the first version that takes long keys."""
KEY_BYTES_OF_A_ROW = 4096
"""A long key takes the time of one more row for each so many bytes."""
_LEVELS = {**LEVELS, LONG_KEY: LONG_KEYS_LEVEL}
FLAGS_AT = 1
"""Where a body has its flags."""
LEASE_ID_BYTES = 8
LEASE_VALUE = struct.Struct(">qq")
"""The value of a lease: seconds to live as granted, and seconds that were left at the revision of the row; 0: all."""

BODY_HEADER = struct.Struct(">BBHQQq")
BODY_HEADER_BYTES = BODY_HEADER.size
LEASE_FIELD = slice(20, 28)
NO_LEASE = bytes(8)
"""``body[LEASE_FIELD]`` of a key that is attached to no lease."""
BATCH_HEADER = struct.Struct(">BII")
_LONG_LENGTH = struct.Struct(">I")
_LONG_KEY_AT = BODY_HEADER_BYTES + _LONG_LENGTH.size
FRAME_HEADER = struct.Struct(">QII")
_HEADERS = struct.Struct(">QIIBBHQQq")
"""Of a frame and of the body in it."""
_unpack_headers = _HEADERS.unpack_from
_HEADERS_BYTES = _HEADERS.size
_FRAME_HEADER_BYTES = FRAME_HEADER.size
_ROW_KEY_BYTES = 12

Frame = tuple[int, int, bytes, bytes, bytes, int, int]
"""Revision, sub-revision, key in the database of rows, body, the row's own key, create revision, version (0: a
deletion)."""


class DamagedRows(ValueError):  # noqa: N818
    """The bytes are not what the format says; the text tells what is wrong with them."""


class Row(msgspec.Struct, frozen=True, gc=False):
    """One change of one key, or of what ``kind`` says. ``version`` counts changes since the key's creation."""

    revision: int
    sub: int
    key: bytes
    value: bytes = b""
    create_revision: int = 0
    version: int = 0
    lease: int = 0
    deletion: bool = False
    kind: int = KEY


def cost(key: bytes) -> int:
    """Returns the number of rows of short keys that take about as much time as one of this key, in steps of bounded
    size.
    """
    return 1 + len(key) // KEY_BYTES_OF_A_ROW


def kind_of(body: bytes) -> int:
    """Returns what a body is of: KEY, LEASE or AUTH."""
    return body[FLAGS_AT] & KIND_BITS


def attached_lease(body: bytes) -> int:
    """Returns the lease to which a key is attached by its row; 0 for none, and in a row of a lease itself."""
    return int.from_bytes(body[LEASE_FIELD], "big", signed=True)


def key_of(body: bytes) -> bytes:
    """Returns the key of a row."""
    start, end = key_span(body)
    return body[start:end]


def value_of(body: bytes) -> bytes:
    """Returns the value of a row."""
    return body[key_span(body)[1] :]


def key_span(body: bytes) -> tuple[int, int]:
    """Returns where the key of a row begins and ends in its body. Raises :class:`DamagedRows`."""
    start, key_bytes = BODY_HEADER_BYTES, body[2] << 8 | body[3]
    if body[FLAGS_AT] & LONG_KEY:
        if key_bytes or len(body) < _LONG_KEY_AT:
            raise DamagedRows(f"a long key of {key_bytes} bytes in a body of {len(body)}")
        start, key_bytes = _LONG_KEY_AT, _LONG_LENGTH.unpack_from(body, BODY_HEADER_BYTES)[0]
        if not SHORT_KEY_BYTES < key_bytes <= MAX_KEY_BYTES:
            raise DamagedRows(f"a long key of {key_bytes} bytes")
    return start, start + key_bytes


def pack_body(key: bytes, value: bytes, create_revision: int, version: int, lease: int) -> bytes:
    """Returns the body of a put."""
    return _head(0, len(key), create_revision, version, lease) + key + value


def pack_deletion(key: bytes) -> bytes:
    """Returns the body of a deletion."""
    return deletion_head(len(key)) + key


def deletion_head(key_bytes: int) -> bytes:
    """Returns what stands before the key in the body of a deletion."""
    return _head(FLAG_DELETION, key_bytes, 0, 0, 0)


def _head(flags: int, key_bytes: int, create_revision: int, version: int, lease: int) -> bytes:
    """Returns what stands before the key."""
    if key_bytes <= SHORT_KEY_BYTES:
        return BODY_HEADER.pack(FORMAT_VERSION, flags, key_bytes, create_revision, version, lease)
    header = BODY_HEADER.pack(FORMAT_VERSION, flags | LONG_KEY, 0, create_revision, version, lease)
    return header + _LONG_LENGTH.pack(key_bytes)


def unpack(revision: int, sub: int, body: bytes) -> Row:
    """Returns the row at (revision, sub) from its body; raises :class:`DamagedRows`."""
    if len(body) < BODY_HEADER_BYTES:
        raise DamagedRows(f"row {revision}.{sub}: {len(body)} bytes are less than a header")
    format_version, flags, _, create_revision, version, lease = BODY_HEADER.unpack_from(body)
    if format_version != FORMAT_VERSION:
        raise DamagedRows(f"row {revision}.{sub}: format {format_version}, this version reads {FORMAT_VERSION}")
    try:
        start, end_of_key = key_span(body)
    except DamagedRows as error:
        raise DamagedRows(f"row {revision}.{sub}: {error}") from None
    key_bytes = end_of_key - start
    is_long = bool(flags & LONG_KEY)
    if key_bytes <= 0 or len(body) < end_of_key or (key_bytes > SHORT_KEY_BYTES) != is_long:
        raise DamagedRows(f"row {revision}.{sub}: a key of {key_bytes} bytes in a body of {len(body)}")
    key = body[start:end_of_key]
    kind = flags & KIND_BITS
    if flags & SPECIAL_BITS not in _LEVELS:
        raise DamagedRows(f"row {revision}.{sub}: flags {flags}")
    if flags & ~SPECIAL_BITS == FLAG_DELETION:
        if len(body) != end_of_key or create_revision or version or lease:
            raise DamagedRows(f"row {revision}.{sub}: a deletion that carries data")
        if kind == LEASE and key_bytes != LEASE_ID_BYTES:
            raise DamagedRows(f"row {revision}.{sub}: {key_bytes} bytes are no id of a lease")
        return Row(revision, sub, key, deletion=True, kind=kind)
    if kind == LEASE and (key_bytes, len(body) - end_of_key, lease) != (LEASE_ID_BYTES, LEASE_VALUE.size, 0):
        raise DamagedRows(f"row {revision}.{sub}: {len(body)} bytes are no lease")
    if flags & ~SPECIAL_BITS or (kind == AUTH and lease) or version == 0 or not 0 < create_revision <= revision:
        raise DamagedRows(
            f"row {revision}.{sub}: flags {flags}, version {version}, created at revision {create_revision}"
        )
    return Row(revision, sub, key, body[end_of_key:], create_revision, version, lease, kind=kind)


def pack(row: Row) -> bytes:
    """Returns the body of any row."""
    if row.deletion:
        body = pack_deletion(row.key)
    else:
        body = pack_body(row.key, row.value, row.create_revision, row.version, row.lease)
    return of_kind(body, row.kind) if row.kind else body


def of_kind(body: bytes, kind: int) -> bytes:
    """Returns the body of a key as one of another kind."""
    return bytes((body[0], body[FLAGS_AT] | kind)) + body[FLAGS_AT + 1 :]


def pack_frame(revision: int, sub: int, body: bytes) -> bytes:
    """Returns one row as it is in a batch."""
    return FRAME_HEADER.pack(revision, sub, len(body)) + body


def join_frames(frames: Iterable[bytes], count: int) -> bytes:
    """Returns a batch of ``count`` rows from its frames (frame headers and bodies in turn)."""
    payload = b"".join(frames)
    return BATCH_HEADER.pack(FORMAT_VERSION, count, google_crc32c.value(payload)) + payload


def pack_batch(rows: Iterable[Row]) -> bytes:
    """Returns a batch of rows in the order given."""
    frames: list[bytes] = []
    for row in rows:
        body = pack(row)
        frames += (FRAME_HEADER.pack(row.revision, row.sub, len(body)), body)
    return join_frames(frames, len(frames) // 2)


def unpack_batch(packed: bytes, *, in_order: bool = True) -> list[tuple[Row, bytes]]:
    """Returns the rows of a batch, each with its body as it is to be stored; see :func:`unpack_frames`."""
    return [(unpack(frame[0], frame[1], frame[3]), frame[3]) for frame in unpack_frames(packed, in_order=in_order)]


def unpack_frames(packed: bytes, *, in_order: bool = True) -> list[Frame]:
    """Returns the frames of a batch, everything about them checked; raises :class:`DamagedRows`.

    Empty input is a batch without rows. Revisions and sub-revisions are checked to grow, when ``in_order``. Part of
    every apply in a secondary region: one look at each frame, and no object for it but a tuple.
    """
    if not packed:
        return []
    if len(packed) < BATCH_HEADER.size:
        raise DamagedRows(f"a batch of {len(packed)} bytes is less than a header")
    format_version, count, checksum = BATCH_HEADER.unpack_from(packed)
    if format_version != FORMAT_VERSION:
        raise DamagedRows(f"batch format {format_version}, this version reads {FORMAT_VERSION}")
    payload = packed[BATCH_HEADER.size :]
    if google_crc32c.value(payload) != checksum:
        raise DamagedRows("the checksum of a batch does not match its rows")
    result: list[Frame] = []
    offset, end, last_revision, last_sub = 0, len(payload), 0, 0
    while offset < end:
        key_at = offset + _HEADERS_BYTES
        if key_at > end:
            raise _damage(payload, offset, len(result))
        revision, sub, body_bytes, form, flags, key_bytes, created, version, lease = _unpack_headers(payload, offset)
        body_at = offset + _FRAME_HEADER_BYTES
        after_key, after = key_at + key_bytes, body_at + body_bytes
        if flags & LONG_KEY:
            is_sound = after <= end
            if is_sound:
                unpack(revision, sub, payload[body_at:after])
                key_at, after_key = (body_at + place for place in key_span(payload[body_at:after]))
        elif flags:
            if flags & FLAG_DELETION:
                is_sound = after == after_key and not (created or version or lease)
            else:
                is_sound = version != 0 and 0 < created <= revision and after_key <= after
                is_sound = is_sound and not lease and (flags != LEASE or after == after_key + LEASE_VALUE.size)
            kind = flags & ~FLAG_DELETION
            is_sound = is_sound and kind in LEVELS and (kind != LEASE or key_bytes == LEASE_ID_BYTES)
            is_sound = is_sound and 0 < key_bytes <= SHORT_KEY_BYTES
        else:
            is_sound = version != 0 and 0 < created <= revision and after_key <= after
            is_sound = is_sound and 0 < key_bytes <= SHORT_KEY_BYTES
        if not is_sound or after > end or form != FORMAT_VERSION:
            raise _damage(payload, offset, len(result))
        if in_order and revision <= last_revision and (revision < last_revision or sub <= last_sub):
            raise DamagedRows(f"row {revision}.{sub} follows row {last_revision}.{last_sub}")
        last_revision, last_sub = revision, sub
        row_key, body, key = (
            payload[offset : offset + _ROW_KEY_BYTES],
            payload[body_at:after],
            payload[key_at:after_key],
        )
        result.append((revision, sub, row_key, body, key, created, version))
        offset = after
    if len(result) != count:
        raise DamagedRows(f"the header says {count} rows, there are {len(result)}")
    return result


def last_revision_of(frames: Iterable[Frame], after_revision: int, history: Sequence[EpochStart]) -> int:
    """Returns the revision at which rows end that follow ``after_revision`` without a gap but the jump before an epoch.

    Raises :class:`DamagedRows`.
    """
    revision, last_sub = after_revision, -1
    for frame in frames:
        row_revision, sub = frame[0], frame[1]
        if row_revision == revision and sub == last_sub + 1 and last_sub >= 0:
            last_sub = sub
        elif sub == 0 and (row_revision == revision + 1 or row_revision == after_jumps(history, revision) + 1):
            revision, last_sub = row_revision, 0
        else:
            raise DamagedRows(f"row {row_revision}.{sub} does not follow row {revision}.{last_sub}")
    return revision


def required_level(frames: Iterable[Frame]) -> int:
    """Returns the feature level of the first version that reads all of the rows."""
    return max((_LEVELS[frame[3][FLAGS_AT] & SPECIAL_BITS] for frame in frames), default=1)


def _damage(payload: bytes, offset: int, rows_before: int) -> DamagedRows:
    """Returns what is wrong with the frame at ``offset``."""
    if len(payload) - offset < FRAME_HEADER.size:
        return DamagedRows(f"{len(payload) - offset} bytes after row {rows_before} are less than a frame header")
    revision, sub, body_bytes = FRAME_HEADER.unpack_from(payload, offset)
    offset += FRAME_HEADER.size
    if body_bytes > len(payload) - offset:
        return DamagedRows(f"row {revision}.{sub} says {body_bytes} bytes, {len(payload) - offset} are left")
    try:
        unpack(revision, sub, payload[offset : offset + body_bytes])
    except DamagedRows as error:
        return error
    return DamagedRows(f"row {revision}.{sub} is damaged")
