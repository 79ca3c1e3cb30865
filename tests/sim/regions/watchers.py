"""Those who watch: in every region, through any replica, with our own client, and looking at each event at once.

They hold what they are shown against the ledger. etcd's promises: events come in order, once, with nothing left out,
whole revisions together, and from where one left off. Where a region loses what it has shown, the watch must end.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable
from contextlib import aclosing
from typing import Any

from rstore_api.client import Client
from rstore_api.client.watching import Changes
from rstore_api.errors import Compacted
from sim.regions.clients import CLIENT_PORT
from sim.regions.host import Host
from sim.regions.ledger import Ledger
from sim.regions.sites import SiteProcess, clients_site
from sim.trace import Trace

SESSION_SECONDS = (0.2, 1.0, 6.0)
"""How long a watch lasts before it is begun anew where it ended, perhaps at another replica."""
CALM_SECONDS = 60.0
"""Within so long after everything is well a watcher has been shown all there is."""


class Watcher:
    """One client that follows all keys for as long as the run goes on."""

    def __init__(
        self,
        name: str,
        region: str,
        ledger: Ledger,
        address_of: Callable[[Host], str],
        rng: random.Random,
        trace: Trace,
    ) -> None:
        self.name = name
        self._region = region
        self._ledger = ledger
        self._address_of = address_of
        self._rng = rng
        self._trace = trace
        self.next_revision = 0
        """What it asks for next; 0: whatever comes."""
        self._last = 0
        """The last revision that it was shown, or the one that it began after."""
        self.events = 0
        self.compactions = 0
        self.stopping = False

    async def run(self) -> None:
        """Watches until it is to stop."""
        while not self.stopping:
            hosts = self._ledger.fleet.region(self._region) if self._rng.random() < 0.7 else []
            host = self._rng.choice(hosts or self._ledger.fleet.wanted() or list(self._ledger.fleet.all_hosts()))
            try:
                async with asyncio.timeout(self._rng.choice(SESSION_SECONDS)):
                    await self._session(host)
            except TimeoutError:
                pass
            except Compacted as error:
                self.compactions += 1
                self._trace.add(f"{self.name} at {host.name} from {self.next_revision}: {error}")
                # One in two goes on with what is kept, the others list the keys again.
                again = self._rng.random() < 0.5
                self.next_revision = error.compact_revision if again else 0
                self._last = 0

    async def _session(self, host: Host) -> None:
        prev_kv = self._rng.random() < 0.5
        async with Client([f"{self._address_of(host)}:{CLIENT_PORT}"], rng=self._rng) as client:
            watched = client.watch(b"", prefix=True, start_revision=self.next_revision, prev_kv=prev_kv)
            async with aclosing(watched) as items:
                async for changes in items:
                    self._take(host, changes)

    def _take(self, host: Host, changes: Changes) -> None:
        violated = self._ledger.violated
        if not changes.events:
            if not self._last:
                self._last = changes.revision
            elif changes.revision < self._last:
                violated(f"watch: {self.name} at {host.name} is said to be at {changes.revision} after {self._last}")
            self.next_revision = max(self.next_revision, changes.revision + 1)
            return
        by_revision: dict[int, list[tuple[bytes, bytes | None]]] = {}
        for event in changes.events:
            value = None if event.type == event.DELETE else event.kv.value
            by_revision.setdefault(event.kv.mod_revision, []).append((event.kv.key, value))
        for revision, content in by_revision.items():
            self._take_revision(host, revision, tuple(content))
            self.next_revision = revision + 1
        self.events += len(changes.events)

    def _take_revision(self, host: Host, revision: int, content: Any) -> None:
        ledger, violated = self._ledger, self._ledger.violated
        written = ledger.revisions.get(revision)
        if written is None or written.content != content:
            violated(f"watch: {self.name} at {host.name} is shown {content} as revision {revision}, not {written}")
            return
        before = ledger.shown(ledger.parent(revision))
        last = ledger.revisions.get(self._last)
        # Where a watch begins, or is told that nothing has happened, there need not be a revision.
        follows = before == self._last if last and last.content else before <= self._last < revision
        if not follows:
            violated(f"watch: {self.name} at {host.name} is shown {revision} after {self._last}, not after {before}")
        others = ledger.held_by[revision] - {written.region}
        if host.region == written.region and _wrote_last(host) and len(others) < ledger.needed_regions:
            violated(f"I1: {self.name} is shown revision {revision} at {host.name}, which only {sorted(others)} have")
        self._last = revision


def _wrote_last(host: Host) -> bool:
    """Returns whether its region is that of the newest epoch it knows; one that has joined another region's epoch shows
    what it has committed, as every secondary does."""
    history = () if host.replica is None else host.replica.machine.state.history
    return bool(history) and history[-1].region == host.region


class Watchers:
    """One in each region."""

    def __init__(
        self,
        ledger: Ledger,
        address_of: Callable[[Host], str],
        rng: random.Random,
        trace: Trace,
        regions: Iterable[str],
    ) -> None:
        self._ledger = ledger
        self._processes = [SiteProcess(f"watchers-{region}", 1, clients_site(region)) for region in regions]
        self.watchers = [
            Watcher(f"watcher of {region}", region, ledger, address_of, random.Random(rng.random()), trace)
            for region in regions
        ]

    def start(self) -> list[asyncio.Task[None]]:
        """Begins to watch; returns the tasks."""
        pairs = zip(self._processes, self.watchers, strict=True)
        return [process.spawn(watcher.run()) for process, watcher in pairs]

    async def catch_up(self, newest: int) -> None:
        """Returns once everybody has been shown everything up to ``newest``, and notes who has not in time."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + CALM_SECONDS
        while behind := [watcher for watcher in self.watchers if watcher.next_revision <= newest]:
            if loop.time() > ends:
                names = {watcher.name: watcher.next_revision for watcher in behind}
                self._ledger.violated(f"watch: {newest} is not shown after {CALM_SECONDS:g} s of calm to {names}")
                break
            await asyncio.sleep(0.1)
        for watcher in self.watchers:
            watcher.stopping = True
