"""The Watch service over a real state machine: slow clients, bounds, leaders, notices of progress."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest
from rstore_api.domain.epochs import BASE_REVISION
from rstore_api.proto import rpc_pb2
from rstore_replica.api.identity import Identity
from rstore_replica.api.services import watch as watch_module
from rstore_replica.api.services.watch import WatchService
from rstore_replica.api.watch import pump as pump_module
from rstore_replica.api.watch.pump import Pump
from rstore_replica.mvcc.watch.events import Change
from rstore_wire.messages import offered
from unit.api.client_servers import until
from unit.api.replica_fakes import FakeGroup, group_status
from unit.mvcc.replicas import Replica


class Aborted(Exception):  # noqa: N818 - it is how abort() leaves a servicer
    pass


class Stream:
    """A client's stream, and the call as the service sees it."""

    def __init__(self, *, peer: str = "ipv4:10.0.0.1:1", metadata: tuple[tuple[str, str], ...] = ()) -> None:
        self._peer = peer
        self._metadata = metadata
        self._requests: asyncio.Queue[rpc_pb2.WatchRequest] = asyncio.Queue()
        self._room = asyncio.Event()
        self._room.set()
        self.answers: list[rpc_pb2.WatchResponse] = []
        self.refused = 0
        self.aborted: tuple[str, str] | None = None

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return self._metadata

    def peer(self) -> str:
        return self._peer

    def auth_context(self) -> dict[str, list[bytes]]:
        return {}

    async def abort(self, code: Any, details: str = "", trailing: Any = ()) -> None:
        self.aborted = code.name, details
        raise Aborted

    def offer(self, message: bytes) -> bool:
        if not self._room.is_set():
            self.refused += 1
            return False
        self.answers.append(rpc_pb2.WatchResponse.FromString(message))
        return True

    def offer_each(self, before: bytes, middles: Sequence[bytes], after: bytes) -> int:
        return offered(self.offer, before, middles, after)

    async def wait_for_room(self) -> None:
        await self._room.wait()

    def fill_up(self) -> None:
        self._room.clear()

    def make_room(self) -> None:
        self._room.set()

    async def requests(self) -> AsyncIterator[rpc_pb2.WatchRequest]:
        while True:
            yield await self._requests.get()

    def create(self, **fields: Any) -> None:
        self._requests.put_nowait(rpc_pb2.WatchRequest(create_request=rpc_pb2.WatchCreateRequest(**fields)))

    def ask_for_progress(self) -> None:
        self._requests.put_nowait(rpc_pb2.WatchRequest(progress_request=rpc_pb2.WatchProgressRequest()))

    def cancel(self, watch_id: int) -> None:
        self._requests.put_nowait(rpc_pb2.WatchRequest(cancel_request=rpc_pb2.WatchCancelRequest(watch_id=watch_id)))

    def revisions(self, watch_id: int = 0) -> list[int]:
        return [
            event.kv.mod_revision for answer in self.answers if answer.watch_id == watch_id for event in answer.events
        ]


class ShowsAll:
    """Everything that is applied may be shown."""

    wanted: Callable[[], bool]
    on_change: Callable[[], None]

    def __init__(self, replica: Replica) -> None:
        self._replica = replica

    def revision(self) -> int | None:
        return self._replica.machine.revision

    def look(self) -> None:
        pass


