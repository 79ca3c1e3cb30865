"""ReplicatedStoreBackups that name a store which is not there: no store's loop looks after them, so this does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

from rstore_api.domain.kubernetes import BACKUP_KIND, STORE
from rstore_api.logs import get_logger
from rstore_kube.client import KubeClient
from rstore_kube.errors import ApiError

from rstore_operator.act import CONNECTION_ERRORS
from rstore_operator.cluster.requested_bases import read_requested_base, update_requested_base
from rstore_operator.cluster.seen_objects import SeenObjects, Store
from rstore_operator.facts.actions import UpdateRequestedBase
from rstore_operator.planning.requested_bases import without_store

log = get_logger(__name__)

LOOK_SECONDS = 5.0
MAX_WRITES = 50
"""In one look; the others follow with the next."""


def _wall_clock() -> datetime:
    return datetime.now(UTC)


class UnclaimedBases:
    """Says in their status that the store is not there, and after a while that they have failed."""

    def __init__(
        self,
        seen: SeenObjects,
        client: KubeClient,
        knows: Callable[[str, str], bool],
        now: Callable[[], datetime] = _wall_clock,
    ) -> None:
        """``knows`` says whether there is a store of that namespace and name, as far as it was seen."""
        self._seen = seen
        self._client = client
        self._knows = knows
        self._now = now

    async def run(self) -> None:
        """Looks again and again, until it is cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.look()
            except Exception:  # whatever it is, the next look is taken
                log.exception("unclaimed_bases_failed")

    async def look(self) -> None:
        """Writes the statuses that are not as they should be. What cannot be written now is written with a later
        look."""
        left = MAX_WRITES
        for store in self._seen.stores_with(BACKUP_KIND):
            if self._knows(*store):
                continue
            try:
                updates = self._updates(store)[:left]
                left -= len(updates)
                if updates and await self._client.find(STORE, *store) is None:
                    for update in updates:
                        await update_requested_base(self._client, store[0], update)
                        log.info("requested_base", name=update.name, phase=update.status.phase.value)
            except (ApiError, *CONNECTION_ERRORS) as error:
                log.warning("requested_base_not_written", namespace=store[0], store=store[1], error=str(error))

    def _updates(self, store: Store) -> list[UpdateRequestedBase]:
        updates = []
        for body in self._seen.of(store, (BACKUP_KIND,)):
            base = read_requested_base(body)
            status = without_store(base, store[1], self._now())
            if status != base.status:
                updates.append(UpdateRequestedBase(base.name, base.uid, base.resource_version, status, None))
        return updates
