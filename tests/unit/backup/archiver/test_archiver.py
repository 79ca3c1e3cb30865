"""An archive has everything that the store acknowledged, whatever dies, fails or changes sides while it is written."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from rstore_api.messages import history_of
from rstore_backup import names
from rstore_backup.archiver import archiver
from rstore_backup.card import Card
from rstore_backup.errors import AccessRefused, ArchiveError, DestinationInvalid, StoreUnavailable
from rstore_backup.report import Phase, Problem
from rstore_replica.api.archive import feed
from unit.backup.archiver.worlds import Killed, World
from unit.mvcc.replicas import STORE, Replica
from unit.mvcc.tails.regions import all_rows, contents, follow, leave, promote


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "MAX_BATCH_ROWS", 2)


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[Replica]:
    replica = Replica(tmp_path / "us")
    write(replica, 12)
    yield replica
    replica.machine.close()


def write(replica: Replica, number: int) -> None:
    for _ in range(number):
        replica.put(b"k%d" % (replica.machine.revision % 5), b"value of %d" % replica.machine.revision)


def check(world: World) -> None:
    """What is archived is what the store has: the rows of the line, and the keys of every base."""
    of_line = world.objects.line()
    stored = all_rows(world.replica.machine)
    assert of_line.last_revision == world.replica.machine.revision
    archived = world.objects.rows(of_line)
    assert archived == {place: row for place, row in stored.items() if place[0] > of_line.after_revision}
    assert world.objects.manifests()


async def test_the_log_and_a_base(replica: Replica) -> None:
    world = World(replica)
    async with world.running() as progress:
        await world.until(lambda: world.is_complete(progress))
        write(replica, 20)
        await world.until(lambda: world.is_complete(progress))
        report = progress.report(world.now_ms)
    check(world)
    (manifest,) = world.objects.manifests()
    assert world.objects.base_rows(manifest) == {
        b"k%d" % n: b"value of %d" % (max(r for r in range(1, 13) if r % 5 == n)) for n in range(5)
    }
    assert manifest.reason == "the line had no base"
    assert len(manifest.parts) > 1
    assert len(world.objects.segments()) > 2
    assert (report.phase, report.lag_revisions, report.lag_seconds) == (Phase.ARCHIVING, 0, 0.0)
    assert (report.line_from_revision, report.first_recoverable_revision) == (13, 13)
    assert (report.line_because, report.hole) == ("the archive was begun", "")
    assert report.last_base is not None
    assert report.last_base.revision == 13
    assert names.STORE in world.objects.archive()


async def test_a_store_in_which_nothing_was_written(tmp_path: Path) -> None:
    replica = Replica(tmp_path / "us")
    world = World(replica)
    async with world.running() as progress:
        await world.until(lambda: world.is_complete(progress))
        (manifest,) = world.objects.manifests()
        assert (manifest.revision, manifest.epoch, manifest.rows, manifest.parts) == (1, 1, 0, ())
        write(replica, 3)
        await world.until(lambda: world.is_complete(progress))
    check(world)
    replica.machine.close()


async def test_another_archiver_goes_on_where_the_first_has_ended(replica: Replica) -> None:
    world = World(replica)
    await world.archive_all()
    write(replica, 7)
    again = await world.archive_all()
    check(world)
    assert len(world.objects.manifests()) == 1
    assert not world.objects.line().holes
    assert again.line_from_revision == 13


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_killed_at_every_write(replica: Replica, moment: str) -> None:
    """At the n-th object, before or after the store has it, for every n; another archiver then finishes the work."""
    finished = False
    for number in range(1, 200):
        world = World(replica)
        writes = 0

        def kill(_name: str, number: int = number) -> None:
            nonlocal writes
            writes += 1
            if writes == number:
                raise Killed

        setattr(world.objects, moment, kill)
        archiver, progress = world.archiver()
        first = asyncio.create_task(archiver.run())
        try:
            await world.until(lambda w=world, p=progress: w.is_complete(p), first)
            before = replica.machine.revision
            write(replica, 4)
            await world.until(lambda w=world, p=progress: w.is_complete(p), first)
            assert replica.machine.revision == before + 4
            finished = True
        except* Killed:
            pass
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        setattr(world.objects, moment, lambda _name: None)
        await world.archive_all()
        check(world)
        assert not world.objects.line().holes
        if finished:
            break
    assert finished
    assert number > 8


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (StoreUnavailable("no answer"), Problem.CANNOT_WRITE),
        (AccessRefused("no such key"), Problem.ACCESS_REFUSED),
        (DestinationInvalid("no such bucket"), Problem.DESTINATION_INVALID),
    ],
)
async def test_an_error_is_reported_and_tried_again(replica: Replica, error: ArchiveError, problem: Problem) -> None:
    world = World(replica)

    def refuse(_name: str) -> None:
        raise error

    world.objects.before = refuse
    async with world.running() as progress:
        await world.until(lambda: progress.error is not None)
        failing = progress.report(world.now_ms)
        assert failing.phase is Phase.FAILING
        assert failing.error is not None
        assert (failing.error.problem, failing.error.text) == (problem, str(error))
        world.objects.before = lambda _name: None
        await world.until(lambda: world.is_complete(progress))
        await world.until(lambda: progress.report(world.now_ms).phase is Phase.ARCHIVING)
        world.objects.before = refuse
        write(replica, 3)
        await world.until(lambda: progress.report(world.now_ms).phase is Phase.FAILING)
        assert progress.report(world.now_ms).lag_seconds > 0
        world.objects.before = lambda _name: None
        await world.until(lambda: world.is_complete(progress) and progress.error is None)
    check(world)


async def test_every_third_answer_is_lost(replica: Replica) -> None:
    world = World(replica)
    requests = 0

    def lose(_name: str) -> None:
        nonlocal requests
        requests += 1
        if requests % 3 == 0:
            raise StoreUnavailable("the answer was lost")

    world.objects.after = lose
    async with world.running() as progress:
        for _ in range(5):
            write(replica, 6)
            await world.until(lambda: world.is_complete(progress))
    check(world)
    assert not world.objects.line().holes
    assert requests > 10


async def test_a_region_that_answers_not_at_all(replica: Replica) -> None:
    world = World(replica)
    world.source.broken = "us-0: no connection"
    async with world.running() as progress:
        await world.until(lambda: progress.error is not None)
        assert progress.error.problem is Problem.CANNOT_READ
        world.source.broken = ""
        await world.until(lambda: world.is_complete(progress))
        world.source.broken = "us-0: no connection"
        await world.until(lambda: progress.error is not None)
        write(replica, 5)
        world.source.broken = ""
        await world.until(lambda: world.is_complete(progress))
    check(world)
    assert not world.objects.line().holes


async def test_a_tail_that_lost_stays_as_a_branch(tmp_path: Path) -> None:
    us, eu = Replica(tmp_path / "us"), Replica(tmp_path / "eu", "eu")
    write(us, 5)
    follow(us, eu)
    world = World(us)
    async with world.running() as progress:
        await world.until(lambda: world.is_complete(progress))
        write(us, 6)
        lost = us.machine.revision
        await world.until(lambda: world.is_complete(progress))
        promote(eu, 2)
        leave(eu, us)
        follow(eu, us)
        await world.until(lambda: world.is_complete(progress))
        assert [branch.last_revision for branch in world.objects.line().branches] == [lost]
        eu.put(b"new", b"of the second epoch")
        follow(eu, us)
        await world.until(lambda: world.is_complete(progress))
    check(world)
    of_line, branch = world.objects.line(), world.objects.line(epoch=1)
    assert not of_line.holes
    assert [(each.epoch, each.fork_revision, each.last_revision) for each in of_line.branches] == [(1, 6, lost)]
    assert max(place[0] for place in world.objects.rows(branch)) == lost
    opening = next(piece.header for piece in of_line.pieces if piece.header.epoch == 2 and not piece.header.rows)
    assert opening.previous is not None
    assert world.objects.segments()[opening.previous.name].header.epoch == 1
    us.machine.close()
    eu.machine.close()


async def test_a_fork_below_the_only_base_needs_another_base(tmp_path: Path) -> None:
    us, eu = Replica(tmp_path / "us"), Replica(tmp_path / "eu", "eu")
    write(us, 5)
    follow(us, eu)
    write(us, 6)
    world = World(us)
    async with world.running() as progress:
        await world.until(lambda: world.is_complete(progress))
        (on_branch,) = world.objects.manifests()
        promote(eu, 2)
        eu.put(b"new", b"of the second epoch")
        leave(eu, us)
        follow(eu, us)
        await world.until(lambda: world.is_complete(progress) and len(world.objects.manifests()) == 2)
    of_line = world.objects.line()
    for manifest in world.objects.manifests():
        assert of_line.includes(manifest.revision, manifest.history) is (manifest != on_branch)
    newest = world.objects.manifests()[-1]
    assert of_line.reach(newest.revision) == us.machine.revision
    us.machine.close()
    eu.machine.close()


async def test_rows_that_were_compacted_are_a_hole_and_a_new_base(replica: Replica) -> None:
    world = World(replica)
    await world.archive_all()
    archived = replica.machine.revision
    write(replica, 10)
    replica.compact(replica.machine.revision - 2)
    while replica.machine.compact_step():
        pass
    progress = await world.archive_all()
    of_line = world.objects.line()
    (hole,) = of_line.holes
    newest = replica.machine.revision
    assert (hole.after_revision, hole.until_revision) == (archived, newest)
    assert hole.reason == f"revisions {archived + 1} to {newest} were compacted before they were archived"
    assert [manifest.revision for manifest in world.objects.manifests()] == [archived, newest]
    assert progress.report(world.now_ms).hole == hole.reason
    assert progress.lost_revisions == newest - archived
    assert of_line.reach(newest) == newest
    assert contents(replica) == world.objects.base_rows(world.objects.manifests()[-1])
    write(replica, 3)
    again = await world.archive_all()
    assert again.report(world.now_ms).hole == hole.reason, "the next archiver knows it from the archive"
    assert again.lost_revisions == 0


async def test_what_the_archive_has_is_confirmed_and_nothing_more(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archiver, "CONFIRM_SECONDS", 0.001)
    world = World(replica)
    async with world.running() as progress:
        await world.until(lambda: bool(world.confirmed) and world.is_complete(progress))
        write(replica, 4)
        await world.until(lambda: world.confirmed[-1].revision == replica.machine.revision)

        def refuse(_name: str) -> None:
            raise StoreUnavailable("no answer")

        has, world.objects.before = replica.machine.revision, refuse
        write(replica, 4)
        await world.until(lambda: progress.report(world.now_ms).phase is Phase.FAILING)
        count = len(world.confirmed)
        await world.until(lambda: len(world.confirmed) > count + 5)
        assert world.confirmed[-1].revision == has
    assert {each.store_id for each in world.confirmed} == {STORE}
    assert history_of(world.confirmed[-1].history) == replica.machine.state.history


async def test_two_archivers_at_once_do_no_harm(replica: Replica) -> None:
    world = World(replica)
    async with world.running() as one, world.running() as two:
        for _ in range(10):
            write(replica, 5)
            await world.until(lambda: world.is_complete(one) or world.is_complete(two))
        await world.until(lambda: world.is_complete(one) and world.is_complete(two))
    check(world)
    of_line = world.objects.line()
    assert not of_line.holes
    assert not of_line.refused


async def test_a_newest_segment_that_is_damaged_begins_the_line_anew(replica: Replica) -> None:
    world = World(replica)
    await world.archive_all()
    write(replica, 5)
    await world.archive_all()
    newest = max(name for name in world.objects.objects if "/segments/" in name)
    world.objects.objects[newest] = world.objects.objects[newest][:-40]
    write(replica, 5)
    progress = await world.archive_all()
    assert progress.report(world.now_ms).line_because.startswith("the newest segment cannot be read: segments/")
    assert progress.line_from_revision == replica.machine.revision
    assert len(world.objects.manifests()) == 2


async def test_an_archive_of_another_store_is_left_alone(replica: Replica) -> None:
    world = World(replica)
    other = msgspec.json.encode(Card("another", "team", "orders"))
    world.objects.objects[f"{STORE}/{names.STORE}"] = other
    async with world.running() as progress:
        await world.until(lambda: progress.error is not None)
        assert progress.error.problem is Problem.WRONG_STORE
    assert world.objects.objects == {f"{STORE}/{names.STORE}": other}


async def test_an_object_store_that_replaces_objects_is_refused(replica: Replica) -> None:
    world = World(replica)

    def forget(name: str) -> None:
        world.objects.objects.pop(name, None)

    world.objects.before = forget  # so that what is created takes the place of what was there
    async with world.running() as progress:
        await world.until(lambda: progress.error is not None)
        assert progress.error.problem is Problem.DESTINATION_INVALID
        assert "If-None-Match" in progress.error.text
    assert list(world.objects.archive()) == [names.STORE]


async def test_bases_on_request_and_by_schedule(replica: Replica) -> None:
    world = World(replica)
    async with world.running() as progress:
        await world.until(lambda: world.is_complete(progress))
        write(replica, 5)
        world.config = msgspec.structs.replace(world.config, requests=("first", "second"))
        await world.until(lambda: {"first", "second"} <= progress.answered.keys())
        by_request = {base.request: base for base in progress.report(world.now_ms).bases}
        assert by_request["first"].revision == by_request["second"].revision == replica.machine.revision
        write(replica, 5)
        world.config = msgspec.structs.replace(world.config, schedule="0 * * * *")
        made = len(progress.manifests)
        world.now_ms += 3_600_000
        await world.until(lambda: len(progress.manifests) > made)
        assert progress.manifests[-1].reason == "by schedule"
        await world.until(lambda: progress.next_base_ms > world.now_ms)
        world.now_ms += 3_600_000
        streams = world.source.streams
        await world.until(lambda: progress.next_base_ms > world.now_ms)
    # Nothing has changed since, so there is no other base at the same revision.
    assert len(world.objects.manifests()) == 3
    assert world.source.streams == streams


async def test_what_is_older_than_retention_is_removed(replica: Replica) -> None:
    world = World(replica)
    for number in range(4):
        write(replica, 6)
        world.config = msgspec.structs.replace(world.config, requests=(f"r{number}",))
        async with world.running() as progress:
            await world.until(lambda p=progress, n=number: f"r{n}" in p.answered and world.is_complete(p))
    before = len(world.objects.segments())
    kept = world.objects.manifests()[-2:]
    world.config = msgspec.structs.replace(world.config, keep_bases=2)
    async with world.running():
        await world.until(lambda: len(world.objects.manifests()) == 2 and len(world.objects.segments()) < before)
    assert world.objects.manifests() == kept
    of_line = world.objects.line()
    assert of_line.after_revision <= kept[0].revision
    assert of_line.reach(kept[0].revision) == replica.machine.revision
    assert {name for name in world.objects.archive() if name.startswith("bases/")} == {
        name for manifest in kept for name in (names.manifest(manifest.revision), *(p.name for p in manifest.parts))
    }


async def test_a_stop_writes_what_has_come(replica: Replica) -> None:
    world = World(replica)
    world.config = msgspec.structs.replace(world.config, log_interval_ms=10**9, segment_bytes=1 << 20)
    async with world.running() as progress:
        await world.until(lambda: progress.recoverable is not None)
        write(replica, 5)
        await world.until(lambda: progress.waiting_since_ms > 0)
        assert progress.archived_revision < replica.machine.revision
    check(world)
