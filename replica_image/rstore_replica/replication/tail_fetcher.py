"""Gets the quarantine files that this replica lacks from the others of its region.

A replica that came to its data by a checkpoint of another, or lost its volume, knows which tails there are and has no
file, or a damaged one.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from contextlib import aclosing
from pathlib import Path

from rstore_api.client.quarantine import tail_pages
from rstore_api.dialling.endpoint import Endpoint
from rstore_api.errors import StoreError
from rstore_api.logs import get_logger
from rstore_api.proto.rstore_pb2 import QuarantineReadRequest

from rstore_replica.mvcc.machine import Machine
from rstore_replica.mvcc.tail_facts import Tail
from rstore_replica.mvcc.tails.file import DamagedTail
from rstore_replica.replication.ports import RaftGroup

_log = get_logger(__name__)

INTERVAL_SECONDS = 2.0
MAX_INTERVAL_SECONDS = 60.0
"""Between rounds in which nobody could give what is missing."""

Open = Callable[[str], Endpoint]
"""A client of the replica at a peer address."""


class TailFetcher:
    """:meth:`run` for as long as the replica runs; one file at a time, a page in memory."""

    def __init__(self, *, machine: Machine, group: RaftGroup, open_replica: Open) -> None:
        self._machine = machine
        self._group = group
        self._open_replica = open_replica

    async def run(self) -> None:
        """Looks for what is missing, for ever."""
        pause = INTERVAL_SECONDS
        while True:
            await self.fetch_missing()
            pause = min(2 * pause, MAX_INTERVAL_SECONDS) if self.missing() else INTERVAL_SECONDS
            await asyncio.sleep(pause)

    async def fetch_missing(self) -> None:
        """One round: every file that is missing here and that another replica gives away."""
        for tail in self.missing():
            if self._machine.refusal_of_export() is not None:
                return
            await self._fetch(tail)

    def missing(self) -> tuple[Tail, ...]:
        """Returns tails of the region without a whole file here."""
        whole = self._machine.quarantine.whole
        return tuple(tail for tail in self._machine.quarantined if tail.file not in whole)

    async def _fetch(self, tail: Tail) -> None:
        final = self._machine.quarantine.path(tail.file)
        fetched = final.with_name(f"{final.name}.fetched")
        for address in self._others():
            try:
                async with self._open_replica(address) as replica:
                    await self._copy(replica, tail, fetched)
                if all(other.file != tail.file for other in self._machine.quarantined):
                    return  # dropped meanwhile
                await asyncio.to_thread(self._machine.quarantine.adopt, fetched, tail.file)
            except (StoreError, DamagedTail, OSError) as error:
                _log.warning("tail_not_fetched", file=tail.file, source=address, reason=str(error))
                continue
            finally:
                fetched.unlink(missing_ok=True)
            _log.info("tail_fetched", file=tail.file, source=address)
            return

    def _others(self) -> Iterable[str]:
        status = self._group.status()
        return [member.address for member in status.members if member.name != status.name]

    @staticmethod
    async def _copy(replica: Endpoint, tail: Tail, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            async with aclosing(tail_pages(replica, QuarantineReadRequest(file=tail.file, raw=True))) as pages:
                async for page in pages:
                    await asyncio.to_thread(file.write, page.data)
            await asyncio.to_thread(_flush, file.fileno(), file.flush)
        if target.stat().st_size != tail.size_bytes:
            raise DamagedTail(f"{tail.file} has {target.stat().st_size} bytes there, not {tail.size_bytes}")


def _flush(descriptor: int, flush: Callable[[], None]) -> None:
    flush()
    os.fsync(descriptor)
