"""What goes wrong between regions, operators and the Kubernetes API, and what people ask for at the wrong moment."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

from sim.regions.host import Host
from sim.regions.kube import Kube
from sim.regions.operators import OperatorHost
from sim.regions.shape import Shape
from sim.regions.sites import API_SITE, clients_site
from sim.regions.verdict import check_choice
from sim.regions.wires import Wires
from sim.world import World

Fault = Callable[[], Awaitable[None]]
Pairs = set[tuple[str, str]]


class RegionFaults:
    """Each fault is a coroutine that makes something go wrong, waits, and undoes it."""

    def __init__(
        self,
        hosts: dict[str, list[Host]],
        operators: list[OperatorHost],
        kube: Kube,
        wires: Wires,
        rng: random.Random,
        world: World,
        shape: Shape,
    ) -> None:
        self._hosts = hosts
        self._regions = list(hosts)
        self._operators = operators
        self._kube = kube
        self._wires = wires
        self._rng = rng
        self._trace = world.trace
        self._violated = world.violated
        self.loss_accepted: set[int] = set()
        """Epochs of failovers for which somebody had accepted a loss."""
        self._fuse: int | None = None
        self._step_reached = asyncio.Event()
        self._awaited: tuple[str, ...] = ()
        kube.on_intent = self._intent
        for operator in operators:
            operator.on_step = self._step
        self._kinds = self._amid_failovers() if shape.amid_failovers else self._all()

    def _amid_failovers(self) -> list[tuple[float, Fault]]:
        return [
            (4, self._force_while_unseen),
            (2, self._return_during_failover),
            (1, self._kill_operator_at_a_step),
            (1, self._lose_replica),
            (2, self._stall),
        ]

    def _all(self) -> list[tuple[float, Fault]]:
        return [
            (3, self._lose_region),
            (4, self._lose_primary_with_a_tail),
            (3, self._lose_primaries_in_a_row),
            (3, self._return_during_failover),
            (3, self._force_while_unseen),
            (2, self._lose_replica),
            (2, self._stop_replica),
            (3, self._stall),
            (2, self._split_region),
            (4, self._cut_regions),
            (3, self._isolate_region),
            (2, self._cut_operator),
            (3, self._kill_operator),
            (4, self._kill_operator_at_a_step),
            (1, self._api_away),
            (2, self._slow_lines),
            (2, self._drop_connections),
            (5, self._ask_for_something),
            (1, self._pause),
        ]

    async def run(self, seconds: float, concurrent: int) -> None:
        """Faults one after the other, in ``concurrent`` rows at a time."""
        rows = [asyncio.ensure_future(self._row()) for _ in range(concurrent)]
        await asyncio.sleep(seconds)
        for row in rows:
            row.cancel()
        for row in await asyncio.gather(*rows, return_exceptions=True):
            if isinstance(row, Exception):
                raise row

    async def _row(self) -> None:
        while True:
            await asyncio.sleep(self._rng.uniform(0.0, 1.5))
            fault = self._rng.choices([kind for _, kind in self._kinds], [weight for weight, _ in self._kinds])[0]
            await fault()

    def end(self) -> None:
        """Everything works again, and nothing is asked for any more."""
        self._fuse = None
        self._wires.heal()
        self._wires.extra_seconds = 0.0
        self._kube.down = False
        self._kube.annotate(paused=None)
        for hosts in self._hosts.values():
            hosts[0].network.heal()
            for host in hosts:
                if host.stopping:
                    host.crash(power=False)
                if host.wanted and not host.running:
                    host.start()
        for operator in self._operators[1:]:
            operator.crash()
        self._operators[0].start()
        self._trace.fault("all is repaired")

    # ------------------------------------------------------------------ regions

    def _primary(self) -> str:
        return str(self._kube.status.get("primaryRegion") or self._regions[0])

    def _some_region(self) -> str:
        """The primary, more often than not."""
        return self._primary() if self._rng.random() < 0.55 else self._rng.choice(self._regions)

    def _while_seconds(self) -> float:
        return self._rng.choice([0.3, 1.5, 4.0, 8.0]) * self._rng.uniform(0.5, 1.5)

    async def _lose_region(self) -> None:
        hosts = self._hosts[self._some_region()]
        power = self._rng.random() < 0.5
        for host in hosts:
            host.crash(power=power)
        await asyncio.sleep(self._while_seconds())
        await self._start(hosts)

    async def _lose_primary_with_a_tail(self) -> None:
        """What the primary acknowledges meanwhile no other region gets, and then it is lost for long enough."""
        region = self._primary()
        others = set(self._regions) - {region}
        deaf = {other for other in others if self._rng.random() < 0.8}
        pairs = {(region, other) for other in deaf}
        if self._rng.random() < 0.5:
            self._wires.extra_seconds = self._rng.uniform(0.2, 1.0)
            self._trace.fault(f"lines are {self._wires.extra_seconds:.1f} s slower")
        else:
            self._trace.fault(f"cut {region} from {sorted(deaf)}")
            self._wires.cut(pairs)
        await asyncio.sleep(self._rng.uniform(0.1, 1.5))
        power = self._rng.random() < 0.5
        for host in self._hosts[region]:
            host.crash(power=power)
        self._wires.extra_seconds = 0.0
        self._wires.heal(pairs)
        await self._changed_from(region)
        await self._start(self._hosts[region])

    async def _changed_from(self, region: str) -> None:
        """Until another region is primary, or for as long as one may wait for that here."""
        for _ in range(40):
            if self._primary() != region:
                break
            await asyncio.sleep(0.25)
        await asyncio.sleep(self._rng.choice([0.0, 0.5, 3.0]))

    def _intent(self, intent: dict[str, Any], operator: OperatorHost) -> None:
        check_choice(intent, operator, self._kube, self._violated)
        if "replicatedstore.io/accept-data-loss" in self._kube.annotations and intent.get("step") == "Promoting":
            self.loss_accepted.add(intent["epoch"])
        if intent.get("step") in self._awaited:
            self._step_reached.set()

    def _lines(self, one: set[str], other: set[str]) -> Pairs:
        return {(a, b) for a in one for b in other} | {(b, a) for a in one for b in other}

    async def _return_during_failover(self) -> None:
        """The primary is cut off until a failover has begun; then it is back for everybody but the operators, and the
        others' processes are new ones.
        """
        region = self._primary()
        others = set(self._regions) - {region}
        lines = self._lines({region}, others)
        away = self._lines({region}, {operator.site for operator in self._operators})
        self._trace.fault(f"cut {region} from the other regions and the operators")
        self._wires.cut(lines | away)
        await self._restart_at_a_step(others)
        self._trace.fault(f"{region} is back for the other regions")
        self._wires.heal(lines)
        await asyncio.sleep(self._rng.uniform(0.5, 6.0))
        self._trace.fault(f"{region} is back for the operators")
        self._wires.heal(away)

    async def _force_while_unseen(self) -> None:
        """Operators alone cannot see the primary, and somebody forces a failover; its voters' processes are new ones
        soon after they were fenced.
        """
        region = self._primary()
        others = set(self._regions) - {region}
        away = self._lines({region}, {operator.site for operator in self._operators})
        self._trace.fault(f"cut {region} from the operators")
        self._wires.cut(away)
        await asyncio.sleep(self._rng.choice([0.1, 2.5]))
        wanted = {"failover_to": self._rng.choice(sorted(others)), "failover_mode": "forced"}
        if self._rng.random() < 0.6:
            wanted["accept_data_loss"] = str(self._kube.status.get("epoch", 1))
        self._ask(**wanted)
        await self._restart_at_a_step(others)
        await asyncio.sleep(self._rng.uniform(0.5, 5.0))
        self._trace.fault(f"{region} is back for the operators")
        self._wires.heal(away)

    async def _restart_at_a_step(self, regions: set[str]) -> None:
        """As soon as a change of primary gets to a step, or after a while."""
        self._awaited = self._rng.choice([("Fencing",), ("Waiting",), ("Waiting",), ("Promoting",), ("Repointing",)])
        self._step_reached.clear()
        await asyncio.wait([asyncio.ensure_future(self._step_reached.wait())], timeout=8.0)
        self._awaited = ()
        await asyncio.sleep(self._rng.choice([0.0, 0.0, 0.1, 0.5]))
        for region in sorted(regions):
            if self._rng.random() < 0.6:
                for host in self._hosts[region]:
                    if host.wanted and not host.stopping:
                        host.crash(power=False)
                        host.start()

    async def _lose_primaries_in_a_row(self) -> None:
        """Each new primary is lost as well; they come back in any order, or all at once."""
        lost: list[str] = []
        for _ in range(self._rng.choice([2, 2, 3])):
            region = self._primary()
            if region not in lost:
                lost.append(region)
            for host in self._hosts[region]:
                host.crash(power=self._rng.random() < 0.3)
            await self._changed_from(region)
            if len(lost) * 2 > len(self._regions) or self._rng.random() < 0.4:
                back = lost.pop(self._rng.randrange(len(lost)))
                await self._start(self._hosts[back])
        self._rng.shuffle(lost)
        for region in lost:
            await self._start(self._hosts[region])

    async def _start(self, hosts: list[Host]) -> None:
        for host in hosts:
            await asyncio.sleep(self._rng.uniform(0.0, 0.3))
            if host.wanted and not host.running:
                host.start()

    async def _lose_replica(self) -> None:
        host = self._rng.choice(self._hosts[self._some_region()])
        host.crash(power=self._rng.random() < 0.5)
        await asyncio.sleep(self._rng.choice([0.05, 0.5, 2.0]))
        await self._start([host])

    async def _stop_replica(self) -> None:
        host = self._rng.choice(self._hosts[self._some_region()])
        await host.stop()
        await self._start([host])

    async def _stall(self) -> None:
        """A process does not get to run for a while, and does not notice."""
        hosts = [host for host in self._hosts[self._some_region()] if host.process is not None]
        stalled: list[Host | OperatorHost] = [*hosts, *self._operators]
        for one in self._rng.sample(stalled, self._rng.choice([1, 1, 2]) if len(stalled) > 1 else 1):
            seconds = self._rng.choice([0.2, 1.0, 3.0, 6.0]) * self._rng.uniform(0.5, 1.5)
            if one.process is not None:
                self._trace.fault(f"{one.name} stalls for {seconds:.1f} s")
                one.process.pause(seconds)
        await asyncio.sleep(self._rng.uniform(0.0, 3.0))

    async def _split_region(self) -> None:
        """A replica cannot reach the others of its region; everybody else reaches them all."""
        large = [hosts for hosts in self._hosts.values() if len(hosts) > 1]
        if not large:
            return
        hosts = self._rng.choice(large)
        host = next((found for found in hosts if found.leads), hosts[0])
        network = host.network
        self._trace.fault(f"split {host.name} from its region")
        network.isolate({host.name}, {found.name for found in hosts}, outward=self._rng.random() < 0.8)
        await asyncio.sleep(self._while_seconds())
        self._trace.fault(f"{host.name} is back with its region")
        network.heal()

    # ------------------------------------------------------------------ lines

    async def _cut_for_a_while(self, pairs: Pairs, what: str) -> None:
        self._trace.fault(f"cut {what}")
        self._wires.cut(pairs)
        await asyncio.sleep(self._while_seconds())
        self._trace.fault(f"heal {what}")
        self._wires.heal(pairs)

    def _between(self, one: set[str], other: set[str]) -> Pairs:
        there = {(a, b) for a in one for b in other if a != b}
        back = {(b, a) for a, b in there}
        return self._rng.choice([there | back, there | back, there, back])

    async def _cut_regions(self) -> None:
        part = set(self._rng.sample(self._regions, self._rng.randint(1, len(self._regions) - 1)))
        rest = set(self._regions) - part
        await self._cut_for_a_while(self._between(part, rest), f"{sorted(part)} from {sorted(rest)}")

    async def _isolate_region(self) -> None:
        """From all but its clients, or from those as well."""
        region = self._some_region()
        others = set(self._regions) - {region} | {operator.site for operator in self._operators} | {API_SITE}
        others |= {clients_site(other) for other in self._regions if other != region}
        if self._rng.random() < 0.3:
            others.add(clients_site(region))
        await self._cut_for_a_while(self._between({region}, others), f"{region} from everybody")

    async def _cut_operator(self) -> None:
        sites = {operator.site for operator in self._operators if self._rng.random() < 0.7}
        regions = set(self._regions) if self._rng.random() < 0.3 else {self._some_region()}
        await self._cut_for_a_while(self._between(sites, regions), f"{sorted(sites)} from {sorted(regions)}")

    async def _slow_lines(self) -> None:
        self._wires.extra_seconds = self._rng.choice([0.05, 0.2, 0.8])
        self._trace.fault(f"lines are {self._wires.extra_seconds} s slower")
        await asyncio.sleep(self._while_seconds())
        self._wires.extra_seconds = 0.0
        self._trace.fault("lines are as before")

    async def _drop_connections(self) -> None:
        one, other = self._rng.sample(self._regions, 2)
        self._trace.fault(f"connections of {one} and {other} break")
        for _ in range(self._rng.choice([1, 1, 5])):
            self._wires.drop(one, other)
            await asyncio.sleep(self._rng.uniform(0.0, 0.4))

    # ------------------------------------------------------------------ operators and their API

    async def _kill_operator(self) -> None:
        operator = self._rng.choice(self._operators)
        operator.crash()
        await asyncio.sleep(self._rng.choice([0.1, 1.0, 5.0]))
        operator.start()

    def _step(self, operator: OperatorHost, what: str) -> None:
        if self._fuse is None:
            return
        self._fuse -= 1
        if self._fuse < 0:
            self._fuse = None
            self._trace.fault(f"{operator.name} {what}")
            operator.crash()

    async def _kill_operator_at_a_step(self) -> None:
        """At any of its next requests; it comes back soon."""
        self._fuse = self._rng.randint(0, 12)
        await asyncio.sleep(self._rng.uniform(0.2, 3.0))
        self._fuse = None
        for operator in self._operators:
            operator.start()

    async def _api_away(self) -> None:
        self._trace.fault("the Kubernetes API is away")
        self._kube.down = True
        await asyncio.sleep(self._while_seconds())
        self._kube.down = False
        self._trace.fault("the Kubernetes API is back")

    # ------------------------------------------------------------------ people

    def _ask(self, **wanted: str) -> None:
        self._trace.fault(f"asked for {wanted}")
        self._kube.annotate(**wanted)

    async def _ask_for_something(self) -> None:
        region = self._rng.choice([*self._regions, *self._regions, *self._regions, "nowhere"])
        draw = self._rng.random()
        if draw < 0.45:
            self._ask(failover_to=region)
        elif draw < 0.60:
            self._ask(failover_to=region, failover_mode="forced")
        elif draw < 0.70:
            epoch = self._kube.status.get("epoch", 1)
            self._ask(failover_to=region, failover_mode="forced", accept_data_loss=str(epoch))
        elif draw < 0.80:
            self._ask(abort_failover="true")
        elif draw < 0.90:
            self._ask(failover_to=region)
            await asyncio.sleep(self._rng.uniform(0.0, 0.5))
            self._ask(abort_failover="true")
        else:
            self._ask(failover_dry_run=region)
        await asyncio.sleep(self._rng.uniform(0.0, 2.0))

    async def _pause(self) -> None:
        self._trace.fault("paused")
        self._kube.annotate(paused="true")
        await asyncio.sleep(self._while_seconds())
        self._kube.annotate(paused=None)
        self._trace.fault("not paused any more")
