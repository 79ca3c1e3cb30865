"""One stream to one other region, from handshake to end, as seen by the source's leader."""

from __future__ import annotations

from collections.abc import Callable

from rstore_api import errors
from rstore_api.proto import rstore_pb2 as pb

from rstore_replica.mvcc.epochs import after_jumps
from rstore_replica.raft.clock import Clock
from rstore_replica.replication.config import ReplicationConfig
from rstore_replica.replication.history import Chain, EpochStart, Resume, compare, history_up_to
from rstore_replica.replication.messages import RefusedError, chain_of, history_messages, refusal_of
from rstore_replica.replication.ports import (
    LinkBrokenError,
    RaftGroup,
    ReplicatedMachine,
    RowBatchView,
    StreamConnection,
)
from rstore_replica.replication.progress import Progress
from rstore_replica.replication.waiting import Signal, first_to_end, sleep, within
from rstore_replica.replication.window import Window


class SourceStream:
    """Sends everything after the other region's position, for as long as the stream holds.

    Where the other region stands is what it says in its welcome; nothing is remembered here between streams.
    """

    def __init__(
        self,
        target: str,
        connection: StreamConnection,
        *,
        machine: ReplicatedMachine,
        group: RaftGroup,
        clock: Clock,
        config: ReplicationConfig,
        progress: Progress,
        wake: Signal,
        on_ack: Callable[[], None],
    ) -> None:
        self._target = target
        self._connection = connection
        self._machine = machine
        self._group = group
        self._clock = clock
        self._config = config
        self._progress = progress
        self._wake = wake
        self._on_ack = on_ack
        self._window = Window(max_bytes=config.window_bytes, max_batches=config.window_batches)
        self._epoch = 0
        self._cursor = 0
        self._their_history: tuple[EpochStart, ...] = ()
        self._their_compaction = 0
        self._heard_at = clock.monotonic()
        self._sent_at = self._heard_at

    async def run(self) -> None:
        """Ends only by an error: LinkBrokenError, RefusedError, or a StoreError of this side (NotLeader, Compacted)."""
        await within(self._clock, self._shake_hands(), self._config.handshake_seconds)
        self._progress.connected(self._target)
        await first_to_end(self._write(), self._read(), self._watch())

    async def _shake_hands(self) -> None:
        # A new leader's applied state may be behind what its predecessor streamed; compared as it is, the other
        # region would look diverged.
        await self._group.barrier(timeout_seconds=self._config.handshake_seconds)
        state = self._machine.state
        ours = chain_of(state, self._machine.revision)
        self._epoch = state.epoch
        await self._connection.send(
            pb.StreamRequest(
                hello=pb.StreamHello(
                    store_id=state.store_id,
                    region=self._config.region,
                    replica=self._config.replica,
                    epoch=state.epoch,
                    history=history_messages(ours.history),
                    revision=ours.revision,
                )
            )
        )
        response = await self._receive()
        if response.WhichOneof("message") != "welcome":
            raise LinkBrokenError("the other side did not answer with a welcome")
        welcome = response.welcome
        if welcome.store_id != state.store_id:
            raise RefusedError(pb.StreamRefusal.WRONG_STORE, f"region {self._target} belongs to another store")
        if welcome.region != self._target:
            raise LinkBrokenError(f"a replica of region {welcome.region!r} answered")
        theirs = _chain_of_welcome(welcome)
        # With what is applied here by now: a predecessor's last rows may have arrived there since the hello.
        now_ours = chain_of(self._machine.state, self._machine.revision)
        outcome = compare(now_ours, theirs, receiver_promised_epoch=welcome.promised_epoch)
        if not isinstance(outcome, Resume):
            raise refusal_of(outcome)
        self._cursor = outcome.after_revision
        self._their_history = theirs.history
        self._their_compaction = welcome.compact_revision
        self._progress.acked(self._target, outcome.after_revision)

    async def _receive(self) -> pb.StreamResponse:
        response = await self._connection.receive()
        if response is None:
            raise LinkBrokenError("the other side ended the stream")
        self._heard_at = self._clock.monotonic()
        if response.WhichOneof("message") == "refusal":
            refusal = response.refusal
            raise RefusedError(
                refusal.reason,
                refusal.message,
                leader_address=refusal.leader_address,
                promised_epoch=refusal.promised_epoch,
            )
        return response

    async def _read(self) -> None:
        while True:
            response = await self._receive()
            if response.WhichOneof("message") != "ack":
                raise LinkBrokenError("an acknowledgement was expected")
            if response.ack.revision > self._cursor:
                raise LinkBrokenError(f"revision {response.ack.revision} was acknowledged, {self._cursor} was sent")
            self._window.acked(response.ack.revision, self._clock.monotonic())
            self._progress.acked(self._target, response.ack.revision)
            self._on_ack()
            self._wake.set()

    async def _watch(self) -> None:
        while True:
            await sleep(self._clock, self._config.heartbeat_seconds)
            now = self._clock.monotonic()
            if now - self._heard_at >= self._config.silence_seconds:
                raise LinkBrokenError(f"nothing heard for {self._config.silence_seconds:g} s")
            if self._window.stalled(now, self._config.stall_seconds):
                raise LinkBrokenError(f"nothing acknowledged for {self._config.stall_seconds:g} s")

    async def _write(self) -> None:
        while True:
            if not self._window.full and self._has_news():
                await self._send_batch(await self._cut_batch())
            else:
                await self._pause(self._config.heartbeat_seconds)

    async def _pause(self, seconds: float) -> None:
        """Waits for a signal, at most ``seconds``; keeps the stream alive meanwhile."""
        heartbeat_at = self._sent_at + self._config.heartbeat_seconds
        await self._wake.wait(min(seconds, heartbeat_at - self._clock.monotonic()))
        if self._clock.monotonic() >= heartbeat_at:
            heartbeat = pb.StreamHeartbeat(epoch=self._epoch, revision=self._machine.revision)
            await self._send(pb.StreamRequest(heartbeat=heartbeat))

    def _has_news(self) -> bool:
        if self._machine.revision > self._cursor or self._compaction_at(self._cursor) > self._their_compaction:
            return True
        return chain_of(self._machine.state, self._machine.revision).history != self._their_history

    def _compaction_at(self, revision: int) -> int:
        """How far a region that holds ``revision`` may compact."""
        return min(self._machine.compact_revision, revision)

    def _rows(self) -> RowBatchView:
        try:
            return self._machine.rows_after(
                self._cursor, max_bytes=self._config.max_batch_bytes, max_rows=self._config.max_batch_rows
            )
        except errors.Compacted as error:
            raise errors.Compacted(
                f"region {self._target} holds revision {self._cursor} and what follows is compacted up to "
                f"{self._machine.compact_revision}: it needs a snapshot"
            ) from error

    def _is_full(self, batch: RowBatchView) -> bool:
        return (
            batch.last_revision < self._machine.revision
            or len(batch.packed) >= self._config.max_batch_bytes
            or batch.count >= self._config.max_batch_rows
        )

    async def _cut_batch(self) -> RowBatchView:
        """Waits for more rows until the batch is full or the interval since its first row is over."""
        deadline = self._clock.monotonic() + self._config.batch_interval_seconds
        while True:
            batch = self._rows()
            if not batch.count or self._is_full(batch) or self._clock.monotonic() >= deadline:
                return batch
            # Look again when, at the rows' present size, the batch should be full, or when it has doubled (later rows
            # may be larger); not at every write.
            revisions = batch.last_revision - self._cursor
            full_after = revisions * self._config.max_batch_bytes // max(1, len(batch.packed))
            full_at = self._cursor + max(revisions + 1, min(full_after, 2 * revisions))
            while self._machine.revision < full_at and (left := deadline - self._clock.monotonic()) > 0:
                await self._pause(left)

    async def _send_batch(self, batch: RowBatchView) -> None:
        state = self._machine.state
        if state.epoch != self._epoch:
            raise LinkBrokenError("the epoch has changed")
        chain = chain_of(state, self._machine.revision)
        # Where there are no rows, an epoch may begin: the batch brings its jump.
        last_revision = batch.last_revision if batch.count else after_jumps(chain.history, self._cursor)
        history = history_up_to(chain, last_revision)
        compaction = self._compaction_at(last_revision)
        if batch.count == 0 and history == self._their_history and compaction <= self._their_compaction:
            raise errors.Gap(f"no rows after revision {self._cursor}, but the store is at {chain.revision}")
        message = pb.StreamBatch(
            epoch=self._epoch,
            prev_revision=self._cursor,
            last_revision=last_revision,
            rows=batch.packed if batch.count else b"",
            row_count=batch.count,
            history=history_messages(history),
            compact_revision=compaction,
        )
        if batch.count:
            self._progress.measured(last_revision - self._cursor, len(message.rows))
        self._window.sent(last_revision, len(message.rows), self._clock.monotonic())
        self._cursor = last_revision
        self._their_history = history
        self._their_compaction = max(self._their_compaction, compaction)
        await self._send(pb.StreamRequest(batch=message))

    async def _send(self, request: pb.StreamRequest) -> None:
        try:
            await within(self._clock, self._connection.send(request), self._config.stall_seconds)
        except TimeoutError as error:
            raise LinkBrokenError(f"a message was not taken within {self._config.stall_seconds:g} s") from error
        self._sent_at = self._clock.monotonic()


def _chain_of_welcome(welcome: pb.StreamWelcome) -> Chain:
    try:
        return Chain.of(welcome.history, welcome.revision)
    except ValueError as error:
        raise RefusedError(
            pb.StreamRefusal.DIVERGED, f"region {welcome.region} sent a damaged history: {error}"
        ) from error
