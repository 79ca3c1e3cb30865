"""Generations of the data: what a snapshot replaces is another generation than what it brings.

A generation is a set of databases: ``rows`` and what indexes them. The position names the one in use, so that a
snapshot becomes visible by one write of a few bytes, however large it is. There are three places for generations, used
in turn: one in use, one that is being filled, and one that is being emptied, little by little, by each replica for
itself.
"""

from __future__ import annotations

from rstore_replica.mvcc.data import layout

PLACES = 3
TABLES = (
    (layout.ROWS, False),
    (layout.INDEX, True),
    (layout.LEASES, True),
    (layout.ATTACHED, False),
    (layout.LEASE_KEYS, True),
    (layout.AUTH, True),
    (layout.LONG_INDEX, True),
    (layout.LONG_ATTACHED, False),
    (layout.LONG_LEASE_KEYS, True),
)
"""What a generation consists of; the order is that of ``Store.tables``."""


def place_of(generation: int) -> int:
    """Returns where a generation lives."""
    return generation % PLACES


def names_of(place: int) -> tuple[tuple[bytes, bool], ...]:
    """Returns the names of the databases there, and whether a key has several values in it. The first place has the
    names of a store without generations.
    """
    suffix = b"%d" % place if place else b""
    return tuple((name + suffix, several) for name, several in TABLES)


def next_generation(in_use: int, newest: int) -> int:
    """Returns the generation after all there were, in another place than the one in use."""
    following = max(in_use, newest) + 1
    return following if place_of(following) != place_of(in_use) else following + 1
