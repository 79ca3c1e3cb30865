"""Compaction keeps up with writes that come as fast as the state machine takes them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from rstore_api.proto.rpc_pb2 import PutRequest
from rstore_api.proto.rstore_pb2 import BootstrapRequest, Compaction, LogEntry, Topology, WriteBatch, WriteRequest
from rstore_replica.mvcc import machine as machine_module
from rstore_replica.mvcc.machine import Machine

PER_ENTRY = 100
ENTRIES = 600
RETENTION = 1000
BEHIND = 4000


async def test_what_is_left_to_remove_stays_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_module, "BEHIND_REVISIONS", BEHIND)
    machine = Machine.open(tmp_path, region="us-east")
    most = index = 0

    def apply(entry: LogEntry) -> object:
        nonlocal index
        index += 1
        return machine.apply(index, 1, entry.SerializeToString())

    try:
        topology = Topology(epoch=1, version=1, primary_region="us-east")
        assert apply(LogEntry(bootstrap=BootstrapRequest(store_id="store", topology=topology))) is None
        for number in range(ENTRIES):
            puts = [
                PutRequest(key=b"k%d" % ((number * PER_ENTRY + i) % 500), value=b"v" * 50) for i in range(PER_ENTRY)
            ]
            apply(LogEntry(write=WriteBatch(epoch=1, requests=[WriteRequest(put=put) for put in puts])))
            if machine.revision - RETENTION > machine.compact_revision + 200:
                apply(LogEntry(compaction=Compaction(revision=machine.revision - RETENTION)))
            await asyncio.sleep(0)  # what else runs on the loop gets its turn, and no more
            position = machine._position
            most = max(most, position.compact_revision - position.swept_revision)
    finally:
        machine.close()
    assert machine.revision > ENTRIES * PER_ENTRY
    assert most < 3 * BEHIND, most
