"""The Archive service: what a caller is sent, when it is refused, and what is kept from compaction meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from rstore_api import rows
from rstore_api.proto import rstore_pb2 as pb
from rstore_replica.api.access.callers import Caller
from rstore_replica.api.archive.keeping import Keeping
from rstore_replica.api.services.archive import ArchiveService
from rstore_replica.api.watch.pump import Pump
from rstore_replica.raft.clock import SystemClock
from rstore_replica.replication.config import ReplicationConfig
from unit.mvcc.replicas import STORE, Replica


class Shows:
    """What may be shown, as a test says; None: as much as there is."""

    def __init__(self, replica: Replica) -> None:
        self.wanted = lambda: False
        self.on_change = lambda: None
        self.at: int | None = None
        self._replica = replica

    def revision(self) -> int | None:
        return self._replica.machine.revision if self.at is None else self.at

    def look(self) -> None:
        self.on_change()


class Call:
    """A call as the service sees it; what it was sent is in ``messages``."""

    def __init__(self) -> None:
        self.caller = Caller(frozenset({"archiver"}))
        self.messages: asyncio.Queue[Any] = asyncio.Queue()
        self.may_write = asyncio.Event()
        self.may_write.set()
        self.writing = asyncio.Event()
        self.status: tuple[Any, ...] = ()

    def time_remaining(self) -> float | None:
        return None

    def peer(self) -> str:
        return "ipv4:10.0.0.1:1234"

    def invocation_metadata(self) -> tuple[()]:
        return ()

    async def write(self, message: Any) -> None:
        self.writing.set()
        await self.may_write.wait()
        self.messages.put_nowait(message)

    async def abort(self, *status: Any) -> None:
        self.status = status
        raise asyncio.CancelledError

    async def next(self, kind: str) -> Any:
        """Returns the next message of a kind; positions are passed over where another kind is waited for."""
        async with asyncio.timeout(10):
            while True:
                message = await self.messages.get()
                if message.WhichOneof("message") == kind:
                    return getattr(message, kind)


class Served:
    """A replica that serves archivers."""

    def __init__(self, directory: Path) -> None:
        self.replica = Replica(directory / "us")
        for number in range(8):
            self.replica.put(b"k%d" % number, b"v")
        self.shows = Shows(self.replica)
        self.pump = Pump(self.replica.machine, self.shows)
        self.has_leader = True
        self.handlers: dict[str, Any] = {}
        self.tasks: list[asyncio.Task[None]] = [asyncio.create_task(self.pump.run())]
        clock = SystemClock()
        keeping = Keeping(machine=self.replica.machine, clock=clock, directory=directory, retention=1000)
        ArchiveService(
            machine=self.replica.machine,
            pump=self.pump,
            clock=clock,
            config=ReplicationConfig(region="us", replica="us-0"),
            has_leader=lambda: self.has_leader,
            keeping=keeping,
        ).add_to_server(self)

    def add_registered_method_handlers(self, _service: str, handlers: dict[str, Any]) -> None:
        self.handlers.update(handlers)

    def call(self, method: str, request: Any) -> Call:
        call = Call()
        handler = self.handlers[method]
        self.tasks.append(asyncio.create_task((handler.unary_stream or handler.unary_unary)(request, call)))
        return call

    async def ended(self) -> None:
        """Returns when the newest call has ended."""
        await asyncio.wait({self.tasks[-1]}, timeout=10)
        assert self.tasks[-1].done()

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.replica.machine.close()


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    served = Served(tmp_path)
    yield served
    await served.close()


def places(batch: pb.StreamBatch) -> Iterator[int]:
    return (frame[0] for frame in rows.unpack_frames(batch.rows))


def follow_from(revision: int) -> pb.FollowRequest:
    history = [pb.EpochStart(epoch=1, first_revision=2, region="us")]
    return pb.FollowRequest(store_id=STORE, history=history, revision=revision)


async def test_rows_come_as_they_are_written(served: Served) -> None:
    call = served.call("Follow", follow_from(5))
    begin = await call.next("begin")
    assert (begin.store_id, begin.region, begin.replica, begin.after_revision) == (STORE, "us", "us-0", 5)
    assert list(places(await call.next("batch"))) == [6, 7, 8, 9]
    assert (await call.next("position")).revision == 9
    served.replica.put(b"k", b"new")
    assert list(places(await call.next("batch"))) == [10]
    assert served.shows.wanted()


async def test_what_is_not_confirmed_is_not_sent(served: Served) -> None:
    served.shows.at = 9
    served.replica.put(b"k", b"not confirmed")
    served.replica.put(b"k", b"nor this")
    call = served.call("Follow", follow_from(7))
    await call.next("begin")
    assert list(places(await call.next("batch"))) == [8, 9]
    assert (await call.next("position")).revision == 9
    served.shows.at = 10
    served.pump.look()
    assert list(places(await call.next("batch"))) == [10]


async def test_rows_that_a_slow_caller_is_about_to_need_are_kept(served: Served) -> None:
    call = served.call("Follow", follow_from(3))
    call.may_write.clear()
    await call.writing.wait()
    served.replica.put(b"k0", b"newer")
    served.replica.compact(9)
    assert served.replica.machine.rows_after(3, max_bytes=1000, max_rows=100).first_revision == 4
    call.may_write.set()
    assert next(places(await call.next("batch"))) == 4


async def test_one_that_lacks_what_is_gone_begins_anew(served: Served) -> None:
    served.replica.compact(8)
    while served.replica.machine.compact_step():
        pass
    begin = await served.call("Follow", follow_from(3)).next("begin")
    assert (begin.compacted, begin.fork_revision, begin.after_revision) == (True, 3, 9)


async def test_rows_that_are_not_confirmed_are_kept_without_a_call(served: Served) -> None:
    """The caller has taken all of them, and has gone: what it has not confirmed it may ask for again."""
    following = served.call("Follow", follow_from(3))
    await following.next("position")
    wanted = follow_from(4)
    served.call("Confirm", pb.ConfirmRequest(store_id=STORE, history=wanted.history, revision=4))
    await served.ended()
    served.tasks[-2].cancel()
    await asyncio.wait({served.tasks[-2]})
    served.replica.compact(9)
    while served.replica.machine.compact_step():
        pass
    call = served.call("Follow", wanted)
    assert not (await call.next("begin")).compacted
    assert next(places(await call.next("batch"))) == 5


async def test_a_confirmation_of_another_store_is_refused(served: Served) -> None:
    call = served.call("Confirm", pb.ConfirmRequest(store_id="another", revision=4))
    await served.ended()
    assert "belongs to" in call.status[1]


async def test_without_a_leader_another_replica_is_to_be_asked(served: Served) -> None:
    served.has_leader = False
    call = served.call("Follow", follow_from(3))
    await served.ended()
    assert "no leader" in call.status[1]
    served.has_leader = True
    call = served.call("Follow", follow_from(9))
    await call.next("position")
    served.has_leader = False
    await served.ended()
    assert "no leader" in call.status[1]


async def test_a_base_has_the_keys_at_one_revision(served: Served) -> None:
    call = served.call("Base", pb.BaseRequest(store_id=STORE))
    call.may_write.clear()
    await call.writing.wait()
    served.replica.put(b"later", b"v")
    served.replica.delete(b"k0")
    call.may_write.set()
    await served.ended()
    keys: list[bytes] = []
    while not call.messages.empty():
        chunk = call.messages.get_nowait()
        assert chunk.revision == 9
        keys += [frame[4] for frame in rows.unpack_frames(chunk.rows, in_order=False)]
    assert chunk.last
    assert keys == [b"k%d" % number for number in range(8)]


async def test_a_base_that_is_newer_than_this_replica_is_refused(served: Served) -> None:
    call = served.call("Base", pb.BaseRequest(store_id=STORE, min_revision=100))
    await served.ended()
    assert "behind" in call.status[1]
