"""A base: keys, leases, users and roles as they were at one revision, in parts, and the manifest that is written last.

The body of a part, once unpacked, is a sequence of chunks, each its length (u32, big-endian) and rows as
rstore_api/rows.py packs them: those of the keys in their order, then of the leases, then of users and roles. There are
no deletions, and no key is twice in a base.

What has no manifest is no base: parts that an archiver left when it died.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec
from rstore_api import rows
from rstore_api.domain.epochs import History

from rstore_backup import names, sealed
from rstore_backup.errors import Damaged
from rstore_backup.sealed import Body, Sealed

MAGIC = b"RSTOBAS"
FORMAT = 1
_LENGTH_BYTES = 4
_NO_DIGEST = "0" * 64


class PartHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Of which base a part is."""

    store_id: str
    history: History
    revision: int
    number: int
    """From 0 on."""
    rows: int


class PartInfo(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A part, as the manifest lists it."""

    name: str
    size_bytes: int
    rows: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """What makes the parts a base. JSON on one line; ``sha256`` is that of the same line with 64 zeros in its place."""

    store_id: str
    namespace: str
    name: str
    """Of the store, when the base was made."""
    history: History
    revision: int
    time_ms: int
    """The archiver's clock when it had been told the revision: the store was at this revision then, or had been."""
    duration_ms: int
    rows: int
    size_bytes: int
    """Of the parts."""
    parts: tuple[PartInfo, ...]
    request: str = ""
    """Of the request that it answers; "" for one that was made by itself."""
    reason: str = ""
    """Why it was made, for a person."""
    format: int = FORMAT
    sha256: str = _NO_DIGEST

    @property
    def epoch(self) -> int:
        """The epoch of its revision."""
        return self.history[-1].epoch


@dataclass(frozen=True)
class Part:
    """A part of which everything is checked but its rows, which are when they are read."""

    header: PartHeader
    _sealed: Sealed

    @property
    def sha256(self) -> str:
        """Its SHA-256, in hexadecimal."""
        return self._sealed.sha256

    def chunks(self) -> Iterator[list[rows.Frame]]:
        """Yields the rows, in chunks as they were written. Raises Damaged; of what came before nothing may be used
        then.
        """
        header, count = self.header, 0
        try:
            for chunk in _chunks(Body(self._sealed.pieces())):
                frames = rows.unpack_frames(chunk, in_order=False)
                for revision, sub, _, _, _, _, version in frames:
                    if not version or revision > header.revision:
                        raise rows.DamagedRows(f"row {revision}.{sub} has no place in a base at {header.revision}")
                count += len(frames)
                yield frames
            if count != header.rows:
                raise rows.DamagedRows(f"the header says {header.rows} rows, there are {count}")
        except rows.DamagedRows as error:
            raise Damaged(self._sealed.name, 0, str(error)) from error

    def frames(self) -> Iterator[rows.Frame]:
        """Yields the rows. Raises Damaged, as :meth:`chunks` does."""
        return (frame for frames in self.chunks() for frame in frames)


def encode_part(header: PartHeader, chunks: Sequence[bytes]) -> bytes:
    """Returns the object."""
    parts = (part for chunk in chunks for part in (len(chunk).to_bytes(_LENGTH_BYTES, "big"), chunk))
    return sealed.seal(MAGIC, header, parts)


def decode_part(name: str, data: bytes, manifest: Manifest | None = None) -> Part:
    """Returns a part that is what the manifest lists. Raises Damaged."""
    whole = sealed.unseal(name, MAGIC, data)
    header = sealed.decode_header(name, whole.header, PartHeader)
    if manifest is not None:
        _check_part(name, header, whole.sha256, manifest)
    return Part(header, whole)


def encode_manifest(manifest: Manifest) -> bytes:
    """Returns the object."""
    blank = _line(msgspec.structs.replace(manifest, sha256=_NO_DIGEST))
    return _line(msgspec.structs.replace(manifest, sha256=hashlib.sha256(blank).hexdigest()))


def decode_manifest(name: str, data: bytes) -> Manifest:
    """Returns a manifest, when not a bit of it was changed. Raises Damaged."""
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Damaged(name, 0, f"it cannot be read: {error}") from error
    if encode_manifest(manifest) != data:
        raise Damaged(name, 0, "its SHA-256 is not that of its contents: it was changed")
    if manifest.format != FORMAT:
        raise Damaged(name, 0, f"format version {manifest.format}, this version reads {FORMAT}")
    if not manifest.history or names.manifest(manifest.revision) != name:
        raise Damaged(name, 0, f"it is of revision {manifest.revision}")
    if manifest.rows != sum(part.rows for part in manifest.parts):
        raise Damaged(name, 0, f"it says {manifest.rows} rows, its parts have others")
    return manifest


def _check_part(name: str, header: PartHeader, sha256: str, manifest: Manifest) -> None:
    of = next((part for part in manifest.parts if part.name == name), None)
    if of is None or manifest.parts[header.number : header.number + 1] != (of,):
        raise Damaged(name, 0, "the manifest does not list it there")
    if of.sha256 != sha256:
        raise Damaged(name, 0, "it is not the object that the manifest lists: it was replaced")
    identity = header.store_id, header.history, header.revision
    if identity != (manifest.store_id, manifest.history, manifest.revision):
        raise Damaged(name, 0, f"it is of revision {header.revision} of store {header.store_id}")


def _line(manifest: Manifest) -> bytes:
    return msgspec.json.encode(manifest) + b"\n"


def _chunks(body: Body) -> Iterator[bytes]:
    while length := body.take(_LENGTH_BYTES):
        size = int.from_bytes(length, "big")
        chunk = body.take(size)
        if len(length) < _LENGTH_BYTES or len(chunk) < size:
            raise rows.DamagedRows(f"a chunk of {size} bytes, {len(chunk)} are left")
        yield chunk
