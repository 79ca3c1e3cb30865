"""Replicas of version 0.1 and of this one in one region and in one store.

The wheel of version 0.1 is built from the repository's history, where that is there.
"""

from __future__ import annotations

import asyncio
import io
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from integration.replicas.server_certificates import Authority
from integration.replicas.server_processes import RegionProcesses, ReplicaProcess, bootstrap, eventually, topology
from rstore_api import methods
from rstore_api.errors import KeyTooLong, StoreError
from rstore_api.proto.rpc_pb2 import RangeRequest
from rstore_api.proto.rstore_pb2 import StatusRequest

ROOT = Path(__file__).resolve().parents[3]
EARLIER = "b842dd8c9932f7df084d8668aa9eafd0fef41b4d"
"""The commit of version 0.1, which does not know feature levels yet."""
BUILD_SECONDS = 120

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Version 0.1, installed in a directory."""
    archive = subprocess.run(["git", "-C", str(ROOT), "archive", EARLIER], capture_output=True, check=False, timeout=60)
    if archive.returncode != 0:
        pytest.skip(f"the history does not reach version 0.1: {archive.stderr.decode().strip()}")
    directory = tmp_path_factory.mktemp("earlier")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as source:
        source.extractall(directory / "source", filter="data")
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(directory / "wheel")],
        cwd=directory / "source",
        capture_output=True,
        text=True,
        check=False,
        timeout=BUILD_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = (directory / "wheel").glob("*.whl")
    with zipfile.ZipFile(wheel) as content:
        content.extractall(directory / "installed")
    return directory / "installed"


class Writers:
    """Clients that write through every replica of a region while its replicas are exchanged."""

    def __init__(self, region: RegionProcesses) -> None:
        self._region = region
        self._stopping = False
        self.written: dict[str, str] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Writers:
        self._tasks = [asyncio.create_task(self._write(number)) for number in range(3)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping = True
        await asyncio.gather(*self._tasks)

    async def go_on(self) -> None:
        """Returns once 20 more writes are acknowledged."""
        goal = len(self.written) + 20

        async def reached() -> bool:
            return len(self.written) >= goal

        await eventually(reached, accept=bool)

    async def _write(self, number: int) -> None:
        count = 0
        async with self._region.client() as client:
            while not self._stopping:
                count += 1
                try:
                    await client.put(f"w{number}-{count}", f"v{count}", timeout_seconds=5)
                except StoreError:
                    await asyncio.sleep(0.05)
                    continue
                self.written[f"w{number}-{count}"] = f"v{count}"


async def exchange(region: RegionProcesses, replica: ReplicaProcess, code: Path | None) -> None:
    """Ends the replica, and starts it with the code of another version; returns when it is ready."""
    assert await replica.end() == 0, replica.log_text()[-2000:]
    replica.code = code
    replica.start()

    async def ready() -> bool:
        assert replica.process is not None
        assert replica.process.poll() is None, replica.log_text()[-2000:]
        async with region.peer(replica) as peer:
            status = await peer.call(methods.ADMIN_STATUS, StatusRequest(), timeout_seconds=2)
        assert (status.feature_level == 0) == (code is not None), "the earlier version reports no feature level"
        return status.ready

    await eventually(ready, accept=bool)


async def in_order(region: RegionProcesses) -> list[ReplicaProcess]:
    """The region's replicas, the leader last."""
    leader = await region.leader()
    return [*(replica for replica in region.replicas if replica is not leader), leader]


async def present(region: RegionProcesses, revision: int) -> dict[str, str]:
    """The writers' keys as this region itself has them, once it has that revision."""

    async def caught_up() -> bool:
        return (await client.get("w", serializable=True)).header.revision >= revision

    async with region.client() as client:
        await eventually(caught_up, accept=bool)
        request = RangeRequest(key=b"w", range_end=b"x", serializable=True)
        return {item.key.decode(): item.value.decode() for item in (await client.range(request)).kvs}


async def test_an_upgrade_and_the_way_back_lose_nothing_and_writes_go_on(
    earlier: Path, tmp_path: Path, authority: Authority
) -> None:
    """Secondaries first, then the primary's followers, its leader last; and a change of primary between versions."""
    primary = RegionProcesses(tmp_path, authority, region="us-east", replicas=3)
    secondary = RegionProcesses(tmp_path, authority, region="eu-west", replicas=1)
    regions = (primary, secondary)
    try:
        for region in regions:
            for replica in region.replicas:
                replica.code = earlier
                replica.start()
        await bootstrap(*regions)
        async with Writers(primary) as writers:
            await writers.go_on()
            for code in (None, earlier):
                for region in (secondary, primary):
                    for replica in await in_order(region):
                        await exchange(region, replica, code)
                        await writers.go_on()
        async with primary.client() as client:
            revision = (await client.get("w")).header.revision
        for region in regions:
            assert (await present(region, revision)).items() >= writers.written.items()
        await exchange(secondary, secondary.replicas[0], None)
        final = (await primary.demote(2)).final_revision
        assert await present(secondary, final)
        where = topology("eu-west", *regions, epoch=2)
        await secondary.promote(2, final, where)
        await primary.set_topology(where)
        async with primary.client() as client:
            put = await eventually(lambda: client.put("w-moved", "by this version", timeout_seconds=5))
        assert (await present(primary, put.header.revision))["w-moved"] == "by this version"
        long = "w" * 600
        async with secondary.client() as client:
            with pytest.raises(KeyTooLong, match="until every replica of every region"):
                await client.put(long, "refused")
            for replica in await in_order(primary):
                await exchange(primary, replica, None)
            put = await eventually(lambda: client.put(long, "taken", timeout_seconds=5))
        for region in regions:
            assert (await present(region, put.header.revision))[long] == "taken"
    finally:
        for region in regions:
            region.stop()
