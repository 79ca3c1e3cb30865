"""Fills one store, begun again after every failure until it is done.

Nothing of it need be remembered between two attempts, or two processes: the store shows either nothing or all of what
comes in, and which state that is has been recorded before the first key is sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from rstore_api.client import Client
from rstore_api.client.importing import Difference, compare, fill
from rstore_api.domain.epochs import epoch_of
from rstore_api.errors import StoreError
from rstore_api.logs import get_logger
from rstore_api.proto import rpc_pb2

from rstore_backup.errors import ArchiveError
from rstore_backup.objects import ObjectStore
from rstore_backup.program.retrying import Backoff
from rstore_backup.program.scratch import Scratch
from rstore_backup.restore_config import RestoreConfig
from rstore_backup.restore_report import Pinned, RestorePhase
from rstore_backup.restorer.progress import Progress
from rstore_backup.restorer.rules import Different, NotEmpty, filled_with, problem_of, target_of
from rstore_backup.restoring.archives import Archive, archives_in, the_archive
from rstore_backup.restoring.key_table import KeyTable
from rstore_backup.restoring.restore import Restorable, restorable

_log = get_logger(__name__)

RETRY_FIRST_SECONDS, RETRY_LAST_SECONDS = 1.0, 60.0
CALL_SECONDS = 30.0
"""For one request of the store."""
_REVISION = rpc_pb2.RangeRequest(key=b"\0", count_only=True)


class Restorer:
    """:meth:`run` until it returns."""

    def __init__(
        self,
        *,
        destination: Callable[[], ObjectStore],
        store: Callable[[], AbstractAsyncContextManager[Client]],
        config: Callable[[], RestoreConfig],
        progress: Progress,
        now_ms: Callable[[], int],
        scratch: Scratch | None = None,
        retry_seconds: tuple[float, float] = (RETRY_FIRST_SECONDS, RETRY_LAST_SECONDS),
    ) -> None:
        """``destination`` and ``store`` open what is read and what is filled; ``config`` returns the configuration as
        it is now. ``scratch`` is where the temporary file is."""
        self._destination = destination
        self._store = store
        self._config = config
        self._progress = progress
        self._now_ms = now_ms
        self._scratch = scratch
        self._retry_seconds = retry_seconds

    async def run(self) -> None:
        """Restores, and returns when all is there and compared. Whatever fails is reported and tried again, but for a
        difference: that raises Different."""
        backoff = Backoff(*self._retry_seconds)
        while True:
            try:
                await self._once()
                return
            except (ArchiveError, StoreError, NotEmpty, Different, OSError) as error:
                problem = problem_of(error)
                self._progress.failed(problem, str(error), self._now_ms())
                _log.warning("restore_failed", problem=problem.value, reason=str(error))
                if isinstance(error, Different):
                    raise
            await asyncio.sleep(backoff.seconds())

    async def _once(self) -> None:
        progress, config = self._progress, self._config()
        progress.enter(RestorePhase.STARTING)
        async with self._store() as client:
            filled = filled_with(config.pinned, await self._revision(client))
            archive = await self._archive(config, filled)
            restored = await self._read(archive, config, filled)
            with restored.table as table:
                pinned = filled or _settled(archive, restored)
                progress.keys, progress.leases = len(table), len(table.leases)
                progress.settle(pinned, recorded=pinned == config.pinned)
                if filled is None:
                    progress.enter(RestorePhase.SETTLED)
                    await progress.until_recorded()
                    await self._fill(client, table, pinned)
                await self._compare(client, table, pinned)
        progress.enter(RestorePhase.COMPLETED)
        _log.info("restored", store=pinned.store, revision=pinned.revision, keys=progress.keys)

    async def _archive(self, config: RestoreConfig, filled: Pinned | None) -> Archive:
        named = filled.store_id if filled is not None else config.source_id
        found = await archives_in(self._destination(), named or None)
        return the_archive(found, source_name="" if named else config.source_name, without=config.store_id)

    async def _revision(self, client: Client) -> int:
        return int((await client.range(_REVISION, timeout_seconds=CALL_SECONDS)).header.revision)

    async def _read(self, archive: Archive, config: RestoreConfig, filled: Pinned | None) -> Restorable:
        target, epoch = target_of(config, filled)
        progress, scratch = self._progress, self._scratch
        progress.enter(RestorePhase.READING)
        return await restorable(
            archive.objects,
            archive.card.store_id,
            target,
            epoch=epoch,
            directory=scratch.folder if scratch is not None else None,
            max_bytes=scratch.max_bytes if scratch is not None else None,
            begin=lambda objects: progress.enter(RestorePhase.READING, objects),
            advance=progress.advance,
        )

    async def _fill(self, client: Client, table: KeyTable, pinned: Pinned) -> None:
        self._progress.enter(RestorePhase.FILLING, len(table))
        await fill(
            client,
            table,
            revision_jump=pinned.final_revision - pinned.revision,
            timeout_seconds=CALL_SECONDS,
            advance=self._progress.advance,
        )

    async def _compare(self, client: Client, table: KeyTable, pinned: Pinned) -> None:
        self._progress.enter(RestorePhase.COMPARING, len(table))
        difference = await compare(
            client, table, pinned.final_revision, timeout_seconds=CALL_SECONDS, advance=self._progress.advance
        )
        if difference is not None:
            raise Different(f"the store is not what its archive has: {_described(difference)}")


def _settled(archive: Archive, restored: Restorable) -> Pinned:
    revision, card = restored.plan.revision, archive.card
    return Pinned(
        store_id=card.store_id,
        store=f"{card.namespace}/{card.name}",
        revision=revision,
        epoch=epoch_of(restored.plan.history),
        final_revision=revision + restored.revision_jump,
    )


def _described(difference: Difference) -> str:
    key = repr(bytes(difference.key[:80]))
    if difference.in_store is None:
        return f"the key {key} is missing"
    return f"the key {key} is {'in the store alone' if difference.in_source is None else 'different'}"
