"""Keeps the primary's tenure while this replica leads the primary region."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from rstore_api.dialling.stream import LinkBrokenError
from rstore_api.domain.limits import MAX_REPLICAS
from rstore_api.domain.voters import WITNESS, voters
from rstore_api.logs import get_logger
from rstore_api.proto import rstore_pb2 as pb

from rstore_replica.raft.clock import Clock
from rstore_replica.replication.config import ReplicationConfig
from rstore_replica.replication.features import Features
from rstore_replica.replication.ports import RaftGroup, ReplicatedMachine
from rstore_replica.replication.roles import is_leader
from rstore_replica.replication.tenure.grants import GrantLink
from rstore_replica.replication.tenure.rules import ROUNDS_PER_TENURE, TenureHolder
from rstore_replica.replication.tenure.voter import Voter
from rstore_replica.replication.waiting import Signal, cancel_and_wait, sleep

log = get_logger(__name__)

_ROUND_SHIFT = 32
"""A leader's rounds begin at its term shifted by this, so that no two leaders of a region use the same numbers."""


class TenureKeeper:
    """Asks every voter ``ROUNDS_PER_TENURE`` times per tenure, at once when the region becomes primary or has a leader.

    ``held`` is to be asked at the very moment of acknowledging.
    """

    def __init__(
        self,
        *,
        machine: ReplicatedMachine,
        group: RaftGroup,
        clock: Clock,
        config: ReplicationConfig,
        voter: Voter,
        link: GrantLink,
        features: Features,
    ) -> None:
        self._machine = machine
        self._group = group
        self._clock = clock
        self._config = config
        self._voter = voter
        self._link = link
        self._features = features
        self._guarantee = (0, 0, 0)  # epoch and term of the leadership that gives it, and the guarantee
        self._granted_callbacks: list[Callable[[], None]] = []
        self._holder = TenureHolder()
        self._term = 0
        self._signal = Signal(clock)
        self._next_round_at = 0.0
        self._leaders: dict[str, str] = {}  # by region, the address that granted last
        self._voter_terms: dict[str, int] = {}  # by region, the term in which it granted last
        self._learners: dict[str, tuple[str, ...]] = {}  # by region, as its leader reported them last
        self._asking: dict[str, set[asyncio.Task[None]]] = {}
        self._supervisor: asyncio.Task[None] | None = None
        self._unsubscribe: list[Callable[[], None]] = []
        self._was_held = False
        self._held_at: float | None = None  # when this leadership first held the tenure of its epoch

    # ------------------------------------------------------------------------------------------ questions

    def held(self, epoch: int) -> bool:
        """Returns whether something proposed in ``epoch`` may be acknowledged at this moment."""
        return not self.missing_revision and self._holder.held(epoch, self._clock.monotonic())

    @property
    def missing_revision(self) -> int:
        """A revision of the epoch that another region holds and this one does not; 0 when none is known."""
        return self._holder.missing_revision(self._machine.revision)

    @property
    def promised(self) -> int:
        """The guarantee that binds this leader: no less may be acknowledged by."""
        return self._holder.announced.binding

    def learners(self, region: str) -> tuple[str, ...]:
        """Returns the replicas of a region that have no vote in it yet, as its leader reported with its last grant;
        none unless this replica leads the primary region.
        """
        return self._learners.get(region, ())

    def remaining_seconds(self) -> float:
        """For how long the tenure is held without another grant; 0 where none is needed."""
        return self._holder.remaining(self._clock.monotonic())

    def status(self) -> pb.TenureStatus:
        """Its part of Status: ``held`` and the rest only on the primary's leader."""
        holder, state = self._holder, self._machine.state
        answer = pb.TenureStatus(
            required=bool(voters(() if state.topology is None else state.topology.region_names)),
            duration_ms=round(self._config.tenure_seconds * 1000),
            longest_ms=state.tenure_bound_ms,
            granted_version=holder.granted_version if holder.active and holder.epoch == state.epoch else 0,
        )
        if holder.active:
            answer.held = self.held(state.epoch)
            answer.remaining_ms = int(self.remaining_seconds() * 1000)
            answer.witness_round = holder.newest_round if WITNESS in holder.voters else 0
            answer.in_sync_regions = holder.announced.newest
            answer.missing_revision = self.missing_revision
            if self._held_at is not None:
                answer.held_ms = int((self._clock.monotonic() - self._held_at) * 1000)
        return answer

    def witness_granted(self, epoch: int, round_number: int) -> bool:
        """Counts a grant of the operator for a round that Status offered; returns whether it counted."""
        counted = self._holder.granted(epoch, round_number, WITNESS, self._config.tenure_seconds)
        self._tell_granted()
        return counted

    # ------------------------------------------------------------------------------------------ life

    async def start(self) -> None:
        """Begins to watch this replica's role."""
        if self._supervisor is not None:
            raise RuntimeError("already started")
        self._unsubscribe = [self._machine.subscribe_state(lambda _state: self.review())]
        self._group.on_change(lambda _status: self.review())
        self._supervisor = asyncio.create_task(self._supervise(), name="tenure-keeper")

    async def stop(self) -> None:
        """Asks no more; what is held runs out. Harmless when not started or stopped before."""
        while self._unsubscribe:
            self._unsubscribe.pop()()
        tasks = [task for asked in self._asking.values() for task in asked]
        if self._supervisor is not None:
            tasks.append(self._supervisor)
            self._supervisor = None
        await cancel_and_wait(*tasks)
        self._asking.clear()
        self._holder.end()
        await self._link.keep_only(())

    def on_granted(self, callback: Callable[[], None]) -> None:
        """Calls back after each grant that came, and after each change of the voters."""
        self._granted_callbacks.append(callback)

    def announce(self, epoch: int, term: int, guarantee: int) -> None:
        """The rounds of that leadership bring the voters this guarantee (``guarantees.py``) until another is announced,
        the next round at once if it is not what the newest one brought. Rounds of any other leadership bring 0.
        """
        self._guarantee = (epoch, term, guarantee)
        if self._holder.active and guarantee != self._holder.announced.newest:
            self.hurry()

    def hurry(self) -> None:
        """Starts the next round at once."""
        self._next_round_at = 0.0
        self._signal.set()

    def review(self) -> None:
        """Something that decides this replica's role may have changed. It counts at once: Status reports a topology
        as held no sooner than its voters are the ones that count.
        """
        self._take_role()
        self._signal.set()

    async def _supervise(self) -> None:
        while True:
            try:
                await self._once()
            except Exception:
                # Without grants the tenure runs out, which is safe; the next round may do better.
                log.exception("tenure_round_failed")
                self._next_round_at = self._clock.monotonic() + self._period_seconds
            pause = self._period_seconds
            if self._holder.active and self._holder.voters:
                pause = self._next_round_at - self._clock.monotonic()
            await self._signal.wait(max(0.001, pause))

    @property
    def _period_seconds(self) -> float:
        return self._config.tenure_seconds / ROUNDS_PER_TENURE

    async def _once(self) -> None:
        self._take_role()
        self._report()
        if not self._holder.active or not self._holder.voters:
            # Nobody asks over them: where the other end goes meanwhile, nobody would notice.
            await self._link.keep_only(())
            return
        now = self._clock.monotonic()
        if now >= self._next_round_at:
            self._next_round_at = now + self._period_seconds
            if not self.missing_revision:  # else other regions are to see the tenure run out, and take over
                await self._start_round(now)

    def _take_role(self) -> None:
        status, state, holder = self._group.status(), self._machine.state, self._holder
        if not is_leader(status) or not state.writable:
            if holder.active:
                holder.end()
                self._leaders.clear()
                self._learners.clear()
            return
        needed = voters(() if state.topology is None else state.topology.region_names)
        if not holder.active or holder.epoch != state.epoch or self._term != status.term:
            self._term = status.term
            self._held_at = None
            holder.begin(state.epoch, needed, (status.term << _ROUND_SHIFT) + 1)
        elif holder.voters != needed:
            holder.change_voters(needed)
            self._tell_granted()  # without voters nothing binds any more, and no grant will come to say so
        else:
            return
        self._next_round_at = 0.0

    def _report(self) -> None:
        """Once per change: that the tenure was lost, or is held again."""
        is_held = self._holder.active and self.held(self._holder.epoch)
        if is_held != self._was_held and self._holder.active and self._holder.voters:
            (log.info if is_held else log.warning)(
                "tenure_held" if is_held else "tenure_lost",
                epoch=self._holder.epoch,
                missing_revision=self.missing_revision,
            )
        self._was_held = is_held

    async def _start_round(self, now: float) -> None:
        state = self._machine.state
        if state.topology is None:
            return
        *leadership, guarantee = self._guarantee
        if leadership != [self._holder.epoch, self._term]:
            guarantee = 0
        version = state.topology.version if state.topology.epoch == self._holder.epoch else 0
        request = pb.GrantRequest(
            store_id=state.store_id,
            region=self._config.region,
            epoch=self._holder.epoch,
            round=self._holder.start_round(now, guarantee, version),
            duration_ms=round(self._config.tenure_seconds * 1000),
            in_sync_regions=guarantee,
            topology_version=version,
            feature_level=self._features.active_level(self._group.status().feature_level),
        )
        places = {
            region.name: [replica.peer_address for replica in region.replicas] for region in state.topology.regions
        }
        await self._link.keep_only({address for addresses in places.values() for address in addresses})
        self._learners = {region: names for region, names in self._learners.items() if region in places}
        for region, addresses in places.items():
            asked = self._asking.setdefault(region, set())
            if len(asked) >= ROUNDS_PER_TENURE:
                continue  # it does not answer; those on their way will end by their deadline
            question = pb.GrantRequest(voter_term=self._voter_terms.get(region, 0))
            question.MergeFrom(request)
            work = self._ask_own(question) if region == self._config.region else self._ask(region, addresses, question)
            task = asyncio.create_task(work, name=f"tenure-{region}")
            asked.add(task)
            task.add_done_callback(asked.discard)

    async def _ask_own(self, request: pb.GrantRequest) -> None:
        self._count(self._config.region, await self._voter.grant(request))

    async def _ask(self, region: str, addresses: Sequence[str], request: pb.GrantRequest) -> None:
        """The leader that granted last; all other replicas beside it when it is not known or does not grant soon."""
        leader = self._leaders.get(region, "")
        if leader not in addresses:
            await self._ask_all(region, addresses, request)
            return
        asked = asyncio.ensure_future(self._ask_one(region, leader, request))
        patience = asyncio.ensure_future(sleep(self._clock, self._period_seconds / 2))
        try:
            await asyncio.wait({asked, patience}, return_when=asyncio.FIRST_COMPLETED)
            if asked.done() and asked.result():
                return
            if self._leaders.get(region) == leader:
                del self._leaders[region]
            await self._ask_all(region, [address for address in addresses if address != leader], request)
            await asked
        finally:
            await cancel_and_wait(asked, patience)

    async def _ask_all(self, region: str, addresses: Sequence[str], request: pb.GrantRequest) -> None:
        await asyncio.gather(*(self._ask_one(region, address, request) for address in addresses))

    async def _ask_one(self, region: str, address: str, request: pb.GrantRequest) -> bool:
        try:
            response = await self._link.ask(address, request, timeout_seconds=self._period_seconds)
        except LinkBrokenError as error:
            log.debug("grant_not_answered", region=region, error=str(error))
            return False
        if response.region != region or response.round != request.round or not response.granted:
            return False
        self._leaders[region] = address
        self._count(region, response)
        return True

    def _count(self, region: str, response: pb.GrantResponse) -> None:
        if response.granted:
            self._voter_terms[region] = response.voter_term
            self._features.report(region, response.feature_level)
            self._learners[region] = tuple(response.learners[:MAX_REPLICAS])
            self._holder.reported(response.data_epoch, response.revision)
            self._holder.granted(self._holder.epoch, response.round, region, response.duration_ms / 1000)
            self._report()
            self._tell_granted()

    def _tell_granted(self) -> None:
        if self._held_at is None and self._holder.active and self.held(self._holder.epoch):
            self._held_at = self._clock.monotonic()
        for callback in self._granted_callbacks:
            callback()
