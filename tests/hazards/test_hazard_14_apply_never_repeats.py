"""Hazard 14: an exception in apply repeats for ever, and nothing after it is ever applied."""

from __future__ import annotations

from pathlib import Path

import pytest
from hazards.hazard_groups import Listing, make_group
from hazards.hazard_stock import StockGroup
from rstore_api.errors import OutcomeUnknown, ShuttingDown, StoreError
from rstore_replica.mvcc.machine import Machine


def test_hazard_14_stock_repeats_it_at_every_tick() -> None:
    group = StockGroup("a")
    group.elect("a")
    group.settle()
    bad = group.put("a", "raise")
    good = group.put("a", "good")
    group.tick("a")
    for _ in range(20):
        group.clock.advance(0.11)
        with pytest.raises(RuntimeError, match="a bug in apply"):
            group.tick("a")
    assert (bad, good, group.replicas["a"].values) == ([], [], [])


async def test_hazard_14_ours_stops_the_process_once(tmp_path: Path) -> None:
    failures: list[BaseException] = []
    machine = Listing()
    group = make_group(tmp_path, machine, on_fatal=failures.append)
    await group.start()
    await group.propose(b"good", timeout_seconds=5)
    with pytest.raises(OutcomeUnknown):
        await group.propose(b"raise", timeout_seconds=5)
    with pytest.raises(ShuttingDown):
        await group.propose(b"later", timeout_seconds=5)
    await group.stop()
    assert [str(error) for error in failures] == ["a bug in apply"]
    assert machine.values == [b"good"]


@pytest.mark.parametrize("entry", [b"", b"\0", b"\xff" * 40, b"\x0a\xff\xff\xff\xff\x0f"], ids=range(4))
async def test_hazard_14_ours_answers_what_it_cannot_read_with_an_error(tmp_path: Path, entry: bytes) -> None:
    machine = Machine.open(tmp_path, region="us-east")
    try:
        result = machine.apply(2, 1, entry)
        assert result is None or isinstance(result, StoreError)
        assert machine.applied_index == 2
        assert machine.revision == 1
    finally:
        machine.close()
