"""What goes wrong before, during and after a change of primary, at the moments when it hurts most."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from sim.fault_rows import Kinds
from sim.regions.stage import Stage, both_ways
from sim.regions.verdict import check_choice

if TYPE_CHECKING:
    from sim.regions.operators import OperatorHost
    from sim.world import World

CALM_SECONDS = 15.0
"""Seconds after all was repaired and every replica was started; from then on nothing is left for which a failover could
begin by itself."""


class FailoverFaults:
    """Kinds of faults; see :class:`sim.regions.faults.RegionFaults`."""

    def __init__(self, stage: Stage, world: World) -> None:
        self._stage = stage
        self._rng = stage.rng
        self._violated = world.violated
        self.loss_accepted: set[int] = set()
        """Epochs of failovers for which somebody had accepted a loss."""
        self._step_reached = asyncio.Event()
        self._awaited: tuple[str, ...] = ()
        self._repaired_at = float("inf")
        self._newest_epoch = 0
        stage.kube.on_intent = self._intent
        self.kinds: Kinds = [
            (4, self._lose_primary_with_a_tail),
            (3, self._lose_primaries_in_a_row),
            (3, self.return_during_failover),
            (3, self.force_while_unseen),
            (1, self._lose_status_amid_failover),
        ]

    def end(self) -> None:
        """Everything has just been repaired."""
        self._repaired_at = asyncio.get_running_loop().time()

    def _intent(self, intent: dict[str, Any], operator: OperatorHost) -> None:
        kube = self._stage.kube
        if intent.get("epoch", 0) > self._newest_epoch:
            self._newest_epoch = intent["epoch"]
            started_at = max(host.started_at for host in self._stage.fleet.wanted())
            calm_seconds = asyncio.get_running_loop().time() - max(self._repaired_at, started_at)
            if intent["mode"] == "Automatic" and calm_seconds > CALM_SECONDS:
                self._violated(
                    f"{operator.name} begins a failover {calm_seconds:.0f} s after all was repaired and runs: {intent}"
                )
        check_choice(intent, operator, kube, self._violated)
        if "replicatedstore.io/accept-data-loss" in kube.annotations and intent.get("step") == "Promoting":
            self.loss_accepted.add(intent["epoch"])
        if intent.get("step") in self._awaited:
            self._step_reached.set()

    async def _lose_primary_with_a_tail(self) -> None:
        """What the primary acknowledges meanwhile no other region gets, and then it is lost for long enough."""
        stage, rng = self._stage, self._rng
        region = stage.primary()
        others = set(stage.regions) - {region}
        deaf = {other for other in sorted(others) if rng.random() < 0.8}
        pairs = {(region, other) for other in deaf}
        if rng.random() < 0.5:
            stage.wires.extra_seconds = rng.uniform(0.2, 1.0)
            stage.trace.fault(f"lines are {stage.wires.extra_seconds:.1f} s slower")
        else:
            stage.trace.fault(f"cut {region} from {sorted(deaf)}")
            stage.wires.cut(pairs)
        await asyncio.sleep(rng.uniform(0.1, 1.5))
        power = rng.random() < 0.5
        for host in stage.fleet.region(region):
            host.crash(power=power)
        stage.wires.extra_seconds = 0.0
        stage.wires.heal(pairs)
        await stage.changed_from(region)
        await stage.start(stage.fleet.region(region))

    async def _lose_primaries_in_a_row(self) -> None:
        """Each new primary is lost as well; they come back in any order, or all at once."""
        stage, rng = self._stage, self._rng
        lost: list[str] = []
        for _ in range(rng.choice([2, 2, 3])):
            region = stage.primary()
            if region not in lost:
                lost.append(region)
            for host in stage.fleet.region(region):
                host.crash(power=rng.random() < 0.3)
            await stage.changed_from(region)
            if len(lost) * 2 > len(stage.regions) or rng.random() < 0.4:
                back = lost.pop(rng.randrange(len(lost)))
                await stage.start(stage.fleet.region(back))
        rng.shuffle(lost)
        for region in lost:
            await stage.start(stage.fleet.region(region))

    async def return_during_failover(self) -> None:
        """The primary is cut off until a failover has begun; then it is back for everybody but the operators, and the
        others' processes are new ones.
        """
        stage = self._stage
        region = stage.primary()
        others = set(stage.regions) - {region}
        lines = both_ways({region}, others)
        away = both_ways({region}, stage.operator_sites)
        stage.trace.fault(f"cut {region} from the other regions and the operators")
        stage.wires.cut(lines | away)
        await self._restart_at_a_step(others)
        stage.trace.fault(f"{region} is back for the other regions")
        stage.wires.heal(lines)
        await asyncio.sleep(self._rng.uniform(0.5, 6.0))
        stage.trace.fault(f"{region} is back for the operators")
        stage.wires.heal(away)

    async def force_while_unseen(self) -> None:
        """Operators alone cannot see the primary, and somebody forces a failover; its voters' processes are new ones
        soon after they were fenced.
        """
        stage, rng = self._stage, self._rng
        region = stage.primary()
        others = set(stage.regions) - {region}
        if not others:
            return
        away = both_ways({region}, stage.operator_sites)
        stage.trace.fault(f"cut {region} from the operators")
        stage.wires.cut(away)
        await asyncio.sleep(rng.choice([0.1, 2.5]))
        wanted = {"failover_to": rng.choice(sorted(others)), "failover_mode": "forced"}
        if rng.random() < 0.6:
            wanted["accept_data_loss"] = str(stage.kube.status.get("epoch", 1))
        stage.ask(**wanted)
        await self._restart_at_a_step(others)
        await asyncio.sleep(rng.uniform(0.5, 5.0))
        stage.trace.fault(f"{region} is back for the operators")
        stage.wires.heal(away)

    async def _lose_status_amid_failover(self) -> None:
        """Operators alone cannot see the primary, somebody forces a failover, and once regions are fenced for it the
        status is lost, the operators with it.
        """
        stage, rng = self._stage, self._rng
        region = stage.primary()
        others = set(stage.regions) - {region}
        if not others:
            return
        away = both_ways({region}, stage.operator_sites)
        stage.trace.fault(f"cut {region} from the operators")
        stage.wires.cut(away)
        await asyncio.sleep(2.5)
        epoch = str(stage.kube.status.get("epoch", 1))
        stage.ask(failover_to=rng.choice(sorted(others)), failover_mode="forced", accept_data_loss=epoch)
        await self._reach("Waiting", "Promoting")
        for operator in stage.operators:
            operator.crash()
        stage.trace.fault("the status is lost")
        stage.kube.restore_status({})
        await asyncio.sleep(rng.uniform(0.1, 3.0))
        for operator in stage.operators:
            operator.start()
        stage.trace.fault(f"{region} is back for the operators")
        stage.wires.heal(away)

    async def _reach(self, *steps: str) -> None:
        """Returns as soon as a change of primary gets to one of these steps, or after a while."""
        self._awaited = steps
        self._step_reached.clear()
        await asyncio.wait([asyncio.ensure_future(self._step_reached.wait())], timeout=8.0)
        self._awaited = ()

    async def _restart_at_a_step(self, regions: set[str]) -> None:
        """As soon as a change of primary gets to a step, or after a while."""
        rng = self._rng
        await self._reach(rng.choice(["Fencing", "Waiting", "Waiting", "Promoting", "Repointing"]))
        await asyncio.sleep(rng.choice([0.0, 0.0, 0.1, 0.5]))
        for region in sorted(regions):
            if rng.random() < 0.6:
                for host in self._stage.fleet.region(region):
                    if host.wanted and not host.stopping:
                        host.crash(power=False)
                        host.start()
