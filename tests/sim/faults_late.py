"""Messages that arrive when what they speak of is long over: answers to an earlier term, a leader's last followers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from rstore_replica.raft import Role
from sim.network import Weather

if TYPE_CHECKING:
    from sim.faults import Faults

LONG_SILENCE_SECONDS = 60.0
"""Connections outlast the fault, so that what is late on them still arrives."""


class LateMessages:
    """More kinds of :class:`sim.faults.Faults`."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._network = faults.network
        self._rng = faults.rng
        self.kinds: list[tuple[float, Callable[[], Awaitable[None]]]] = [
            (3, self._old_votes),
            (1, self._old_acknowledgements),
            (2, self._deposed_unawares),
        ]

    async def _old_votes(self) -> None:
        """Nobody hears who votes for it, so all stand again and again; then two that stand in one term hear it all."""
        rng, faults, network = self._rng, self._faults, self._network
        leader = faults.leader()
        if leader is None or network.keep is not None:
            return
        loop = asyncio.get_running_loop()
        faults.trace.fault(f"votes are kept back, {leader.name} is cut off for a moment")
        network.keep = lambda _sender, _receiver, kind: kind == "vote_reply"
        network.silence_seconds = LONG_SILENCE_SECONDS
        network.weather = Weather(delay_seconds=(0.02, rng.choice([0.05, 0.1, 0.2])))
        network.isolate({leader.name}, faults.names)
        until = loop.time() + rng.uniform(4.0, 6.0)
        rivals: set[tuple[str, str]] = set()
        while loop.time() < until and not (rivals and len(network.kept) > len(faults.names) // 2):
            await asyncio.sleep(0.005)
            rivals = self._rivals()
            if leader is not None and not leader.leads:
                network.heal()
                leader = None
        network.heal()
        network.weather = Weather()
        network.cut(rivals)
        self._end(f"{len(network.kept)} votes arrive, {sorted(rivals)} do not hear of each other")
        await asyncio.sleep(rng.uniform(0.1, 0.7))
        network.heal()

    def _rivals(self) -> set[tuple[str, str]]:
        """Pairs of replicas that stand in the same term."""
        standing = [
            host.group.status()
            for host in self._faults.hosts
            if host.ready and host.group is not None and host.group.status().role is Role.CANDIDATE
        ]
        return {(a.name, b.name) for a in standing for b in standing if a.term == b.term and a.name != b.name}

    async def _old_acknowledgements(self) -> None:
        """A follower acknowledges what it then has to give up; its leader hears of that when it leads again."""
        rng, faults, network = self._rng, self._faults, self._network
        leader = faults.leader()
        if leader is None or len(faults.names) < 4 or network.keep is not None:
            return
        others = sorted(faults.names - {leader.name})
        friend, helper = rng.sample(others, 2)
        faults.trace.fault(f"split off {sorted({leader.name, friend})}, whose acknowledgements are kept back")
        network.keep = lambda sender, receiver, kind: (
            kind == "append_reply" and (sender, receiver) == (friend, leader.name)
        )
        network.silence_seconds = LONG_SILENCE_SECONDS
        network.isolate({leader.name, friend}, faults.names)
        await asyncio.sleep(rng.uniform(1.0, 2.0))
        faults.trace.fault("heal")
        network.heal()
        network.keep = None
        for _ in range(5):
            if leader.leads:
                break
            await faults.transfer(leader.name)
        faults.trace.fault(f"split off {sorted({leader.name, helper})}")
        network.isolate({leader.name, helper}, faults.names)
        await asyncio.sleep(rng.uniform(0.0, 0.5))
        self._end(f"{len(network.kept)} acknowledgements arrive")
        await asyncio.sleep(rng.uniform(0.1, 1.0))
        network.heal()

    async def _deposed_unawares(self) -> None:
        """A leader hears less and less of what is new, and nobody hears of it: it leads on after it was replaced."""
        rng, faults, network = self._rng, self._faults, self._network
        leader = faults.leader()
        if leader is None:
            return
        loop = asyncio.get_running_loop()
        began, longest = loop.time(), rng.uniform(1.5, 3.0)

        def lag(_sender: str, receiver: str, _kind: str) -> float:
            return min(longest, 2 * (loop.time() - began)) if receiver == leader.name else 0.0

        faults.trace.fault(f"what {leader.name} is told comes later and later")
        network.lag = lag
        network.silence_seconds = LONG_SILENCE_SECONDS
        await asyncio.sleep(longest / 2)
        network.isolate({leader.name}, faults.names, inward=False)
        faults.trace.fault(f"cut {leader.name} out=True in=False")
        await asyncio.sleep(rng.uniform(2.0, 3.5))
        network.heal()
        self._end("heal")

    def _end(self, what: str) -> None:
        self._faults.trace.fault(what)
        self._network.on_time()
