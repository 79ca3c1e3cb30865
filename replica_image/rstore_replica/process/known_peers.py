"""Looks up where the other replicas of the store are now, so that strangers do not keep them out of the peer port."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from rstore_api.dialling.channels import Address, Resolve, system_resolve
from rstore_api.errors import Unreachable

LOOK_UP_SECONDS = 15.0


class KnownPeers:
    """Notes the addresses that the names of replicas have, again and again until it is cancelled."""

    def __init__(
        self,
        peers: Callable[[], Iterable[str]],
        note: Callable[[str], None],
        *,
        resolve: Resolve = system_resolve,
        every_seconds: float = LOOK_UP_SECONDS,
    ) -> None:
        """``peers`` gives ``host:port`` of the replicas, ``note`` takes each IP address."""
        self._peers = peers
        self._note = note
        self._resolve = resolve
        self._every_seconds = every_seconds

    async def run(self) -> None:
        """Never returns. A name that has no address at the moment is looked up the next time."""
        while True:
            for peer in sorted(set(self._peers())):
                address = Address.parse(peer)
                try:
                    for found in await self._resolve(address.host, address.port):
                        self._note(found)
                except Unreachable:
                    continue
            await asyncio.sleep(self._every_seconds)
