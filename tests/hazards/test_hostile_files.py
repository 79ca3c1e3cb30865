"""Pickles and random bytes in every file that a replica reads: it starts as before, or stops and names the file."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from google.protobuf.message import DecodeError
from hazards.hazard_groups import QUICK, HandTransport, until
from hazards.hostile_bytes import Marker
from hypothesis import given, settings
from hypothesis import strategies as st
from integration.replicas.server_certificates import Authority
from integration.replicas.server_processes import STORE_ID, RegionProcesses, ReplicaProcess
from rstore_api.errors import StoreError
from rstore_api.proto.rpc_pb2 import PutRequest
from rstore_api.proto.rstore_pb2 import (
    BootstrapRequest,
    LogEntry,
    RegionTopology,
    ReplicatedRows,
    StreamBatch,
    Topology,
    WriteBatch,
    WriteRequest,
)
from rstore_api.rows import DamagedRows, Row, pack_batch, unpack, unpack_batch
from rstore_replica.config import ConfigError, parse_config
from rstore_replica.mvcc.commands.registry import UnknownCommandError
from rstore_replica.mvcc.data.store import Position, StorageFailed
from rstore_replica.mvcc.machine import Machine
from rstore_replica.raft import Group, Member
from rstore_replica.tls import CertificateStore, TlsError

MARKER = "never-to-be-made"
HOSTILE = Marker(Path(__file__).with_name(MARKER))
NASTY = st.one_of(st.binary(max_size=300), st.sampled_from(HOSTILE.framed()))


async def make_data(region: RegionProcesses, data: Path) -> None:
    """Makes the data of the region's one replica, with everything in it: a checkpoint, several segments, live data."""
    [replica] = region.replicas
    data.mkdir(parents=True)
    machine = Machine.open(data / "mvcc", region=region.region)
    group = Group(
        name=replica.name,
        members=(Member(replica.name, replica.peer_address),),
        directory=data / "raft",
        machine=machine,
        transport=HandTransport(),
        config=replace(QUICK, checkpoint_entries=100, trailing_entries=20, segment_bytes=20_000),
    )
    await group.start()
    topology = Topology(epoch=1, version=1, primary_region=region.region, regions=[RegionTopology(name=region.region)])
    bootstrap = LogEntry(bootstrap=BootstrapRequest(store_id=STORE_ID, topology=topology))
    assert await group.propose(bootstrap.SerializeToString(), timeout_seconds=10) is None
    put = WriteRequest(put=PutRequest(key=b"k", value=b"v" * 200))
    entry = LogEntry(write=WriteBatch(epoch=1, requests=[put])).SerializeToString()
    for _ in range(250):
        await group.propose(entry, timeout_seconds=10)
    await until(lambda: len(list((data / "raft" / "journal").iterdir())) < 5, "the log's beginning is let go")
    await group.stop()
    machine.sync()
    machine.close()


FILES = (  # below the replica's directory; whether it may start nevertheless; what the reason must name
    ("data/raft/journal/*.seg", False, "journal"),
    ("data/raft/journal/*.seg", False, "journal"),
    ("data/raft/checkpoints/*/manifest.json", False, "manifest.json"),
    ("data/mvcc/live/data.mdb", True, ""),
    ("data/mvcc.running", True, ""),
    ("data/lock", True, ""),
    ("tls/ca.crt", False, "ca.crt"),
    ("tls/tls.crt", False, "tls.crt"),
    ("tls/tls.key", False, "tls.key"),
    ("../replica.json", False, "replica.json"),
)


async def outcome(replica: ReplicaProcess) -> tuple[str, str]:
    """Returns the first event of its log that decides the outcome, and its reason."""
    assert replica.process is not None
    deadline = asyncio.get_running_loop().time() + 120
    while asyncio.get_running_loop().time() < deadline:
        ended = replica.process.poll() is not None
        for line in replica.logs[-1].read_text().splitlines():
            entry = json.loads(line)
            if entry["event"] in ("started", "not_started", "configuration_refused"):
                return entry["event"], entry.get("reason", "")
        assert not ended, f"ended without a word: {replica.logs[-1].read_text()}"
        await asyncio.sleep(0.02)
    raise AssertionError(f"neither started nor stopped: {replica.logs[-1].read_text()}")


