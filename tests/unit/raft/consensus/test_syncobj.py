"""What we rely on in PySyncObj is there, and what is not safe in it cannot be reached."""

from __future__ import annotations

import importlib.metadata
import random
from pathlib import Path

import pysyncobj.syncobj
import pytest
from rstore_replica.raft import LocalDisk, RaftConfig, RaftError, SystemClock
from rstore_replica.raft.consensus.syncobj import MODULE_NAMES, PRIVATE_METHODS, VERSION, Engine, load_module
from rstore_replica.raft.storage.journal import Journal


def engine(path: Path) -> Engine:
    return Engine(
        name="n0",
        journal=Journal(path, LocalDisk(), segment_bytes=1 << 16, cache_bytes=1 << 16),
        clock=SystemClock(),
        rng=random.Random(1),
        config=RaftConfig(),
    )


def test_the_installed_version_has_the_names_we_rely_on() -> None:
    assert importlib.metadata.version("pysyncobj") == VERSION
    assert [name for name in MODULE_NAMES if not hasattr(pysyncobj.syncobj, name)] == []
    cls = pysyncobj.syncobj.SyncObj
    assert [name for name in PRIVATE_METHODS if not hasattr(cls, f"_SyncObj__{name}")] == []


def test_the_module_others_import_is_left_alone(tmp_path: Path) -> None:
    before = {name: getattr(pysyncobj.syncobj, name) for name in MODULE_NAMES}
    engine(tmp_path)
    assert {name: getattr(pysyncobj.syncobj, name) for name in MODULE_NAMES} == before


def test_pickle_pollers_and_ticks_are_refused(tmp_path: Path) -> None:
    raft = engine(tmp_path)._raft
    for call in (
        raft.doTick,
        lambda: raft.addNodeToCluster("n9"),
        lambda: raft.setCodeVersion(0),
        lambda: raft._poller.poll(0.0),
        raft._SyncObj__applyLogEntries,
        lambda: raft._SyncObj__doApplyCommand(b"\0"),
    ):
        with pytest.raises(Exception, match=r"PySyncObj tried|PySyncObj was|dynamicMembershipChange is disabled"):
            call()


def test_term_and_vote_come_back_from_the_journal(tmp_path: Path) -> None:
    first = engine(tmp_path)
    first.begin_candidacy("n0", 0.0)
    again = engine(tmp_path)
    assert again.term == 1
    assert again.receive("n1", {"type": "request_vote", "term": 1, "last_log_index": 99, "last_log_term": 9}) == []
    answers = again.receive("n1", {"type": "request_vote", "term": 2, "last_log_index": 99, "last_log_term": 9})
    assert [answer["type"] for answer in answers] == ["response_vote"]


def test_another_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rstore_replica.raft.consensus.syncobj.VERSION", "9.9.9")
    journal = Journal(tmp_path, LocalDisk(), segment_bytes=1 << 16, cache_bytes=1 << 16)
    with pytest.raises(RaftError, match=r"9\.9\.9 is required"):
        load_module(SystemClock(), random.Random(1), journal)


def test_pysyncobj_goes_on_with_the_tables_it_began_with(tmp_path: Path) -> None:
    one = engine(tmp_path)
    tables = {name: one._get(name) for name in ("raftNextIndex", "raftMatchIndex", "lastResponseTime")}
    one.set_peers(("n1", "n2"))
    one.begin_candidacy("n0", 0.0)
    one.become_leader()
    one.set_peers(("n2", "n3"))
    one.step_down(5)
    one.begin_candidacy("n0", 0.0)
    one.become_leader()
    one.receive("n2", {"type": "next_node_idx", "next_node_idx": 2, "reset": False, "success": True})
    assert all(one._get(name) is table for name, table in tables.items())
    assert one.match_index("n2") == 1
