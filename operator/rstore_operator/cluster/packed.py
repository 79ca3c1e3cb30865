"""Bodies of objects as they are kept: thousands of them, which are looked at when one of a store's has changed."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import msgspec

_LEVEL = 1
_DECODER = msgspec.json.Decoder(dict[str, Any])


def pack(kind: str, body: Mapping[str, Any]) -> bytes:
    """Returns the body of an object of that kind, which objects of a list lack, as compressed JSON. ``managedFields``
    are left out: they are a third of an object, and nobody asks who set a field of a child."""
    meta = {key: value for key, value in body["metadata"].items() if key != "managedFields"}
    return zlib.compress(msgspec.json.encode({**body, "kind": kind, "metadata": meta}), _LEVEL)


def unpack(packed: bytes) -> dict[str, Any]:
    """Returns what was packed."""
    return _DECODER.decode(zlib.decompress(packed))
