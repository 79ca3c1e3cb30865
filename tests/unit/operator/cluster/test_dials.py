"""Few connections are opened at a time, stores take turns, and addresses at which nobody is hold nobody up."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from rstore_api.errors import DeadlineExceeded, Unreachable
from rstore_api.methods import ADMIN_STATUS
from rstore_api.proto.rstore_pb2 import StatusRequest
from rstore_api.tls import TlsPem
from rstore_operator.cluster.dials import OTHERS_EVERY, Dials
from rstore_operator.cluster.replicas import Replicas
from rstore_operator.facts.actions import Target
from unit.api.client_servers import until

NEVER = 60.0


class Running:
    """Dials that last until they are ended."""

    def __init__(self, dials: Dials) -> None:
        self._dials = dials
        self.begun: list[str] = []
        self.tasks: list[asyncio.Task[None]] = []
        self._ends: list[tuple[str, asyncio.Event]] = []

    def add(self, store: str, count: int = 1) -> None:
        self.tasks += [asyncio.create_task(self._dial(store)) for _ in range(count)]

    async def _dial(self, store: str) -> None:
        async with self._dials.turn(store):
            self.begun.append(store)
            end = asyncio.Event()
            self._ends.append((store, end))
            await end.wait()

    async def settled(self) -> list[str]:
        for _ in range(6):
            await asyncio.sleep(0)
        return self.begun

    async def end_oldest(self) -> None:
        self._ends.pop(0)[1].set()
        await self.settled()

    async def end_all(self) -> None:
        while self._ends:
            await self.end_oldest()
        await asyncio.gather(*self.tasks, return_exceptions=True)


async def test_so_many_run_at_a_time_and_stores_take_turns() -> None:
    running = Running(Dials(2, fresh_seconds=NEVER))
    running.add("large", 6)
    await running.settled()
    running.add("a")
    running.add("b")
    assert await running.settled() == ["large"] * 2
    for _ in range(3):
        await running.end_oldest()
    assert running.begun == ["large", "large", "large", "a", "b"], "what a store waits with waits for its own turn"
    await running.end_all()
    assert Counter(running.begun) == {"large": 6, "a": 1, "b": 1}


async def test_a_hurried_store_comes_first_and_the_others_get_their_share() -> None:
    dials = Dials(1, fresh_seconds=NEVER)
    running = Running(dials)
    running.add("first")
    await running.settled()
    running.add("other", 3)
    await running.settled()
    running.add("hurried", 9)
    await running.settled()
    dials.hurry("hurried", hurried=True)  # also what waits already
    await running.end_all()
    shares = [running.begun[1:][at : at + OTHERS_EVERY] for at in range(0, 3 * OTHERS_EVERY, OTHERS_EVERY)]
    assert shares == [["hurried"] * (OTHERS_EVERY - 1) + ["other"]] * 3


async def test_one_that_hangs_leaves_its_place_once() -> None:
    dials = Dials(1, fresh_seconds=0.02)
    running = Running(dials)
    running.add("hangs", 3)
    await until(lambda: len(dials._slow) == 3)
    await running.end_all()
    again = Running(dials)
    again.add("a", 2)
    assert await again.settled() == ["a"], "there is one place, as before"
    await again.end_all()


async def test_of_too_many_that_hang_the_oldest_of_the_store_with_most_is_given_up() -> None:
    running = Running(Dials(1, 3, fresh_seconds=0.01))
    for store in ("one", "most", "most", "most"):
        running.add(store)
        await until(lambda: len(running.begun) == len(running.tasks))
    async with asyncio.timeout(10):
        done, _ = await asyncio.wait(running.tasks, return_when=asyncio.FIRST_COMPLETED)
    assert done == {running.tasks[1]}
    with pytest.raises(Unreachable, match="given up"):
        running.tasks[1].result()
    await running.end_all()


async def test_those_that_are_cancelled_leave_no_trace() -> None:
    dials = Dials(1, fresh_seconds=NEVER)
    running = Running(dials)
    running.add("a", 3)
    await running.settled()
    running.tasks[1].cancel()  # waits
    running.tasks[0].cancel()  # has the place, which would be the cancelled one's
    assert await running.settled() == ["a", "a"]
    running.tasks[2].cancel()
    await running.settled()
    async with asyncio.timeout(5), dials.turn("b"):
        pass


async def test_a_place_that_comes_to_one_that_is_being_cancelled_is_not_lost() -> None:
    dials = Dials(1, fresh_seconds=NEVER)
    running = Running(dials)
    running.add("a", 2)
    await running.settled()
    await running.end_oldest()  # the second has it
    running.add("b")
    await running.settled()
    running._ends.pop(0)[1].set()
    await asyncio.sleep(0)  # the place has been handed to "b", which has not run yet
    running.tasks[2].cancel()
    await running.settled()
    async with asyncio.timeout(5), dials.turn("c"):
        pass


async def test_a_replica_that_no_dial_has_been_begun_to_is_late_and_not_unreachable() -> None:
    dials = Dials(1, fresh_seconds=NEVER)
    replicas = Replicas(dials=dials)
    await replicas.use(TlsPem(b"ca", b"certificate", b"key"))
    target = Target("orders-a-0", "127.9.9.9", "orders-a-0.peers")
    try:
        async with dials.turn("another store"):
            with pytest.raises(DeadlineExceeded):
                await replicas.call(target, ADMIN_STATUS, StatusRequest(), timeout_seconds=0.05)
    finally:
        await replicas.close()
    async with asyncio.timeout(5), dials.turn("another store"):
        pass
