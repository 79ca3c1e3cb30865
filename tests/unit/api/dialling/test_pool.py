"""Connections are shared, few, and closed once they are not wanted."""

from __future__ import annotations

import asyncio

import pytest
from rstore_api.dialling.pool import Pool
from rstore_api.errors import TooManyRequests


class _Connection:
    def __init__(self, key: str) -> None:
        self.key = key
        self.closed = False

    async def close(self) -> None:
        await asyncio.sleep(0)
        self.closed = True


class _Made(list[_Connection]):
    """Every connection that was made, in order."""

    def __call__(self, key: str) -> _Connection:
        self.append(_Connection(key))
        return self[-1]


async def test_a_connection_is_made_once_and_kept() -> None:
    made = _Made()
    pool = Pool(made, limit=2)
    for _ in range(2):
        async with pool.use("a") as first, pool.use("a") as second:
            assert first is second
    assert [connection.closed for connection in made] == [False]


async def test_the_one_unused_for_longest_makes_room() -> None:
    made = _Made()
    pool = Pool(made, limit=2)
    for key in "abac":
        async with pool.use(key):
            pass
    assert [(connection.key, connection.closed) for connection in made] == [("a", False), ("b", True), ("c", False)]


async def test_one_in_use_stays_and_beyond_the_limit_there_is_none() -> None:
    made = _Made()
    pool = Pool(made, limit=2)
    async with pool.use("a") as first:
        async with pool.use("b"):
            with pytest.raises(TooManyRequests):
                async with pool.use("c"):
                    raise AssertionError("not reached")
        async with pool.use("c"):
            assert not first.closed
    assert [connection.key for connection in made if connection.closed] == ["b"]


async def test_a_retired_connection_serves_its_users_to_the_end_and_no_others() -> None:
    made = _Made()
    pool = Pool(made, limit=2)
    async with pool.use("idle"):
        pass
    async with pool.use("a") as old:
        async with pool.use("a"):
            await pool.retire(lambda _key: True)
            assert made[0].closed
            async with pool.use("a") as new:
                assert new is not old
        assert not old.closed
    assert old.closed
    assert not new.closed


async def test_closing_waits_for_nobody() -> None:
    pool = Pool(_Made(), limit=2)
    async with pool.use("a") as kept, pool.use("b") as gone:
        await pool.close(lambda key: key == "b")
        assert (kept.closed, gone.closed) == (False, True)
        await pool.close()
        assert kept.closed
