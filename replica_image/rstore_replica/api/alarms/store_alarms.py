"""Asks every other member of the store for its own alarms, each at most once at a time, whoever wants to know."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping

from rstore_api import methods
from rstore_api.domain.topology import ReplicaAddress
from rstore_api.errors import StoreError
from rstore_api.methods import Method
from rstore_api.proto.rpc_pb2 import AlarmMember, AlarmRequest, AlarmResponse

from rstore_replica.api.alarms.answers import Answers, Member
from rstore_replica.api.members import with_own
from rstore_replica.replication.ports import RegionStateView

ANSWER_SECONDS = 1.0
"""How long a member may take to answer; one that does not is left out."""

Ask = Callable[[Member, Method[AlarmRequest, AlarmResponse], AlarmRequest, float], Awaitable[AlarmResponse]]
"""Returns what one replica answers for itself alone, within so many seconds. Raises StoreError."""


class StoreAlarms:
    """The alarms of the other members, for the services of this replica."""

    def __init__(self, *, members: Callable[[], Collection[Member]], ask: Ask, clock: Callable[[], float]) -> None:
        """``members`` returns all but this one; ``clock`` is in seconds."""
        self._members = members
        self._ask = ask
        self._clock = clock
        self._answers = Answers()
        self._questions: dict[Member, asyncio.Task[None]] = {}

    async def of_others(self) -> list[AlarmMember]:
        """Returns the alarms of all other members that answer in ANSWER_SECONDS, or did so within the last second."""
        now = self._clock()
        members = self._members()
        self._answers.keep(members)
        for member in members:
            if member not in self._questions and self._answers.is_due(member, now):
                self._questions[member] = asyncio.create_task(self._question(member))
        awaited = [task for member, task in self._questions.items() if self._answers.is_awaited(member, now)]
        if awaited:
            await asyncio.wait(awaited, timeout=ANSWER_SECONDS)
        return self._answers.alarms()

    async def _question(self, member: Member) -> None:
        try:
            answer = await self._ask(member, methods.ALARM, AlarmRequest(), ANSWER_SECONDS)
            self._answers.note(member, tuple(answer.alarms), self._clock())
        except StoreError:
            self._answers.note(member, None, self._clock())
        finally:
            del self._questions[member]


def other_members(
    state: RegionStateView, own_replicas: Mapping[str, ReplicaAddress], *, region: str, replica: str, to_others: bool
) -> list[Member]:
    """Returns the members but this ``replica`` of ``region``; ``to_others`` is whether other regions are asked."""
    others = state.topology.regions if state.topology is not None and to_others else ()
    return [
        Member(each.name, location.client_address)
        for each in with_own(others, region, own_replicas)
        for location in each.replicas
        if (each.name, location.name) != (region, replica)
    ]
