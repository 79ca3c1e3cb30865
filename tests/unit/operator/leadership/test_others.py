"""Whether another installation acts, from its Lease."""

from __future__ import annotations

import pytest
from rstore_kube.errors import ApiError
from rstore_operator.leadership.others import MAX_OTHERS, READ_EVERY_SECONDS, Others
from rstore_operator.leadership.rules import DURATION_SECONDS
from rstore_operator.resource.state import OperatorName
from unit.operator.leadership.leases import LeaseServer

NAME = OperatorName("elsewhere", "rstore")


class World:
    def __init__(self) -> None:
        self.server = LeaseServer()
        self.seconds = 0.0
        self.others = Others(self.server, lambda: self.seconds)

    def renew(self, holder: str) -> None:
        spec = {"holderIdentity": holder, "leaseDurationSeconds": DURATION_SECONDS}
        self.server._store({"metadata": {}, "spec": spec})

    async def after(self, seconds: float) -> str:
        self.seconds += seconds
        return await self.others.acting(NAME)


@pytest.fixture
def world() -> World:
    return World()


async def test_it_acts_while_its_lease_is_renewed_and_no_longer(world: World) -> None:
    for _ in range(10):
        world.renew("pod-1")
        assert await world.after(READ_EVERY_SECONDS) == "elsewhere/rstore (pod-1)"
    assert await world.after(DURATION_SECONDS - 0.1) != ""
    assert await world.after(0.2) == ""
    world.renew("pod-2")
    assert await world.after(READ_EVERY_SECONDS) == "elsewhere/rstore (pod-2)"


async def test_a_released_lease_and_one_that_never_was_are_free_at_once(world: World) -> None:
    assert await world.after(0) == ""
    world.renew("")
    assert await world.after(READ_EVERY_SECONDS) == ""


async def test_a_lease_that_cannot_be_read_is_not_free(world: World) -> None:
    world.server.down = ApiError(403, "Forbidden", "leases is forbidden")
    for _ in range(20):
        assert "cannot be read: leases is forbidden" in await world.after(READ_EVERY_SECONDS)
    world.server.down = None
    world.renew("pod-1")
    assert await world.after(READ_EVERY_SECONDS) == "elsewhere/rstore (pod-1)"


async def test_many_stores_read_it_once(world: World) -> None:
    reads = 0
    find = world.server.find

    async def counted(*arguments: object) -> object:
        nonlocal reads
        reads += 1
        return await find(*arguments)  # type: ignore[arg-type]

    world.server.find = counted  # type: ignore[method-assign, assignment]
    for _ in range(50):
        await world.after(0)
    assert reads == 1


async def test_the_number_of_others_is_bounded(world: World) -> None:
    for number in range(MAX_OTHERS):
        await world.others.acting(OperatorName("n", str(number)))
    assert "too many" in await world.after(0)
