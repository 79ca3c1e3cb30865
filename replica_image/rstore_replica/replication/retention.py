"""Automatic compaction: how far, and the loop that asks for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from rstore_api.domain.epochs import EpochStart, count_at, revision_at
from rstore_api.errors import StoreError
from rstore_api.logs import get_logger
from rstore_api.proto import rstore_pb2

from rstore_replica.raft.types import Role
from rstore_replica.replication.ports import RaftGroup, ReplicatedMachine
from rstore_replica.replication.sending.progress import RegionProgress

_log = get_logger(__name__)

SLACK = 0.1
"""Compaction begins when the history is longer than the retention by this share, so that it is not done one by one."""

LAGGARD_FACTOR = 10
"""A region that is behind by more than this many retentions no longer holds compaction back."""

INTERVAL_SECONDS = 5.0
PROPOSE_TIMEOUT_SECONDS = 10.0


def compaction_target(
    *,
    revision: int,
    compact_revision: int,
    retention: int,
    acked: Mapping[str, int],
    history: Sequence[EpochStart] = (),
) -> int | None:
    """Returns the revision to compact to, or None.

    ``acked`` has every other region of the store with the revision it acknowledged (0 when unknown): history that a
    region still needs is kept, unless it lags by more than LAGGARD_FACTOR retentions. Revisions that the ``history`` of
    epochs leaves out do not count.
    """
    revision, compact_revision = count_at(history, revision), count_at(history, compact_revision)
    acked = {region: count_at(history, revision) for region, revision in acked.items()}
    if revision - compact_revision <= retention * (1 + SLACK):
        return None
    needed = [count for count in acked.values() if revision - count <= retention * LAGGARD_FACTOR]
    target = min([revision - retention, *needed])
    if target - compact_revision < max(1, int(retention * SLACK)):
        return None
    return revision_at(history, target)


class Retention:
    """Proposes compactions while this replica leads the primary region."""

    def __init__(
        self,
        *,
        machine: ReplicatedMachine,
        group: RaftGroup,
        retention: int,
        region: str,
        progress: Callable[[], Sequence[RegionProgress]],
    ) -> None:
        """``progress`` returns how far each other region is, empty on a replica that does not stream to them."""
        self._machine = machine
        self._group = group
        self._retention = retention
        self._region = region
        self._progress = progress

    async def run(self) -> None:
        """Look every few seconds, for ever."""
        while True:
            await asyncio.sleep(INTERVAL_SECONDS)
            await self.once()

    async def once(self) -> int | None:
        """Compact now if it is time; the revision compacted to. Failures are left to the next round."""
        state = self._machine.state
        if self._group.status().role is not Role.LEADER or not state.writable or state.topology is None:
            return None
        acked = {region.region: region.acked_revision for region in self._progress()}
        target = compaction_target(
            revision=self._machine.revision,
            compact_revision=self._machine.compact_revision,
            retention=self._retention,
            history=state.history,
            acked={
                region.name: acked.get(region.name, 0)
                for region in state.topology.regions
                if region.name != self._region
            },
        )
        if target is None:
            return None
        entry = rstore_pb2.LogEntry(compaction=rstore_pb2.Compaction(revision=target))
        try:
            result = await self._group.propose(entry.SerializeToString(), timeout_seconds=PROPOSE_TIMEOUT_SECONDS)
        except StoreError as error:
            _log.debug("compaction_not_proposed", reason=str(error))
            return None
        if isinstance(result, StoreError):
            _log.warning("compaction_refused", revision=target, reason=str(result))
            return None
        return target
