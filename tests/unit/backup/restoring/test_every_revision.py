"""Whatever happened to a store, a restore at any revision of any line brings back what there was; and mistakes that one
could make in the reading are found by that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from rstore_backup.errors import ArchiveError
from rstore_backup.restoring import reading, restore
from rstore_backup.restoring.key_table import KeyTable
from rstore_backup.restoring.plan import AtRevision, AtTime, Latest, Plan, Recoverable, Target
from rstore_backup.restoring.restore import restorable
from unit.backup.archives import STORE_ID
from unit.backup.memory_store import MemoryStore
from unit.backup.restoring.histories import State, Stored, random_history

STEPS = 60


async def state_at(store: MemoryStore, target: Target, epoch: int | None = None) -> tuple[int, State]:
    restored = await restorable(
        store, STORE_ID, target, epoch=epoch, begin=lambda objects: None, advance=lambda objects: None
    )
    with restored.table as table:
        keys = {
            key.kv.key: Stored(
                key.kv.value, key.kv.create_revision, key.kv.mod_revision, key.kv.version, key.kv.lease, key.sub
            )
            for key in table.imported_keys()
        }
        assert list(keys) == sorted(keys)
        assert len(table) == len(keys)
        return restored.plan.revision, State(keys, dict(table.leases), dict(table.auth))


def check(seed: int) -> None:
    asyncio.run(_check(seed))


async def _check(seed: int) -> None:
    archived = random_history(seed, STEPS)
    newest = archived.epoch
    for epoch, line in archived.states.items():
        for revision, state in line.items():
            assert await state_at(archived.store, AtRevision(revision), epoch) == (revision, state), (epoch, revision)
    assert await state_at(archived.store, Latest()) == (archived.revision, archived.state)
    for time_ms, revision in archived.times.items():
        if archived.states[newest].get(revision) and revision <= archived.archived:
            restored, state = await state_at(archived.store, AtTime(time_ms))
            assert restored >= revision  # above it where an epoch began at the same time
            assert state == archived.states[newest][restored] == archived.states[newest][revision]


@pytest.mark.parametrize("seed", range(8))
def test_a_restore_at_every_revision_is_what_there_was(seed: int) -> None:
    check(seed)


def _skips_a_segment(monkeypatch: pytest.MonkeyPatch) -> None:
    read = restore.read_into

    async def without_one(table: Any, store: Any, plan: Plan, *rest: Any, **named: Any) -> None:
        await read(table, store, replace(plan, pieces=plan.pieces[:-2] + plan.pieces[-1:]), *rest, **named)

    monkeypatch.setattr(restore, "read_into", without_one)


def _takes_rows_of_the_lost_tail(monkeypatch: pytest.MonkeyPatch) -> None:
    take = reading._take

    def all_of_it(table: Any, segment: Any, piece: Any, *rest: Any) -> int:
        return take(table, segment, replace(piece, until_revision=segment.header.last_revision), *rest)

    monkeypatch.setattr(reading, "_take", all_of_it)


def _takes_any_base(monkeypatch: pytest.MonkeyPatch) -> None:
    def of(line: Any, bases: Any, epoch: int | None = None) -> Recoverable:
        return Recoverable(line.history, line, tuple(sorted(bases, key=lambda base: base.revision)))

    monkeypatch.setattr(Recoverable, "of", of)


def _goes_one_too_far(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Recoverable.plan
    monkeypatch.setattr(Recoverable, "plan", lambda self, revision: plan(self, min(revision + 1, self.last_revision)))


def _forgets_deleted_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KeyTable, "delete_range", lambda self, deleted: None)


def _takes_the_oldest_row_of_a_segment(monkeypatch: pytest.MonkeyPatch) -> None:
    apply = KeyTable.apply
    monkeypatch.setattr(KeyTable, "apply", lambda self, frames: apply(self, reversed(list(frames))))


@pytest.mark.parametrize(
    "mutate",
    [
        _skips_a_segment,
        _takes_rows_of_the_lost_tail,
        _takes_any_base,
        _goes_one_too_far,
        _forgets_deleted_ranges,
        _takes_the_oldest_row_of_a_segment,
    ],
)
def test_a_mistake_is_found(mutate: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    mutate(monkeypatch)
    for seed in range(8):
        try:
            check(seed)
        except (AssertionError, ArchiveError):
            return
    pytest.fail("nobody noticed")
