"""When clients of the primary get their answers: the tenure and the SemiSync rule, and the writes that wait."""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from rstore_api import errors
from rstore_api.domain.topology import Topology
from rstore_api.logs import get_logger
from rstore_api.proto import rstore_pb2 as pb

from rstore_replica.raft.clock import Clock, Timer
from rstore_replica.raft.types import Role
from rstore_replica.replication.ports import RaftGroup, ReplicatedMachine
from rstore_replica.replication.roles import is_source
from rstore_replica.replication.semi_sync import SemiSync
from rstore_replica.replication.sending.progress import Progress
from rstore_replica.replication.tenure.keeper import TenureKeeper
from rstore_replica.replication.waiting import cancel_and_wait, sleep

log = get_logger(__name__)

MAX_WAITING = 16384
"""Entries of the log whose writes wait to be acknowledged."""
RETRY_SECONDS = 0.2
BARRIER_SECONDS = 5.0

Tell = Callable[[errors.StoreError | None], None]
"""Called with None when it may be acknowledged, else with the error to answer instead."""


@dataclass(order=True)
class _Waiting:
    revision: int
    number: int
    epoch: int = field(compare=False)
    since: float = field(compare=False)
    tell: Tell | None = field(compare=False)


class Acknowledging:
    """What this replica may answer to clients while it leads the primary region.

    The rule is the one in the newest topology that is applied here, also for what waits already. What a leader that
    lost its leadership has confirmed by then it may still acknowledge, within its tenure; nothing else.
    """

    def __init__(
        self,
        *,
        machine: ReplicatedMachine,
        group: RaftGroup,
        clock: Clock,
        region: str,
        semi_sync: SemiSync,
        tenure: TenureKeeper,
        progress: Progress,
    ) -> None:
        self._machine = machine
        self._group = group
        self._clock = clock
        self._region = region
        self._semi_sync = semi_sync
        self._tenure = tenure
        self._progress = progress
        self._role: tuple[int, int] | None = None  # epoch and term in which this replica leads
        self._topology: Topology | None = None
        self._by_revision: list[_Waiting] = []
        self._by_age: deque[_Waiting] = deque()
        self._count = 0
        self._arrived = 0
        self._timer: Timer | None = None
        self._readers: dict[asyncio.Future[None], None] = {}  # in the order in which they came
        self._finding_start: asyncio.Task[None] | None = None
        self._unsubscribe: list[Callable[[], None]] = []
        self._was_in_sync = True
        self._on_release: list[Callable[[], None]] = []

    # ------------------------------------------------------------------------------------------ life
    async def start(self) -> None:
        """Begins to watch this replica's role."""
        self._unsubscribe = [self._machine.subscribe_state(lambda _state: self._review())]
        self._group.on_change(lambda _status: self._review())
        self._progress.on_position(self._on_position)
        self._tenure.on_granted(self._release)
        self._review()

    async def stop(self) -> None:
        """Answers what waits with OutcomeUnknown. Harmless when not started or stopped before."""
        while self._unsubscribe:
            self._unsubscribe.pop()()
        self._lead_no_more("the replica is stopping")
        if self._finding_start is not None:
            await cancel_and_wait(self._finding_start)
            self._finding_start = None

    # ------------------------------------------------------------------------------------------ questions
    @property
    def waiting(self) -> int:
        """Entries of the log whose writes wait to be acknowledged."""
        return self._count

    def settle(self, epoch: int, revision: int | None, tell: Tell) -> None:
        """Calls ``tell``, now or later, exactly once: None when ``revision``, committed here in ``epoch``, may be
        acknowledged; OutcomeUnknown when that was not so in time, or this replica cannot know any more. Without a
        revision it is the newest.
        """
        self._take_role()
        if revision is None:
            revision = self._machine.revision
        if revision <= self._allowed(epoch):
            self._tell(epoch, revision, tell)
        elif self._role is None or self._role[0] != epoch:
            tell(errors.OutcomeUnknown("this replica leads the primary region no more"))
        elif self._count >= MAX_WAITING:
            tell(errors.OutcomeUnknown("too many writes wait for other regions"))
        else:
            self._arrived += 1
            waiting = _Waiting(revision, self._arrived, epoch, self._clock.monotonic(), tell)
            heapq.heappush(self._by_revision, waiting)
            self._by_age.append(waiting)
            self._count += 1
            if self._timer is None:
                self._arm(self._clock.monotonic())

    async def read_point(self, epoch: int, at_least: int, timeout_seconds: float) -> int | None:
        """The revision at which a linearizable read may be served; None for the newest. Call it after a barrier.

        In SemiSync that is the newest that so many other regions have committed: whatever was acknowledged is at or
        below it, and nothing that a failover might lose is above. It waits until that is at ``at_least``, and at
        everything that this leader, or one before it, may have shown. Raises NoPrimary when that takes too long.
        """
        deadline = self._clock.monotonic() + timeout_seconds
        while True:
            self._take_role()
            if self._role is None or self._role[0] != epoch:
                raise errors.NoPrimary("this replica leads the primary region no more")
            allowed, newest = self._allowed(epoch), self._machine.revision
            if allowed >= newest:
                self._semi_sync.expose(newest)
                return None
            exposed = self._semi_sync.exposed
            floor = max(exposed or 0, min(at_least, newest), self._machine.compact_revision)
            if exposed is not None and allowed >= floor:
                self._semi_sync.expose(allowed)
                return allowed
            left = deadline - self._clock.monotonic()
            if left <= 0:
                raise errors.NoPrimary("too few other regions have confirmed what is to be read")
            await self._news(left)

    def showable(self) -> int:
        """The newest revision that may be shown to those who watch, and is counted as shown from now on; 0 where this
        replica does not lead the primary, or does not know yet.
        """
        self._take_role()
        if self._role is None or self._semi_sync.exposed is None:
            return 0
        revision = min(self._allowed(self._role[0]), self._machine.revision)
        self._semi_sync.expose(revision)
        return revision

    def on_release(self, callback: Callable[[], None]) -> None:
        """Calls back when more may be shown."""
        self._on_release.append(callback)

    def status(self) -> pb.SyncStatus | None:
        """For Status; None in Async, and on any replica but the primary's leader."""
        rule = self._semi_sync.rule
        if self._role is None or not rule.min_in_sync_regions:
            return None
        return pb.SyncStatus(
            min_in_sync_regions=rule.min_in_sync_regions,
            in_sync=self._semi_sync.in_sync,
            in_sync_revision=min(self._semi_sync.confirmed(rule.min_in_sync_regions), self._machine.revision),
            degraded=self._semi_sync.degraded,
            waiting=self._count,
        )

    def _allowed(self, epoch: int) -> int:
        return self._semi_sync.allowed(self._tenure.promised) if epoch == self._semi_sync.epoch else 0

    # ------------------------------------------------------------------------------------------ role
    def _review(self) -> None:
        self._take_role()
        self._release()

    def _take_role(self) -> None:
        state = self._machine.state
        if self._group.role is not Role.LEADER or not is_source(state, self._region):
            if self._role is not None:
                self._lead_no_more("this replica leads the primary region no more")
            return
        role, topology = (state.epoch, self._group.term), state.topology
        if topology is None or (role == self._role and topology is self._topology):
            return
        rule = topology.rule
        others = [name for name in topology.region_names if name != self._region]
        if role == self._role:
            self._semi_sync.change(rule, others, self._machine.revision, self._clock.monotonic())
        elif state.writable:
            if self._role is not None:
                self._lead_no_more("the epoch has changed")
            self._role = role
            self._semi_sync.begin(state.epoch, rule, others)
        else:
            return
        self._topology = topology
        self._after_change()

    def _after_change(self) -> None:
        self._report()
        if self._semi_sync.rule.min_in_sync_regions:
            self._tenure.hurry()  # the voters count a guarantee only for the topology that they have
        if self._semi_sync.rule.min_in_sync_regions and self._semi_sync.exposed is None and self._finding_start is None:
            self._finding_start = asyncio.get_running_loop().create_task(self._find_start(), name="semi-sync-start")
        if self._timer is not None:
            self._timer.cancel()
        self._arm(self._clock.monotonic())

    def _lead_no_more(self, reason: str) -> None:
        self._role = self._topology = None
        self._tenure.announce(0, 0, 0)
        self._progress.urgent = False
        while self._by_age:
            self._take(self._by_age[0], errors.OutcomeUnknown(reason))
        self._by_revision.clear()
        self._wake_readers()

    async def _find_start(self) -> None:
        """Learns how far leaders before this one may have shown data: not above what is committed now."""
        try:
            while (role := self._role) is not None and self._semi_sync.exposed is None:
                try:
                    await self._group.barrier(timeout_seconds=BARRIER_SECONDS)
                except errors.StoreError as error:
                    log.debug("start_not_found", reason=str(error))
                    await sleep(self._clock, RETRY_SECONDS)
                    continue
                if role == self._role:
                    self._semi_sync.started(self._machine.revision)
                    self._report()
                    self._release()
        finally:
            self._finding_start = None

    # ------------------------------------------------------------------------------------------ news
    def _on_position(self, region: str, epoch: int, revision: int, anew: bool) -> None:
        self._take_role()
        (self._semi_sync.stands_at if anew else self._semi_sync.committed)(region, epoch, revision)
        self._semi_sync.look(self._machine.revision, self._clock.monotonic())
        self._report()
        self._release()

    def _release(self) -> None:
        """Acknowledges what may be now."""
        if self._by_revision:
            allowed = self._allowed(self._semi_sync.epoch)
            while self._by_revision and self._by_revision[0].revision <= allowed:
                self._take(heapq.heappop(self._by_revision), None)
        if self._readers:
            self._wake_readers()
        for callback in self._on_release:
            callback()

    def _take(self, waiting: _Waiting, error: errors.StoreError | None) -> None:
        tell, waiting.tell = waiting.tell, None
        while self._by_age and self._by_age[0].tell is None:
            self._by_age.popleft()
        if tell is None:
            return
        self._count -= 1
        if error is not None:
            tell(error)
        else:
            self._tell(waiting.epoch, waiting.revision, tell)

    def _tell(self, epoch: int, revision: int, tell: Tell) -> None:
        if self._tenure.held(epoch):
            self._semi_sync.expose(revision)
            tell(None)
        else:
            tell(errors.OutcomeUnknown("the tenure has run out"))

    def _report(self) -> None:
        """After what may have changed the rule's state: to the stream, to the voters, to the log."""
        semi_sync = self._semi_sync
        waits = self._role is not None and semi_sync.rule.min_in_sync_regions > 0
        self._progress.urgent = waits and not semi_sync.degraded
        if self._role is not None:
            self._tenure.announce(*self._role, semi_sync.guarantee)
        in_sync = semi_sync.in_sync or not waits
        if in_sync != self._was_in_sync:
            self._was_in_sync = in_sync
            event = "in_sync_again" if in_sync else "acknowledging_degraded" if semi_sync.degraded else "not_in_sync"
            (log.info if in_sync else log.warning)(
                event, epoch=semi_sync.epoch, confirmed=semi_sync.confirmed(semi_sync.rule.min_in_sync_regions)
            )

    # ------------------------------------------------------------------------------------------ time
    def _arm(self, now: float) -> None:
        """``now`` is when it was looked last at what has waited too long: a timer may come a little early."""
        self._timer = None
        if not self._by_age:
            return
        rule, oldest = self._semi_sync.rule, self._by_age[0]
        waited = now - oldest.since
        left = (rule.timeout_seconds if waited < rule.timeout_seconds else self._patience()) - waited
        self._timer = self._clock.call_later(max(0.0, left), self._expire)

    def _patience(self) -> float:
        """Seconds that a write waits; twice the timeout where it may yet be acknowledged once the voters know."""
        rule = self._semi_sync.rule
        return rule.timeout_seconds * (2 if rule.degrade or not rule.min_in_sync_regions else 1)

    def _expire(self) -> None:
        now, rule = self._clock.monotonic(), self._semi_sync.rule
        if self._by_age and now - self._by_age[0].since >= rule.timeout_seconds:
            self._semi_sync.timed_out(self._machine.revision, now)
            self._report()
            self._release()
        text = f"{rule.min_in_sync_regions} other regions have not confirmed it within {rule.timeout_seconds:g} s"
        while self._by_age and now - self._by_age[0].since >= self._patience():
            self._take(self._by_age[0], errors.OutcomeUnknown(text))
        while self._by_revision and self._by_revision[0].tell is None:
            heapq.heappop(self._by_revision)
        self._arm(now)

    async def _news(self, seconds: float) -> None:
        reader: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        timer = self._clock.call_later(seconds, lambda: None if reader.done() else reader.set_result(None))
        self._readers[reader] = None
        try:
            await reader
        finally:
            timer.cancel()
            self._readers.pop(reader, None)

    def _wake_readers(self) -> None:
        for reader in self._readers:
            if not reader.done():
                reader.set_result(None)
