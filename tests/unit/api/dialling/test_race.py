"""The first attempt that works counts, and one that hangs holds up nobody for long."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from rstore_api.dialling.race import first_success


class Attempts:
    """Each hangs, fails, or gives its number, as its plan says."""

    def __init__(self, *plan: str) -> None:
        self.plan = plan
        self.begun: list[int] = []
        self.cancelled: list[int] = []
        self.discarded: list[int] = []
        self.pauses = 0
        self.all_begun = asyncio.Event()

    def __iter__(self) -> Iterator:
        return (self._run(number, what) for number, what in enumerate(self.plan))

    async def _run(self, number: int, what: str) -> int:
        self.begun.append(number)
        if len(self.begun) == len(self.plan):
            self.all_begun.set()
        if what == "hang":
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                self.cancelled.append(number)
                raise
        if what == "fail":
            raise OSError(f"attempt {number}")
        return number

    async def discard(self, number: int) -> None:
        self.discarded.append(number)

    async def pause(self, _seconds: float) -> None:
        self.pauses += 1

    async def race(self, *, go_on: bool = True) -> int:
        return await first_success(iter(self), every_seconds=1.0, go_on=go_on, discard=self.discard, sleep=self.pause)


async def test_the_first_alone_where_it_works_before_the_pause_is_over() -> None:
    attempts = Attempts("work", "work")

    async def never(_seconds: float) -> None:
        await asyncio.get_running_loop().create_future()

    race = first_success(iter(attempts), every_seconds=1.0, go_on=True, discard=attempts.discard, sleep=never)
    assert await race == 0
    assert attempts.begun == [0]


async def test_the_next_begins_beside_one_that_hangs() -> None:
    attempts = Attempts("hang", "hang", "work")
    assert await attempts.race() == 2
    assert (attempts.begun, sorted(attempts.cancelled)) == ([0, 1, 2], [0, 1])


async def test_the_next_begins_at_once_when_one_fails() -> None:
    attempts = Attempts("fail", "fail", "work")
    assert await attempts.race() == 2


async def test_a_failure_ends_it_where_it_is_not_to_go_on() -> None:
    attempts = Attempts("fail", "work")
    with pytest.raises(OSError, match="attempt 0"):
        await attempts.race(go_on=False)
    assert attempts.begun == [0]


async def test_a_failure_beside_one_that_hangs_waits_for_that_one() -> None:
    attempts = Attempts("hang", "fail", "work")
    assert await attempts.race(go_on=False) == 2


async def test_the_last_error_when_all_fail_and_another_when_there_is_nothing() -> None:
    with pytest.raises(OSError, match="attempt 1"):
        await Attempts("fail", "fail").race()
    with pytest.raises(LookupError):
        await Attempts().race()


async def test_being_cancelled_cancels_all_attempts() -> None:
    attempts = Attempts("hang", "hang")
    task = asyncio.create_task(attempts.race())
    await attempts.all_begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(attempts.cancelled) == [0, 1]
