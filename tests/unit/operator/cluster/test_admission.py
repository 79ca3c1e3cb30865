"""Few stores are looked at as a whole at a time, and one that hangs does not hold up the others for long."""

from __future__ import annotations

import asyncio

import pytest
from rstore_operator.cluster.admission import Admission


class Looks:
    def __init__(self, admission: Admission, count: int) -> None:
        self.begun: list[int] = []
        self.end = [asyncio.Event() for _ in range(count)]
        self.tasks = [asyncio.create_task(self._look(admission, number)) for number in range(count)]

    async def _look(self, admission: Admission, number: int) -> None:
        async with admission.admitted():
            self.begun.append(number)
            await self.end[number].wait()

    async def settle(self) -> list[int]:
        for _ in range(5):
            await asyncio.sleep(0)
        return self.begun


async def test_as_many_as_there_are_places_and_the_next_when_one_ends() -> None:
    looks = Looks(Admission(2, 60.0), 4)
    assert await looks.settle() == [0, 1]
    looks.end[1].set()
    assert await looks.settle() == [0, 1, 2]
    looks.tasks[0].cancel()
    assert await looks.settle() == [0, 1, 2, 3], "one that is cancelled leaves its place, too"
    looks.end[2].set()
    looks.end[3].set()
    await asyncio.wait(looks.tasks)
    again = Looks(Admission(1, 60.0), 1)
    assert await again.settle() == [0]
    again.end[0].set()
    await asyncio.wait(again.tasks)


async def test_a_look_that_hangs_gives_its_place_up_once() -> None:
    admission = Admission(1, 0.05)
    hangs = Looks(admission, 1)
    assert await hangs.settle() == [0]
    async with asyncio.timeout(5), admission.admitted():
        hangs.end[0].set()
        await hangs.tasks[0]
        after = Looks(admission, 1)
        assert await after.settle() == [], "its place is not given up twice"
    assert await after.settle() == [0]
    after.end[0].set()
    await asyncio.wait(after.tasks)


async def test_what_a_look_raises_is_raised_and_its_place_is_free() -> None:
    admission = Admission(1, 60.0)
    with pytest.raises(ValueError, match="odd"):
        async with admission.admitted():
            raise ValueError("odd")
    async with asyncio.timeout(5), admission.admitted():
        pass
