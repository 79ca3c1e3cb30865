"""A group without Raft, for the tests of replication."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from rstore_api import errors
from rstore_replica.raft.types import GroupStatus, Member, Role
from unit.replication.fakes.machine import FakeMachine


class FakeGroup:
    """Commits entries in the order they were proposed, ``commit_seconds`` after each was, several at a time."""

    def __init__(self, region: str, machine: FakeMachine, *, replicas: int = 1) -> None:
        self.names = [f"{region}-{number}" for number in range(replicas)]
        self.leader: str | None = self.names[0]
        self.machine = machine
        self.commit_seconds = 0.0
        self.fail_next: errors.StoreError | None = None
        self.answer_next: object = None
        self.committed_unapplied: list[bytes] = []  # what a new leader has in its log but has not applied yet
        self.leaving: tuple[str, ...] = ()
        self.learners: tuple[str, ...] = ()
        self.released = False
        self.proposals = 0
        self.in_flight = 0
        self.most_in_flight = 0
        self._last: asyncio.Future[None] | None = None
        self._callbacks: list[Callable[[GroupStatus], None]] = []

    @property
    def role(self) -> Role:
        return Role.LEADER if self.leader == self.names[0] else Role.FOLLOWER

    @property
    def term(self) -> int:
        return 1

    def status(self) -> GroupStatus:
        index, role = self.machine.applied_index, self.role
        members = tuple(Member(name, f"{name}:2380") for name in self.names)
        since = 0.0 if role is Role.LEADER else None
        return GroupStatus(
            self.names[0],
            role,
            self.leader,
            self.term,
            index,
            index,
            index,
            members,
            since,
            learners=self.learners,
            leaving=self.leaving,
        )

    def in_touch(self) -> tuple[str, ...]:
        return tuple(self.names[1:])

    def leave(self) -> None:
        self.leaving = (self.names[0],)

    def release(self, released: bool) -> None:
        self.released = released

    def lead(self, leader: str | None) -> None:
        """Makes another member (or nobody) leader."""
        self.leader = leader
        for callback in self._callbacks:
            callback(self.status())

    def on_change(self, callback: Callable[[GroupStatus], None]) -> None:
        self._callbacks.append(callback)

    def _require_leader(self) -> None:
        if self.leader is None:
            raise errors.NoLeader
        if self.leader != self.names[0]:
            raise errors.NotLeader(leader=f"{self.leader}:2380")

    async def propose(self, entry: bytes, *, timeout_seconds: float) -> object:
        del timeout_seconds
        self._require_leader()
        if self.fail_next is not None:
            failure, self.fail_next = self.fail_next, None
            raise failure
        self.proposals += 1
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        before, mine = self._last, asyncio.get_running_loop().create_future()
        self._last = mine
        try:
            await asyncio.sleep(self.commit_seconds)
            if before is not None:
                await before
            result = self.machine.apply(self.machine.applied_index + 1, 1, entry)
            override, self.answer_next = self.answer_next, None
            return result if override is None else override
        finally:
            self.in_flight -= 1
            mine.set_result(None)

    async def barrier(self, *, timeout_seconds: float) -> None:
        del timeout_seconds
        self._require_leader()
        await asyncio.sleep(0)
        while self.committed_unapplied:
            self.machine.apply(self.machine.applied_index + 1, 1, self.committed_unapplied.pop(0))

    async def transfer_leadership(self, target: str | None, *, timeout_seconds: float) -> str:
        del timeout_seconds
        self.lead(target or self.names[-1])
        return self.leader or ""
