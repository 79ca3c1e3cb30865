"""The addresses of the other replicas are looked up by their names."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from rstore_api.errors import Unreachable
from rstore_replica.process.known_peers import KnownPeers


async def test_addresses_are_noted_again_and_again_and_a_name_without_one_is_no_obstacle() -> None:
    noted: list[str] = []
    all_noted = asyncio.Event()
    addresses = {"b.peers": ["10.0.0.2"], "c.peers": ["10.0.0.3", "fd00::3"]}
    looked_up_twice = asyncio.Event()

    async def resolve(host: str, port: int) -> Sequence[str]:
        assert port == 2380
        if host not in addresses:
            raise Unreachable(host)
        return addresses[host]

    def note(address: str) -> None:
        noted.append(address)
        if len(noted) == 3:
            all_noted.set()
        if address == "10.0.0.4":
            looked_up_twice.set()

    names = ("a.peers:2380", "b.peers:2380", "c.peers:2380")
    running = asyncio.create_task(KnownPeers(lambda: names, note, resolve=resolve, every_seconds=0.001).run())
    async with asyncio.timeout(5):
        await all_noted.wait()
    assert noted[:3] == ["10.0.0.2", "10.0.0.3", "fd00::3"]
    addresses["a.peers"] = ["10.0.0.4"]
    async with asyncio.timeout(5):
        await looked_up_twice.wait()
    running.cancel()
