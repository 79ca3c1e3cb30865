"""What may become of an object unseen. ``store.json`` stays as it is: without it there is no archive."""

from __future__ import annotations

import random
from dataclasses import replace

import msgspec
from rstore_api import rows
from rstore_backup import names, segments
from rstore_backup.segments import Kind, Record
from sim.archive.archive import Contents

Objects = dict[str, bytes]


NEAREST = 3
"""How many segments with rows below a revision are near it."""


def damage_one(objects: Objects, store_id: str, rng: random.Random, revision: int) -> str:
    """Damages one object of a store's archive; returns its name, "" where there is none. One in two is a segment that
    has rows of ``revision`` or below, near it, and is replaced.
    """
    if rng.random() < 0.5:
        return _forge(objects, store_id, rng, revision)
    return rng.choice([_flip, _cut, _remove])(objects, store_id, rng)


def _some(objects: Objects, store_id: str, rng: random.Random) -> str:
    owned = [name for name in sorted(objects) if name.startswith(f"{store_id}/") and not name.endswith(names.STORE)]
    return rng.choice(owned) if owned else ""


def _flip(objects: Objects, store_id: str, rng: random.Random) -> str:
    """One bit is another one."""
    if name := _some(objects, store_id, rng):
        data = bytearray(objects[name])
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        objects[name] = bytes(data)
    return name


def _cut(objects: Objects, store_id: str, rng: random.Random) -> str:
    if name := _some(objects, store_id, rng):
        objects[name] = objects[name][: rng.randrange(len(objects[name]))]
    return name


def _remove(objects: Objects, store_id: str, rng: random.Random) -> str:
    if name := _some(objects, store_id, rng):
        del objects[name]
    return name


def _forge(objects: Objects, store_id: str, rng: random.Random, revision: int) -> str:
    """A segment is another one that is sound by itself, with other values; not one that no other follows: nothing says
    what that was.
    """
    whole = Contents.of(objects, store_id).segments
    followed = {segment.header.previous.name for segment in whole.values() if segment.header.previous is not None}
    below = [name for name, segment in whole.items() if segment.header.after_revision < revision]
    able = [name for name in below if name in followed and any(map(_is_able, whole[name].records))]
    if not able:
        return ""
    name = rng.choice(able[-NEAREST:])
    forged = [_with_other_values(record) if _is_able(record) else record for record in whole[name].records]
    objects[f"{store_id}/{name}"] = segments.encode(whole[name].header, forged)
    return name


def _is_able(record: Record) -> bool:
    return record.kind is Kind.ROWS and any(map(_has_value, _rows(record)))


def _rows(record: Record) -> list[rows.Row]:
    return [row for row, _ in rows.unpack_batch(record.payload)]


def _with_other_values(record: Record) -> Record:
    changed = [msgspec.structs.replace(row, value=b"forged") if _has_value(row) else row for row in _rows(record)]
    return replace(record, payload=rows.pack_batch(changed))


def _has_value(row: rows.Row) -> bool:
    return row.kind == rows.KEY and not row.deletion
