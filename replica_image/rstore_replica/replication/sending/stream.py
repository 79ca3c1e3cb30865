"""One stream to one other region, from handshake to end, as seen by the source's leader."""

from __future__ import annotations

from collections.abc import Callable

from rstore_api import errors
from rstore_api.dialling.stream import LinkBrokenError
from rstore_api.domain.epochs import EpochStart, after_jumps
from rstore_api.domain.forks import Chain
from rstore_api.logs import get_logger
from rstore_api.messages import history_messages, history_of
from rstore_api.proto import rstore_pb2 as pb

from rstore_replica.raft.clock import Clock
from rstore_replica.replication.config import ReplicationConfig
from rstore_replica.replication.history import Diverged, Resume, compare, history_up_to
from rstore_replica.replication.messages import RefusedError, chain_of, refusal_of
from rstore_replica.replication.ports import RaftGroup, ReplicatedMachine, RowBatchView, StreamConnection
from rstore_replica.replication.roles import is_source
from rstore_replica.replication.sending.history_hold import HistoryHold
from rstore_replica.replication.sending.progress import Progress
from rstore_replica.replication.sending.snapshot_source import SnapshotId, SnapshotSource
from rstore_replica.replication.sending.window import Window
from rstore_replica.replication.waiting import Signal, first_to_end, sleep, within

log = get_logger(__name__)


