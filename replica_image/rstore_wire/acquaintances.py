"""From which addresses callers have come that are welcome, so that strangers do not keep these out."""

from __future__ import annotations


class Acquaintances:
    """The newest ``limit`` addresses of such callers."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._addresses: dict[str, None] = {}

    def __contains__(self, address: str) -> bool:
        return address in self._addresses

    def note(self, address: str) -> None:
        """A caller from there has shown a certificate that is welcome; the address noted longest ago is forgotten."""
        self._addresses.pop(address, None)
        self._addresses[address] = None
        if len(self._addresses) > self._limit:
            del self._addresses[next(iter(self._addresses))]
