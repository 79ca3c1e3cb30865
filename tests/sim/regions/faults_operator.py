"""What goes wrong with operators and with the Kubernetes API."""

from __future__ import annotations

import asyncio

from sim.fault_rows import Kinds
from sim.regions.operators import OperatorHost
from sim.regions.stage import Stage


class OperatorFaults:
    """Kinds of faults; see :class:`sim.regions.faults.RegionFaults`."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._rng = stage.rng
        self._fuse: int | None = None
        for operator in stage.operators:
            operator.on_step = self._step
        self.kinds: Kinds = [
            (3, self._kill_operator),
            (4, self.kill_operator_at_a_step),
            (1, self._api_away),
            (1, self._api_times_out),
        ]

    def end(self) -> None:
        """One operator runs, and nothing more happens to it."""
        self._fuse = None
        self._stage.kube.down = False
        self._stage.kube.times_out = 0.0
        for operator in self._stage.operators[1:]:
            operator.crash()
        self._stage.operators[0].start()

    async def _kill_operator(self) -> None:
        operator = self._rng.choice(self._stage.operators)
        operator.crash()
        await asyncio.sleep(self._rng.choice([0.1, 1.0, 5.0]))
        operator.start()

    def _step(self, operator: OperatorHost, what: str) -> None:
        if self._fuse is None:
            return
        self._fuse -= 1
        if self._fuse < 0:
            self._fuse = None
            self._stage.trace.fault(f"{operator.name} {what}")
            operator.crash()

    async def kill_operator_at_a_step(self) -> None:
        """At any of its next requests; it comes back soon."""
        self._fuse = self._rng.randint(0, 12)
        await asyncio.sleep(self._rng.uniform(0.2, 3.0))
        self._fuse = None
        for operator in self._stage.operators:
            operator.start()

    async def _api_away(self) -> None:
        self._stage.trace.fault("the Kubernetes API is away")
        self._stage.kube.down = True
        await asyncio.sleep(self._stage.while_seconds())
        self._stage.kube.down = False
        self._stage.trace.fault("the Kubernetes API is back")

    async def _api_times_out(self) -> None:
        """Every other write to the status is carried out, and answered as if it had not been; and somebody edits the
        object all the time, so that many of the others come too late.
        """
        kube = self._stage.kube
        self._stage.trace.fault("the Kubernetes API times out")
        kube.times_out = 0.5
        asked_for = self._rng.choice(self._stage.regions)
        if self._rng.random() < 0.5 and "replicatedstore.io/failover-to" not in kube.annotations:
            self._stage.ask(failover_to=asked_for)
        for number in range(self._rng.choice([10, 40])):
            kube.annotate(edited=str(number))
            await asyncio.sleep(0.2)
        kube.annotate(edited=None)
        kube.times_out = 0.0
        self._stage.trace.fault("the Kubernetes API is well")
