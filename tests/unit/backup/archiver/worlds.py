"""A region's machine as a source, an object store in memory that fails and kills, and archivers between them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from itertools import count
from typing import Any

from rstore_api import rows
from rstore_api.errors import StoreError
from rstore_api.messages import history_messages
from rstore_api.proto.rstore_pb2 import (
    BaseRequest,
    ConfirmRequest,
    FollowBegin,
    FollowPosition,
    FollowRequest,
    FollowResponse,
    SnapshotChunk,
)
from rstore_backup import bases, names, segments
from rstore_backup.archiver.archiver import Archiver
from rstore_backup.archiver.progress import Progress
from rstore_backup.archiver.source import SourceError
from rstore_backup.config import ArchiverConfig
from rstore_backup.errors import ObjectExists, ObjectMissing
from rstore_backup.line import Line, Listed, line
from rstore_backup.objects import ObjectInfo
from rstore_backup.segments import Segment
from rstore_replica.api.archive.feed import Feed, base_revision, begin
from unit.mvcc.replicas import STORE, Replica

CONFIG = ArchiverConfig("team", "orders", "us", ("us-0:2380",), "memory", log_interval_ms=1, segment_bytes=150)


class Killed(BaseException):
    """The archiver is gone at this point."""


class MemoryObjects:
    """Objects by name. ``before`` and ``after`` are called with each request that changes something, and may raise."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.before: Callable[[str], None] = lambda _name: None
        self.after: Callable[[str], None] = lambda _name: None

    async def create(self, name: str, data: bytes) -> None:
        await asyncio.sleep(0)
        self.before(name)
        if name in self.objects:
            raise ObjectExists(name)
        self.objects[name] = data
        self.after(name)

    async def get(self, name: str) -> bytes:
        await asyncio.sleep(0)
        if name not in self.objects:
            raise ObjectMissing(name)
        return self.objects[name]

    async def get_range(self, name: str, start: int, length: int) -> bytes:
        return (await self.get(name))[start : start + length]

    async def size_bytes(self, name: str) -> int:
        return len(await self.get(name))

    async def list_after(self, folder: str, after: str = "") -> list[ObjectInfo]:
        await asyncio.sleep(0)
        listed = [name for name in self.objects if name.startswith(f"{folder}/") and name > after]
        return [ObjectInfo(name, len(self.objects[name])) for name in sorted(listed)]

    async def folders(self, folder: str) -> list[str]:
        await asyncio.sleep(0)
        prefix = f"{folder}/" if folder else ""
        below = {name.removeprefix(prefix) for name in self.objects if name.startswith(prefix)}
        return sorted({prefix + name.partition("/")[0] for name in below if "/" in name})

    async def delete(self, name: str) -> None:
        self.before(name)
        self.objects.pop(name, None)
        self.after(name)

    # ---- what tests look at

    def archive(self, store_id: str = STORE) -> dict[str, bytes]:
        """The store's objects, by their names in its archive."""
        prefix = f"{store_id}/"
        return {name.removeprefix(prefix): data for name, data in self.objects.items() if name.startswith(prefix)}

    def segments(self) -> dict[str, Segment]:
        return {
            name: segments.decode(name, data)
            for name, data in sorted(self.archive().items())
            if names.parse_segment(name) is not None
        }

    def line(self, epoch: int | None = None) -> Line:
        """The line, every segment read, and every link between them checked."""
        whole = self.segments()
        for segment in whole.values():
            previous = segment.header.previous
            if previous is not None and previous.name in whole:
                assert whole[previous.name].sha256 == previous.sha256
        result = line([Listed(segment.header, segment.sha256) for segment in whole.values()], epoch)
        assert result is not None
        return result

    def rows(self, of: Line) -> dict[tuple[int, int], rows.Row]:
        """The rows of a line; none is in two of its pieces."""
        whole, found, at = self.segments(), {}, of.after_revision
        for piece in of.pieces:
            for record in whole[piece.header.name].records:
                for frame in record.frames(piece.header.history):
                    if at < frame[0] <= piece.until_revision:
                        found[frame[0], frame[1]] = rows.unpack(frame[0], frame[1], frame[3])
            at = max(at, piece.until_revision)
        return found

    def manifests(self) -> list[bases.Manifest]:
        archive = self.archive()
        return [bases.decode_manifest(name, archive[name]) for name in sorted(archive) if names.parse_manifest(name)]

    def base_rows(self, manifest: bases.Manifest) -> dict[bytes, bytes]:
        """The keys of a base and their values."""
        archive, found = self.archive(), {}
        for part in manifest.parts:
            for frame in bases.decode_part(part.name, archive[part.name], manifest).frames():
                row = rows.unpack(frame[0], frame[1], frame[3])
                assert row.key not in found
                found[row.key] = row.value
        return found


