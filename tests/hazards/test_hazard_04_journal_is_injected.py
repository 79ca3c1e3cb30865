"""Hazard 4: PySyncObj takes no journal; it makes its own from a file name."""

from __future__ import annotations

import inspect
import random
from pathlib import Path

from hazards.hazard_clock import HandClock
from hazards.hazard_stock import StockGroup, stock_module
from rstore_replica.raft import LocalDisk, RaftConfig
from rstore_replica.raft.consensus.syncobj import Engine
from rstore_replica.raft.storage.journal import Journal


def test_hazard_04_stock_has_no_place_for_a_journal(tmp_path: Path) -> None:
    module = stock_module()
    named = set(inspect.signature(module.SyncObj.__init__).parameters) | set(vars(module.SyncObjConf()))
    assert {name for name in named if "journal" in name.lower()} == {"journalFile"}
    # A journal that is put in afterwards comes too late: term, vote and first entry have been read and written.
    group = StockGroup("a", tmp_path)
    assert (tmp_path / "a.journal").stat().st_size > 0
    assert group.last_index("a") == 1


def test_hazard_04_ours_reads_and_writes_the_journal_it_was_given(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal", LocalDisk(), segment_bytes=1 << 16, cache_bytes=1 << 16)
    journal.set_state(7, "b")
    journal.append(2, 6, b"\0entry")
    engine = Engine(
        name="a",
        journal=journal,
        clock=HandClock(),
        rng=random.Random(1),
        config=RaftConfig(),
    )
    assert engine.term == 7
    engine.begin_candidacy("a", 0.0)
    engine.become_leader()
    assert (journal.current_term, journal.voted_for) == (8, "a")
    assert (journal.last_index, journal.last_term) == (3, 8)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["journal"]
