"""How much a replica does at its start depends on what came after its last checkpoint, not on how long the log was."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from crash.one_replica import OneReplica
from rstore_replica.raft import RaftConfig

CONFIG = RaftConfig(segment_bytes=64 * 1024, checkpoint_entries=150, trailing_entries=60)
AFTER = 70
"""Number of entries written after the last checkpoint."""


async def grow(replica: OneReplica, checkpoints: int) -> None:
    """Writes until that many checkpoints have been made, then some entries more."""
    for _ in range(checkpoints):
        before = replica.checkpointed()
        deadline = asyncio.get_running_loop().time() + 60
        puts = (replica.put_many([b"key-%d" % (number % 50)], b"v" * 50) for number in range(CONFIG.checkpoint_entries))
        await asyncio.gather(*puts)
        while replica.checkpointed() == before:
            assert asyncio.get_running_loop().time() < deadline, "no checkpoint"
            await replica.put_many([b"tick"], b"")
            await asyncio.sleep(0.01)
    for number in range(AFTER):
        await replica.put_many([b"last-%d" % number], b"v")


@pytest.mark.parametrize("power", [False, True], ids=["process", "power"])
async def test_a_start_replays_no_more_after_a_longer_log(tmp_path: Path, power: bool) -> None:
    replayed: dict[int, int] = {}
    entries: dict[int, int] = {}
    replica = OneReplica(tmp_path, CONFIG)
    await replica.start()
    await replica.bootstrap()
    for length in (1, 5):
        await grow(replica, length)
        last, revision, checkpoint = replica.machine.applied_index, replica.machine.revision, replica.checkpointed()
        await replica.stop()
        if power:
            replica.lose_power()
        await replica.start()
        await replica.put_many([b"after"], b"")
        assert replica.machine.revision == revision + 1
        again = [index for index in replica.counting.given if index <= last]
        replayed[length] = len(again)
        if power:
            assert not again or again[0] > checkpoint - CONFIG.trailing_entries
        entries[length] = replica.group._journal.last_index - replica.group._journal.first_index
    await replica.stop()
    assert last > 4 * CONFIG.checkpoint_entries
    bound = 2 * CONFIG.checkpoint_entries + AFTER
    assert max(replayed.values()) <= (bound if power else 1), replayed
    assert max(entries.values()) <= bound + CONFIG.trailing_entries, entries
    assert not power or min(replayed.values()) >= AFTER


async def test_what_the_log_has_grown_by_is_not_forgotten_at_a_start(tmp_path: Path) -> None:
    """A replica that is started again and again makes its checkpoints all the same."""
    replica = OneReplica(tmp_path, RaftConfig(checkpoint_bytes=100_000))
    for life in range(3):
        await replica.start()
        if not life:
            await replica.bootstrap()
        await replica.put_many([b"key"], b"v" * 40_000)
        for _ in range(500):  # one is begun when something happens
            if life < 2 or replica.checkpointed():
                break
            await replica.group.barrier(timeout_seconds=10)
            await asyncio.sleep(0.01)
        assert (replica.checkpointed() > 0) == (life == 2)
        await replica.stop()
