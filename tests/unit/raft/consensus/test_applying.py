"""Which entries reach the state machine."""

from __future__ import annotations

import pytest
from rstore_replica.raft import RaftError
from rstore_replica.raft.consensus.applying import apply_entry
from rstore_replica.raft.storage.segments import Entry
from unit.raft.cluster import ListMachine


def test_the_machine_gets_its_entries_raw_and_an_unknown_kind_stops_the_replica() -> None:
    machine = ListMachine()
    assert apply_entry(machine, Entry(2, 1, b"\x00raw")) == (2, 1, b"raw")
    assert apply_entry(machine, Entry(3, 1, b"\x01")) is None
    with pytest.raises(RaftError, match="unknown kind"):
        apply_entry(machine, Entry(4, 1, b"\x02membership"))
    assert machine.values == [b"raw"]