class MachineSource:
    """A region of one replica, in this process."""

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self.broken = ""
        self.streams = 0

    async def follow(self, request: FollowRequest) -> AsyncGenerator[FollowResponse]:
        self._check()
        self.streams += 1
        machine = self.replica.machine
        with _as_source_error():
            start = begin(machine, machine.revision, request)
        yield FollowResponse(
            begin=FollowBegin(
                store_id=machine.state.store_id,
                region=self.replica.region,
                history=history_messages(start.history),
                after_revision=start.after_revision,
                compacted=start.compacted,
                fork_revision=start.fork_revision,
            )
        )
        feed = Feed(machine, start)
        while feed.holds:
            self._check()
            with _as_source_error():
                batch = feed.next_batch(machine.revision)
            if batch is not None:
                yield FollowResponse(batch=batch)
            else:
                yield FollowResponse(
                    position=FollowPosition(revision=machine.revision, compact_revision=machine.compact_revision)
                )
                await asyncio.sleep(0.001)

    async def base(self, request: BaseRequest) -> AsyncGenerator[SnapshotChunk]:
        self._check()
        machine = self.replica.machine
        with _as_source_error():
            history, revision = base_revision(machine, machine.revision, request)
        after, last = b"", False
        while not last:
            self._check()
            with _as_source_error():
                read = machine.snapshot_after(after, revision, max_bytes=100, max_rows=3)
            last = read.last
            yield SnapshotChunk(
                store_id=machine.state.store_id,
                history=history_messages(history),
                revision=revision,
                after_key=after,
                last_key=read.last_key,
                rows=read.packed,
                row_count=read.count,
                last=last,
            )
            after = read.last_key
            await asyncio.sleep(0)

    def _check(self) -> None:
        if self.broken:
            raise SourceError(self.broken)


class World:
    """An object store, a source, and archivers one after the other."""

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self.objects = MemoryObjects()
        self.source = MachineSource(replica)
        self.config = CONFIG
        self.confirmed: list[ConfirmRequest] = []
        self.now_ms = 1_700_000_000_000
        self._attempts = count(1)

    def archiver(self, **settings: Any) -> tuple[Archiver, Progress]:
        progress = Progress()
        archiver = Archiver(
            destination=self.objects,
            source=self.source,
            confirm=self._take_confirmation,
            config=lambda: self.config,
            progress=progress,
            now_ms=self._tick,
            new_attempt=lambda: f"{next(self._attempts):08x}",
            retry_seconds=(0.001, 0.01),
            look_seconds=0.005,
            part_bytes=120,
            **settings,
        )
        return archiver, progress

    async def _take_confirmation(self, request: ConfirmRequest) -> None:
        self.confirmed.append(request)

    def _tick(self) -> int:
        self.now_ms += 1
        return self.now_ms

    def is_complete(self, progress: Progress) -> bool:
        """Whether everything is in the archive, and a base from which it can be restored."""
        return progress.archived_revision == self.replica.machine.revision and progress.recoverable is not None

    async def until(self, condition: Callable[[], bool], task: asyncio.Task[None] | None = None) -> None:
        async with asyncio.timeout(20):
            while not condition():
                if task is not None and task.done():
                    await task
                await asyncio.sleep(0.001)

    @asynccontextmanager
    async def running(self, **settings: Any) -> Any:
        """An archiver that runs while this is used; its progress."""
        archiver, progress = self.archiver(**settings)
        task = asyncio.create_task(archiver.run())
        try:
            yield progress
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def archive_all(self) -> Progress:
        """Has one archiver run until everything is in the archive."""
        async with self.running() as progress:
            await self.until(lambda: self.is_complete(progress))
        return progress


@contextmanager
def _as_source_error() -> Iterator[None]:
    try:
        yield
    except StoreError as error:
        raise SourceError(str(error)) from error
