"""Mistakes one could make in writing and reading archives, each put in for a run: the simulator must notice."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from typing import Any

from rstore_api.domain.epochs import EpochStart
from rstore_backup import line
from rstore_backup.archiver.archiver import Archiver
from rstore_backup.archiver.log_writer import LogWriter
from rstore_backup.errors import ObjectExists, StoreUnavailable
from rstore_backup.objects import ObjectStore
from rstore_backup.restoring import restore
from rstore_backup.restoring.plan import Plan
from sim.fault_rows import only_faults
from sim.mutations import _replaced
from sim.regions.mutations import Mutation


def pass_over_what_fails(_original: Any) -> Any:
    """A segment that the object store does not take is left out, and the next one written."""

    async def until_taken(_self: Archiver, write: Callable[[], Awaitable[None]]) -> None:
        with suppress(StoreUnavailable):
            await write()

    return until_taken


def read_without_one(original: Any) -> Any:
    """A restore leaves out the segment before the last one that it needs."""

    async def read_into(table: Any, store: Any, plan: Plan, *rest: Any, **named: Any) -> None:
        await original(table, store, replace(plan, pieces=plan.pieces[:-2] + plan.pieces[-1:]), *rest, **named)

    return read_into


def ask_for_no_digest(_original: Any) -> Any:
    """A segment is taken for what the next one follows, whatever its SHA-256 is."""

    async def links_to(*_given: Any) -> dict[str, str]:
        return {}

    return links_to


class _NoMatterWhose:
    """An object store in which a segment of that name is as good as the one that was to be written."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def create(self, name: str, data: bytes) -> None:
        with suppress(ObjectExists):
            await self._store.create(name, data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def take_it_for_our_own(original: Any) -> Any:
    """What another archiver has written is taken for one's own."""

    def init(self: LogWriter, *, store: ObjectStore, **rest: Any) -> None:
        original(self, store=_NoMatterWhose(store), **rest)

    return init


def end_where_the_next_epoch_begins(_original: Any) -> Any:
    """An epoch is taken to have everything below the first revision of the next, its lost tail too."""

    def parent_of(start: EpochStart) -> int:
        return start.first_revision - 1

    return parent_of


ARCHIVE_MUTATIONS: dict[str, Mutation] = {
    "segment-skipped": Mutation(6, ((Archiver, "_until_taken", pass_over_what_fails),), ("stall",)),
    "segment-skipped-in-a-restore": Mutation(4, ((restore, "read_into", read_without_one),), ("stall",)),
    "digest-unchecked": Mutation(8, ((restore, "links_to", ask_for_no_digest),), ("stall",)),
    "digest-unchecked-in-writing": Mutation(10, ((LogWriter, "__init__", take_it_for_our_own),), ("stall",)),
    "branch-mixed-up": Mutation(10, ((line, "parent_of", end_where_the_next_epoch_begins),)),
}
"""By name; the kinds of faults are those of the scope ``regions``, archivers have all of theirs."""


@contextmanager
def mutated(name: str) -> Iterator[None]:
    """The code has this mistake meanwhile."""
    mutation = ARCHIVE_MUTATIONS[name]
    with ExitStack() as stack:
        stack.enter_context(only_faults(mutation.faults))
        for owner, attribute, make in mutation.replacements:
            stack.enter_context(_replaced(owner, attribute, make))
        yield
