"""Keeps one stream open to every other region while this replica is the one that has to."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from rstore_api import errors
from rstore_api.dialling.race import first_success
from rstore_api.dialling.stream import LinkBrokenError
from rstore_api.logs import get_logger
from rstore_api.proto import rstore_pb2 as pb

from rstore_replica.raft.clock import Clock
from rstore_replica.replication.config import ReplicationConfig
from rstore_replica.replication.messages import RefusedError, describe
from rstore_replica.replication.ports import Connector, RaftGroup, Random, ReplicatedMachine, StreamConnection
from rstore_replica.replication.roles import stream_targets
from rstore_replica.replication.sending.addresses import AddressBook, Backoff
from rstore_replica.replication.sending.history_hold import HistoryHold
from rstore_replica.replication.sending.progress import Progress
from rstore_replica.replication.sending.stream import SourceStream
from rstore_replica.replication.waiting import Signal, cancel_and_wait, sleep, within

log = get_logger(__name__)

NEXT_ADDRESS_SECONDS = 1.0
"""How long an address may take to answer a dial before the next one is dialled, too."""
_MEASURE_BYTES = 64 << 10
_MAX_REPORTED_ERRORS = 32


@dataclass(frozen=True)
class SenderParts:
    """What all senders of a replica work with."""

    machine: ReplicatedMachine
    group: RaftGroup
    connector: Connector
    clock: Clock
    config: ReplicationConfig
    rng: Random
    progress: Progress


class RegionSender:
    """One other region: connects, streams, and after every failure connects again, for ever."""

    def __init__(self, target: str, addresses: tuple[str, ...], parts: SenderParts) -> None:
        self.target = target
        self.addresses = addresses
        self._parts = parts
        self._clock = parts.clock
        config = parts.config
        self._wake = Signal(parts.clock)
        self._book = AddressBook()
        self._backoff = Backoff(
            low_seconds=config.backoff_min_seconds, high_seconds=config.backoff_max_seconds, rng=parts.rng
        )
        self._reported: set[str] = set()  # errors logged since the last progress
        self._hold = HistoryHold(
            target,
            machine=parts.machine,
            clock=parts.clock,
            idle_seconds=config.hold_idle_seconds,
            total_seconds=config.hold_seconds,
        )
        self._stream: SourceStream | None = None

    def wake(self) -> None:
        """There may be something new to send."""
        self._wake.set()

    async def run(self) -> None:
        """Never returns; ends by being cancelled."""
        try:
            while True:
                self._book.new_round(self.addresses)
                while (place := await self._connect()) is not None:
                    await self._attempt(*place)
                    self._hold.review()
                await sleep(self._clock, self._backoff.next_seconds())
        finally:
            self._hold.release()

    async def _connect(self) -> tuple[str, StreamConnection] | None:
        """A connection to the next address that takes one, None when the round is over. An address that leaves the dial
        unanswered is not waited for: the next one is dialled beside it.
        """
        try:
            return await first_success(
                self._dials(),
                every_seconds=NEXT_ADDRESS_SECONDS,
                go_on=True,
                discard=lambda place: place[1].close(),
                sleep=partial(sleep, self._clock),
            )
        except (LinkBrokenError, TimeoutError, LookupError):
            return None

    def _dials(self) -> Iterator[Coroutine[Any, Any, tuple[str, StreamConnection]]]:
        while (address := self._book.next_address()) is not None:
            yield self._dial(address)

    async def _dial(self, address: str) -> tuple[str, StreamConnection]:
        parts = self._parts
        try:
            connecting = parts.connector.connect(address)
            return address, await within(self._clock, connecting, parts.config.connect_seconds * 2)
        except (LinkBrokenError, TimeoutError) as failure:
            self._failed(address, str(failure) or type(failure).__name__)
            raise

    def transfer(self) -> pb.SnapshotTransfer | None:
        """Returns the snapshot that is on its way to the region, None when there is none."""
        snapshot = self._stream.snapshot if self._stream is not None else None
        if snapshot is None:
            return None
        return pb.SnapshotTransfer(
            region=self.target,
            revision=snapshot.snapshot.revision,
            rows=snapshot.rows,
            size_bytes=snapshot.size_bytes,
        )

    async def _attempt(self, address: str, connection: StreamConnection) -> None:
        error = ""
        try:
            await self._stream_over(address, connection)
        except RefusedError as refused:
            error = describe(refused.refusal)
            if refused.refusal.reason == pb.StreamRefusal.NOT_LEADER and refused.refusal.leader_address:
                self._book.prefer(refused.refusal.leader_address)
        except (LinkBrokenError, TimeoutError, errors.StoreError, ValueError) as failure:
            error = str(failure) or type(failure).__name__
        self._failed(address, error)

    def _failed(self, address: str, error: str) -> None:
        self._parts.progress.disconnected(self.target, error)
        if error not in self._reported and len(self._reported) < _MAX_REPORTED_ERRORS:
            log.warning("stream_failed", region=self.target, address=address, error=error)
            self._reported.add(error)

    async def _stream_over(self, address: str, connection: StreamConnection) -> None:
        parts = self._parts

        def acknowledged() -> None:
            if self._reported:
                log.info("stream_established", region=self.target, address=address)
                self._reported.clear()
            self._backoff.reset()
            self._book.prefer(address)

        stream = SourceStream(
            self.target,
            connection,
            machine=parts.machine,
            group=parts.group,
            clock=parts.clock,
            config=parts.config,
            progress=parts.progress,
            wake=self._wake,
            hold=self._hold,
            on_ack=acknowledged,
        )
        self._stream = stream
        try:
            await stream.run()
        finally:
            self._stream = None
            await connection.close()


class Sender:
    """Starts and stops a :class:`RegionSender` per other region as leadership, role and topology say.

    Looks again when leader, term or the replicated state change, and every ``review_seconds`` to measure row sizes.
    """

    def __init__(self, parts: SenderParts) -> None:
        self._parts = parts
        self._machine = parts.machine
        self._group = parts.group
        self._clock = parts.clock
        self._config = parts.config
        self._progress = parts.progress
        self._signal = Signal(parts.clock)
        self._running: dict[str, tuple[RegionSender, asyncio.Task[None]]] = {}
        self._stopping: set[asyncio.Task[None]] = set()
        self._supervisor: asyncio.Task[None] | None = None
        self._unsubscribe: list[Callable[[], None]] = []
        self._is_source = False
        self._measured_revision = 0

    @property
    def targets(self) -> tuple[str, ...]:
        """The regions that are being streamed to, or connected to, at the moment."""
        return tuple(sorted(self._running))

    def transfers(self) -> tuple[pb.SnapshotTransfer, ...]:
        """Returns the snapshots on their way to other regions."""
        transfers = (self._running[name][0].transfer() for name in self.targets)
        return tuple(transfer for transfer in transfers if transfer is not None)

    async def start(self) -> None:
        """Begins to watch this replica's role."""
        if self._supervisor is not None:
            raise RuntimeError("already started")
        self._unsubscribe = [
            self._machine.subscribe(self._on_revision),
            self._machine.subscribe_state(lambda _state: self.review()),
        ]
        self._group.on_change(lambda _status: self.review())
        self._supervisor = asyncio.create_task(self._supervise(), name="replication-sender")

    async def stop(self) -> None:
        """Ends every stream. Harmless when not started or stopped before."""
        while self._unsubscribe:
            self._unsubscribe.pop()()
        if self._supervisor is not None:
            await cancel_and_wait(self._supervisor)
            self._supervisor = None
        tasks = [task for _, task in self._running.values()] + list(self._stopping)
        self._running.clear()
        await cancel_and_wait(*tasks)
        self._is_source = False
        self._progress.end()

    def review(self) -> None:
        """Something that decides this replica's role may have changed."""
        self._signal.set()

    def _on_revision(self, revision: int) -> None:
        if self._is_source:
            self._progress.wrote(revision, self._clock.monotonic())
            for sender, _ in self._running.values():
                sender.wake()

    async def _supervise(self) -> None:
        while True:
            try:
                self._apply_role()
                self._measure()
            except Exception:
                # Whatever it was, the streams must not stay down for it: look again at the next review.
                log.exception("role_review_failed")
            await self._signal.wait(self._config.review_seconds)

    def _apply_role(self) -> None:
        wanted = stream_targets(self._machine.state, self._group.status(), self._config.region)
        for name, (sender, task) in list(self._running.items()):
            if wanted.get(name) != sender.addresses or task.done():
                self._retire(name, task)
        if not wanted:
            if self._is_source:
                self._is_source = False
                self._progress.end()
            return
        if not self._is_source:
            self._is_source = True
            self._measured_revision = self._machine.revision
            self._progress.begin(wanted, self._machine.revision, self._clock.monotonic())
        self._progress.keep_only(wanted)
        self._progress.follow(self._machine.state.history)
        for name, addresses in wanted.items():
            if name not in self._running:
                self._launch(name, addresses)
        for sender, _ in self._running.values():
            sender.wake()

    def _launch(self, name: str, addresses: tuple[str, ...]) -> None:
        sender = RegionSender(name, addresses, self._parts)
        self._running[name] = (sender, asyncio.create_task(sender.run(), name=f"stream-to-{name}"))

    def _retire(self, name: str, task: asyncio.Task[None]) -> None:
        del self._running[name]
        if task.done():
            if not task.cancelled() and (error := task.exception()) is not None:
                log.error("stream_task_died", region=name, exc_info=error)
            return
        task.cancel()
        self._stopping.add(task)
        task.add_done_callback(self._stopping.discard)

    def _measure(self) -> None:
        """Keeps the estimate of bytes per revision fresh also while no stream reads the rows."""
        revision = self._machine.revision
        if not self._is_source or revision <= self._measured_revision:
            return
        with contextlib.suppress(errors.Compacted):
            rows = self._machine.rows_after(
                self._measured_revision, max_bytes=_MEASURE_BYTES, max_rows=self._config.max_batch_rows
            )
            if rows.count and not rows.deleted:
                self._progress.measured(rows.last_revision - rows.first_revision + 1, len(rows.packed))
        self._measured_revision = revision
