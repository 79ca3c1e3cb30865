"""In-memory regions for the tests of replication: a machine without a database, a group without Raft, a network."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec
from rstore_api import errors
from rstore_api.proto import rpc_pb2
from rstore_api.proto import rstore_pb2 as pb
from rstore_replica.mvcc import state as rules
from rstore_replica.mvcc.tails import Tail
from rstore_replica.raft.clock import Clock, SystemClock, Timer
from rstore_replica.raft.types import GroupStatus, Member, Role
from rstore_replica.replication.config import ReplicationConfig
from rstore_replica.replication.grants import GrantLink
from rstore_replica.replication.ports import LinkBrokenError, Random
from rstore_replica.replication.service import Replication

STORE = "store-1"


async def eventually(condition: Callable[[], bool], *, seconds: float = 10.0, what: str = "the condition") -> None:
    """Returns when the condition holds; fails when it does not within ``seconds``."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, f"{what} did not come true within {seconds} s"
        await asyncio.sleep(0.002)


@dataclass(frozen=True)
class Rows:
    """See ``ports.RowBatchView``."""

    first_revision: int
    last_revision: int
    count: int
    packed: bytes


@dataclass
class FakeHold:
    """Compaction does not wait for it."""

    revision: int

    def move(self, revision: int) -> None:
        self.revision = max(self.revision, revision)

    def release(self) -> None:
        """Nothing to do."""


class FakeMachine:
    """Decides like the real one (its rules are used), but keeps values in a dictionary: revision → value."""

    def __init__(self, region: str) -> None:
        self.state = rules.RegionState(region)
        self.revision = rules.BASE_REVISION
        self.compact_revision = 0
        self.applied_index = 0
        self.db_size_bytes = 0
        self.values: dict[int, bytes] = {}
        self.tails: list[dict[int, bytes]] = []
        self.reads = 0
        self._callbacks: list[Callable[[int], None]] = []
        self._state_callbacks: list[Callable[[rules.RegionState], None]] = []

    def subscribe(self, callback: Callable[[int], None]) -> Callable[[], None]:
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback)

    def subscribe_state(self, callback: Callable[[rules.RegionState], None]) -> Callable[[], None]:
        self._state_callbacks.append(callback)
        return lambda: self._state_callbacks.remove(callback)

    def rows_after(self, revision: int, *, max_bytes: int, max_rows: int) -> Rows:
        self.reads += 1
        if revision < self.compact_revision:
            raise errors.Compacted
        starts = [start.first_revision for start in self.state.history if start.first_revision > revision + 1]
        end = min([*starts, self.revision + 1])
        taken: list[bytes] = []
        size = 0
        for number in range(revision + 1, end):
            value = self.values[number]
            if taken and (size + len(value) > max_bytes or len(taken) >= max_rows):
                break
            taken.append(value)
            size += len(value)
        return Rows(revision + 1, revision + len(taken), len(taken), b"\n".join(taken))

    def apply(self, index: int, _term: int, entry: bytes) -> object:
        assert index == self.applied_index + 1
        self.applied_index = index
        before, state = self.revision, self.state
        command = pb.LogEntry.FromString(entry)
        result = getattr(self, "_" + str(command.WhichOneof("command")))(command)
        if self.revision != before:
            for callback in list(self._callbacks):
                callback(self.revision)
        if self.state is not state:
            for state_callback in list(self._state_callbacks):
                state_callback(self.state)
        return result

    def _adopt(self, outcome: rules.RegionState | errors.StoreError) -> errors.StoreError | None:
        if isinstance(outcome, errors.StoreError):
            return outcome
        self.state = outcome
        return None

    def _write(self, command: pb.LogEntry) -> object:
        refusal = rules.refusal_of_writes(self.state, command.write.epoch)
        if refusal is not None:
            return [refusal for _ in command.write.requests]
        answers = []
        for request in command.write.requests:
            self.revision += 1
            self.values[self.revision] = request.put.value
            answers.append(rpc_pb2.PutResponse(header=rpc_pb2.ResponseHeader(revision=self.revision)))
        return answers

    def _rows(self, command: pb.LogEntry) -> object:
        batch = command.rows.batch
        outcome = rules.accept_rows(self.state, self.revision, batch)
        if isinstance(outcome, errors.StoreError):
            return outcome
        values = batch.rows.split(b"\n") if batch.row_count else []
        assert len(values) == batch.row_count == batch.last_revision - batch.prev_revision
        self.state = outcome
        for value in values:
            self.revision += 1
            self.values[self.revision] = value
        return self.revision

    quarantined: tuple[Tail, ...] = ()
    staged: None = None

    def hold(self, revision: int) -> FakeHold:
        if revision < self.compact_revision:
            raise errors.Compacted
        return FakeHold(revision)

    def snapshot_after(self, after_key: bytes, revision: int, *, max_bytes: int, max_rows: int) -> Any:
        """Snapshots are tested with real machines."""
        del after_key, revision, max_bytes, max_rows
        raise errors.Compacted("there are no snapshots here")

    def refusal_of_rewind(self, fork_revision: int) -> errors.StoreError | None:
        return errors.Compacted("the fork is gone") if fork_revision < self.compact_revision else None

    def refusal_of_export(self) -> errors.StoreError | None:
        return None

    def refusal_of_staging(self) -> errors.StoreError | None:
        return None

    is_nearly_full = False

    def _rewind(self, command: pb.LogEntry) -> object:
        outcome = rules.accept_rewind(self.state, self.revision, command.rewind)
        if isinstance(outcome, errors.StoreError) or outcome is self.state:
            return outcome if isinstance(outcome, errors.StoreError) else self.revision
        self.state, self.revision = outcome, command.rewind.fork_revision
        self.tails.append({key: value for key, value in self.values.items() if key > self.revision})
        self.values = {key: value for key, value in self.values.items() if key <= self.revision}
        return self.revision

    def _bootstrap(self, command: pb.LogEntry) -> object:
        return self._adopt(rules.bootstrap(self.state, command.bootstrap))

    def _topology(self, command: pb.LogEntry) -> object:
        return self._adopt(rules.with_topology(self.state, command.topology))

    def _lease_bound(self, command: pb.LogEntry) -> object:
        self.state = msgspec.structs.replace(self.state, lease_bound_ms=command.lease_bound.duration_ms)
        return None

    def _promise(self, command: pb.LogEntry) -> object:
        self._adopt(rules.promise(self.state, command.promise.epoch))
        return self.state.promised_epoch, self.revision

    def _promotion(self, command: pb.LogEntry) -> object:
        outcome = rules.promote(self.state, self.revision, command.promotion)
        if isinstance(outcome, errors.StoreError):
            return outcome
        self.state = outcome[0]
        return outcome[1]


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
        self.proposals = 0
        self.in_flight = 0
        self.most_in_flight = 0
        self._last: asyncio.Future[None] | None = None
        self._callbacks: list[Callable[[GroupStatus], None]] = []

    def status(self) -> GroupStatus:
        index = self.machine.applied_index
        role = Role.LEADER if self.leader == self.names[0] else Role.FOLLOWER
        members = tuple(Member(name, f"{name}:2380") for name in self.names)
        since = 0.0 if role is Role.LEADER else None
        return GroupStatus(self.names[0], role, self.leader, 1, index, index, index, members, since)

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


