"""Hazard 13: a damaged dump is swallowed, and the replica then never applies again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hazards.hazard_groups import QUICK, Listing, make_group, until
from hazards.hazard_stock import StockGroup
from rstore_replica.raft import JournalDamaged


def test_hazard_13_stock_starts_on_a_damaged_dump_and_never_applies_again(tmp_path: Path) -> None:
    group = StockGroup("a", tmp_path, fullDumpFile=str(tmp_path / "dump"), useFork=False)
    group.elect("a")
    for number in range(20):
        group.put("a", number)
    group.settle()
    group.replicas["a"].forceLogCompaction()
    group.settle()
    assert group.log("a")[0][0] > 10
    group.replicas["a"].destroy()
    dump = bytearray((tmp_path / "dump").read_bytes())
    dump[len(dump) // 2] ^= 0xFF
    (tmp_path / "dump").write_bytes(dump)
    again = group.start("a")
    group.elect("a")
    answers = group.put("a", "after")
    group.settle(rounds=50)
    assert group.private("a", "raftCommitIndex") == group.last_index("a")  # committed
    assert (again.values, answers) == ([], [])  # and applied never


async def checkpointed(directory: Path) -> Path:
    """Makes a replica's data with a checkpoint whose log is compacted; returns the checkpoint."""
    machine = Listing()
    group = make_group(directory, machine, config=replace(QUICK, checkpoint_entries=100, trailing_entries=5))
    await group.start()
    for number in range(150):
        await group.propose(b"%d" % number, timeout_seconds=5)
    checkpoints = directory / "checkpoints"
    await until(lambda: any("-" in path.name for path in checkpoints.iterdir()), "a checkpoint")
    await group.stop()
    [found] = [path for path in checkpoints.iterdir() if "-" in path.name]
    return found


async def test_hazard_13_ours_starts_from_a_sound_checkpoint(tmp_path: Path) -> None:
    await checkpointed(tmp_path)
    machine = Listing()
    group = make_group(tmp_path, machine)
    await group.start()
    assert await group.propose(b"after", timeout_seconds=5)
    await group.stop()
    assert machine.values == [*(b"%d" % number for number in range(150)), b"after"]


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x01
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("data/list", _flip),
        ("data/list", lambda path: path.write_bytes(path.read_bytes()[:-1])),
        ("data/list", Path.unlink),
        ("data/list", lambda path: (path.parent / "more").write_bytes(b"")),
        ("manifest.json", lambda path: path.write_bytes(path.read_bytes()[:-3])),
        ("manifest.json", Path.unlink),
    ],
    ids=["bit", "short", "gone", "more", "manifest-short", "manifest-gone"],
)
async def test_hazard_13_ours_stops_at_a_damaged_one_and_names_it(
    tmp_path: Path, file: str, damage: Callable[[Path], object]
) -> None:
    checkpoint = await checkpointed(tmp_path)
    damage(checkpoint / file)
    machine = Listing()
    with pytest.raises(JournalDamaged, match=checkpoint.name):
        await make_group(tmp_path, machine).start()
    assert machine.values == []
