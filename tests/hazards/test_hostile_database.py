"""A database file that was cut off or overwritten: an error that names it, never a signal."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rstore_api.proto.rpc_pb2 import PutRequest
from rstore_api.proto.rstore_pb2 import BootstrapRequest, LogEntry, Topology, WriteBatch, WriteRequest
from rstore_replica.mvcc.machine import Machine

# In a process of its own, because what must not happen would end the tests.
USE = """
import sys
from pathlib import Path
from rstore_api.proto.rpc_pb2 import PutRequest, RangeRequest
from rstore_api.proto.rstore_pb2 import LogEntry, WriteBatch, WriteRequest
from rstore_replica.mvcc.machine import Machine
from rstore_replica.mvcc.data.store import StorageFailed

try:
    machine = Machine.open(Path(sys.argv[1]), region="us-east")
    put = WriteRequest(put=PutRequest(key=b"new", value=b"v"))
    machine.apply(1000, 1, LogEntry(write=WriteBatch(epoch=1, requests=[put])).SerializeToString())
    machine.range(RangeRequest(key=b"\\0", range_end=b"\\0"))
except StorageFailed as error:
    sys.exit(f"refused: {error}")
"""


def write(path: Path) -> None:
    machine = Machine.open(path, region="us-east")
    topology = Topology(epoch=1, version=1, primary_region="us-east")
    entries = [LogEntry(bootstrap=BootstrapRequest(store_id="store", topology=topology))]
    for number in range(200):
        puts = [PutRequest(key=b"k%d-%d" % (number, i), value=b"v" * 100) for i in range(10)]
        entries.append(LogEntry(write=WriteBatch(epoch=1, requests=[WriteRequest(put=put) for put in puts])))
    for index, entry in enumerate(entries, 1):
        machine.apply(index, 1, entry.SerializeToString())
    machine.sync()
    machine.close()


def _noise(data: bytes) -> bytes:
    return data[:8192] + random.Random(1).randbytes(len(data) - 8192)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data[:8192],
        lambda data: data[:4096],
        lambda data: data[:100],
        lambda data: data[:8192] + bytes(len(data) - 8192),
        _noise,
    ],
    ids=["half", "two-pages", "a-page", "less", "zeros", "noise"],
)
def test_damaged_live_data_is_an_error_that_names_it(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    write(tmp_path)
    file = tmp_path / "live" / "data.mdb"
    file.write_bytes(damage(file.read_bytes()))
    ended = subprocess.run([sys.executable, "-c", USE, str(tmp_path)], capture_output=True, text=True, check=False)
    assert ended.returncode == 1, f"ended with {ended.returncode}: {ended.stderr[-2000:]}"
    assert ended.stderr.startswith("refused: "), ended.stderr[-2000:]
    assert str(tmp_path / "live") in ended.stderr


def test_sound_data_is_used(tmp_path: Path) -> None:
    write(tmp_path)
    ended = subprocess.run([sys.executable, "-c", USE, str(tmp_path)], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