class FastClock(SystemClock):
    """A clock whose seconds pass ``rate`` times as fast."""

    def __init__(self, rate: float) -> None:
        self._rate = rate

    def monotonic(self) -> float:
        return super().monotonic() * self._rate

    def call_later(self, delay_seconds: float, callback: Callable[[], None]) -> Timer:
        return super().call_later(delay_seconds / self._rate, callback)


class LongestPauses:
    """A random source that always takes the longest pause, and remembers them."""

    def __init__(self) -> None:
        self.pauses: list[float] = []

    def uniform(self, _low: float, high: float) -> float:
        self.pauses.append(high)
        return high


class Pipe:
    """One direction of a connection: messages arrive in order, each ``delay()`` seconds after it was put in."""

    def __init__(self, delay: Callable[[], float]) -> None:
        self._delay = delay
        self._queue: asyncio.Queue[tuple[float, object]] = asyncio.Queue()
        self.broken = asyncio.Event()

    def put(self, message: object) -> None:
        """None is the orderly end."""
        self._queue.put_nowait((asyncio.get_running_loop().time() + self._delay(), message))

    async def get(self) -> object:
        taken = asyncio.ensure_future(self._take())
        broken = asyncio.ensure_future(self.broken.wait())
        try:
            await asyncio.wait({taken, broken}, return_when=asyncio.FIRST_COMPLETED)
            if taken.done():
                return taken.result()
            raise LinkBrokenError("the network broke")
        finally:
            taken.cancel()
            broken.cancel()

    async def _take(self) -> object:
        due, message = await self._queue.get()
        await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))
        return message


@dataclass
class FakeNetwork:
    """Connects senders to receivers by address; links can be slow, cut, or swallow everything."""

    replications: dict[str, Replication] = field(default_factory=dict)
    down: set[str] = field(default_factory=set)  # addresses that refuse connections
    silent: bool = False  # connections are made, but nothing arrives
    delay_seconds: float = 0.0
    attempts: list[str] = field(default_factory=list)
    connections: set[FakeConnection] = field(default_factory=set)

    async def connect(self, address: str) -> FakeConnection:
        self.attempts.append(address)
        await asyncio.sleep(0)
        if address in self.down or address not in self.replications:
            raise LinkBrokenError(f"{address}: connection refused")
        return FakeConnection(self, self.replications[address])

    def break_all(self) -> None:
        """Every open connection breaks, what is on its way is lost."""
        for connection in list(self.connections):
            connection.break_it()