class World:
    """The service, its parts, and the tasks that run them."""

    def __init__(self, path: Path, **options: Any) -> None:
        self.replica = Replica(path)
        self.group = FakeGroup()
        self.pump = Pump(self.replica.machine, ShowsAll(self.replica))
        self.refusals: list[str] = []
        self.service = WatchService(
            pump=self.pump,
            group=self.group,
            identity=Identity(
                region="us", replica="orders-us-0", machine=cast(Any, self.replica.machine), group=self.group
            ),
            fragment_bytes=1 << 20,
            on_refusal=self.refusals.append,
            **options,
        )
        self.tasks = [asyncio.create_task(self.pump.run()), asyncio.create_task(self.service.run())]

    async def open(self, **options: Any) -> Stream:
        stream = Stream(**options)
        self.tasks.append(asyncio.create_task(self.service.watch(stream.requests(), stream)))
        await asyncio.sleep(0)
        return stream

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.replica.machine.close()


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Callable[..., World]]:
    worlds: list[World] = []

    def made(**options: Any) -> World:
        worlds.append(World(tmp_path / str(len(worlds)), **options))
        return worlds[-1]

    yield made
    for world in worlds:
        await world.close()


async def test_a_slow_client_delays_nobody_costs_nothing_and_gets_everything_later(make: Any) -> None:
    world = make()
    slow, quick = await world.open(), await world.open()
    for stream in (slow, quick):
        stream.create(key=b"k")
    await until(lambda: bool(slow.answers) and bool(quick.answers))
    slow.fill_up()
    for number in range(500):
        world.replica.put(b"k", b"%d" % number)
    await until(lambda: len(quick.revisions()) == 500)
    assert slow.revisions() == []
    assert slow.refused == 1, "it is not asked again and again"
    slow.make_room()
    await until(lambda: len(slow.revisions()) == 500)
    assert slow.revisions() == quick.revisions() == list(range(BASE_REVISION + 1, BASE_REVISION + 501))


async def test_a_client_that_is_overtaken_by_compaction_is_notified(make: Any) -> None:
    world = make()
    slow = await world.open()
    slow.create(key=b"k")
    await until(lambda: bool(slow.answers))
    slow.fill_up()
    for number in range(10):
        world.replica.put(b"k", b"%d" % number)
    await until(lambda: slow.refused == 1)
    world.replica.compact(world.replica.machine.revision)
    while world.replica.machine.compact_step():
        pass
    slow.make_room()
    await until(lambda: slow.answers[-1].canceled)
    assert slow.answers[-1].compact_revision == world.replica.machine.revision
    assert slow.revisions() == []


async def test_compaction_waits_for_what_watchers_are_about_to_be_shown(make: Any) -> None:
    world = make()
    stream = await world.open()
    stream.create(key=b"k")
    await until(lambda: bool(stream.answers))
    for number in range(300):
        world.replica.put(b"k", b"%d" % number)
    world.replica.compact(world.replica.machine.revision)
    while world.replica.machine.compact_step():
        pass
    await until(lambda: len(stream.revisions()) == 300)
    while world.replica.machine.compact_step():
        pass
    assert world.replica.machine.whole_from == world.replica.machine.revision


async def test_too_many_watches_are_refused_counted_and_may_come_once_others_have_gone(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "MAX_WATCHES_OF_STREAM", 2)
    monkeypatch.setattr(watch_module, "MAX_WATCHES_OF_CONNECTION", 3)
    monkeypatch.setattr(watch_module, "MAX_WATCHES", 4)
    monkeypatch.setattr(watch_module, "MAX_KEY_BYTES_OF_WATCHES", 1000)
    world = make()
    first, second = await world.open(), await world.open()
    other = await world.open(peer="ipv4:10.0.0.2:1")
    streams = (first, second, other)
    for count, stream in enumerate((first, first, first, second, second, other, other), 1):
        stream.create(key=b"k")
        await until(lambda count=count: sum(len(one.answers) for one in streams) == count)
    refused = [[bool(answer.cancel_reason) for answer in one.answers] for one in streams]
    assert refused == [[False, False, True], [False, True], [False, True]]
    assert first.answers[2].watch_id == -1
    assert first.answers[2].cancel_reason == "etcdserver: too many requests"
    assert world.refusals == ["watches"] * 3
    first.cancel(0)
    await until(lambda: len(first.answers) == 4)
    other.create(key=b"k" * 1000)
    await until(lambda: len(other.answers) == 3)
    assert other.answers[2].canceled
    other.create(key=b"k")
    await until(lambda: len(other.answers) == 4)
    assert not other.answers[3].canceled
    assert world.service.watches == 4


