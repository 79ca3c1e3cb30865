"""Hazard 9: pickle on the wire before authentication and inside log entries; admin messages of anybody."""

from __future__ import annotations

import ast
import pickle
import random
import socket
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import rstore_api
import rstore_replica
from hazards.hazard_ours import OurGroup
from hazards.hazard_stock import StockGroup, stock_module
from hazards.hostile_bytes import Marker
from rstore_replica.raft import LocalDisk, RaftError, SystemClock
from rstore_replica.raft.consensus.applying import apply_entry
from rstore_replica.raft.consensus.syncobj import load_module
from rstore_replica.raft.storage.journal import Journal
from rstore_replica.raft.storage.segments import Entry
from unit.raft.cluster import ListMachine


@pytest.fixture
def listening() -> Iterator[tuple[Any, tuple[str, int]]]:
    """Stock PySyncObj with its own transport on a loopback port."""
    module = stock_module()
    host = f"127.{random.randint(20, 250)}.{random.randint(1, 250)}.{random.randint(2, 250)}"
    with socket.socket() as probe:
        probe.bind((host, 0))
        address = probe.getsockname()
    conf = module.SyncObjConf(autoTick=False, dynamicMembershipChange=True, bindAddress=f"{host}:{address[1]}")
    replica = module.SyncObj(f"{host}:{address[1]}", [], conf=conf)
    yield replica, address
    replica.destroy()


def send(replica: Any, address: tuple[str, int], message: bytes, ticks: int = 30) -> None:
    packed = zlib.compress(message, 3)
    with socket.create_connection(address, timeout=5) as caller:
        caller.sendall(struct.pack("i", len(packed)) + packed)
        for _ in range(ticks):
            replica.doTick(0.01)


def test_hazard_09_stock_runs_the_pickle_of_any_caller(tmp_path: Path, listening: tuple[Any, tuple[str, int]]) -> None:
    marker = Marker(tmp_path / "marker")
    send(*listening, marker.pickles[1])
    assert marker.exists


def test_hazard_09_stock_takes_new_members_from_any_caller(listening: tuple[Any, tuple[str, int]]) -> None:
    replica, address = listening
    for _ in range(3):
        replica.doTick(0.01)
    replica._SyncObj__raftElectionDeadline = 0
    for _ in range(3):
        replica.doTick(0.01)
    send(replica, address, pickle.dumps(["add", "127.0.0.1:1"], 2))
    assert [node.id for node in replica.otherNodes] == ["127.0.0.1:1"]


def test_hazard_09_stock_runs_the_pickle_in_a_log_entry(tmp_path: Path) -> None:
    marker = Marker(tmp_path / "marker")
    group = StockGroup("ab")
    entries = [(b"\0" + marker.pickles[1], 2, 1)]
    append = {"type": "append_entries", "term": 1, "commit_index": 2, "prevLogIdx": 1, "prevLogTerm": 0}
    group.hand_over("b", "a", {**append, "entries": entries})
    with pytest.raises(KeyError):
        group.tick("a")
    assert marker.exists


def test_hazard_09_ours_applies_a_pickle_as_the_bytes_it_is(tmp_path: Path) -> None:
    marker = Marker(tmp_path / "marker")
    group = OurGroup("abc", tmp_path)
    group.elect("a")
    for command in marker.framed():
        group.put("a", command)
    group.settle()
    assert [replica.values for replica in group.replicas.values()] == [list(marker.framed())] * 3
    for name in group.names:
        group.crash(name, power=True)
        group.start(name)
    assert not marker.exists


def test_hazard_09_ours_stops_at_the_entry_kinds_that_pysyncobj_would_unpickle(tmp_path: Path) -> None:
    marker = Marker(tmp_path / "marker")
    for kind in (b"\2", b"\3"):  # membership, code version
        with pytest.raises(RaftError, match="unknown kind"):
            apply_entry(ListMachine(), Entry(2, 1, kind + marker.pickles[1]))
    assert not marker.exists


def test_hazard_09_ours_cannot_reach_pickle_through_pysyncobj(tmp_path: Path) -> None:
    journal = Journal(tmp_path, LocalDisk(), segment_bytes=1 << 16, cache_bytes=1 << 16)
    module = load_module(SystemClock(), random.Random(1), journal)
    with pytest.raises(RaftError, match="pickle"):
        module.pickle.loads(b"")


def test_hazard_09_ours_imports_nothing_that_loads_pickles() -> None:
    forbidden = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "pysyncobj"}
    uses = []
    for package in (rstore_api, rstore_replica):
        root = Path(str(package.__file__)).parent
        for path in root.rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                uses += [(path.name, name) for name in names if name.split(".")[0] in forbidden]
    assert uses == []
