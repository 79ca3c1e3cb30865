"""A drill shows whether the archive is what the region has, whatever happens to both meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
from rstore_api.proto.rstore_pb2 import BaseRequest, SnapshotChunk
from rstore_backup import bases, names
from rstore_backup.archiver import driller
from rstore_backup.archiver.progress import Progress
from rstore_backup.archiver.source import SourceError
from rstore_backup.program.scratch import NOTE, Scratch
from rstore_backup.report import DrillReport, DrillResult
from rstore_backup.restoring.key_table import FOLDER_PREFIX
from rstore_replica.api.archive import feed
from unit.backup.archiver.worlds import World
from unit.mvcc.replicas import STORE, Replica


@pytest.fixture(autouse=True)
def small_and_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "MAX_BATCH_ROWS", 2)
    monkeypatch.setattr(driller, "POLL_SECONDS", 0.001)


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[Replica]:
    replica = Replica(tmp_path / "us")
    write(replica, 12)
    yield replica
    replica.machine.close()


@pytest.fixture
def scratch(tmp_path: Path) -> Scratch:
    folder = tmp_path / "scratch"
    folder.mkdir()
    return Scratch(folder)


def write(replica: Replica, number: int) -> None:
    for _ in range(number):
        replica.put(b"k%d" % (replica.machine.revision % 5), b"value of %d" % replica.machine.revision)
    replica.put(b"long" * 200, b"of a long key")


def asked(world: World, request: str) -> None:
    world.config = msgspec.structs.replace(world.config, drill_request=request)


async def drilled(world: World, progress: Progress, request: str) -> DrillReport:
    asked(world, request)
    await world.until(lambda: progress.last_drill is not None and progress.last_drill.request == request)
    assert progress.last_drill is not None
    return progress.last_drill


async def test_the_archive_is_what_the_region_has(replica: Replica, scratch: Scratch) -> None:
    world = World(replica)
    async with world.running(scratch=scratch) as progress:
        await world.until(lambda: world.is_complete(progress))
        write(replica, 20)
        drill = await drilled(world, progress, "one")
        assert (drill.result, drill.revision) == (DrillResult.SUCCEEDED, replica.machine.revision)
        assert (drill.keys, drill.compared_region) == (6, "us")
        assert drill.message == f"6 keys at revision {drill.revision}, as in region us"
        assert drill.rto_seconds > 0
        assert drill.rpo_seconds >= 0
        report = progress.report(world.now_ms)
        assert (report.last_drill, report.drilling, report.error) == (drill, None, None)
    assert list(scratch.folder.iterdir()) == []


async def test_by_schedule_the_first_is_made_at_once_and_the_next_when_it_is_due(replica: Replica) -> None:
    world = World(replica)
    world.config = msgspec.structs.replace(world.config, drill_schedule="* * * * *")
    async with world.running() as progress:
        await world.until(lambda: progress.drills[DrillResult.SUCCEEDED] == 1)
        before = progress.last_drill
        world.now_ms += 60_000
        await world.until(lambda: progress.drills[DrillResult.SUCCEEDED] == 2)
        assert before is not None
        assert progress.last_drill.time_ms - before.time_ms >= 60_000
        at = progress.last_drill.time_ms
    world.config = msgspec.structs.replace(world.config, drill_schedule="0 0 1 1 *", drill_last_ms=at)
    async with world.running() as progress:
        await world.until(lambda: world.is_complete(progress))
        await drilled(world, progress, "shows that drills are looked at")
        assert progress.drills.total() == 1, "the configuration says that the schedule was followed"


async def test_other_keys_in_the_archive_are_noticed(replica: Replica) -> None:
    """An object that is whole, and says something else than the region does: no checksum shows that."""
    world = World(replica)
    async with world.running() as progress:
        await world.until(lambda: world.is_complete(progress))
        (manifest,) = world.objects.manifests()
        archive = world.objects.archive()
        part = bases.decode_part(manifest.parts[0].name, archive[manifest.parts[0].name], manifest)
        without_last = msgspec.structs.replace(part.header, rows=0)
        data = bases.encode_part(without_last, ())
        first = msgspec.structs.replace(manifest.parts[0], rows=0, size_bytes=len(data), sha256=data[-32:].hex())
        fewer = msgspec.structs.replace(
            manifest, rows=manifest.rows - manifest.parts[0].rows, parts=(first, *manifest.parts[1:])
        )
        world.objects.objects[f"{STORE}/{first.name}"] = data
        world.objects.objects[f"{STORE}/{names.manifest(manifest.revision)}"] = bases.encode_manifest(fewer)
        drill = await drilled(world, progress, "one")
        assert drill.result is DrillResult.FAILED
        assert drill.keys == 6 - part.header.rows
        assert "the archive has" in drill.message
        assert "region us has 6 with hash" in drill.message


async def test_what_is_missing_is_noticed_and_the_archive_goes_on(replica: Replica) -> None:
    world = World(replica)
    async with world.running() as progress:
        await world.until(lambda: world.is_complete(progress))
        (manifest,) = world.objects.manifests()
        missing = f"{STORE}/{manifest.parts[0].name}"
        kept = world.objects.objects.pop(missing)
        drill = await drilled(world, progress, "one")
        assert drill.result is DrillResult.FAILED
        assert f"{manifest.parts[0].name}: at byte 0: it is missing" in drill.message
        assert progress.error is None
        world.objects.objects[missing] = kept
        assert (await drilled(world, progress, "two")).result is DrillResult.SUCCEEDED


async def test_a_region_that_cannot_be_asked_is_compared_with_nothing(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(replica)
    async with world.running() as progress:
        await world.until(lambda: world.is_complete(progress))

        async def hangs(_request: BaseRequest) -> AsyncGenerator[SnapshotChunk]:
            raise SourceError("it hangs")
            yield

        monkeypatch.setattr(world.source, "base", hangs)
        drill = await drilled(world, progress, "one")
        assert (drill.result, drill.compared_region, drill.keys) == (DrillResult.SUCCEEDED, "", 6)
        assert drill.message.endswith("they were compared with no region: it hangs")


async def test_what_the_archive_does_not_reach_fails(replica: Replica) -> None:
    world = World(replica)
    progress = Progress(history=replica.machine.state.history, archived_revision=3, region="us")
    made = driller.Driller(
        store_id=STORE,
        store=world.objects,
        source=world.source,
        scratch=None,
        progress=progress,
        now_ms=lambda: 1000,
        retry_seconds=(0.001, 0.01),
        reach_seconds=0.01,
    )
    await made.drill(driller.WantedDrill("one"))
    drill = progress.last_drill
    assert drill is not None
    assert drill.result is DrillResult.FAILED
    assert drill.message == (
        f"revision {replica.machine.revision}, which region us had, is not in the archive after 0.01 s"
    )


async def test_keys_that_take_more_than_the_folder_may_have(replica: Replica, tmp_path: Path) -> None:
    world = World(replica)
    scratch = Scratch(tmp_path, max_bytes=4096)
    async with world.running(scratch=scratch) as progress:
        await world.until(lambda: world.is_complete(progress))
        drill = await drilled(world, progress, "one")
        assert drill.result is DrillResult.FAILED
        assert "database or disk is full" in drill.message
        assert not list(tmp_path.glob(f"{FOLDER_PREFIX}*"))


async def test_a_drill_that_is_called_off_leaves_no_note_and_a_killed_one_does(
    replica: Replica, scratch: Scratch
) -> None:
    world = World(replica)
    hangs = asyncio.Event()
    get = world.objects.get

    async def slow(name: str) -> bytes:
        if names.BASES in name and not name.endswith(names.MANIFEST):
            hangs.set()
            await asyncio.Event().wait()
        return await get(name)

    archiver, progress = world.archiver(scratch=scratch)
    task = asyncio.create_task(archiver.run())
    await world.until(lambda: world.is_complete(progress), task)
    world.objects.get = slow  # type: ignore[method-assign]
    asked(world, "one")
    async with asyncio.timeout(20):
        await hangs.wait()
    drilling = progress.drilling
    note = (scratch.folder / NOTE).read_bytes()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert scratch.clear() is None

    (scratch.folder / NOTE).write_bytes(note)
    (scratch.folder / f"{FOLDER_PREFIX}left").mkdir()
    assert scratch.clear() == drilling
    assert list(scratch.folder.iterdir()) == []
    (scratch.folder / NOTE).write_bytes(note[:5])
    assert scratch.clear() is None
