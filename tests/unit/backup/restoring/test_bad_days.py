"""What is wrong with an archive, and what is not there, is an error that says what can be restored instead."""

from __future__ import annotations

import asyncio
import random
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rstore_api import rows
from rstore_backup import card, names, segments
from rstore_backup.card import Card
from rstore_backup.errors import AccessRefused, ArchiveError, Damaged, DestinationInvalid, WrongStore
from rstore_backup.restoring import reading
from rstore_backup.restoring import restore as restore_module
from rstore_backup.restoring.catalogue import read_catalogue
from rstore_backup.restoring.key_table import KeyTable, TableUnusable
from rstore_backup.restoring.plan import AtRevision, AtTime, Latest, NotRestorable, Target
from rstore_backup.restoring.restore import Restorable, restorable
from unit.backup.archives import STORE_ID
from unit.backup.restoring.histories import Archived
from unit.backup.restoring.test_every_revision import state_at


@pytest.fixture
def archive() -> Archived:
    """An empty beginning; segments of the revisions 2 to 6, 7 to 11 and 12 to 16; and bases at 6 and 16."""
    archived = Archived(3)
    for number in range(15):
        archived.change()
        archived.clock += 100
        if number % 5 == 4:
            archived.cut()
        if number in (4, 14):
            archived.base()
    archived.finish()
    assert [header.last_revision for header in archived.headers] == [1, 6, 11, 16]
    return archived


def segment(archive: Archived, number: int) -> str:
    return archive.headers[number].name


async def restore(archive: Archived, target: Target, epoch: int | None = None) -> Restorable:
    return await restorable(
        archive.store, STORE_ID, target, epoch=epoch, begin=lambda objects: None, advance=lambda objects: None
    )


async def equals(archive: Archived, revision: int) -> bool:
    return await state_at(archive.store, AtRevision(revision)) == (revision, archive.states[1][revision])


async def test_only_what_is_needed_is_read(archive: Archived) -> None:
    assert await equals(archive, 8)
    read = [name for kind, name in archive.store.requests if kind in ("get", "get_range")]
    assert segment(archive, 1) not in read, "the base at revision 6 has its rows"
    assert sum(name.startswith("bases/") for name in read) == 2 + 2, "two manifests, and two parts of one of them"


@pytest.mark.parametrize("damage", ["cut", "flipped", "replaced", "gone"])
async def test_a_segment_that_cannot_be_used_ends_what_can_be_restored(archive: Archived, damage: str) -> None:
    name = segment(archive, 2)
    data = archive.store.objects[name]
    if damage == "cut":
        archive.store.objects[name] = data[:-40]
    elif damage == "flipped":
        archive.store.objects[name] = data[:-100] + bytes([data[-100] ^ 1]) + data[-99:]
    elif damage == "replaced":
        forge(archive, name)
    else:
        del archive.store.objects[name]
    for revision in range(7, 12):
        with pytest.raises(NotRestorable) as refused:
            await restore(archive, AtRevision(revision))
        assert name in str(refused.value)
        assert "revisions 1 to 6" in str(refused.value)
    for revision in (1, 4, 6, 16):
        assert await equals(archive, revision)


def forge(archive: Archived, name: str) -> None:
    """Puts a sound segment in the place of another: the last key that is put in it has another value."""
    whole = segments.decode(name, archive.store.objects[name])
    records = list(whole.records)
    for number, record in reversed(list(enumerate(records))):
        if record.kind is not segments.Kind.ROWS:
            continue
        changes = [rows.unpack(frame[0], frame[1], frame[3]) for frame in record.frames(whole.header.history)]
        puts = [place for place, row in enumerate(changes) if row.kind == rows.KEY and not row.deletion]
        if puts:
            changes[puts[-1]] = msgspec.structs.replace(changes[puts[-1]], value=b"forged")
            records[number] = replace(record, payload=rows.pack_batch(changes))
            break
    archive.store.objects[name] = segments.encode(whole.header, records)
    assert segments.decode(name, archive.store.objects[name]).sha256 != whole.sha256


async def test_the_last_segment_that_is_needed_is_what_the_next_one_follows(archive: Archived) -> None:
    """Also where that is not read otherwise: it begins after the revision that is asked for, and is not the newest."""
    for _ in range(3):
        archive.change()
        archive.cut()
    forge(archive, segment(archive, 3))
    with pytest.raises(NotRestorable, match=re.escape(segment(archive, 3))):
        await restore(archive, AtRevision(15))
    assert await equals(archive, 11)


async def test_the_last_segment_before_an_epoch_is_what_the_epoch_follows(archive: Archived) -> None:
    archive.fail_over()
    for _ in range(3):
        archive.change()
        archive.cut()
    opening = next(header for header in archive.headers if header.epoch == 2)
    assert opening.previous is not None
    forge(archive, opening.previous.name)
    with pytest.raises(NotRestorable, match=re.escape(opening.previous.name)):
        await restore(archive, AtRevision(opening.after_revision), 1)