class FakeConnection:
    """See ``ports.StreamConnection``; runs the receiver's side as a task."""

    def __init__(self, network: FakeNetwork, server: Replication) -> None:
        self._network = network
        self._up = Pipe(lambda: network.delay_seconds)
        self._down = Pipe(lambda: network.delay_seconds)
        self._serving = asyncio.create_task(self._serve(server))
        network.connections.add(self)

    async def _requests(self) -> AsyncIterator[pb.StreamRequest]:
        while (message := await self._up.get()) is not None:
            assert isinstance(message, bytes)
            yield pb.StreamRequest.FromString(message)

    async def _serve(self, server: Replication) -> None:
        try:
            async for response in server.receiver.serve(self._requests()):
                if not self._network.silent:
                    self._down.put(response.SerializeToString())
            self._down.put(None)
        except LinkBrokenError:
            self._down.broken.set()

    def break_it(self) -> None:
        self._up.broken.set()
        self._down.broken.set()

    async def send(self, request: pb.StreamRequest) -> None:
        await asyncio.sleep(0)
        if self._up.broken.is_set():
            raise LinkBrokenError("the network broke")
        if not self._network.silent:
            self._up.put(request.SerializeToString())

    async def receive(self) -> pb.StreamResponse | None:
        message = await self._down.get()
        return pb.StreamResponse.FromString(message) if isinstance(message, bytes) else None

    async def close(self) -> None:
        self.break_it()
        self._network.connections.discard(self)
        await asyncio.wait({self._serving})


class FakeRegion:
    """One region with one replica that takes part, and perhaps names of others."""

    def __init__(
        self,
        name: str,
        network: FakeNetwork,
        *,
        replicas: int = 1,
        clock: Clock | None = None,
        rng: Random | None = None,
        grants: GrantLink | None = None,
        **knobs: object,
    ) -> None:
        self.name = name
        self.machine = FakeMachine(name)
        self.group = FakeGroup(name, self.machine, replicas=replicas)
        settings: dict[str, object] = {
            "batch_interval_seconds": 0.001,
            "heartbeat_seconds": 0.02,
            "silence_seconds": 2.0,
            "backoff_min_seconds": 0.005,
            "backoff_max_seconds": 0.05,
            "review_seconds": 0.05,
        }
        self.config = ReplicationConfig(region=name, replica=f"{name}-0", **{**settings, **knobs})  # type: ignore[arg-type]
        self.replication = Replication(
            machine=self.machine,
            group=self.group,
            clock=clock or SystemClock(),
            config=self.config,
            rng=rng or random.Random(7),
            connector=network,
            grants=grants,
        )
        self.addresses = [f"{replica}:2380" for replica in self.group.names]
        network.replications[self.addresses[0]] = self.replication

    @property
    def controller(self):
        return self.replication.controller

    @property
    def progress(self):
        return {region.region: region for region in self.replication.progress()}

    async def write(self, *values: bytes) -> list[object]:
        """What a batcher does: one entry for several requests."""
        gate = self.controller.write_gate
        if not gate.open:
            raise errors.NoPrimary
        requests = [pb.WriteRequest(put=rpc_pb2.PutRequest(key=b"k", value=value)) for value in values]
        entry = pb.LogEntry(write=pb.WriteBatch(epoch=gate.epoch, requests=requests))
        answers = await self.group.propose(entry.SerializeToString(), timeout_seconds=5)
        assert isinstance(answers, list)
        return answers


def topology(regions: Iterable[FakeRegion], primary: str, *, epoch: int = 1, version: int = 1) -> pb.Topology:
    """Where the fake regions are."""
    return pb.Topology(
        epoch=epoch,
        version=version,
        primary_region=primary,
        regions=[
            pb.RegionTopology(
                name=region.name,
                replicas=[
                    pb.ReplicaAddress(name=address.split(":")[0], peer_address=address, client_address=address)
                    for address in region.addresses
                ],
            )
            for region in regions
        ],
    )


async def bootstrap(regions: Iterable[FakeRegion], primary: str) -> None:
    """Bootstraps every region into one store."""
    regions = list(regions)
    for region in regions:
        request = pb.BootstrapRequest(store_id=STORE, topology=topology(regions, primary))
        await region.controller.bootstrap(request)


def converged(regions: Iterable[FakeRegion]) -> bool:
    """Whether all regions hold the same and know the same epochs."""
    first, *others = regions
    return all(
        other.machine.values == first.machine.values
        and other.machine.revision == first.machine.revision
        and list(other.machine.state.history) == list(first.machine.state.history)
        for other in others
    )
