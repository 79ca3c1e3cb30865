"""Locks and elections on real replicas: our client in both regions, across the loss of a leader."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest
from integration.replicas.server_processes import eventually
from rstore_api.client import Client

LOCK_SECONDS = 30


async def _waiting(client: Client, name: str, count: int) -> None:
    """Returns once so many clients hold the lock, or wait for it."""

    async def standing() -> bool:
        return (await client.get_prefix(f"{name}/")).count == count

    await eventually(standing)


async def test_a_lock_is_handed_on_between_regions_and_waited_for_across_the_loss_of_a_leader(start_regions) -> None:
    east, west = await start_regions(("us-east", 3), ("eu-west", 1))
    order: list[str] = []

    async def hold(client: Client, name: str) -> None:
        async with client.lock("job", ttl_seconds=LOCK_SECONDS) as lock:
            assert lock.alive
            assert (await client.get(lock.key)).count == 1
            order.append(name)

    async with east.client() as near, west.client() as far:
        async with near.lock("job", ttl_seconds=LOCK_SECONDS) as lock:
            waiting = []
            for number, client in enumerate((far, near, far), 2):
                waiting.append(asyncio.create_task(hold(client, f"{number}")))
                await _waiting(near, "job", number)
            (await east.leader()).kill()
            await _waiting(near, "job", 4)
            assert lock.alive
            assert order == []
        await asyncio.gather(*waiting)
        assert not lock.alive
        # A client whose replica was killed has taken its place anew.
        assert sorted(order) == ["2", "3", "4"]
        assert order.index("2") < order.index("4")
        await _waiting(far, "job", 0)


async def test_who_gives_up_waiting_does_not_keep_others_from_the_lock(start_regions) -> None:
    [east] = await start_regions(("us-east", 1))
    async with east.client() as client:
        async with client.lock("job", ttl_seconds=LOCK_SECONDS):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1), client.lock("job", ttl_seconds=LOCK_SECONDS):
                    pass
            await _waiting(client, "job", 1)
        async with asyncio.timeout(LOCK_SECONDS), client.lock("job", ttl_seconds=LOCK_SECONDS) as lock:
            assert lock.alive


async def test_an_election_is_observed_in_another_region(start_regions) -> None:
    east, west = await start_regions(("us-east", 1), ("eu-west", 1))
    async with east.client() as near, west.client() as far, aclosing(far.election("chief").observe()) as observed:
        assert await near.election("chief").leader() is None
        async with near.election("chief").campaign("one", ttl_seconds=LOCK_SECONDS) as leadership:
            assert (await anext(observed)).value == b"one"
            await leadership.proclaim("still one")
            assert (await anext(observed)).value == b"still one"
            leader = await far.election("chief").leader()
            assert leader is not None
            assert (leader.key, leader.value) == (leadership.key, b"still one")
        async with far.election("chief").campaign("two", ttl_seconds=LOCK_SECONDS):
            assert (await anext(observed)).value == b"two"
        assert await near.election("chief").leader() is None
