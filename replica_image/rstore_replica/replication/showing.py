"""Which revision is the newest that watches may show on this replica.

In Async that is what is applied here, and so it is in a secondary region, which shows what it has committed. In
SemiSync the primary region shows what so many other regions have confirmed: its leader knows, and its other replicas
ask it, as long as anybody watches there. A region that is primary no more shows nothing further before it has joined
the line of the next primary, since what it holds beyond may be lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
from rstore_api.dialling.endpoint import Endpoint
from rstore_api.errors import StoreError
from rstore_api.logs import get_logger
from rstore_api.methods import SHOWN
from rstore_api.proto import rstore_pb2 as pb

from rstore_replica.raft.clock import Clock
from rstore_replica.replication.acknowledging import Acknowledging
from rstore_replica.replication.ports import RaftGroup, RegionStateView, ReplicatedMachine
from rstore_replica.replication.roles import is_leader, is_source, leader_address
from rstore_replica.replication.waiting import sleep

_log = get_logger(__name__)

ANSWER_SECONDS = 2.0
"""How long the leader waits for something newer before it answers."""
PATIENCE_SECONDS = 5.0
PAUSE_SECONDS = 0.005
"""Between two questions, so that they cost the leader little however many writes there are."""
RETRY_SECONDS = 0.2
MAX_WAITING = 64
"""Questions that wait at a leader; a further one is answered at once."""

Open = Callable[[str], Endpoint]
"""A client of the replica at a peer address."""


class Showing:
    """:meth:`run` for as long as the replica runs."""

    def __init__(
        self,
        *,
        machine: ReplicatedMachine,
        group: RaftGroup,
        clock: Clock,
        region: str,
        acknowledging: Acknowledging,
        open_replica: Open,
    ) -> None:
        self.wanted: Callable[[], bool] = lambda: False
        """Whether anybody watches here."""
        self.on_change: Callable[[], None] = lambda: None
        """Called when the answer of :meth:`revision` may be another."""
        self._machine = machine
        self._group = group
        self._clock = clock
        self._region = region
        self._acknowledging = acknowledging
        self._open_replica = open_replica
        self._reported = (0, 0)  # epoch and revision, by the leader
        self._wake = asyncio.Event()
        self._waiting: dict[asyncio.Future[None], None] = {}

    def revision(self) -> int | None:
        """Returns the revision; None while that is not known, or is not above what it was."""
        state = self._machine.state
        if not _shows_confirmed(state, self._region):
            return self._machine.revision
        if not is_source(state, self._region):
            return None
        if is_leader(self._group.status()):
            return self._acknowledging.showable() or None
        epoch, revision = self._reported
        return min(revision, self._machine.revision) if epoch == state.epoch else None

    def look(self) -> None:
        """Somebody may want to know now, or somebody else may know."""
        self._wake.set()

    def add_to_server(self, server: Any) -> None:
        """Registers the method by which the region's other replicas ask."""
        service, name = SHOWN.path.strip("/").split("/")
        handler = grpc.unary_unary_rpc_method_handler(
            self.answer, SHOWN.request.FromString, SHOWN.response.SerializeToString
        )
        server.add_registered_method_handlers(service, {name: handler})

    # ------------------------------------------------------------------ the leader's part

    async def answer(self, request: pb.ShownRequest, _context: Any) -> pb.ShownResponse:
        """Answers once something above ``after_revision`` may be shown, or after a while. Epoch 0: it does not know."""
        ends = self._clock.monotonic() + ANSWER_SECONDS
        while True:
            epoch, revision = self._machine.state.epoch, self._acknowledging.showable()
            left = ends - self._clock.monotonic()
            news = not revision or epoch != request.epoch or revision > request.after_revision
            if news or left <= 0 or len(self._waiting) >= MAX_WAITING:
                return pb.ShownResponse(epoch=epoch if revision else 0, revision=revision)
            await self._change(left)

    async def _change(self, seconds: float) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        timer = self._clock.call_later(seconds, lambda: None if waiter.done() else waiter.set_result(None))
        self._waiting[waiter] = None
        try:
            await waiter
        finally:
            timer.cancel()
            del self._waiting[waiter]

    def _changed(self) -> None:
        for waiter in list(self._waiting):
            if not waiter.done():
                waiter.set_result(None)
        self.on_change()

    # ------------------------------------------------------------------ the other replicas' part

    async def run(self) -> None:
        """Asks the leader while that is needed, for ever."""
        self._acknowledging.on_release(self._changed)
        self._group.on_change(lambda _status: self.look())
        unsubscribe = self._machine.subscribe_state(lambda _state: self.look())
        try:
            while True:
                address = self._whom_to_ask()
                if not address:
                    self._wake.clear()
                    await self._wake.wait()
                    continue
                try:
                    async with self._open_replica(address) as leader:
                        while address == self._whom_to_ask():
                            await self._ask(leader)
                            await sleep(self._clock, PAUSE_SECONDS)
                except StoreError as error:
                    _log.debug("shown_not_known", leader=address, reason=str(error))
                    await sleep(self._clock, RETRY_SECONDS)
        finally:
            unsubscribe()

    def _whom_to_ask(self) -> str:
        """The leader's peer address; "" while there is nothing to ask."""
        state, status = self._machine.state, self._group.status()
        needed = self.wanted() and _shows_confirmed(state, self._region) and is_source(state, self._region)
        return leader_address(status) if needed and not is_leader(status) else ""

    async def _ask(self, leader: Endpoint) -> None:
        epoch, revision = self._reported
        request = pb.ShownRequest(epoch=epoch, after_revision=revision)
        response = await leader.call(SHOWN, request, timeout_seconds=PATIENCE_SECONDS)
        if not response.epoch:
            await sleep(self._clock, RETRY_SECONDS)
        elif (response.epoch, response.revision) > self._reported:
            self._reported = response.epoch, response.revision
            self.on_change()


def _shows_confirmed(state: RegionStateView, region: str) -> bool:
    """Whether the region wrote its newest epoch, in a store that is to lose nothing."""
    topology = state.topology
    if topology is None or not topology.rule.min_in_sync_regions:
        return False
    return state.primary or (bool(state.history) and state.history[-1].region == region)