class SourceStream:
    """Sends everything after the other region's position, for as long as the stream holds.

    Its welcome says where the other region stands; nothing is remembered here between streams.
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
        hold: HistoryHold,
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
        self._hold = hold
        self._on_ack = on_ack
        self._snapshot: SnapshotSource | None = None
        self._window = Window(max_bytes=config.window_bytes, max_batches=config.window_batches)
        self._epoch = 0
        self._cursor = 0
        self._their_history: tuple[EpochStart, ...] = ()
        self._their_compaction = 0
        self._received_at = clock.monotonic()
        self._sent_at = self._received_at

    @property
    def snapshot(self) -> SnapshotSource | None:
        """The snapshot that is on its way, None when there is none."""
        return self._snapshot

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
        if isinstance(outcome, Diverged) and welcome.needs_snapshot:
            self._cursor = outcome.fork_revision
            self._begin_snapshot(now_ours, welcome)
        elif isinstance(outcome, Resume):
            self._cursor = outcome.after_revision
            if not self._hold.take(self._cursor):
                self._begin_snapshot(now_ours, welcome)
        else:
            raise refusal_of(outcome)
        self._their_history = theirs.history
        self._their_compaction = welcome.compact_revision
        self._progress.stands_at(self._target, self._cursor, epoch=self._epoch)

    async def _receive(self) -> pb.StreamResponse:
        response = await self._connection.receive()
        if response is None:
            raise LinkBrokenError("the other side ended the stream")
        self._received_at = self._clock.monotonic()
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
            kind = response.WhichOneof("message")
            if kind == "snapshot_ack" and self._snapshot is not None:
                self._snapshot_acked(self._snapshot, response.snapshot_ack)
                continue
            if kind != "ack":
                raise LinkBrokenError("an acknowledgement was expected")
            if self._snapshot is not None:
                continue  # of a heartbeat: where the region stands until the snapshot is installed
            if response.ack.revision > self._cursor:
                raise LinkBrokenError(f"revision {response.ack.revision} was acknowledged, {self._cursor} was sent")
            self._window.acked(response.ack.revision, self._clock.monotonic())
            self._hold.reached(response.ack.revision)
            self._progress.acked(self._target, response.ack.revision, epoch=self._epoch)
            self._on_ack()
            self._wake.set()

    async def _watch(self) -> None:
        while True:
            await sleep(self._clock, self._config.heartbeat_seconds)
            now = self._clock.monotonic()
            if now - self._received_at >= self._config.silence_seconds:
                raise LinkBrokenError(f"nothing received for {self._config.silence_seconds:g} s")
            self._hold.review()
            window = self._window if self._snapshot is None else self._snapshot.window
            if window.stalled(now, self._config.stall_seconds):
                raise LinkBrokenError(f"nothing acknowledged for {self._config.stall_seconds:g} s")

    def _begin_snapshot(self, ours: Chain, welcome: pb.StreamWelcome) -> None:
        """Goes on with what the other region has staged, where that can still be read here, else begins anew."""
        state = self._machine.state
        staged = welcome.staged if welcome.HasField("staged") else None
        snapshot = SnapshotId.of_staged(ours, state.store_id, staged) if staged is not None else None
        if snapshot is None or not self._hold.take(snapshot.revision):
            snapshot, staged = SnapshotId.newest(ours), None
            if not self._hold.take(snapshot.revision):
                raise errors.Compacted(f"revision {snapshot.revision} is gone")
        self._snapshot = SnapshotSource(
            snapshot,
            store_id=state.store_id,
            epoch=self._epoch,
            staged=staged,
            machine=self._machine,
            clock=self._clock,
            config=self._config,
        )
        log.info(
            "snapshot_begun" if staged is None else "snapshot_continued",
            region=self._target,
            revision=snapshot.revision,
            held_revision=welcome.revision,
            compact_revision=self._machine.compact_revision,
            rows=self._snapshot.rows,
        )

    def _snapshot_acked(self, snapshot: SnapshotSource, ack: pb.SnapshotAck) -> None:
        snapshot.acked(ack)
        self._hold.progressed()
        if snapshot.installed:
            self._snapshot = None
            self._cursor = self._their_compaction = snapshot.snapshot.revision
            self._their_history = snapshot.snapshot.history
            self._progress.acked(self._target, self._cursor, epoch=self._epoch)
            log.info(
                "snapshot_installed",
                region=self._target,
                revision=self._cursor,
                rows=snapshot.rows,
                size_bytes=snapshot.size_bytes,
            )
        self._on_ack()
        self._wake.set()

    async def _write_snapshot(self, snapshot: SnapshotSource) -> None:
        while self._snapshot is not None:
            if snapshot.all_sent or snapshot.window.full:
                await self._pause(self._config.heartbeat_seconds)
                continue
            self._require_source()
            began = self._clock.monotonic()
            chunk = snapshot.next_chunk()
            reading_seconds = self._clock.monotonic() - began
            if chunk is not None:
                await self._send(pb.StreamRequest(snapshot=chunk))
            else:
                await self._keep_alive()
            # For as long again, the loop is for others: this replica's clients above all.
            await sleep(self._clock, reading_seconds)

    async def _write(self) -> None:
        if self._snapshot is not None:
            await self._write_snapshot(self._snapshot)
        while True:
            if not self._window.full and self._has_news():
                await self._send_batch(await self._cut_batch())
            else:
                await self._pause(self._config.heartbeat_seconds)

    async def _pause(self, seconds: float) -> None:
        """Waits for a signal, at most ``seconds``; keeps the stream alive meanwhile."""
        heartbeat_at = self._sent_at + self._config.heartbeat_seconds
        await self._wake.wait(min(seconds, heartbeat_at - self._clock.monotonic()))
        await self._keep_alive()

    async def _keep_alive(self) -> None:
        """A heartbeat, when it is time for one."""
        if self._clock.monotonic() >= self._sent_at + self._config.heartbeat_seconds:
            heartbeat = pb.StreamHeartbeat(epoch=self._epoch, revision=self._machine.revision)
            await self._send(pb.StreamRequest(heartbeat=heartbeat))

    def _has_news(self) -> bool:
        if self._machine.revision > self._cursor or self._compaction_at(self._cursor) > self._their_compaction:
            return True
        return chain_of(self._machine.state, self._machine.revision).history != self._their_history

    def _compaction_at(self, revision: int) -> int:
        """Returns how far a region that holds ``revision`` may compact."""
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
            batch.deleted is not None
            or batch.last_revision < self._machine.revision
            or len(batch.packed) >= self._config.max_batch_bytes
            or batch.count >= self._config.max_batch_rows
        )

    async def _cut_batch(self) -> RowBatchView:
        """Waits for more rows until the batch is full or the interval since its first row is over."""
        deadline = self._clock.monotonic() + self._config.batch_interval_seconds
        while True:
            batch = self._rows()
            if not batch.count or self._is_full(batch) or self._hurries() or self._clock.monotonic() >= deadline:
                return batch
            # Look again when, at the rows' present size, the batch should be full, or when it has doubled (later rows
            # may be larger); not at every write.
            revisions = batch.last_revision - self._cursor
            full_after = revisions * self._config.max_batch_bytes // max(1, len(batch.packed))
            full_at = self._cursor + max(revisions + 1, min(full_after, 2 * revisions))
            while self._machine.revision < full_at and (left := deadline - self._clock.monotonic()) > 0:
                if self._hurries():
                    break
                await self._pause(left)

    def _hurries(self) -> bool:
        """Returns whether clients wait for these very rows: then only a batch on its way is a reason to gather more."""
        return self._progress.urgent and self._window.unacked_batches == 0

    async def _send_batch(self, batch: RowBatchView) -> None:
        self._require_source()
        state = self._machine.state
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
            row_count=0 if batch.deleted else batch.count,
            history=history_messages(history),
            compact_revision=compaction,
            deleted=batch.deleted,
        )
        if batch.count and not batch.deleted:
            self._progress.measured(last_revision - self._cursor, len(message.rows))
        self._window.sent(last_revision, len(message.rows), self._clock.monotonic())
        self._cursor = last_revision
        self._their_history = history
        self._their_compaction = max(self._their_compaction, compaction)
        await self._send(pb.StreamRequest(batch=message))

    def _require_source(self) -> None:
        """Raises LinkBrokenError unless this region is the source; called before anything is sent.

        A region that is the source no more may rewind, and keeps its epoch.
        """
        state = self._machine.state
        if state.epoch != self._epoch:
            raise LinkBrokenError("the epoch has changed")
        if not is_source(state, self._config.region):
            raise LinkBrokenError("this region is not the source any more")

    async def _send(self, request: pb.StreamRequest) -> None:
        try:
            await within(self._clock, self._connection.send(request), self._config.stall_seconds)
        except TimeoutError as error:
            raise LinkBrokenError(f"a message was not taken within {self._config.stall_seconds:g} s") from error
        self._sent_at = self._clock.monotonic()


def _chain_of_welcome(welcome: pb.StreamWelcome) -> Chain:
    try:
        return Chain.of(history_of(welcome.history), welcome.revision)
    except ValueError as error:
        raise RefusedError(
            pb.StreamRefusal.DIVERGED, f"region {welcome.region} sent a damaged history: {error}"
        ) from error
