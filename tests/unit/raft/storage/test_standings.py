"""The file of promises: saved when something was learnt, at intervals; one that cannot be read is left out."""

from __future__ import annotations

from pathlib import Path

import pytest
from hazards.hazard_clock import HandClock
from rstore_replica.raft import LocalDisk
from rstore_replica.raft.membership import Membership, Replica
from rstore_replica.raft.standing import Standing
from rstore_replica.raft.storage.standings import SAVE_SECONDS, StandingsFile

MEMBERS = Membership((Replica("n1", ""),))


def promise(index: int) -> Standing:
    return Standing("n1", 0, 5, 1, index)


async def test_promises_are_there_after_a_restart_and_are_saved_at_intervals(tmp_path: Path) -> None:
    clock = HandClock()
    file = StandingsFile(tmp_path / "standings", LocalDisk(), clock)
    standings = file.load()
    for index, wait, saved in ((3, SAVE_SECONDS, 3), (4, SAVE_SECONDS / 2, 3), (5, SAVE_SECONDS, 5)):
        clock.advance(wait)
        standings.note(promise(index))
        file.consider(standings, MEMBERS)
        await file.stop()
        assert StandingsFile(tmp_path / "standings", LocalDisk(), clock).load().of(MEMBERS) == [promise(saved)]


@pytest.mark.parametrize("content", [b"", b"[{", b'[{"name": 3}]'])
def test_a_file_that_cannot_be_read_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "standings").write_bytes(content)
    assert StandingsFile(tmp_path / "standings", LocalDisk(), HandClock()).load().of(MEMBERS) == []
