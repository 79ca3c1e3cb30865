"""What one caller may take of a server by all of its connections together."""

from __future__ import annotations

from collections.abc import Sized
from typing import Protocol
from weakref import WeakValueDictionary


class Sharing(Protocol):
    """A connection, as far as shares know it."""

    @property
    def streams(self) -> Sized:
        """Its calls that are under way."""


class Share:
    """The connections of one caller, and how many calls may be under way on all of them: ``max_calls``."""

    def __init__(self) -> None:
        self.max_calls = 0
        self.connections: set[Sharing] = set()

    @property
    def is_exceeded(self) -> bool:
        """Whether more calls are under way than may be."""
        return sum(len(connection.streams) for connection in self.connections) > self.max_calls


class Shares:
    """The shares of those callers that have one, by name; one without a connection is forgotten."""

    def __init__(self) -> None:
        self._shares: WeakValueDictionary[str, Share] = WeakValueDictionary()

    def join(self, connection: Sharing, name: str, max_calls: int) -> Share:
        """Returns the share of the caller of that name, with the connection in it and a bound of ``max_calls``."""
        share = self._shares.get(name)
        if share is None:
            share = self._shares[name] = Share()
        share.max_calls = max_calls
        share.connections.add(connection)
        return share
