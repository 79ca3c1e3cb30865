"""Scope ``archive``: stores as in the scope ``regions``, with all that goes wrong there, and archivers beside them."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from pathlib import Path
from unittest import mock

from rstore_backup.archiver import archiver
from rstore_backup.report import DrillResult
from sim.archive.archivers import ArchiverHost, Habits
from sim.archive.faults import ArchiveFaults
from sim.archive.objects import SimObjects
from sim.archive.verdict import ArchiveVerdict
from sim.regions.kube import ip_of
from sim.regions.scenario import RegionsScenario
from sim.world import World

CATCH_UP_SECONDS = 60.0
"""Once all is well, everything is in the archive within this time."""
PRUNE_SECONDS = 7.0
LAST_DRILL, DRILL_SECONDS = "at the end", 30.0


class ArchiveScenario(RegionsScenario):
    """One run."""

    def __init__(self, world: World, root: Path) -> None:
        super().__init__(world, root)
        rng = random.Random(world.rng.random())
        self.habits = Habits.drawn(rng)
        self.objects = SimObjects(random.Random(rng.random()), world.trace, loss=self.habits.loss)
        self._archivers = [
            ArchiverHost(
                f"archiver-{number}",
                habits=self.habits,
                objects=self.objects,
                fleet=self.fleet,
                address_of=ip_of,
                wires=self.wires,
                rng=random.Random(rng.random()),
                world=world,
                scratch=_made(root / f"drills-{number}"),
            )
            for number in range(2)
        ]
        self._rng_of_end = random.Random(rng.random())
        self._verdict_of_archive = ArchiveVerdict(self.ledger, random.Random(rng.random()), _made(root / "restores"))
        self._faults_of_archive = ArchiveFaults(
            self._archivers,
            habits=self.habits,
            objects=self.objects,
            fleet=self.fleet,
            wires=self.wires,
            rng=random.Random(rng.random()),
            trace=world.trace,
            primary=lambda: str(self.kube.status.get("primaryRegion", "")),
            restore=lambda: self._verdict_of_archive.check_now(self.objects, self.objects.as_they_are()),
        )
        self._verdict_of_archive.damaged = self._faults_of_archive.damaged
        self._stack.enter_context(mock.patch.object(archiver, "PRUNE_SECONDS", PRUNE_SECONDS))
        world.trace.fault(str(self.habits))

    async def run(self) -> None:
        """A run of regions, archivers beside it; then one of them in peace, and the questions."""
        beside = asyncio.ensure_future(self._faults_of_archive.run())
        try:
            await super().run()
        finally:
            beside.cancel()
            with suppress(asyncio.CancelledError):
                await beside
        self._faults_of_archive.end()
        if self._world.first_violation is not None:
            return
        await asyncio.sleep(5.0)  # what was under way to the object store has arrived
        await self._catch_up(self._archivers[0])
        if self._world.first_violation is None:
            await self._check()
        self._note_archive()

    async def _catch_up(self, host: ArchiverHost) -> None:
        """One archiver, reading any region, has everything in the archive and a base to restore it from."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + CATCH_UP_SECONDS
        host.start(self._rng_of_end.choice(self.fleet.regions))
        while True:
            newest, progress = self._newest(), host.progress
            if progress.archived_revision == newest and progress.recoverable is not None:
                break
            if loop.time() > deadline:
                self._world.violated(
                    f"archive: {host.name} is at {progress.archived_revision} of {newest} after {CATCH_UP_SECONDS:g} s "
                    f"of peace: {progress.error}"
                )
                return
            await asyncio.sleep(0.25)
        await self._drill(host)
        await host.stop()

    async def _drill(self, host: ArchiverHost) -> None:
        """The archiver's own drill says that what is restored is what the region has."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + DRILL_SECONDS
        host.drill_request = LAST_DRILL
        while True:
            drill = host.progress.last_drill
            if drill is not None and drill.request == LAST_DRILL:
                break
            if loop.time() > deadline:
                self._world.violated(f"archive: {host.name} has made no drill in {DRILL_SECONDS:g} s of peace: {drill}")
                return
            await asyncio.sleep(0.25)
        if drill.result is not DrillResult.SUCCEEDED and not self._faults_of_archive.damaged:
            self._world.violated(f"archive: {host.name} says of its drill: {drill.message}")

    async def _check(self) -> None:
        machine = max(
            (host.replica.machine for host in self.fleet.wanted() if host.replica is not None),
            key=lambda machine: machine.revision,
        )
        hashed = await machine.hash_kv(0)
        state = machine.state
        copy = self.objects.as_they_are()
        await self._verdict_of_archive.check(copy, state.store_id, machine.revision, state.history, hashed.hash)
        if not self.habits.keep_bases and (gone := set(self.objects.ever) - set(self.objects.kept.objects)):
            self._world.violated(f"archive: {sorted(gone)} were removed, and everything was to be kept")

    def _newest(self) -> int:
        return max(host.replica.machine.revision for host in self.fleet.wanted() if host.replica is not None)

    def _note_archive(self) -> None:
        self._world.notes.update(
            archivers=sum(host.starts for host in self._archivers),
            objects=len(self.objects.ever),
            lost_requests=self.objects.lost,
            damaged=len(self._faults_of_archive.damaged),
            **self._verdict_of_archive.notes,
            **self._faults_of_archive.happened,
        )


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder
