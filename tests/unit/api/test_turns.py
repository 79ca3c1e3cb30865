"""A client that asks for much waits for itself, and no other waits for it."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rstore_api.errors import TooManyRequests
from rstore_replica.api.turns import Turns


class _Crowd:
    """Callers that each keep their place until the test ends their turn; in which order they came in."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self.inside: list[tuple[str, asyncio.Event]] = []
        self.order: list[str] = []

    async def caller(self, client: str) -> None:
        async with self.turns.turn(client):
            go = asyncio.Event()
            me = (client, go)
            self.inside.append(me)
            self.order.append(client)
            try:
                await go.wait()
            finally:
                if me in self.inside:
                    self.inside.remove(me)

    async def add(self, clients: str) -> list[asyncio.Task[None]]:
        tasks = [asyncio.create_task(self.caller(client)) for client in clients]
        await _settle()
        return tasks

    async def one_leaves(self) -> None:
        self.inside.pop(0)[1].set()
        await _settle()

    @property
    def names(self) -> str:
        return "".join(sorted(client for client, _ in self.inside))


async def _settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_places_go_round_the_clients() -> None:
    crowd = _Crowd(Turns(places=1, places_per_client=1, max_waiting=100))
    tasks = await crowd.add("aaaaa" + "b" + "cc")
    while crowd.inside:
        await crowd.one_leaves()
    await asyncio.gather(*tasks)
    assert "".join(crowd.order) == "aabcacaa"


async def test_one_client_leaves_places_for_others() -> None:
    crowd = _Crowd(Turns(places=3, places_per_client=2, max_waiting=100))
    tasks = await crowd.add("aaaaa")
    assert crowd.names == "aa"
    tasks += await crowd.add("b")
    assert crowd.names == "aab"
    while crowd.inside:
        await crowd.one_leaves()
    await asyncio.gather(*tasks)


async def test_beyond_the_bound_the_client_with_most_is_refused() -> None:
    crowd = _Crowd(Turns(places=1, places_per_client=1, max_waiting=4))
    greedy = await crowd.add("aaaaa")
    modest = await crowd.add("b")
    refused = [task for task in greedy if task.done()]
    assert len(refused) == 1
    with pytest.raises(TooManyRequests):
        await refused[0]
    [more] = await crowd.add("a")
    with pytest.raises(TooManyRequests):
        await more
    while crowd.inside:
        await crowd.one_leaves()
    assert modest[0].done()


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["come", "leave", "cancel"])), max_size=60),
    st.integers(1, 3),
    st.integers(1, 3),
)
@settings(max_examples=200)
def test_no_place_is_lost_or_given_twice(steps: list[tuple[str, str]], places: int, per_client: int) -> None:
    async def run() -> None:
        crowd = _Crowd(Turns(places=places, places_per_client=per_client, max_waiting=8))
        tasks: list[asyncio.Task[None]] = []
        for client, step in steps:
            if step == "come":
                tasks.append(asyncio.create_task(crowd.caller(client)))
            elif step == "leave" and crowd.inside:
                crowd.inside.pop(0)[1].set()
            elif step == "cancel" and tasks:
                tasks[len(tasks) // 2].cancel()
            await asyncio.sleep(0)
            busy = Counter(name for name, _ in crowd.inside)
            assert busy.total() <= places
            assert max(busy.values(), default=0) <= per_client
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert not crowd.inside
        again = await crowd.add("abcabcabc"[: 3 * places])
        expected = min(places, 3 * min(per_client, places))
        assert len(crowd.inside) == expected
        for task in again:
            task.cancel()
        await asyncio.gather(*again, return_exceptions=True)

    asyncio.run(run())
