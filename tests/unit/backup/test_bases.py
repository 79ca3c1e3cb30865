"""A base comes back as it was written, and whatever is not as it was written is refused."""

from __future__ import annotations

import msgspec
import pytest
from rstore_api import rows
from rstore_backup import bases, card, names
from rstore_backup.bases import Manifest, PartHeader, PartInfo
from rstore_backup.errors import Damaged
from unit.backup.archives import FIRST, STORE_ID, put

CHUNKS = (rows.pack_batch([put(3, b"a"), put(2, b"b")]), rows.pack_batch([put(9, b"c")]))
PART = PartHeader(STORE_ID, FIRST, 9, 0, 3)
PART_NAME = names.part(9, 0, "a1")
PART_DATA = bases.encode_part(PART, CHUNKS)
MANIFEST = Manifest(
    STORE_ID,
    "team",
    "orders",
    FIRST,
    9,
    1000,
    50,
    3,
    len(PART_DATA),
    (PartInfo(PART_NAME, len(PART_DATA), 3, PART_DATA[-32:].hex()),),
)
MANIFEST_DATA = bases.encode_manifest(MANIFEST)


def test_what_was_written_is_read() -> None:
    manifest = bases.decode_manifest(names.manifest(9), MANIFEST_DATA)
    assert msgspec.structs.replace(manifest, sha256=MANIFEST.sha256) == MANIFEST
    part = bases.decode_part(PART_NAME, PART_DATA, manifest)
    assert (part.header, [len(chunk) for chunk in part.chunks()]) == (PART, [2, 1])
    assert [frame[4] for frame in part.frames()] == [b"a", b"b", b"c"]


@pytest.mark.parametrize(
    ("read", "data"),
    [
        (lambda data: list(bases.decode_part(PART_NAME, data).chunks()), PART_DATA),
        (lambda data: bases.decode_manifest(names.manifest(9), data), MANIFEST_DATA),
    ],
    ids=["part", "manifest"],
)
def test_every_truncation_and_flipped_bit_is_refused(read, data: bytes) -> None:  # type: ignore[no-untyped-def]
    for size in range(len(data)):
        with pytest.raises(Damaged):
            read(data[:size])
    for position in range(len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[position] ^= 1 << bit
            with pytest.raises(Damaged):
                read(bytes(changed))


def test_a_part_that_the_manifest_does_not_list_is_refused() -> None:
    other = msgspec.structs.replace(MANIFEST, parts=(msgspec.structs.replace(MANIFEST.parts[0], sha256="00"),))
    with pytest.raises(Damaged, match="it was replaced"):
        bases.decode_part(PART_NAME, PART_DATA, other)
    with pytest.raises(Damaged, match="does not list it"):
        bases.decode_part(names.part(9, 0, "b2"), PART_DATA, MANIFEST)


def test_a_part_has_no_deletions_and_nothing_newer_than_its_base() -> None:
    for row in (rows.Row(4, 0, b"k", deletion=True), put(10)):
        data = bases.encode_part(msgspec.structs.replace(PART, rows=1), [rows.pack_batch([row])])
        with pytest.raises(Damaged, match="has no place in a base at 9"):
            list(bases.decode_part(PART_NAME, data).chunks())


def test_the_card_says_whose_archive_it_is() -> None:
    mine = card.Card(STORE_ID, "team", "orders")
    assert card.decode(card.encode(mine), STORE_ID) == mine
    with pytest.raises(Damaged, match="in the folder of other"):
        card.decode(card.encode(mine), "other")
    with pytest.raises(Damaged, match="cannot be read"):
        card.decode(card.encode(mine)[:-5], STORE_ID)


def test_names_are_in_the_order_of_epochs_and_revisions() -> None:
    in_order = [(1, 9), (1, 10), (1, 1 << 40), (2, 1), (16, 3)]
    named = [names.segment(*place) for place in in_order]
    assert sorted(named) == named
    assert [names.parse_segment(name) for name in named] == in_order
    assert names.parse_manifest(names.manifest(255)) == 255
    assert names.parse_segment(names.manifest(1)) is None
    assert names.parse_manifest(names.part(1, 0, "x")) is None
