"""Generations of the data: what a snapshot replaces is another generation than what it brings.

A generation is a pair of databases, ``rows`` and ``index``. The position names the one in use, so that a snapshot
becomes visible by one write of a few bytes, however large it is. There are three places for generations, used in turn:
one in use, one that is being filled, and one that is being emptied, little by little, by each replica for itself.
"""

from __future__ import annotations

from rstore_replica.mvcc.data import layout

PLACES = 3


def place_of(generation: int) -> int:
    """Returns where a generation lives."""
    return generation % PLACES


def names_of(place: int) -> tuple[bytes, bytes]:
    """The names of the databases there, rows and index; the first place has those of a store without generations."""
    suffix = b"%d" % place if place else b""
    return layout.ROWS + suffix, layout.INDEX + suffix


def next_generation(in_use: int, newest: int) -> int:
    """Returns the generation after all there were, in another place than the one in use."""
    following = max(in_use, newest) + 1
    return following if place_of(following) != place_of(in_use) else following + 1
