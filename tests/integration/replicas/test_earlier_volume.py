"""A replica starts on the volume of a replica of version 0.1.

``volumes/version_0_1.tar.gz`` is what that version left: the only replica of a store's only region, stopped after 200
puts (``key-000`` … ``key-199``), every tenth of them deleted, ``key-001`` changed and one long value.
"""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest
from integration.replicas.server_certificates import Authority
from integration.replicas.server_processes import STORE_ID, RegionProcesses, eventually, topology
from rstore_api import methods
from rstore_api.proto.rpc_pb2 import RangeRequest
from rstore_api.proto.rstore_pb2 import StatusRequest

VOLUME = Path(__file__).parent / "volumes" / "version_0_1.tar.gz"
LAST_REVISION = 223
EXPECTED = {f"key-{number:03}": f"value-{number}" for number in range(200) if number % 10} | {
    "key-001": "changed",
    "long": "x" * 5000,
}

pytestmark = pytest.mark.timeout(120)


async def test_it_has_all_data_and_goes_on_and_a_region_that_is_added_gets_it(
    tmp_path: Path, authority: Authority
) -> None:
    region = RegionProcesses(tmp_path, authority, region="us-east", replicas=1)
    added = RegionProcesses(tmp_path, authority, region="eu-west", replicas=1)
    replica = region.replicas[0]
    with tarfile.open(VOLUME) as volume:
        volume.extractall(replica.directory / "data", filter="data")
    try:
        replica.start()
        await region.leader()
        async with region.peer(replica) as peer:
            status = await peer.call(methods.ADMIN_STATUS, StatusRequest(), timeout_seconds=5)
        assert (status.store_id, status.revision, status.epoch, status.primary) == (STORE_ID, LAST_REVISION, 1, True)
        async with region.client() as client:
            everything = RangeRequest(key=b"\0", range_end=b"\0")
            answer = await client.range(everything)
            assert {item.key.decode(): item.value.decode() for item in answer.kvs} == EXPECTED
            earlier = await client.range(RangeRequest(key=b"key-000", revision=201))
            assert [item.value for item in earlier.kvs] == [b"value-0"], "a deleted key is still there at its revision"
            assert (await client.put("new", "by this version")).header.revision == LAST_REVISION + 1

        added.start()
        await added.leader()
        where = topology("us-east", region, added, version=2)
        await region.set_topology(where)
        await added.bootstrap_into(where)

        async def copied() -> bool:
            answer = await client.range(RangeRequest(key=b"\0", range_end=b"\0", serializable=True))
            return {item.key.decode(): item.value.decode() for item in answer.kvs} == {
                **EXPECTED,
                "new": "by this version",
            }

        async with added.client() as client:
            await eventually(copied)
        assert await replica.end() == 0
        replica.start()
        await region.leader()
        async with region.client() as client:
            assert (await client.get("new", serializable=True)).kvs[0].value == b"by this version"
    finally:
        region.stop()
        added.stop()
    levels = {json.loads(line)["level"] for line in replica.log_text().splitlines() if line.startswith("{")}
    assert "error" not in levels
