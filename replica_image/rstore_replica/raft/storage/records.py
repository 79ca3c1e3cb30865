"""How one journal record looks on disk.

A record is ``magic(2) kind(1) zero(1) length(4) synced(4) crc32c(4) payload(length)``, little-endian; the checksum
covers everything but itself. ``synced`` is how many bytes of this segment were known to be durable when the record was
written: that distinguishes a torn tail (bytes on which nothing depended) from damage (bytes that were durable and are
gone).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

import google_crc32c

MAGIC = b"\xa5J"
_HEADER = struct.Struct("<2sBBIII")
_ENTRY = struct.Struct("<QQ")
HEADER_BYTES = _HEADER.size
ENTRY_HEADER_BYTES = HEADER_BYTES + _ENTRY.size
MAX_PAYLOAD_BYTES = 1 << 28


class Kind(IntEnum):
    """What a record says."""

    SEGMENT = 1  # u64 number of the segment; first record of each file
    ENTRY = 2  # u64 index, u64 term, command
    STATE = 3  # u64 term, name voted for ("" = nobody)
    COMMIT = 4  # u64 commit index
    TRUNCATE = 5  # u64 index: this entry and all after it are gone
    BASE = 6  # u64 first index kept, u64 highest index the state machine may have to hold itself, members there
    RESET = 7  # u64 index, u64 term, u64 as in BASE, members: the log begins anew with a placeholder there
    IDENTITY = 8  # u64 this replica's identity, see membership.py


@dataclass(frozen=True)
class Record:
    """A record that was read, and where its payload lies in the file."""

    kind: Kind
    payload: bytes
    payload_offset: int
    end_offset: int
    synced_bytes: int


def encode(kind: Kind, payload: bytes, *, synced_bytes: int) -> bytes:
    """The record's bytes."""
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise ValueError(f"journal record of {len(payload)} bytes")
    crc = _checksum(kind, len(payload), synced_bytes, payload)
    return _HEADER.pack(MAGIC, kind, 0, len(payload), synced_bytes, crc) + payload


def decode(data: bytes, offset: int) -> Record | None:
    """The record at ``offset``, or None when there is no whole and undamaged one."""
    if len(data) - offset < HEADER_BYTES:
        return None
    magic, kind, zero, length, synced_bytes, crc = _HEADER.unpack_from(data, offset)
    start = offset + HEADER_BYTES
    if magic != MAGIC or zero != 0 or length > MAX_PAYLOAD_BYTES or start + length > len(data):
        return None
    payload = data[start : start + length]
    if _checksum(kind, length, synced_bytes, payload) != crc or kind not in Kind._value2member_map_:
        return None
    return Record(Kind(kind), payload, start, start + length, synced_bytes)


def records_after(data: bytes, offset: int) -> Iterator[Record]:
    """Every whole record found anywhere at or after ``offset``, wherever it begins."""
    while (offset := data.find(MAGIC, offset)) >= 0:
        record = decode(data, offset)
        if record is None:
            offset += 1
        else:
            yield record
            offset = record.end_offset


def pack_numbers(*numbers: int) -> bytes:
    """Unsigned 64-bit numbers."""
    return struct.pack(f"<{len(numbers)}Q", *numbers)


def unpack_numbers(payload: bytes, count: int) -> tuple[int, ...]:
    """The first ``count`` numbers of a payload; ``struct.error`` when it is too short."""
    return struct.unpack_from(f"<{count}Q", payload)


def pack_entry(index: int, term: int, command: bytes) -> bytes:
    """Payload of an ENTRY record."""
    return _ENTRY.pack(index, term) + command


def _checksum(kind: int, length: int, synced_bytes: int, payload: bytes) -> int:
    head = _HEADER.pack(MAGIC, kind, 0, length, synced_bytes, 0)
    return int(google_crc32c.extend(google_crc32c.value(head), payload))
