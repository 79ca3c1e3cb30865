"""Takes the stream of the source region and commits it through this region's own Raft."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable

from rstore_api import errors
from rstore_api.domain.forks import Chain
from rstore_api.logs import get_logger
from rstore_api.messages import history_messages, history_of
from rstore_api.proto import rstore_pb2 as pb

from rstore_replica.raft.clock import Clock
from rstore_replica.replication.config import ReplicationConfig
from rstore_replica.replication.history import Comparison, Contradiction, Diverged, Resume, compare
from rstore_replica.replication.messages import RefusedError, chain_of, refusal_of
from rstore_replica.replication.ports import RaftGroup, RegionStateView, ReplicatedMachine
from rstore_replica.replication.receiving.inflow import Inflow
from rstore_replica.replication.receiving.tail import finish_undoing, leave_tail
from rstore_replica.replication.roles import is_leader, leader_address
from rstore_replica.replication.waiting import Signal, cancel_and_wait, within

log = get_logger(__name__)

_MAX_WAITING_STREAMS = 16


class Receiver:
    """Serves one source at a time; a newer stream of the same or a higher epoch takes the place of an older one.

    The answer to a batch is the revision this region has committed. Batches are proposed in order without waiting
    for each other; the state machine applies each only right after its predecessor, so one that is lost stops those
    behind it and never leaves a hole.
    """

    def __init__(
        self, *, machine: ReplicatedMachine, group: RaftGroup, clock: Clock, config: ReplicationConfig
    ) -> None:
        self._machine = machine
        self._group = group
        self._clock = clock
        self._config = config
        self._admission = asyncio.Lock()
        self._waiting = 0
        self._active: Inflow | None = None
        self._active_epoch = 0
        self._stopped = False

    async def stop(self) -> None:
        """Ends the stream and admits no other; waits at most ``drain_seconds`` for what was proposed."""
        self._stopped = True
        if self._active is not None:
            self._active.abandon("this replica is stopping")
            with contextlib.suppress(TimeoutError):
                await within(self._clock, self._active.settle(), self._config.drain_seconds)

    async def serve(self, requests: AsyncIterator[pb.StreamRequest]) -> AsyncGenerator[pb.StreamResponse, None]:
        """One stream: a welcome and then acknowledgements; a refusal is the last message."""
        inflow: Inflow | None = None
        try:
            hello = await self._read_hello(requests)
            inflow, welcome = await self._admit(hello)
            yield pb.StreamResponse(welcome=welcome)
            async with contextlib.aclosing(self._acknowledge(inflow, requests)) as acknowledgements:
                async for acknowledgement in acknowledgements:
                    yield acknowledgement
        except RefusedError as refused:
            yield pb.StreamResponse(refusal=refused.refusal)
        finally:
            if inflow is not None:
                inflow.abandon("the stream has ended")

    async def _read_hello(self, requests: AsyncIterator[pb.StreamRequest]) -> pb.StreamHello:
        try:
            first = await within(self._clock, _next(requests), self._config.silence_seconds)
        except TimeoutError as error:
            raise RefusedError(pb.StreamRefusal.UNAVAILABLE, "no hello came") from error
        if first is None or first.WhichOneof("message") != "hello":
            raise RefusedError(pb.StreamRefusal.UNSPECIFIED, "the first message must be a hello")
        return first.hello

    async def _admit(self, hello: pb.StreamHello) -> tuple[Inflow, pb.StreamWelcome]:
        self._require_leader()
        if self._waiting >= _MAX_WAITING_STREAMS:
            raise RefusedError(pb.StreamRefusal.UNAVAILABLE, "too many streams wait to be admitted")
        self._waiting += 1
        try:
            async with self._admission:
                return await self._admit_alone(hello)
        finally:
            self._waiting -= 1

    async def _admit_alone(self, hello: pb.StreamHello) -> tuple[Inflow, pb.StreamWelcome]:
        try:
            await self._group.barrier(timeout_seconds=self._config.propose_seconds)
            await finish_undoing(self._machine, self._group, self._config)
            self._check(hello, self._machine.state, may_leave_tail=True)
            if self._active is not None:
                if not self._active.ended and hello.epoch < self._active_epoch:
                    raise RefusedError(pb.StreamRefusal.STALE_EPOCH, f"a stream of epoch {self._active_epoch} is open")
                self._active.abandon("another stream has taken its place")
                # What it has proposed may still be committed, so the position is only known once that is settled.
                await self._active.settle()
                await self._group.barrier(timeout_seconds=self._config.propose_seconds)
            needs_snapshot = await self._leave_tail(hello)
        except errors.StoreError as error:
            raise self._refusal_for(error) from error
        self._require_leader()
        state, staged = self._machine.state, self._machine.staged
        ours = self._check(hello, state, may_leave_tail=needs_snapshot)
        _, outcome = self._compare(hello, state)
        fork_revision = outcome.fork_revision if isinstance(outcome, Diverged) else ours.revision
        inflow = Inflow(
            group=self._group, clock=self._clock, config=self._config, held=ours, fork_revision=fork_revision
        )
        self._active, self._active_epoch = inflow, hello.epoch
        log.info("stream_admitted", source=hello.region, replica=hello.replica, after_revision=ours.revision)
        welcome = pb.StreamWelcome(
            store_id=state.store_id,
            region=self._config.region,
            replica=self._config.replica,
            history=history_messages(ours.history),
            promised_epoch=state.promised_epoch,
            revision=ours.revision,
            compact_revision=self._machine.compact_revision,
            staged=staged.message() if staged is not None else None,
            needs_snapshot=needs_snapshot,
        )
        return inflow, welcome

    def _require_leader(self) -> None:
        if self._stopped:
            raise RefusedError(pb.StreamRefusal.UNAVAILABLE, "this replica is stopping")
        status = self._group.status()
        if not is_leader(status):
            address = leader_address(status)
            message = f"the leader is {status.leader}" if status.leader else "the region has no leader"
            raise RefusedError(pb.StreamRefusal.NOT_LEADER, message, leader_address=address)

    def _refusal_for(self, error: errors.StoreError) -> RefusedError:
        if isinstance(error, errors.NotLeader | errors.NoLeader):
            return RefusedError(
                pb.StreamRefusal.NOT_LEADER,
                str(error),
                leader_address=error.leader or leader_address(self._group.status()),
            )
        return RefusedError.because(error, promised_epoch=self._machine.state.promised_epoch)

    async def _leave_tail(self, hello: pb.StreamHello) -> bool:
        """Where this region's revisions have left the source's history, those above the fork go to quarantine, and out
        of the data; or they stay there, and True is returned, when compaction has passed the fork here.

        Raises a StoreError: NoSpace when that cannot be, or what proposing raises.
        """
        state = self._machine.state
        ours, outcome = self._compare(hello, state)
        if not isinstance(outcome, Diverged):
            return False
        compacted = isinstance(self._machine.refusal_of_rewind(outcome.fork_revision), errors.Compacted)
        rewind = pb.Rewind(
            fork_revision=outcome.fork_revision, epoch=hello.epoch, tail_epoch=ours.epoch, keep_data=compacted
        )
        await leave_tail(self._machine, self._group, rewind, self._config)
        return compacted

    def _check(self, hello: pb.StreamHello, state: RegionStateView, *, may_leave_tail: bool = False) -> Chain:
        """This region's chain, when the source's may go on from it, once its tail is left; else RefusedError."""
        ours, outcome = self._compare(hello, state)
        if not isinstance(outcome, Resume) and not (may_leave_tail and isinstance(outcome, Diverged)):
            raise refusal_of(outcome)
        return ours

    def _compare(self, hello: pb.StreamHello, state: RegionStateView) -> tuple[Chain, Comparison]:
        """Returns this region's chain, and what the source's means to it; raises RefusedError when nothing at all."""
        if not state.store_id:
            raise RefusedError.because(errors.NotBootstrapped())
        if hello.store_id != state.store_id:
            raise RefusedError.because(errors.WrongStore())
        if hello.region == self._config.region:
            raise RefusedError(pb.StreamRefusal.UNSPECIFIED, "a region does not stream to itself")
        ours = chain_of(state, self._machine.revision)
        try:
            theirs = Chain.of(history_of(hello.history), hello.revision)
        except ValueError as error:
            raise RefusedError(pb.StreamRefusal.DIVERGED, f"damaged history: {error}") from error
        if theirs.epoch != hello.epoch:
            raise RefusedError(pb.StreamRefusal.DIVERGED, f"the history ends at {theirs.epoch}, not {hello.epoch}")
        outcome = compare(theirs, ours, receiver_promised_epoch=state.promised_epoch)
        if state.primary and state.epoch == hello.epoch:
            outcome = Contradiction(hello.epoch)
        return ours, outcome

    async def _acknowledge(
        self, inflow: Inflow, requests: AsyncIterator[pb.StreamRequest]
    ) -> AsyncGenerator[pb.StreamResponse, None]:
        """Yields how far this region has committed, in order, skipping what a later one covers."""
        answer = Signal(self._clock)
        inflow.on_settled(answer.set)
        acked, acked_key, installed = inflow.committed_revision, inflow.staged_key, inflow.installed
        echo = False
        failure: RefusedError | None = None

        def heartbeat() -> None:
            nonlocal echo
            echo = True
            answer.set()

        async def pump() -> None:
            nonlocal failure
            try:
                await self._pump(inflow, requests, heartbeat)
            except RefusedError as refused:
                failure = refused
            finally:
                inflow.close()
                answer.set()

        pumping = asyncio.create_task(pump(), name="replication-receive")
        try:
            while True:
                await answer.wait(self._config.silence_seconds)
                if (inflow.staged_key, inflow.installed) != (acked_key, installed):
                    acked_key, installed = inflow.staged_key, inflow.installed
                    yield pb.StreamResponse(snapshot_ack=pb.SnapshotAck(last_key=acked_key, installed=installed))
                revision = inflow.committed_revision
                if revision > acked or echo:
                    acked, echo = revision, False
                    yield pb.StreamResponse(ack=pb.StreamAck(revision=revision))
                if inflow.error is not None:
                    raise self._refusal_for(inflow.error)
                if inflow.abandoned:
                    raise RefusedError(pb.StreamRefusal.UNAVAILABLE, inflow.abandoned)
                reported = inflow.committed_revision <= acked and inflow.installed == installed
                if pumping.done() and inflow.idle and reported:
                    if failure is not None:
                        raise failure
                    return
        finally:
            await cancel_and_wait(pumping)

    async def _pump(
        self, inflow: Inflow, requests: AsyncIterator[pb.StreamRequest], heartbeat: Callable[[], None]
    ) -> None:
        """Reads the source's messages and proposes its batches until the stream ends."""
        while True:
            try:
                request = await within(self._clock, _next(requests), self._config.silence_seconds)
            except TimeoutError as error:
                raise RefusedError(
                    pb.StreamRefusal.UNAVAILABLE, f"nothing received for {self._config.silence_seconds:g} s"
                ) from error
            if request is None:
                return
            kind = request.WhichOneof("message")
            if kind == "heartbeat":
                self._require_leader()
                promised = self._machine.state.promised_epoch
                if request.heartbeat.epoch < promised:
                    raise RefusedError(
                        pb.StreamRefusal.STALE_EPOCH, f"epoch {promised} is promised", promised_epoch=promised
                    )
                heartbeat()
            elif kind == "batch":
                await inflow.take(request.batch)
            elif kind == "snapshot":
                refusal = self._machine.refusal_of_staging()
                if refusal is not None:
                    raise self._refusal_for(refusal)
                await inflow.take_chunk(request.snapshot)
            else:
                raise RefusedError(pb.StreamRefusal.UNSPECIFIED, "rows or a heartbeat were expected")


async def _next(requests: AsyncIterator[pb.StreamRequest]) -> pb.StreamRequest | None:
    return await anext(requests, None)
