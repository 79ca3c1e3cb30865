"""Hazard 1: journal, term and vote are not fsynced; a power loss after the acknowledgement takes all of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hazards.hazard_ours import OurGroup
from hazards.hazard_stock import StockGroup
from pysyncobj.journal import ResizableFile


def test_hazard_01_stock_acknowledges_and_votes_without_a_single_sync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncs: list[str] = []
    for name in ("fsync", "fdatasync", "sync"):
        monkeypatch.setattr(os, name, lambda *_, name=name: syncs.append(name))
    monkeypatch.setattr(ResizableFile, "flush", lambda _self: syncs.append("flush"))
    group = StockGroup("abc", tmp_path)
    group.elect("a")
    answers = group.put("a", "precious")
    group.settle()
    assert answers == [(1, 0)]
    assert group.private("b", "votedForNodeId") == "a"
    assert syncs == []
    # So after a loss of power the machines need only have what was synced before: nothing.
    for name in group.names:
        for file in (tmp_path / f"{name}.journal", tmp_path / f"{name}.journal.meta"):
            file.unlink()
        group.start(name)
    group.drop()
    assert group.private("b", "votedForNodeId") is None
    group.elect("c")
    group.settle()
    assert [group.replicas[name].values for name in group.names] == [[], [], []]


def test_hazard_01_ours_keeps_entry_term_and_vote_when_all_lose_power(tmp_path: Path) -> None:
    group = OurGroup("abc", tmp_path)
    group.elect("a")
    index = group.put("a", b"precious")
    group.settle()
    assert group.committed("a") >= index
    for name in group.names:
        group.crash(name, power=True)
    for name in group.names:
        group.start(name)
    group.drop()
    assert {replica.journal.voted_for for replica in group.replicas.values()} == {"a"}
    assert {replica.journal.current_term for replica in group.replicas.values()} == {1}
    group.elect("c")
    group.settle()
    assert [replica.values for replica in group.replicas.values()] == [[b"precious"]] * 3


def test_hazard_01_ours_says_nothing_before_it_is_on_disk(tmp_path: Path) -> None:
    group = OurGroup("abc", tmp_path)
    group.elect("a")
    group.settle()
    group.drop()
    before = group.committed("a")
    group.syncing = False
    group.put("a", b"on no disk")
    group.settle()
    assert all(group.last_index(name) == before + 1 for name in group.names)
    assert group.committed("a") == before
    group.syncing = True
    group.settle()
    assert group.committed("a") == before + 1
