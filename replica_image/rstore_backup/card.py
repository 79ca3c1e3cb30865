"""store.json: to which store an archive belongs."""

from __future__ import annotations

import msgspec

from rstore_backup import names
from rstore_backup.errors import Damaged

FORMAT = 1


class Card(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The store; its name and namespace are those that it had when the archive was begun."""

    store_id: str
    namespace: str
    name: str
    format: int = FORMAT


def encode(card: Card) -> bytes:
    """Returns the object."""
    return msgspec.json.encode(card) + b"\n"


def decode(data: bytes, store_id: str) -> Card:
    """Returns the card, whose store the archive's folder names. Raises Damaged."""
    try:
        card = msgspec.json.decode(data, type=Card)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Damaged(names.STORE, 0, f"it cannot be read: {error}") from error
    if card.format != FORMAT:
        raise Damaged(names.STORE, 0, f"format version {card.format}, this version reads {FORMAT}")
    if card.store_id != store_id:
        raise Damaged(names.STORE, 0, f"it is of store {card.store_id}, in the folder of {store_id}")
    return card
