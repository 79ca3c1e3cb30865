"""The alarms of all members, asked for by any number of callers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from rstore_api.domain.topology import ReplicaAddress
from rstore_api.errors import Unreachable
from rstore_api.proto.rpc_pb2 import AlarmMember, AlarmResponse, AlarmType
from rstore_replica.api.alarms.answers import FRESH_SECONDS, SILENT_SECONDS, Member
from rstore_replica.api.alarms.store_alarms import ANSWER_SECONDS, StoreAlarms, other_members
from unit.api.replica_fakes import NAMES, region_state

EAST, WEST = Member("us-east", "east:2379"), Member("eu-west", "west:2379")
IDS = {EAST: 1, WEST: 2}


class _Store:
    """The other members. Those in ``full`` have an alarm, those in ``hanging`` answer when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0
        self.members = [EAST, WEST]
        self.full: set[Member] = set()
        self.hanging: dict[Member, asyncio.Future[None]] = {}
        self.asked: list[Member] = []
        self.alarms = StoreAlarms(members=lambda: self.members, ask=self.ask, clock=lambda: self.now)

    async def ask(self, member: Member, _method: Any, _request: Any, seconds: float) -> Any:
        assert seconds == ANSWER_SECONDS
        self.asked.append(member)
        await asyncio.sleep(0)
        if member in self.hanging:
            await self.hanging[member]
        alarms = [AlarmMember(memberID=IDS[member], alarm=AlarmType.NOSPACE)] if member in self.full else []
        return AlarmResponse(alarms=alarms)

    async def listed(self) -> list[int]:
        return [alarm.memberID for alarm in await self.alarms.of_others()]


async def test_every_member_is_asked_once_however_many_want_to_know() -> None:
    store = _Store()
    store.full = {EAST, WEST}
    lists = await asyncio.gather(*(store.listed() for _ in range(50)))
    assert store.asked == [EAST, WEST]
    assert [sorted(each) for each in lists] == [[1, 2]] * 50
    store.now += FRESH_SECONDS / 2
    store.full = {WEST}
    assert sorted(await store.listed()) == [1, 2], "an answer is kept for a moment"
    assert store.asked == [EAST, WEST]
    store.now += FRESH_SECONDS
    assert await store.listed() == [2]
    assert store.asked == [EAST, WEST] * 2


async def test_a_member_that_does_not_answer_is_left_out_and_not_waited_for_again() -> None:
    store = _Store()
    store.full = {EAST, WEST}
    silent = store.hanging[WEST] = asyncio.get_running_loop().create_future()
    first = asyncio.create_task(store.listed())
    await asyncio.sleep(0)
    silent.set_exception(Unreachable("west:2379: no answer"))
    assert await first == [1]
    store.hanging[WEST] = asyncio.get_running_loop().create_future()
    store.now += FRESH_SECONDS
    assert await store.listed() == [1], "it is asked, while the list is made without it"
    assert store.asked == [EAST, WEST] * 2
    assert await store.listed() == [1]
    assert store.asked == [EAST, WEST] * 2, "each member has one question at a time"
    store.hanging.pop(WEST).set_result(None)
    store.now += SILENT_SECONDS
    assert sorted(await store.listed()) == [1, 2]


async def test_one_that_stops_asking_does_not_end_the_question_of_others() -> None:
    store = _Store()
    store.full = {EAST}
    first, second = asyncio.create_task(store.listed()), asyncio.create_task(store.listed())
    await asyncio.sleep(0)
    first.cancel()
    assert await second == [1]


async def test_a_member_that_is_gone_is_not_listed() -> None:
    store = _Store()
    store.full = {EAST, WEST}
    assert sorted(await store.listed()) == [1, 2]
    store.members = [EAST]
    assert await store.listed() == [1]


OWN = {name: ReplicaAddress(name, f"{name}.peers:2380", f"{name}.peers:2379") for name in NAMES}


@pytest.mark.parametrize(
    ("state", "to_others", "members"),
    [
        (region_state(), True, ["us-east-1", "us-east-2", "eu-west-0", "eu-west-1"]),
        (region_state(), False, ["us-east-1", "us-east-2"]),
        (region_state(topology=None), True, ["us-east-1", "us-east-2"]),
    ],
)
def test_others_are_all_but_this_replica(state: Any, to_others: bool, members: list[str]) -> None:
    others = other_members(state, OWN, region="us-east", replica=NAMES[0], to_others=to_others)
    assert {member.client_address for member in others} == {f"orders-{name}.peers:2379" for name in members}
    assert all(member.region in member.client_address for member in others)
