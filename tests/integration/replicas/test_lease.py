"""Leases on real replicas: our client in both regions, across the loss of a leader."""

from __future__ import annotations

import asyncio

import pytest
from integration.replicas.server_processes import eventually
from rstore_api import methods
from rstore_api.client import Client
from rstore_api.proto import rpc_pb2


async def _keys(client: Client) -> list[bytes]:
    return [kv.key for kv in (await client.get_prefix("s/")).kvs]


async def test_a_lease_lives_as_long_as_a_client_of_any_region_renews_it(start_regions) -> None:
    east, west = await start_regions(("us-east", 3), ("eu-west", 1))
    async with east.client() as near, west.client() as far:
        async with near.lease(6) as first, far.lease(6) as second:
            await near.put("s/near", "1", lease=first.id)
            await far.put("s/far", "1", lease=second.id)
            leader = await east.leader()
            leader.kill()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(2 * first.ttl_seconds):
                    await first.lost()
            assert (first.alive, second.alive) == (True, True)
            assert await _keys(near) == [b"s/far", b"s/near"]
            request = rpc_pb2.LeaseTimeToLiveRequest(ID=first.id, keys=True)
            shown = await far.call(methods.LEASE_TIME_TO_LIVE, request, timeout_seconds=30)
            assert list(shown.keys) == [b"s/near"]
        assert await _keys(near) == []
        assert not first.alive


async def test_a_lease_whose_client_is_gone_ends_in_every_region(start_regions) -> None:
    east, west = await start_regions(("us-east", 1), ("eu-west", 1))
    async with east.client() as near, west.client() as far:
        granted = await far.call(methods.LEASE_GRANT, rpc_pb2.LeaseGrantRequest(TTL=2), timeout_seconds=30)
        await far.put("s/key", "1", lease=granted.ID)

        async def gone() -> bool:
            copies = [await client.get("s/key", serializable=True) for client in (near, far)]
            return not any(copy.count for copy in copies)

        await eventually(gone)
        leases = await far.call(methods.LEASE_LEASES, rpc_pb2.LeaseLeasesRequest(), timeout_seconds=30)
        assert not leases.leases
