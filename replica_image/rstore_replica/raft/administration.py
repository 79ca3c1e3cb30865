"""Requests to a leader about its group: to hand leadership on, to take a replica in or out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from rstore_api import errors
from rstore_api.domain.limits import MAX_REPLICAS

from rstore_replica.raft.clock import Clock
from rstore_replica.raft.config import RaftConfig
from rstore_replica.raft.consensus.core import RaftCore
from rstore_replica.raft.membership import Replica
from rstore_replica.raft.types import Member


class Administration:
    """Each call waits for what it asked for, within its time. One change of members at a time."""

    def __init__(
        self, *, name: str, core: RaftCore, config: RaftConfig, clock: Clock, wake: Callable[[], None]
    ) -> None:
        """``wake`` has the core ticked soon."""
        self._name = name
        self._core = core
        self._config = config
        self._clock = clock
        self._wake = wake
        self._changed = asyncio.Event()
        self._changing = False
        self._ended = False
        self.transferring = False
        self.candidates: tuple[Member, ...] = ()
        """Replicas that are to be taken in and are not members yet: links to them are needed."""

    def notice(self) -> None:
        """Role, leader, members or the commit index may have changed."""
        self._changed.set()

    def end(self) -> None:
        """The replica takes part no longer: every call ends with ShuttingDown."""
        self._ended = True
        self._changed.set()

    async def _pause(self) -> bool:
        """Waits for news or a heartbeat; True when there is news. Raises ShuttingDown."""
        if self._ended:
            raise errors.ShuttingDown
        over = False

        def end() -> None:
            nonlocal over
            over = True
            self._changed.set()

        timer = self._clock.call_later(self._config.heartbeat_seconds, end)
        try:
            await self._changed.wait()
        finally:
            timer.cancel()
        self._changed.clear()
        return not over

    # ------------------------------------------------------------------ leadership

    async def transfer(self, target: str | None) -> str:
        """Hands leadership to ``target``, or to the voter with the longest log; returns the new leader's name.

        Raises NotReady when all that could take over were asked to stop.
        """
        core, asked = self._core, False
        peers = core.membership.voters_but(self._name)
        if target == self._name or (target is None and not peers):
            return self._name
        if target is not None and target not in peers:
            raise errors.InvalidRequest(f"{target!r} is not a voting member of this group")
        if self.transferring:
            raise errors.TooManyRequests("leadership is already being handed over")
        self.transferring = True
        wanted = [target] if target else peers
        try:
            while True:
                if not core.is_leader:
                    if core.leader is not None:
                        return core.leader
                elif core.leaving.issuperset(wanted):
                    raise errors.NotReady("those that could take over were asked to stop as well")
                elif not asked:
                    successor = core.successor(wanted)
                    if successor is not None:
                        core.send_timeout_now(successor)
                        asked = True
                if not await self._pause() and core.is_leader:
                    asked = False
        finally:
            self.transferring = False

    # ------------------------------------------------------------------ members

    async def add(self, member: Member) -> None:
        """Takes a replica in as a learner and returns when it counts. Does nothing when it does already."""
        present = self._core.membership.get(member.name)
        if present is None and len(self._core.membership.replicas) >= MAX_REPLICAS:
            raise errors.InvalidRequest(f"a region has at most {MAX_REPLICAS} replicas")
        if present is not None and present.address != member.address:
            raise errors.InvalidRequest(f"{member.name} is a member already, at {present.address}")
        self._begin()
        self.candidates = (member,)
        self._wake()
        try:
            while not self._is_settled(member.name, voting=True):
                self._require_leader()
                core = self._core
                identity = core.identity_of(member.name)
                if core.membership.get(member.name) is None:
                    if identity is None:
                        core.ask_identity(member.name)
                    elif core.change_possible:
                        learner = Replica(member.name, member.address, identity, learner=True)
                        core.propose_members(core.membership.with_replica(learner))
                        self._wake()
                await self._pause()
        finally:
            self._changing = False
            self.candidates = ()
            self._wake()

    async def remove(self, name: str) -> None:
        """Takes a replica out and returns when that is committed. Does nothing when it is out already."""
        if name == self._name:
            raise errors.InvalidRequest(f"{name} leads; hand leadership to another replica first")
        self._begin()
        try:
            while not self._is_settled(name, voting=None):
                self._require_leader()
                core = self._core
                if core.membership.get(name) is not None and core.change_possible:
                    after = core.membership.without(name)
                    if not core.would_answer(after):
                        raise errors.NotReady(f"without {name}, no majority of the replicas that stay would answer")
                    core.propose_members(after)
                    self._wake()
                await self._pause()
        finally:
            self._changing = False

    def _is_settled(self, name: str, *, voting: bool | None) -> bool:
        """Whether the members are as they should be (``voting`` None: without it), and that is committed."""
        core, member = self._core, self._core.membership.get(name)
        right = member is None if voting is None else member is not None and not member.learner
        return right and core.membership.index <= core.commit_index and core.committed_in_term

    def _begin(self) -> None:
        if self._changing:
            raise errors.TooManyRequests("the members are already being changed")
        self._changing = True

    def _require_leader(self) -> None:
        if not self._core.is_leader:
            # What was put into the log may stay in it; asking the next leader again is safe.
            leader = self._core.membership.get(self._core.leader or "")
            raise errors.NotLeader("leadership was lost meanwhile", leader=leader.address if leader else "")


def why_not_counted(core: RaftCore, name: str, refusal: str) -> str:
    """Why a replica has no part in its group's decisions, for people; "" when it has."""
    if core.is_voter:
        return f"the region's other replicas refuse this one: {refusal}" if refusal and not core.leader else ""
    if name in core.membership.learners:
        return "this replica is catching up and does not count yet"
    if core.leader is None:
        return "the region has no leader that could fill this replica, which has no data yet"
    return "this replica has no data that the region counts on; it waits to be taken in and filled by the leader"
