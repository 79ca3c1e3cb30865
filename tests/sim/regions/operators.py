"""Operators: the real loop, planner and actions, in a process that may end at any step."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from rstore_kube.errors import ApiError
from rstore_operator.cluster.site import Site, Sites
from rstore_operator.handlers import FIRST_BACKOFF_SECONDS, LAST_BACKOFF_SECONDS
from rstore_operator.reconcile import Reconciler
from rstore_operator.resource.model import ReplicaImage
from sim.process import HostClock
from sim.regions.kube import Kube
from sim.regions.kube_api import ApiOf
from sim.regions.sites import SiteProcess
from sim.regions.wires import Wires
from sim.world import World

START = datetime(2026, 1, 1, tzinfo=UTC)
IMAGE = ReplicaImage("replica:1")
EXPECTED = (ApiError, OSError)
"""What ends a round of an operator that is well."""


class OperatorHost:
    """Where one operator runs; its clocks are its own."""

    def __init__(self, name: str, *, world: World, wires: Wires, kube: Kube, rng: random.Random) -> None:
        self.name = self.site = name
        self._world = world
        self._wires = wires
        self._kube = kube
        self._rng = rng
        loop = asyncio.get_running_loop()
        self._clock = HostClock(loop, rng.uniform(0.99, 1.01))
        self._skew = timedelta(seconds=rng.uniform(-2.0, 2.0))
        self._incarnation = 0
        self._ids = 0
        self.process: SiteProcess | None = None
        self._wake = asyncio.Event()
        self.reconciler: Reconciler | None = None
        self.on_step: Callable[[OperatorHost, str], None] = lambda _operator, _step: None
        self.rounds = 0

    def start(self) -> None:
        """A new process, which knows nothing."""
        if self.process is not None:
            return
        self._incarnation += 1
        self._world.trace.fault(f"start {self.name}")
        self.process = SiteProcess(self.name, self._incarnation, self.site)
        self._kube.watching.append(self)
        self.process.spawn(self._run(self.process))

    def crash(self) -> None:
        """It ends here and now."""
        if self.process is None:
            return
        self._world.trace.fault(f"kill {self.name}")
        process, self.process = self.process, None
        process.kill()
        self._kube.watching.remove(self)
        self._wires.died(process, silently=False)

    def step(self, what: str) -> None:
        """It is about to do something, or has done it."""
        self.on_step(self, what)

    def store_changed(self, version: str) -> None:
        """The watch shows the object."""
        if self.reconciler is not None and self.reconciler.object_changed(version):
            self._wake.set()

    def child_changed(self, _version: str) -> None:
        """The watch shows one of its children."""
        if self.reconciler is not None:
            self.reconciler.children_changed()
            self._wake.set()

    async def _run(self, process: SiteProcess) -> None:
        """As ``rstore_operator.handlers`` drives it."""
        api = ApiOf(self._kube, self, self._rng)
        self._wake = wake = asyncio.Event()
        self.reconciler = reconciler = self._look_after_store(api)
        backoff = FIRST_BACKOFF_SECONDS
        while True:
            wake.clear()
            self.rounds += 1
            try:
                wait = await reconciler.step()
                backoff = FIRST_BACKOFF_SECONDS
                if wait is None:  # that object is gone
                    await reconciler.close()
                    self.reconciler = reconciler = self._look_after_store(api)
                    wait = FIRST_BACKOFF_SECONDS
            except Exception as error:
                reconciler.invalidate()
                wait = backoff * self._rng.uniform(0.5, 1.5)
                backoff = min(LAST_BACKOFF_SECONDS, backoff * 2)
                self._world.trace.add(f"{self.name}: {type(error).__name__}: {error}")
                if type(error).__name__ in (
                    "InvariantError",
                    "AssertionError",
                    "AttributeError",
                    "TypeError",
                    "KeyError",
                    "StopIteration",
                ):
                    self._world.violated(f"{self.name}: {type(error).__name__}: {error}")
            if wait:
                try:
                    async with asyncio.timeout(wait):
                        await wake.wait()
                except TimeoutError:
                    pass

    def _look_after_store(self, api: ApiOf) -> Reconciler:
        """The object that there is now; of one before it nothing is remembered."""
        clock = self._clock.monotonic
        sites = Sites(Site(self._kube.ref, api, api, clock))
        return Reconciler(sites, IMAGE, now=self._now, clock=clock, store_id=self._store_id)

    def _now(self) -> datetime:
        return START + self._skew + timedelta(seconds=asyncio.get_running_loop().time())

    def _store_id(self) -> str:
        self._ids += 1
        return f"{self.name}-{self._incarnation}-{self._ids}"