async def test_without_a_leader_those_end_that_asked_for_one(make: Any) -> None:
    world = make(no_leader_seconds=0.6)
    careful = await world.open(metadata=(("hasleader", "true"),))
    careless = await world.open()
    for stream in (careful, careless):
        stream.create(key=b"k")
    await until(lambda: bool(careful.answers) and bool(careless.answers))
    world.group.now = group_status(leader=None)
    await until(lambda: careful.aborted is not None)
    assert careful.aborted == ("UNAVAILABLE", "etcdserver: no leader")
    late = await world.open(metadata=(("hasleader", "true"),))
    await until(lambda: late.aborted is not None)
    world.replica.put(b"k")
    await until(lambda: careless.revisions() == [BASE_REVISION + 1])
    assert careless.aborted is None
    assert world.service.watches == 1


async def test_notices_of_progress_come_where_nothing_happens(make: Any) -> None:
    world = make(progress_seconds=0.6)
    stream = await world.open()
    stream.create(key=b"quiet", progress_notify=True)
    stream.create(key=b"quiet", progress_notify=False)
    await until(lambda: len(stream.answers) == 2)
    world.replica.put(b"other")
    await until(lambda: len(stream.answers) == 3)
    notice = stream.answers[2]
    assert (notice.watch_id, notice.header.revision, len(notice.events)) == (0, BASE_REVISION + 1, 0)
    assert not notice.created


