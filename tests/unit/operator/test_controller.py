"""The loop of each store: when a step is taken, and what one store's trouble means for another."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import weakref
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from rstore_operator.controller import FIRST_BACKOFF_SECONDS, LAST_BACKOFF_SECONDS, Controller
from rstore_operator.resource.model import StoreRef

ORDERS = StoreRef("default", "orders", "uid-1")
ORDERS_AGAIN = StoreRef("default", "orders", "uid-2")
CARTS = StoreRef("default", "carts", "uid-3")


class Steps:
    """A reconciler that does nothing; ``answer`` is what its step comes to, ``gate`` holds a step up."""

    def __init__(self, ref: StoreRef) -> None:
        self.ref = ref
        self.taken = 0
        self.blind: list[str] = []
        self.invalidated = 0
        self.versions: list[str] = []
        self.child_changes = 0
        self.closed = False
        self.answer: float | Exception | None = 3600.0
        self.gate = asyncio.Event()
        self.gate.set()
        self.took = asyncio.Condition()

    async def step(self) -> float | None:
        await self.gate.wait()
        self.taken += 1
        async with self.took:
            self.took.notify_all()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def cannot_look(self, why: str) -> float | None:
        self.blind.append(why)
        return await self.step()

    def object_changed(self, version: str) -> bool:
        new = version not in self.versions
        self.versions.append(version)
        return new

    def children_changed(self) -> None:
        self.child_changes += 1

    def invalidate(self) -> None:
        self.invalidated += 1

    async def close(self) -> None:
        self.closed = True

    async def until(self, count: int) -> None:
        """Wait until that many steps were taken, and their loop waits again."""
        async with asyncio.timeout(10), self.took:
            await self.took.wait_for(lambda: self.taken >= count)
        await quiet()


async def quiet() -> None:
    """Let everything run that can run now."""
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.fixture
async def controlled() -> AsyncIterator[tuple[Callable[..., Controller], dict[StoreRef, Steps]]]:
    made: dict[StoreRef, Steps] = {}
    controllers: list[Controller] = []

    def make(ref: StoreRef) -> Any:
        made[ref] = Steps(ref)
        return made[ref]

    def controller(*, acting: bool = True, **options: Any) -> Controller:
        controllers.append(Controller(make, **options))
        if acting:
            controllers[-1].begin()
        return controllers[-1]

    yield controller, made
    for one in controllers:
        await one.close()


async def test_a_store_is_looked_after_from_the_moment_it_is_seen(controlled: Any) -> None:
    new, made = controlled
    new().store_changed(ORDERS, "1")
    await made[ORDERS].until(1)
    assert made[ORDERS].taken == 1, "it waits for as long as the step said"


async def test_an_object_that_is_being_deleted_is_not_begun_with(controlled: Any) -> None:
    new, made = controlled
    new().store_changed(ORDERS, "1", deleting=True)
    await quiet()
    assert made == {}


async def test_changes_of_the_object_and_of_children_wake_the_loop(controlled: Any) -> None:
    new, made = controlled
    controller = new()
    controller.store_changed(ORDERS, "1")
    steps = made[ORDERS]
    await steps.until(1)
    controller.store_changed(ORDERS, "2")
    await steps.until(2)
    controller.child_changed("default", "orders")
    await steps.until(3)
    assert steps.child_changes == 1
    controller.child_changed("default", "carts")
    controller.store_changed(ORDERS, "2")  # nothing new: the operator's own write comes back like this
    await quiet()
    assert steps.taken == 3


async def test_many_changes_during_a_step_come_to_one_more_step(controlled: Any) -> None:
    new, made = controlled
    controller = new()
    controller.store_changed(ORDERS, "1")
    steps = made[ORDERS]
    await steps.until(1)
    steps.gate.clear()
    for version in range(2, 100):
        controller.store_changed(ORDERS, str(version))
        await quiet()
    steps.gate.set()
    await steps.until(3)
    assert steps.taken == 3


async def test_a_step_that_fails_is_taken_again_after_longer_and_longer_waits(
    controlled: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    errors: list[Exception] = []

    real_timeout = asyncio.timeout

    def timeout(seconds: float) -> asyncio.Timeout:
        task = asyncio.current_task()
        if task is None or not task.get_name().startswith("store "):
            return real_timeout(seconds)
        waits.append(seconds)
        return real_timeout(0)

    monkeypatch.setattr("rstore_operator.controller.asyncio.timeout", timeout)
    new, made = controlled
    controller = new(failed=errors.append, jitter=lambda: 0.5)
    controller.store_changed(ORDERS, "1")
    made[ORDERS].answer = broken = ValueError("broken")
    await made[ORDERS].until(10)
    failures = len(errors)
    assert waits[:3] == [FIRST_BACKOFF_SECONDS, 2 * FIRST_BACKOFF_SECONDS, 4 * FIRST_BACKOFF_SECONDS]
    assert max(waits) == LAST_BACKOFF_SECONDS
    assert set(errors) == {broken}
    assert made[ORDERS].invalidated == failures
    made[ORDERS].answer = 7.0
    await made[ORDERS].until(failures + 3)
    made[ORDERS].answer = broken
    await made[ORDERS].until(made[ORDERS].taken + 2)
    assert waits[waits.index(7.0) :].count(FIRST_BACKOFF_SECONDS) == 1, "after a success it begins anew"


async def test_a_store_that_hangs_holds_up_no_other(controlled: Any) -> None:
    new, made = controlled
    controller = new()
    controller.store_changed(ORDERS, "1")
    made[ORDERS].gate.clear()
    controller.store_changed(CARTS, "1")
    await made[CARTS].until(1)
    assert made[ORDERS].taken == 0
    made[ORDERS].gate.set()


async def test_an_object_made_anew_waits_until_its_forerunner_has_ended(controlled: Any) -> None:
    new, made = controlled
    controller = new()
    controller.store_changed(ORDERS, "1")
    before = made[ORDERS]
    await before.until(1)
    before.gate.clear()
    controller.child_changed("default", "orders")
    await quiet()
    controller.store_changed(ORDERS_AGAIN, "9")
    await quiet()
    assert made[ORDERS_AGAIN].taken == 0
    assert not before.closed
    before.gate.set()
    await made[ORDERS_AGAIN].until(1)
    assert before.closed
    controller.store_deleted(ORDERS)  # it comes late, and is about the other one
    await quiet()
    assert not made[ORDERS_AGAIN].closed


async def test_a_deleted_store_is_not_looked_after_any_more(controlled: Any) -> None:
    new, made = controlled
    controller = new()
    controller.store_changed(ORDERS, "1")
    await made[ORDERS].until(1)
    controller.store_deleted(ORDERS)
    await quiet()
    assert made[ORDERS].closed
    first = made[ORDERS]
    controller.store_changed(ORDERS, "2")
    assert made[ORDERS] is not first, "nothing of it is kept"


async def test_nothing_is_decided_while_something_cannot_be_watched(controlled: Any) -> None:
    new, made = controlled
    unseen = {"default": "pods: forbidden"}
    controller = new(unseen=lambda namespace: unseen.get(namespace, ""))
    controller.store_changed(ORDERS, "1")
    await made[ORDERS].until(1)
    assert made[ORDERS].blind == ["pods: forbidden"]
    unseen.clear()
    controller.child_changed("default", "orders")
    await made[ORDERS].until(2)
    assert made[ORDERS].blind == ["pods: forbidden"]


async def test_at_the_end_every_loop_has_ended(controlled: Any) -> None:
    new, made = controlled
    controller = new()
    for ref in (ORDERS, CARTS):
        controller.store_changed(ref, "1")
    await made[CARTS].until(1)
    await controller.close()
    assert all(steps.closed for steps in made.values())


async def test_a_controller_that_stands_by_begins_with_every_store_that_it_has_seen(controlled: Any) -> None:
    new, made = controlled
    controller = new(acting=False)
    for ref in (ORDERS, CARTS):
        controller.store_changed(ref, "1")
    controller.store_changed(ORDERS, "2")
    controller.child_changed("default", "orders")
    controller.store_deleted(CARTS)
    controller.store_deleted(StoreRef("default", "orders", "an earlier one"))
    await quiet()
    assert made == {}
    controller.begin()
    await made[ORDERS].until(1)
    assert list(made) == [ORDERS]


async def test_suspended_it_cancels_the_step_under_way_and_takes_none(controlled: Any) -> None:
    new, made = controlled
    controller = new()
    controller.store_changed(ORDERS, "1")
    first = made[ORDERS]
    await first.until(1)
    first.gate.clear()
    controller.child_changed("default", "orders")
    await quiet()
    controller.suspend()
    await quiet()
    assert first.closed
    assert first.taken == 1
    controller.store_changed(ORDERS, "2")
    controller.child_changed("default", "orders")
    await quiet()
    assert made[ORDERS] is first
    controller.begin()
    await made[ORDERS].until(1)
    assert made[ORDERS] is not first, "nothing is remembered from before"


async def test_begun_anew_at_once_it_waits_for_the_step_that_it_cancelled(controlled: Any) -> None:
    new, made = controlled
    controller = new()
    controller.store_changed(ORDERS, "1")
    first = made[ORDERS]
    await first.until(1)
    controller.suspend()
    controller.begin()
    second = made[ORDERS]
    assert second is not first
    await second.until(1)
    assert first.closed
    controller.suspend()
    controller.begin()
    controller.suspend()
    await quiet()
    assert second.closed
    assert made[ORDERS].taken == 0


async def test_a_loop_keeps_nothing_of_what_its_caller_was_doing(controlled: Any) -> None:
    """kopf has what it knows of an event, the object too, in its context."""
    new, made = controlled
    controller = new()
    event = contextvars.ContextVar[set[int]]("event")

    def called() -> weakref.ref[set[int]]:
        body = set[int]()
        event.set(body)
        controller.store_changed(ORDERS, "1")
        return weakref.ref(body)

    body = contextvars.copy_context().run(called)
    await made[ORDERS].until(1)
    gc.collect()
    assert body() is None
