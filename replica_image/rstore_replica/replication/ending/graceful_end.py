"""Carries out what :mod:`.rules` decides: shuts the gate for writes, tells the other replicas, and waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from rstore_api.errors import StoreError
from rstore_api.logs import get_logger

from rstore_replica.raft.clock import Clock
from rstore_replica.replication.administration.regions import WriteGate
from rstore_replica.replication.config import EndingBounds
from rstore_replica.replication.ending.rules import (
    Decision,
    Standing,
    Step,
    decide,
    is_safe,
    may_commit,
    region_stays,
)
from rstore_replica.replication.ports import RaftGroup, ReplicatedMachine
from rstore_replica.replication.roles import is_leader, is_source
from rstore_replica.replication.sending.progress import Progress
from rstore_replica.replication.waiting import Signal, cancel_and_wait, sleep

log = get_logger(__name__)

LOOK_SECONDS = 0.02
"""How often the standing is looked at while the region ends."""
IDLE_SECONDS = 3600.0
TRANSFER_SECONDS = 3.0
"""How long handing leadership on may take."""


class GracefulEnd:
    """One replica's part in the end of its region, or its own.

    A leader of a primary region that is not asked to stop itself takes part, too: it refuses writes while so many
    followers are about to go that no majority stays, and tells them when they may.
    """

    def __init__(
        self,
        *,
        machine: ReplicatedMachine,
        group: RaftGroup,
        clock: Clock,
        region: str,
        progress: Progress,
        gate: WriteGate,
        bounds: EndingBounds,
    ) -> None:
        self._machine = machine
        self._group = group
        self._clock = clock
        self._region = region
        self._progress = progress
        self._gate = gate
        self._bounds = bounds
        self._signal = Signal(clock)
        self._leaving = False
        self._released = False
        self._safe_since: float | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._unsubscribe: list[Callable[[], None]] = []

    # ------------------------------------------------------------------------------------------ life

    async def start(self) -> None:
        """Begins to watch which replicas of the region are about to stop."""
        self._unsubscribe = [self._machine.subscribe_state(lambda _state: self._signal.set())]
        self._group.on_change(lambda _status: self._signal.set())
        self._supervisor = asyncio.create_task(self._supervise(), name="graceful-end")

    async def stop(self) -> None:
        """Watches no more; a gate that is shut stays so. Harmless when not started or stopped before."""
        while self._unsubscribe:
            self._unsubscribe.pop()()
        if self._supervisor is not None:
            await cancel_and_wait(self._supervisor)
            self._supervisor = None

    async def leave(self) -> Decision:
        """This replica was asked to stop: returns when it may, see :mod:`.rules`. Takes a bounded time."""
        asked_at, handed_on, logged = self._clock.monotonic(), False, ""
        self._leaving = True
        self._group.leave()
        while True:
            self._look()
            decision = self._decide(since=asked_at, handed_on=handed_on)
            if decision.step is Step.HAND_ON:
                handed_on = await self._hand_on()
                continue
            if decision.step is Step.GO:
                break
            if decision.reason != logged:
                logged = decision.reason
                log.info("waiting_before_stop", reason=logged)
            await sleep(self._clock, LOOK_SECONDS)
        if decision.last:
            (log.info if decision.safe else log.warning)(
                "primary_region_ends",
                reason=decision.reason,
                revision=self._machine.revision,
                in_another_region=decision.safe,
            )
        return decision

    async def _hand_on(self) -> bool:
        """Hands leadership on; returns whether there is no use in trying again."""
        try:
            leader = await self._group.transfer_leadership(None, timeout_seconds=TRANSFER_SECONDS)
        except StoreError as error:
            log.warning("leadership_not_handed_on", reason=str(error))
            return self._standing().region_stays
        log.info("leadership_handed_on", leader=leader)
        return True

    # ------------------------------------------------------------------------------------------ the region

    async def _supervise(self) -> None:
        while True:
            self._look()
            await self._signal.wait(LOOK_SECONDS if self._gate.ending else IDLE_SECONDS)

    def _look(self) -> None:
        """Shuts or opens the gate, and tells followers whether they may go."""
        status, now = self._group.status(), self._clock.monotonic()
        ends = (
            bool(status.leaving)
            and is_source(self._machine.state, self._region)
            and not region_stays(status, self._group.in_touch(), without_self=self._leaving)
        )
        if ends != self._gate.ending:
            self._gate.ending_since = now if ends else None
            log.info("region_ends" if ends else "region_ends_no_more", leaving=list(status.leaving))
        standing = self._standing()
        if not ends or not is_safe(standing):
            self._safe_since = None
        elif self._safe_since is None:
            self._safe_since = now
        released = ends and standing.leads and self._decide(since=self._gate.ending_since or now).step is Step.GO
        if released != self._released:
            self._released = released
            self._group.release(released)

    def _decide(self, *, since: float, handed_on: bool = False) -> Decision:
        now = self._clock.monotonic()
        return decide(
            self._standing(),
            self._bounds,
            waited_seconds=now - since,
            safe_seconds=None if self._safe_since is None else now - self._safe_since,
            handed_on=handed_on,
        )

    def _standing(self) -> Standing:
        status, state, in_touch = self._group.status(), self._machine.state, self._group.in_touch()
        return Standing(
            source=is_source(state, self._region),
            sole=state.topology is None or all(region.name == self._region for region in state.topology.regions),
            leads=is_leader(status),
            in_touch_with_leader=status.leader in in_touch,
            region_stays=region_stays(status, in_touch, without_self=True),
            released=status.released,
            demoted=not state.writable,
            uncommitted=may_commit(status, in_touch),
            regions=self._progress.snapshot(self._clock.monotonic()),
        )
