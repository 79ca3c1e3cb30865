"""Operators: the real loop, planner and actions, in a process that may end at any step."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from rstore_operator.cluster.site import Site, Sites
from rstore_operator.controller import Controller
from rstore_operator.failover.planned import InvariantError
from rstore_operator.reconcile import Reconciler
from rstore_operator.resource.model import ReplicaImage, StoreRef
from sim.process import HostClock
from sim.regions.kube import Kube
from sim.regions.kube_api import ApiOf
from sim.regions.sites import NAMESPACE, STORE, SiteProcess
from sim.regions.wires import Wires
from sim.world import World

START = datetime(2026, 1, 1, tzinfo=UTC)
IMAGE = ReplicaImage("replica:1")
WATCH_AGAIN_SECONDS = 0.5
MISTAKES = (AssertionError, AttributeError, InvariantError, LookupError, StopIteration, TypeError)
"""What a step of an operator never raises."""


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
        self._controller: Controller | None = None
        self.missed_events = True
        """Whether the object has changed while the API server could not be reached, or there was no process."""
        self.reconciler: Reconciler | None = None
        """That of the newest store object."""
        self.on_step: Callable[[OperatorHost, str], None] = lambda _operator, _step: None

    def start(self) -> None:
        """A new process, which knows nothing."""
        if self.process is not None:
            return
        self._incarnation += 1
        self._world.trace.fault(f"start {self.name}")
        self._controller = None
        self.process = SiteProcess(self.name, self._incarnation, self.site)
        self._kube.watching.append(self)
        self.process.spawn(self._run())

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

    def store_changed(self, ref: StoreRef, version: str) -> None:
        """The watch shows the object."""
        if self._controller is not None:
            self._controller.store_changed(ref, version)

    def child_changed(self) -> None:
        """The watch shows one of the store's children."""
        if self._controller is not None:
            self._controller.child_changed(NAMESPACE, STORE)

    async def _run(self) -> None:
        """Run the controller, and show it the object that is there at the start and after its watch was cut.

        Every operator acts: what keeps a store safe from two of them may not be the Lease.
        """
        api = ApiOf(self._kube, self, self._rng)
        self._controller = Controller(
            lambda ref: self._new_reconciler(ref, api), failed=self._failed, jitter=self._rng.random
        )
        self._controller.begin()
        self.missed_events = True
        while True:
            if self.missed_events and self._kube.reachable(self.site):
                self.missed_events = False
                self.store_changed(self._kube.ref, self._kube.store["metadata"]["resourceVersion"])
            await asyncio.sleep(WATCH_AGAIN_SECONDS)

    def _failed(self, error: Exception) -> None:
        self._world.trace.add(f"{self.name}: {type(error).__name__}: {error}")
        if isinstance(error, MISTAKES):
            self._world.violated(f"{self.name}: {type(error).__name__}: {error}")

    def _new_reconciler(self, ref: StoreRef, api: ApiOf) -> Reconciler:
        clock = self._clock.monotonic
        sites = Sites(Site(ref, api, api, clock))
        self.reconciler = Reconciler(sites, IMAGE, now=self._now, clock=clock, store_id=self._store_id)
        return self.reconciler

    def _now(self) -> datetime:
        return START + self._skew + timedelta(seconds=asyncio.get_running_loop().time())

    def _store_id(self) -> str:
        self._ids += 1
        return f"{self.name}-{self._incarnation}-{self._ids}"
