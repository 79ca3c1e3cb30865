"""Candidates for one Lease, against an API server that fails in every way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from rstore_kube.errors import ApiError
from rstore_operator.leadership import elector as module
from rstore_operator.leadership.elector import SAY_AGAIN_SECONDS, Elector
from rstore_operator.leadership.rules import DEADLINE_SECONDS, DURATION_SECONDS, RENEW_SECONDS, RETRY_SECONDS
from rstore_operator.resource.state import OperatorName
from unit.operator.leadership.leases import LeaseServer

NAME = OperatorName("system", "rstore")


class World:
    """Some electors, whose time passes only when a test lets it."""

    def __init__(self) -> None:
        self.server = LeaseServer()
        self.seconds = 0.0
        self.log: list[str] = []
        self.electors: dict[str, Elector] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def add(self, identity: str) -> Elector:
        elector = Elector(self.server, NAME, identity, clock=lambda: self.seconds)
        self.electors[identity] = elector
        running = elector.run(
            began=lambda: self.log.append(f"{identity} begins"), stopped=lambda: self.log.append(f"{identity} stops")
        )
        self.tasks[identity] = asyncio.create_task(running)
        return elector

    async def sleep(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.seconds + seconds, future))
        await future

    async def settle(self) -> None:
        for _ in range(30):
            await REAL_SLEEP(0)

    async def pass_(self, seconds: float, check: Callable[[], None] = lambda: None) -> None:
        """Let time pass from one wake-up to the next; ``check`` is called at each."""
        end = self.seconds + seconds
        await self.settle()
        while True:
            self._sleepers = [(at, future) for at, future in self._sleepers if not future.done()]
            at = min((at for at, _ in self._sleepers), default=end)
            if at > end:
                break
            self.seconds = max(self.seconds, at)
            for due, future in self._sleepers:
                if due <= self.seconds and not future.done():
                    future.set_result(None)
            await self.settle()
            check()
            if at >= end:
                break
        self.seconds = max(self.seconds, end)
        await self.settle()

    def acting(self) -> list[str]:
        return [name for name, elector in self.electors.items() if elector.acts()]

    def at_most_one(self) -> None:
        assert len(self.acting()) <= 1

    async def end(self, identity: str) -> None:
        self.tasks[identity].cancel()
        await asyncio.gather(self.tasks[identity], return_exceptions=True)


REAL_SLEEP = asyncio.sleep


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    made = World()
    monkeypatch.setattr(module.asyncio, "sleep", made.sleep)
    yield made
    for identity in made.tasks:
        await made.end(identity)


async def test_the_first_one_acts_at_once_and_renews(world: World) -> None:
    world.add("a")
    await world.settle()
    assert world.acting() == ["a"]
    writes = world.server.writes
    await world.pass_(10 * RENEW_SECONDS, world.at_most_one)
    assert world.acting() == ["a"]
    assert world.server.writes == writes + 10
    assert world.log == ["a begins"]


async def test_a_second_one_waits_and_acts_when_the_first_dies(world: World) -> None:
    world.add("a")
    await world.settle()
    world.add("b")
    await world.pass_(20, world.at_most_one)
    assert world.acting() == ["a"]
    world.tasks["a"].cancel()  # the process is gone: it neither renews nor releases
    await world.pass_(DURATION_SECONDS + RETRY_SECONDS)
    assert world.electors["b"].acts()
    assert world.server.holder() == "b"
    assert world.server.lease is not None
    assert world.server.lease["spec"]["leaseTransitions"] == 1


async def test_after_a_clean_stop_the_next_one_acts_at_its_next_look(world: World) -> None:
    first = world.add("a")
    await world.settle()
    world.add("b")
    await world.pass_(3)
    await world.end("a")
    await first.release()
    assert world.server.holder() == ""
    await world.pass_(RETRY_SECONDS)
    assert world.acting() == ["b"]


async def test_one_that_was_not_chosen_leaves_the_lease_alone_when_it_stops(world: World) -> None:
    world.add("a")
    await world.settle()
    second = world.add("b")
    await world.pass_(1)
    await world.end("b")
    await second.release()
    assert world.server.holder() == "a"


async def test_a_holder_that_cannot_renew_stops_at_its_deadline_and_goes_on_when_it_can(world: World) -> None:
    world.add("a")
    await world.settle()
    world.server.down = ConnectionError("no route")
    await world.pass_(DEADLINE_SECONDS - 0.1)
    assert world.acting() == ["a"]
    await world.pass_(0.1)
    assert world.acting() == []
    assert world.log == ["a begins", "a stops"]
    world.server.down = None
    await world.pass_(2 * RETRY_SECONDS)
    assert world.log == ["a begins", "a stops", "a begins"]


@pytest.mark.parametrize("down", [TimeoutError(), ApiError(500, "InternalError", "oops"), ApiError(403, "", "no")])
async def test_an_outage_shorter_than_the_deadline_is_not_noticed(world: World, down: Exception) -> None:
    world.add("a")
    await world.settle()
    world.server.down = down
    await world.pass_(1.5)
    world.server.down = None
    await world.pass_(10, world.at_most_one)
    assert world.log == ["a begins"]


@pytest.mark.parametrize("before", ["", "gone"])
async def test_one_that_may_read_the_lease_and_not_write_it_says_so_once_a_minute(
    world: World, before: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(module.log, "warning", lambda _event, **fields: said.append(fields["reason"]), raising=False)
    if before:
        world.add(before)
        await world.settle()
        await world.end(before)
        world.electors.pop(before)
    world.server.forbidden = ApiError(403, "Forbidden", "no right")
    elector = world.add("a")
    await world.pass_(DURATION_SECONDS + module.GRACE_SECONDS + 1)
    assert len(said) == 1
    assert "no right" in said[0]
    assert elector.problems()
    await world.pass_(2 * SAY_AGAIN_SECONDS)
    world.server.forbidden = ApiError(403, "Forbidden", "still none")
    await world.pass_(5)
    assert len(said) == 4
    assert "still none" in said[-1]
    world.server.forbidden = None
    await world.pass_(2)
    assert (world.acting(), elector.problems()) == (["a"], ())


async def test_an_answer_that_is_lost_is_no_loss_of_the_lease(world: World) -> None:
    world.add("a")
    await world.settle()
    world.server.lost = True
    await world.pass_(1.2)
    world.server.lost = False
    await world.pass_(5, world.at_most_one)
    assert world.log == ["a begins"]


async def test_an_outage_for_all_gives_the_lease_to_one(world: World) -> None:
    for identity in ("a", "b", "c"):
        world.add(identity)
    await world.settle()
    for seconds in (1, 2, 3, 5, 20):
        world.server.down = TimeoutError()
        await world.pass_(seconds, world.at_most_one)
        world.server.down = None
        await world.pass_(DURATION_SECONDS + 1, world.at_most_one)
        assert len(world.acting()) == 1


async def test_a_lease_that_is_deleted_is_made_anew_and_never_are_there_two(world: World) -> None:
    for identity in ("a", "b"):
        world.add(identity)
    await world.settle()
    holder = world.acting()
    world.server.lease = None
    await world.pass_(6, world.at_most_one)
    assert world.acting() == holder
    assert world.server.holder() == holder[0]


async def test_one_that_slept_through_its_deadline_does_not_act_when_it_wakes(world: World) -> None:
    elector = world.add("a")
    await world.settle()
    world.seconds += DEADLINE_SECONDS  # the process was stopped, and nothing of it has run yet
    assert not elector.acts()