async def test_a_forged_segment_would_be_taken_without_the_digests(
    archive: Archived, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is sound by itself, so that nothing else finds it."""
    forge(archive, segment(archive, 2))
    monkeypatch.setattr(reading, "opened_segment", lambda piece, data, links: segments.opened(piece.header.name, data))
    assert not await equals(archive, 11)


async def test_a_base_that_is_damaged_is_passed_over(archive: Archived) -> None:
    name = next(name for name in archive.store.objects if name.startswith(names.part(16, 0, "x")[:-5]))
    archive.store.objects[name] = archive.store.objects[name][:-1]
    restored = await restore(archive, Latest())
    with restored.table:
        assert (restored.plan.revision, restored.plan.after_revision) == (16, 6)
        assert [damage.name for damage in restored.unusable] == [name]
    assert await equals(archive, 16)


@pytest.mark.parametrize("damaged", [names.manifest(16), names.part(16, 0, "x")])
async def test_a_damaged_base_behind_the_last_rows_is_not_an_earlier_state(archive: Archived, damaged: str) -> None:
    del archive.store.objects[segment(archive, 3)]
    archive.store.objects[damaged] = archive.store.objects[damaged][:-2]
    with pytest.raises(NotRestorable, match="the archive can restore revisions 1 to 11") as refused:
        await restore(archive, Latest())
    assert damaged in str(refused.value)


async def test_several_damaged_bases_are_passed_over(archive: Archived) -> None:
    for revision in (6, 16):
        name = names.part(revision, 1, "x")
        archive.store.objects[name] = archive.store.objects[name][:-1]
    restored = await restore(archive, Latest())
    with restored.table:
        assert (restored.plan.revision, restored.plan.base) == (16, None)
        assert {damage.name for damage in restored.unusable} == {names.part(6, 1, "x"), names.part(16, 1, "x")}


async def test_a_base_without_its_manifest_is_none(archive: Archived) -> None:
    """The upload ended half-way."""
    del archive.store.objects[names.manifest(16)]
    catalogue = await read_catalogue(archive.store, STORE_ID)
    assert [base.revision for base in catalogue.bases] == [6]
    assert await equals(archive, 16)


async def test_the_latest_state_is_not_an_earlier_one(archive: Archived) -> None:
    """Where the newest segment is damaged nobody gets less than what is there without a word."""
    del archive.store.objects[names.manifest(16)]
    name = segment(archive, 3)
    whole = archive.store.objects[name]
    for damaged in (whole[:100], whole[:-1]):
        archive.store.objects[name] = damaged
        with pytest.raises(NotRestorable, match="revisions 1 to 11") as refused:
            await restore(archive, Latest())
        assert name in str(refused.value)
        assert await equals(archive, 11)


async def test_a_damaged_beginning_of_an_epoch_is_not_the_end_of_the_one_before(archive: Archived) -> None:
    archive.fail_over()
    archive.finish()
    name = archive.headers[-1].name
    archive.store.objects[name] = b"damaged"
    for target in (Latest(), AtRevision(12)):
        with pytest.raises(NotRestorable, match="where epoch 2 begins") as refused:
            await restore(archive, target)
        assert "--epoch 1" in str(refused.value)
    (await restore(archive, Latest(), epoch=1)).table.close()


async def test_times_outside_of_the_archive_are_refused(archive: Archived) -> None:
    first, last = archive.headers[0].first_time_ms, archive.headers[-1].last_time_ms
    with pytest.raises(NotRestorable, match="before what the archive can restore"):
        await restore(archive, AtTime(first - 1))
    with pytest.raises(NotRestorable, match="The last state that it has is revision 16"):
        await restore(archive, AtTime(last + 1000))
    assert await state_at(archive.store, AtTime(last)) == (16, archive.states[1][16])


async def test_a_time_where_rows_are_missing_is_refused(archive: Archived) -> None:
    del archive.store.objects[segment(archive, 2)]
    with pytest.raises(NotRestorable, match=r"rows are missing: revisions 1 to 6 .* and then revision 16"):
        await restore(archive, AtTime(archive.headers[2].last_time_ms))


async def test_revisions_outside_of_the_archive_are_refused(archive: Archived) -> None:
    with pytest.raises(NotRestorable, match="revision 17 is not in the archive; it can restore revisions 1 to 16"):
        await restore(archive, AtRevision(17))
    for number in (0, 1):
        del archive.store.objects[segment(archive, number)]
    with pytest.raises(NotRestorable, match="revision 5 is before what the archive can restore, revisions 6 to 16"):
        await restore(archive, AtRevision(5))


async def test_an_archive_without_a_beginning_restores_nothing(archive: Archived) -> None:
    for name in list(archive.store.objects):
        if name.startswith("bases/") or name == segment(archive, 0) or name == segment(archive, 1):
            del archive.store.objects[name]
    with pytest.raises(NotRestorable, match="nothing can be restored"):
        await restore(archive, Latest())


async def test_an_archive_of_bases_alone_restores_those(archive: Archived) -> None:
    for name in list(archive.store.objects):
        if name.startswith("segments/"):
            del archive.store.objects[name]
    assert await equals(archive, 6)
    assert await state_at(archive.store, Latest()) == (16, archive.states[1][16])
    with pytest.raises(
        NotRestorable, match="revision 7 cannot be restored, since there is no base before it"
    ) as refused:
        await restore(archive, AtRevision(7))
    assert "revision 6 (" in str(refused.value)


async def test_another_stores_archive_is_refused(archive: Archived) -> None:
    with pytest.raises(Damaged, match="is of store"):
        await restorable(archive.store, "other", Latest(), begin=print, advance=print)
    del archive.store.objects[names.STORE]
    with pytest.raises(WrongStore, match="no archive of store"):
        await restore(archive, Latest())


async def test_another_stores_objects_are_not_used(archive: Archived) -> None:
    """As where somebody copied a folder over another."""
    archive.store.objects[names.STORE] = card.encode(Card("other", "default", "orders"))
    with pytest.raises(NotRestorable, match="the archive can restore nothing"):
        await restorable(archive.store, "other", Latest(), begin=print, advance=print)
    catalogue = await read_catalogue(archive.store, "other")
    assert {damage.reason for damage in catalogue.damaged} == {f"it is of store {STORE_ID}"}


@pytest.mark.parametrize("error", [AccessRefused("wrong key"), DestinationInvalid("no such bucket")])
async def test_what_the_object_store_refuses_is_said(archive: Archived, error: ArchiveError) -> None:
    archive.store.failing = error
    with pytest.raises(type(error), match=str(error)):
        await restore(archive, Latest())


async def test_a_full_disk_is_an_error_and_leaves_no_file(archive: Archived, tmp_path: Path) -> None:
    with KeyTable(tmp_path, cache_bytes=1 << 16) as table:
        table._database.execute("PRAGMA max_page_count = 20")
        rng = random.Random(1)
        frames = [_frame(b"%d" % number, rng.randbytes(500)) for number in range(1000)]
        with pytest.raises(TableUnusable, match=f"{tmp_path}.*full"):
            table.apply(frames)
        assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_table_that_cannot_be_made_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(TableUnusable) as raised:
        KeyTable(tmp_path, max_bytes=4096)
    assert list(tmp_path.iterdir()) == [], "it is removed, though the traceback still has the object"
    assert "database or disk is full" in str(raised.value)


async def test_a_restore_that_is_called_off_when_its_table_is_made_leaves_no_file(
    archive: Archived, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, tables = asyncio.get_running_loop(), []

    class Interrupted(KeyTable):
        def __init__(self, *where: Any, **limits: Any) -> None:
            super().__init__(*where, **limits)
            tables.append(self)
            loop.call_soon_threadsafe(restoring.cancel)

    monkeypatch.setattr(restore_module, "KeyTable", Interrupted)
    restoring = asyncio.create_task(
        restorable(archive.store, STORE_ID, Latest(), directory=tmp_path, begin=print, advance=print)
    )
    with pytest.raises(asyncio.CancelledError):
        await restoring
    assert len(tables) == 1
    assert list(tmp_path.iterdir()) == [], "it is removed, though somebody has the table"


async def test_a_folder_that_is_not_there_is_an_error(archive: Archived, tmp_path: Path) -> None:
    with pytest.raises(TableUnusable, match="no temporary folder"):
        await restorable(archive.store, STORE_ID, Latest(), directory=tmp_path / "missing", begin=print, advance=print)


def test_memory_is_bounded_by_the_cache_and_the_rest_is_on_the_disk(tmp_path: Path) -> None:
    with KeyTable(tmp_path, cache_bytes=1 << 18) as table:
        for number in range(300):
            table.apply([_frame(b"%04d" % number, bytes([number % 256]) * 10_000)])
        size = sum(file.stat().st_size for file in next(tmp_path.iterdir()).iterdir())
        assert size > 2_000_000
        assert [kv.value[0] for kv in table.keys(b"0010", b"0013")] == [10, 11, 12]
        assert len(table) == 300


def test_the_file_is_hardly_larger_than_keys_and_values(tmp_path: Path) -> None:
    """Where values are just too large for an index, too."""
    with KeyTable(tmp_path, cache_bytes=1 << 18) as table:
        for number in range(5000):
            table.apply([_frame(b"%04d" % number, bytes(1024))])
        size = sum(file.stat().st_size for file in next(tmp_path.iterdir()).iterdir())
        assert size < 5000 * 1024 * 1.2


def _frame(key: bytes, value: bytes) -> tuple[int, int, bytes, bytes, bytes, int, int]:
    return rows.unpack_frames(rows.pack_batch([rows.Row(7, 0, key, value, 7, 1)]))[0]
