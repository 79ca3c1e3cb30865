"""Which entries reach the state machine."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from rstore_replica.raft import RaftConfig, RaftError
from rstore_replica.raft.consensus.applying import Applier, apply_entry
from rstore_replica.raft.storage.segments import Entry
from unit.raft.cluster import ListMachine


def test_the_machine_gets_its_entries_raw_and_an_unknown_kind_stops_the_replica() -> None:
    machine = ListMachine()
    assert apply_entry(machine, Entry(2, 1, b"\x00raw")) == (2, 1, b"raw")
    assert apply_entry(machine, Entry(3, 1, b"\x01")) is None
    with pytest.raises(RaftError, match="unknown kind"):
        apply_entry(machine, Entry(4, 1, b"\x02membership"))
    assert machine.values == [b"raw"]


class SteppedMachine(ListMachine):
    """Applies each entry in three steps."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[int] = []

    def apply(self, index: int, term: int, entry: bytes) -> object:
        self.calls.append(index)
        return super().apply(index, term, entry) if self.calls.count(index) == 3 else None


class OneAtATime:
    """A room that has place for everything, and counts what is applied in it."""

    may_apply = applied = True

    def apply(self, work: Callable[[], object]) -> object:
        return work()


def test_an_entry_of_several_steps_is_answered_once_after_the_last() -> None:
    entries = {index: Entry(index, 1, command) for index, command in [(2, b"\x00a"), (3, b"\x01"), (4, b"\x00b")]}
    machine, answers = SteppedMachine(), []  # type: ignore[var-annotated]
    core: Any = SimpleNamespace(commit_index=4, last_applied=1)
    core.note_applied = lambda index: setattr(core, "last_applied", index)
    applier = Applier(
        SimpleNamespace(durable_index=4, entry=entries.__getitem__),  # type: ignore[arg-type]
        machine,
        SimpleNamespace(applied=lambda index, _term, result: answers.append((index, result))),  # type: ignore[arg-type]
        SimpleNamespace(monotonic=lambda: 0.0),  # type: ignore[arg-type]
        RaftConfig(),
        OneAtATime(),  # type: ignore[arg-type]
    )
    calls = [len(machine.calls)]
    while applier.run(core):
        calls.append(len(machine.calls))
    assert answers == [(2, (2, 1, b"a")), (3, None), (4, (4, 1, b"b"))]
    assert machine.calls == [2, 2, 2, 4, 4, 4]
    assert calls == [0, 1, 2, 4, 5], "one step at a time"