async def test_progress_is_reported_once_all_watches_have_been_shown_everything(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make()
    for number in range(2000):
        world.replica.put(b"k%d" % number)
    stream = await world.open()
    stream.create(key=b"k", range_end=b"l", start_revision=BASE_REVISION + 1)
    stream.ask_for_progress()
    await until(lambda: any(answer.watch_id == -1 for answer in stream.answers))
    assert stream.answers[-1].watch_id == -1
    assert stream.answers[-1].header.revision == BASE_REVISION + 2000
    assert stream.revisions() == list(range(BASE_REVISION + 1, BASE_REVISION + 2001))


async def test_others_on_the_loop_have_their_turns_while_many_are_served(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pump_module, "TURN_SECONDS", 0.0)  # after each small step, so that they can be counted
    world = make()
    streams = [await world.open() for _ in range(400)]
    for stream in streams:
        for _ in range(5):
            stream.create(key=b"k", range_end=b"l")
    await until(lambda: all(len(stream.answers) == 5 for stream in streams))
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    task = asyncio.create_task(other())
    world.replica.put(b"k")
    await until(lambda: all(sum(len(answer.events) for answer in stream.answers) == 5 for stream in streams))
    task.cancel()
    assert turns >= 400 / 32 - 2


async def test_others_have_their_turns_while_many_watches_of_one_stream_are_served(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pump_module, "TURN_SECONDS", 0.0)
    world = make()
    stream = await world.open()
    for _ in range(5000):
        stream.create(key=b"k", range_end=b"l")
    await until(lambda: len(stream.answers) == 5000)
    served = [0]

    async def other() -> None:
        while True:
            served.append(sum(len(answer.events) for answer in stream.answers[5000:]))
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    world.replica.put(b"k")
    await until(lambda: len(stream.answers) == 10_000)
    task.cancel()
    assert max(after - before for before, after in pairwise(served)) <= 512
    assert sorted(answer.watch_id for answer in stream.answers[5000:]) == list(range(5000))


async def test_others_have_their_turns_while_many_watches_of_one_stream_begin(make: Any) -> None:
    world = make()
    stream = await world.open()
    begun: list[int] = []

    async def other() -> None:
        while True:
            begun.append(len(stream.answers))
            await asyncio.sleep(0)

    for _ in range(5000):
        stream.create(key=b"k", range_end=b"l")
    task = asyncio.create_task(other())
    await until(lambda: len(stream.answers) == 5000)
    task.cancel()
    assert max(after - before for before, after in pairwise(begun)) <= watch_module.REQUESTS_AT_ONCE


async def test_a_replica_that_stops_ends_all_streams(make: Any) -> None:
    world = make()
    stream = await world.open()
    stream.create(key=b"k")
    await until(lambda: bool(stream.answers))
    world.service.close()
    await until(lambda: stream.aborted is not None)
    assert stream.aborted == ("UNAVAILABLE", "etcdserver: server stopped")
    late = await world.open()
    await until(lambda: late.aborted is not None)
    assert world.service.watches == 0


async def test_who_may_not_watch_a_key_is_refused(make: Any) -> None:
    def refusal(key: bytes, _range_end: bytes) -> str:
        return "" if key.startswith(b"mine/") else "etcdserver: permission denied"

    world = make(refusals=lambda _context: refusal)
    stream = await world.open()
    stream.create(key=b"mine/k")
    stream.create(key=b"k")
    await until(lambda: len(stream.answers) == 2)
    assert [answer.cancel_reason for answer in stream.answers] == ["", "etcdserver: permission denied"]


@pytest.mark.parametrize(("streams", "each"), [(1, 2000), (50, 40), (1000, 2)])
async def test_many_watches_share_what_is_read_and_what_is_encoded(
    make: Any, monkeypatch: pytest.MonkeyPatch, streams: int, each: int
) -> None:
    world = make()
    world.replica.put(b"k")
    first = world.replica.machine.revision
    opened = [await world.open() for _ in range(streams)]
    for stream in opened:
        for _ in range(each):
            stream.create(key=b"k", range_end=b"l", start_revision=first + 1)
    await until(lambda: all(len(stream.answers) == each for stream in opened))
    counts = Counter[str]()
    read, encoded = world.pump.hub._read, Change._encoded

    def count_read(*arguments: Any, **bounds: Any) -> Any:
        counts["reads"] += 1
        return read(*arguments, **bounds)

    def count_encoded(change: Change, previous: Any) -> bytes:
        counts["events"] += 1
        return encoded(change, previous)

    monkeypatch.setattr(world.pump.hub, "_read", count_read)
    monkeypatch.setattr(Change, "_encoded", count_encoded)
    for at in range(3):
        world.replica.put(b"k%d" % at)
        await until(lambda at=at: all(len(stream.answers) == each * (at + 2) for stream in opened))
    assert counts == {"reads": 3, "events": 3}
    for stream in opened:
        for number in range(each):
            assert stream.revisions(number) == [first + 1, first + 2, first + 3]


async def test_watches_that_are_behind_by_the_same_catch_up_together(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make()
    for at in range(50):
        world.replica.put(b"k%d" % at)
    last = world.replica.machine.revision
    revisions = list(range(last - 49, last + 1))
    reads = 0
    read = world.pump.hub._read

    def count_read(*arguments: Any, **bounds: Any) -> Any:
        nonlocal reads
        reads += 1
        return read(*arguments, **bounds)

    monkeypatch.setattr(world.pump.hub, "_read", count_read)
    stream = await world.open()
    for _ in range(1000):
        stream.create(key=b"k", range_end=b"l", start_revision=revisions[0])
    await until(lambda: sum(len(answer.events) for answer in stream.answers) == 1000 * 50)
    assert all(stream.revisions(number) == revisions for number in range(0, 1000, 100))
    assert reads < 20, "not each by itself"


async def test_a_watch_takes_little_memory(make: Any) -> None:
    world = make()
    stream = await world.open()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for at in range(2000):
            stream.create(key=b"%08d" % at)
        await until(lambda: len(stream.answers) == 2000)
        stream.answers.clear()
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert taken < 2000 * 1500
