"""The clock by which tenures are measured goes on while the machine is suspended."""

from __future__ import annotations

import time

import pytest
from rstore_replica.raft.clock import SystemClock
from rstore_replica.replication.tenure.rules import TenureHolder


class Machine:
    """The clocks of a machine as Linux keeps them."""

    def __init__(self) -> None:
        self.running = 1000.0
        self.suspended = 0.0

    def monotonic(self) -> float:
        return self.running

    def clock_gettime(self, clock: int) -> float:
        counts = clock == time.CLOCK_BOOTTIME
        return self.running + (self.suspended if counts else 0.0)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    found = Machine()
    monkeypatch.setattr(time, "monotonic", found.monotonic)
    monkeypatch.setattr(time, "clock_gettime", found.clock_gettime)
    return found


def test_a_tenure_runs_out_while_the_machine_is_suspended(machine: Machine) -> None:
    clock, tenure = SystemClock(), TenureHolder()
    tenure.begin(1, frozenset({"a", "b", "c"}), 1)
    for voter in ("a", "b"):
        number = tenure.newest_round or tenure.start_round(clock.monotonic())
        assert tenure.granted(1, number, voter, 3.0)
    machine.running += 1.0
    assert tenure.held(1, clock.monotonic())
    machine.suspended += 60.0
    assert not tenure.held(1, clock.monotonic())


def test_time_passes_as_elsewhere() -> None:
    clock = SystemClock()
    before, began = time.monotonic(), clock.monotonic()
    while time.monotonic() < before + 0.05:
        assert clock.monotonic() >= began
    assert 0.04 < clock.monotonic() - began < 30.0
