"""The layout of a bbolt database, etcd's data file, as ``go.etcd.io/bbolt`` defines it.

A file is a row of pages. A page, or a run of pages where its content needs more, begins with a header and holds the
elements of a node of a B+ tree, or one of the two copies of the meta data. All integers are little-endian. A bucket is
such a tree; the tree of the root bucket has an element for each bucket, with the page of its root as value.
"""

from __future__ import annotations

import struct

PAGE_BYTES = 4096
MAGIC = 0xED0CDAED
VERSION = 2

PAGE = struct.Struct("<QHHI")
"""Id, flags, number of elements, number of pages that follow in the run."""
BRANCH_PAGE = 0x01
LEAF_PAGE = 0x02
META_PAGE = 0x04
FREELIST_PAGE = 0x10

BRANCH = struct.Struct("<IIQ")
"""Offset of the key, from here; bytes of the key; page of the child."""
LEAF = struct.Struct("<IIII")
"""Flags, offset of the key, from here; bytes of the key, bytes of the value, which follows it."""
IS_BUCKET = 0x01

BUCKET = struct.Struct("<QQ")
"""Page of the root, or 0 where a leaf page follows here ("inline"); sequence."""

META = struct.Struct("<IIII16sQQQ")
"""Magic, version, bytes of a page, flags, root bucket, page of the list of free pages, number of pages, transaction."""
CHECKSUM = struct.Struct("<Q")

MAX_ELEMENTS = 0xFFFF
"""Of a page: their number has 16 bits; bbolt itself reads more for free pages only."""

_FNV_OFFSET = 0xCBF29CE484222325
_FNV_PRIME = 0x100000001B3


def checksum(data: bytes) -> int:
    """Returns FNV-1a with 64 bits, which guards the meta data."""
    value = _FNV_OFFSET
    for byte in data:
        value = (value ^ byte) * _FNV_PRIME & 0xFFFFFFFFFFFFFFFF
    return value
