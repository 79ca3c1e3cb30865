"""What goes wrong with archivers and with the object store, and what people ask of them."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable

from rstore_backup import names
from rstore_backup.errors import AccessRefused, ArchiveError, DestinationInvalid, StoreUnavailable
from sim.archive.archivers import ArchiverHost, Habits
from sim.archive.objects import SimObjects
from sim.fault_rows import name_of
from sim.regions.fleet import Fleet
from sim.regions.stage import both_ways
from sim.regions.wires import Wires
from sim.trace import Trace

PAUSE_SECONDS = (0.2, 5.0)
SHORT_SECONDS = (0.0, 0.1, 1.0, 6.0)


class ArchiveFaults:
    """One after the other, until it is cancelled; what is amiss then is repaired by :meth:`end`."""

    def __init__(
        self,
        hosts: list[ArchiverHost],
        *,
        habits: Habits,
        objects: SimObjects,
        fleet: Fleet,
        wires: Wires,
        rng: random.Random,
        trace: Trace,
        primary: Callable[[], str],
        restore: Callable[[], Awaitable[None]],
    ) -> None:
        """``primary`` returns the primary region; ``restore`` restores from the archive as it is, and compares."""
        self._hosts = hosts
        self._objects = objects
        self._fleet = fleet
        self._wires = wires
        self._rng = rng
        self._trace = trace
        self._primary = primary
        self._restore_now = restore
        self._requests = 0
        self.damaged: dict[str, bytes] = {}
        """Objects that were damaged, as they were."""
        self.happened: Counter[str] = Counter()
        self._kinds: list[tuple[int, Callable[[], Awaitable[None]]]] = [
            (4, self._kill_archiver),
            (3, self._stop_archiver),
            (3, self._two_archivers),
            (2, self._drop_archiver_lines),
            (2, self._cut_archiver),
            (2, self._stall_archiver),
            (2, self._fail_objects),
            (2, self._ask_for_a_base),
            (2, self._ask_for_a_drill),
            (3, self._restore),
            *([(2, self._damage_newest_segment)] if habits.damage else []),
        ]

    async def run(self) -> None:
        """Begins with one archiver; all goes wrong for as long as this runs."""
        self._hosts[0].start(self._some_region())
        while True:
            await asyncio.sleep(self._rng.uniform(*PAUSE_SECONDS))
            fault = self._rng.choices([fault for _, fault in self._kinds], [weight for weight, _ in self._kinds])[0]
            self.happened[name_of(fault)] += 1
            await fault()

    def end(self) -> None:
        """The object store and the lines to archivers work again; no archiver runs."""
        self._objects.failing = None
        self._objects.loss = 0.0
        for host in self._hosts:
            self._wires.heal(both_ways({host.site}, set(self._fleet.machines)))
            host.kill()

    def _some_region(self) -> str:
        """Returns the primary in one of two cases: it alone has what will be lost."""
        regions = self._fleet.regions or list(self._fleet.machines)
        primary = self._primary()
        return primary if primary in regions and self._rng.random() < 0.5 else self._rng.choice(regions)

    def _some_archiver(self) -> ArchiverHost | None:
        running = [host for host in self._hosts if host.running is not None]
        return self._rng.choice(running) if running else None

    async def _pause(self) -> None:
        await asyncio.sleep(self._rng.choice(SHORT_SECONDS) * self._rng.uniform(0.5, 1.5))

    async def _begin_again(self, host: ArchiverHost) -> None:
        """At once or later, reading the same region or another one."""
        await self._pause()
        if host.running is None:
            host.start(host.region if self._rng.random() < 0.4 else self._some_region())

    async def _kill_archiver(self) -> None:
        if host := self._some_archiver():
            host.kill()
            await self._begin_again(host)

    async def _stop_archiver(self) -> None:
        if host := self._some_archiver():
            await host.stop()
            await self._begin_again(host)

    async def _two_archivers(self) -> None:
        """As while one takes the place of the other, which may be cut off and not know it."""
        idle = [host for host in self._hosts if host.running is None]
        if not idle:
            return
        other, first = idle[0], self._some_archiver()
        other.start(self._some_region())
        await asyncio.sleep(self._rng.uniform(0.5, 8.0))
        for host in (first, other) if self._rng.random() < 0.5 else (other,):
            if host is not None and host.running is not None:
                await host.stop() if self._rng.random() < 0.5 else host.kill()
        await self._begin_again(self._hosts[0])

    async def _drop_archiver_lines(self) -> None:
        if host := self._some_archiver():
            self._trace.fault(f"{host.name} loses its connections")
            self._wires.drop(host.site, host.region)

    async def _cut_archiver(self) -> None:
        if host := self._some_archiver():
            lines = both_ways({host.site}, {host.region})
            self._trace.fault(f"cut {host.name} from {host.region}")
            self._wires.cut(lines)
            await self._pause()
            self._wires.heal(lines)

    async def _stall_archiver(self) -> None:
        """It does not get to run for a while, in the middle of whatever it does."""
        if host := self._some_archiver():
            host.stall(self._rng.choice([0.3, 2.0, 10.0]))
            await self._pause()

    async def _fail_objects(self) -> None:
        """The object store is away, or does not know its callers any more."""
        errors: list[ArchiveError] = [StoreUnavailable("503"), AccessRefused("403"), DestinationInvalid("no bucket")]
        self._objects.failing = self._rng.choice(errors)
        self._trace.fault(f"the object store answers with {self._objects.failing}")
        await self._pause()
        self._objects.failing = None

    async def _ask_for_a_base(self) -> None:
        self._requests += 1
        for host in self._hosts:
            host.requests = (f"request-{self._requests}",)
        await self._pause()

    async def _ask_for_a_drill(self) -> None:
        """It restores beside everything else that the archiver does, and may be called off."""
        self._requests += 1
        for host in self._hosts:
            host.drill_request = f"request-{self._requests}"
        await self._pause()

    async def _restore(self) -> None:
        await self._restore_now()

    async def _damage_newest_segment(self) -> None:
        """In the store, and not while an archiver runs that could have gone on without reading it."""
        for host in self._hosts:
            host.kill()
        await asyncio.sleep(5.0)  # what was under way has arrived
        objects = self._objects.kept.objects
        segments = [name for name in sorted(objects) if names.parse_segment(name.partition("/")[2])]
        if segments:
            name = segments[-1]
            data = bytearray(objects[name])
            data[self._rng.randrange(len(data))] ^= 1 << self._rng.randrange(8)
            self._trace.fault(f"{name} is damaged")
            self.damaged[name], objects[name] = objects[name], bytes(data)
        await self._begin_again(self._hosts[0])
