"""Archivers: the real one, in a process that may end at any moment, and reads any region over the simulated network."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rstore_api.domain.names import PEER_PORT
from rstore_backup.archiver.archiver import Archiver
from rstore_backup.archiver.keepers import Keepers
from rstore_backup.archiver.progress import Progress
from rstore_backup.archiver.source import RegionSource
from rstore_backup.config import ArchiverConfig
from rstore_backup.program.scratch import Scratch
from rstore_backup.report import DrillReport, DrillResult
from sim.archive.objects import SimObjects
from sim.regions.fleet import Fleet
from sim.regions.host import Host
from sim.regions.sites import NAMESPACE, STORE, SiteProcess
from sim.regions.wires import Wires
from sim.world import World

START_MS = 1_767_225_600_000
SKEW_MS = 2000
"""By so much at most an archiver's clock is wrong."""
RETRY_SECONDS, LOOK_SECONDS = (0.2, 4.0), 1.0
FLUSH_SECONDS = 12.0
"""An archiver that is asked to stop has so long."""


@dataclass(frozen=True)
class Habits:
    """What the archive of one run is like."""

    log_interval_ms: int
    segment_bytes: int
    part_bytes: int
    schedule: str
    keep_bases: int
    loss: float
    """How many requests of the object store, or their answers, are lost."""
    damage: bool
    """Whether the newest segment may be damaged in the object store."""

    @classmethod
    def drawn(cls, rng: random.Random) -> Habits:
        """Returns small segments and short intervals mostly, so that there are many."""
        return cls(
            log_interval_ms=rng.choice([50, 300, 1000, 5000]),
            segment_bytes=rng.choice([150, 1000, 1 << 20]),
            part_bytes=rng.choice([100, 1 << 20]),
            schedule=rng.choice(["", "", "* * * * *"]),
            keep_bases=rng.choice([0, 0, 1, 2]),
            loss=rng.choice([0.0, 0.02, 0.02, 0.2]),
            damage=rng.random() < 0.2,
        )


@dataclass
class WatchedProgress(Progress):
    """Notices a drill in which the archive has other keys than the region: whatever fails, that is a mistake."""

    violated: Callable[[str], None] = lambda _what: None

    def drilled(self, report: DrillReport) -> None:
        super().drilled(report)
        if report.result is DrillResult.FAILED and " the archive has " in report.message:
            self.violated(f"archive: a drill says: {report.message}")


class ArchiverHost:
    """Where one archiver runs; its clock is its own."""

    def __init__(
        self,
        name: str,
        *,
        habits: Habits,
        objects: SimObjects,
        fleet: Fleet,
        address_of: Callable[[Host], str],
        wires: Wires,
        rng: random.Random,
        world: World,
        scratch: Path,
    ) -> None:
        self.name = self.site = name
        self.requests: tuple[str, ...] = ()
        """Names of bases that are wanted."""
        self.drill_request = ""
        """Names a drill that is wanted."""
        self.region = ""
        """From which it reads, or has read."""
        self.progress = WatchedProgress()
        self.starts = 0
        self.attempts = 0
        self.running: asyncio.Task[None] | None = None
        self._process: SiteProcess | None = None
        self._habits = habits
        self._objects = objects
        self._fleet = fleet
        self._address_of = address_of
        self._wires = wires
        self._scratch = Scratch(scratch)
        self._rng = rng
        self._world = world
        self._trace = world.trace
        self._skew_ms = rng.randint(-SKEW_MS, SKEW_MS)

    def start(self, region: str) -> None:
        """Begins a process, which knows nothing."""
        assert self._process is None
        self.starts += 1
        self.region = region
        self._trace.fault(f"start {self.name}, which reads {region}")
        process = self._process = SiteProcess(self.name, self.starts, self.site)
        self.progress = WatchedProgress(region=region, violated=self._world.violated)
        archiver = Archiver(
            destination=self._objects,
            source=RegionSource(lambda: self._config().replicas, None),
            confirm=Keepers(lambda: (*self._config().replicas, *self._config().others), None).confirm,
            config=self._config,
            progress=self.progress,
            now_ms=self.now_ms,
            new_attempt=self._new_attempt,
            scratch=self._scratch,
            retry_seconds=RETRY_SECONDS,
            look_seconds=LOOK_SECONDS,
            part_bytes=self._habits.part_bytes,
        )
        self.running = process.spawn(archiver.run())
        self.running.add_done_callback(self._ended)

    def kill(self) -> None:
        """It ends here and now; what it has sent to the object store may still arrive."""
        if self._process is not None:
            self._trace.fault(f"kill {self.name}")
            self._end(silently=self._rng.random() < 0.3)

    async def stop(self) -> None:
        """It is asked to stop, and writes what has come."""
        if self._process is None or self.running is None:
            return
        self._trace.fault(f"stop {self.name}")
        process, running = self._process, self.running
        process.call_soon(running.cancel)
        await asyncio.wait([running], timeout=FLUSH_SECONDS)
        if self._process is process:
            self._end(silently=False)

    def stall(self, seconds: float) -> None:
        """It does not get to run for a while, and does not notice."""
        if self._process is not None:
            self._trace.fault(f"{self.name} stalls for {seconds:.1f} s")
            self._process.pause(seconds)

    def _ended(self, running: asyncio.Task[None]) -> None:
        if not running.cancelled():
            self._world.violated(f"archive: {self.name} gives up: {running.exception()!r}")

    def _end(self, *, silently: bool) -> None:
        process, self._process, self.running = self._process, None, None
        assert process is not None
        process.kill()
        self._wires.died(process, silently=silently)

    def now_ms(self) -> int:
        """Returns what its clock says."""
        return START_MS + self._skew_ms + round(1000 * asyncio.get_running_loop().time())

    def _config(self) -> ArchiverConfig:
        habits = self._habits
        return ArchiverConfig(
            NAMESPACE,
            STORE,
            self.region,
            tuple(f"{self._address_of(host)}:{PEER_PORT}" for host in self._fleet.machines[self.region]),
            destination="memory",
            others=tuple(
                f"{self._address_of(host)}:{PEER_PORT}"
                for region, hosts in self._fleet.machines.items()
                if region != self.region
                for host in hosts
            ),
            log_interval_ms=habits.log_interval_ms,
            segment_bytes=habits.segment_bytes,
            schedule=habits.schedule,
            requests=self.requests,
            keep_bases=habits.keep_bases,
            drill_request=self.drill_request,
        )

    def _new_attempt(self) -> str:
        self.attempts += 1
        return f"{self.name}-{self.attempts:04x}"
