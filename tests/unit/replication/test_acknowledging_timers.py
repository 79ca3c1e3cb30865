"""A timer that comes a moment early does not make a write wait twice as long for the rule to be given up."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

from rstore_api import errors
from rstore_api.domain.topology import RegionTopology, SyncRule, Topology
from rstore_replica.raft.types import Role
from rstore_replica.replication.acknowledging import Acknowledging
from rstore_replica.replication.semi_sync import SemiSync

EARLY_SECONDS = 1e-6


class CreepingClock:
    """Every look at it takes a moment, and its timers come a little early."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.timers: list[tuple[float, Callable[[], None]]] = []

    def monotonic(self) -> float:
        self.now += 2 * EARLY_SECONDS
        return self.now

    def call_later(self, delay_seconds: float, callback: Callable[[], None]) -> SimpleNamespace:
        entry = (self.now + delay_seconds - 3 * EARLY_SECONDS, callback)
        self.timers.append(entry)
        return SimpleNamespace(cancel=lambda: self.timers.remove(entry) if entry in self.timers else None)

    def run_until(self, end: float) -> None:
        while self.timers and min(self.timers)[0] <= end:
            entry = min(self.timers, key=lambda timer: timer[0])
            self.timers.remove(entry)
            self.now = max(self.now, entry[0])
            entry[1]()


async def test_the_rule_is_given_up_after_one_timeout() -> None:
    clock, semi_sync = CreepingClock(), SemiSync()
    regions = tuple(RegionTopology(name, ()) for name in ("east", "west"))
    topology = Topology(1, 1, "east", regions, SyncRule(1, timeout_ms=1000, degrade=True))
    state = SimpleNamespace(epoch=1, promised_epoch=1, primary=True, writable=True, topology=topology, store_id="s")
    machine = SimpleNamespace(state=state, revision=7, compact_revision=1)
    group = SimpleNamespace(role=Role.LEADER, term=1)
    tenure = SimpleNamespace(
        promised=0, held=lambda _epoch: True, hurry=lambda: None, announce=lambda _epoch, _term, _guarantee: None
    )
    progress = SimpleNamespace(urgent=False)
    acknowledging = Acknowledging(
        machine=machine, group=group, clock=clock, region="east", semi_sync=semi_sync, tenure=tenure, progress=progress
    )
    acknowledging._finding_start = SimpleNamespace()
    reported: list[tuple[float, errors.StoreError | None]] = []
    began = clock.now
    acknowledging.settle(1, 7, lambda error: reported.append((clock.now, error)))
    clock.run_until(began + 5.0)
    [(at, error)] = reported
    assert error is None
    assert at - began < 1.01
