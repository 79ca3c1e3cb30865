"""Bodies of objects as they are kept: thousands of them, which are looked at when one of a store's has changed."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import msgspec

_LEVEL = 9
"""An object is packed when it has changed, and kept for long."""
_DECODER = msgspec.json.Decoder(dict[str, Any])
SAMPLE_BYTES = 8192
"""So much of the first objects is what later ones are compared with."""


class Packer:
    """Packs objects of one kind as compressed JSON. Those of different stores differ in names and little else, so what
    an object has in common with the first ones is not kept again (a preset dictionary of RFC 1950)."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._sample = b""

    def pack(self, body: Mapping[str, Any]) -> bytes:
        """Returns the body with its kind, which objects of a list lack. ``managedFields`` are left out: they are a
        third of an object, and nobody asks who set a field of a child."""
        meta = {key: value for key, value in body["metadata"].items() if key != "managedFields"}
        whole = {**body, "kind": self._kind, "metadata": meta}
        text = msgspec.json.encode(whole)
        if len(self._sample) < SAMPLE_BYTES:
            self._sample += _shape(whole)[:SAMPLE_BYTES]
            return zlib.compress(text, _LEVEL)
        packing = zlib.compressobj(_LEVEL, zdict=self._sample)
        return packing.compress(text) + packing.flush()

    def unpack(self, packed: bytes) -> dict[str, Any]:
        """Returns what was packed."""
        unpacking = zlib.decompressobj(zdict=self._sample)
        return _DECODER.decode(unpacking.decompress(packed) + unpacking.flush())


def _shape(body: Mapping[str, Any]) -> bytes:
    """Returns the JSON of an object, of a Secret without its contents: they outlive it in a sample."""
    if body["kind"] == "Secret":
        body = {**body, "data": dict.fromkeys(body.get("data") or {}, "")}
    return msgspec.json.encode(body)