@pytest.mark.timeout(180)
async def test_every_file_of_a_replica(tmp_path: Path) -> None:
    marker, rng, authority = Marker(tmp_path / MARKER), random.Random(3), Authority.make()
    seed = RegionProcesses(tmp_path / "seed", authority, region="us-east", replicas=1)
    await make_data(seed, seed.replicas[0].directory / "data")
    few = asyncio.Semaphore(3)

    async def check(number: int, pattern: str, may_start: bool, expected: str) -> None:
        async with few:
            region = RegionProcesses(tmp_path / str(number), authority, region="us-east", replicas=1)
            [replica] = region.replicas
            shutil.copytree(seed.replicas[0].directory / "data", replica.directory / "data")
            files = sorted(replica.directory.glob(pattern)) or [replica.directory / pattern]
            assert files[0].exists() or may_start, pattern
            files[number % len(files)].write_bytes(marker.pickles[1] if number % 2 else rng.randbytes(5000))
            replica.start()
            try:
                event, reason = await outcome(replica)
            finally:
                region.stop()
            assert (event == "started") == may_start, f"{pattern}: {event} {reason}"
            assert expected in reason, f"{pattern}: {event} {reason}"

    await asyncio.gather(*(check(number, *case) for number, case in enumerate(FILES)))
    assert not marker.exists


@given(data=NASTY)
def test_configuration(data: bytes) -> None:
    with pytest.raises(ConfigError):
        parse_config(data)


@pytest.mark.parametrize("depth", [10, 1000, 100_000])
def test_configuration_that_is_deep(depth: int) -> None:
    for text in (b"[" * depth, b'{"store":' + b"[" * depth, b'{"raft":' * min(depth, 50_000)):
        with pytest.raises(ConfigError):
            parse_config(text)


@settings(max_examples=30)
@given(data=NASTY, name=st.sampled_from(["ca.crt", "tls.crt", "tls.key"]))
def test_certificates(tmp_path_factory: pytest.TempPathFactory, data: bytes, name: str) -> None:
    directory = tmp_path_factory.mktemp("tls")
    Authority.make().issue(directory, "peer")
    (directory / name).write_bytes(data)
    with pytest.raises(TlsError, match=name):
        CertificateStore(directory)


@given(data=NASTY)
def test_positions(data: bytes) -> None:
    with pytest.raises(StorageFailed):
        Position.unpack(data)


ROWS = pack_batch([Row(number, 0, b"k%d" % number, b"v" * number, number, 1) for number in range(2, 20)])


@given(
    data=st.one_of(
        NASTY,
        st.builds(
            lambda at, extra: ROWS[: at % len(ROWS)] + extra + ROWS[at % len(ROWS) :],
            st.integers(0),
            st.binary(min_size=1),
        ),
        st.builds(lambda at: ROWS[: at % len(ROWS)], st.integers(0)),
    )
)
def test_rows(data: bytes) -> None:
    for read in (unpack_batch, lambda body: unpack(9, 0, body)):
        _refused_or(read, data)
    assert not HOSTILE.exists


def _refused_or(read: Callable[[bytes], object], data: bytes) -> None:
    """Asserts that the bytes are refused as damaged, unless they are empty or happen to be valid."""
    try:
        rows = read(data)
    except DamagedRows:
        return
    assert data == b"" or rows


@settings(max_examples=60)
@given(data=st.one_of(NASTY, st.builds(lambda rows: StreamBatch(rows=rows).SerializeToString(), NASTY)))
def test_entries_of_the_log(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    machine = Machine.open(tmp_path_factory.mktemp("machine"), region="us-east", map_bytes=1 << 22)
    try:
        topology = Topology(epoch=1, version=1, primary_region="eu-west")
        bootstrap = LogEntry(bootstrap=BootstrapRequest(store_id=STORE_ID, topology=topology))
        assert machine.apply(2, 1, bootstrap.SerializeToString()) is None
        entries = [data]
        try:
            batch = StreamBatch.FromString(data)
        except DecodeError:
            batch = StreamBatch(rows=data)
        batch.prev_revision, batch.epoch = 1, 5
        entries.append(LogEntry(rows=ReplicatedRows(batch=batch)).SerializeToString())
        for index, entry in enumerate(entries, 3):
            try:
                answer = machine.apply(index, 1, entry)
            except UnknownCommandError:
                return  # an entry of a later version, perhaps: it stops here
            assert answer is None or isinstance(answer, StoreError | list | int)
            assert machine.applied_index == index
        assert machine.revision == 1
    finally:
        machine.close()
    assert not HOSTILE.exists


def test_msgspec_decodes_no_classes_of_choice() -> None:
    """The JSON and MessagePack decoders make nothing but the types they are given."""
    for pickled in HOSTILE.framed():
        for decode in (msgspec.json.decode, msgspec.msgpack.decode):
            with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
                decode(pickled, type=dict[str, str])
