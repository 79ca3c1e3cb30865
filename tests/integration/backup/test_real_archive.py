"""What a real archiver has written of real replicas is what a restore brings back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from integration.replicas.archiver_processes import ArchiverProcess
from integration.replicas.server_certificates import Authority
from integration.replicas.server_processes import STORE_ID, RegionProcesses, bootstrap
from rstore_api import methods
from rstore_api.client import Client
from rstore_api.proto import rpc_pb2 as rpc
from unit.cli.conftest import Run
from unit.cli.fakes import FakeCluster

pytestmark = pytest.mark.timeout(400)
START_SECONDS = 90.0


async def write(client: Client) -> int:
    """Keys, transactions, a deletion of many keys at once, leases and users; returns the revision."""
    for number in range(40):
        await client.put(b"key/%02d" % (number % 15), b"value-%d" % number)
    await client.put_many([(b"many/%04d" % number, b"x") for number in range(3000)])
    await client.delete(b"many/00", prefix=True)
    await client.delete(b"many/", prefix=True)
    await client.put(b"long/" + b"k" * 2000, b"of a long key")
    await client.call(methods.LEASE_GRANT, rpc.LeaseGrantRequest(ID=77, TTL=600), timeout_seconds=10)
    await client.call(methods.LEASE_GRANT, rpc.LeaseGrantRequest(ID=78, TTL=600), timeout_seconds=10)
    await client.put(b"session/1", b"s", lease=77)
    await client.put(b"session/2", b"s", lease=78)
    await client.call(methods.LEASE_REVOKE, rpc.LeaseRevokeRequest(ID=78), timeout_seconds=10)
    await client.call(methods.ROLE_ADD, rpc.AuthRoleAddRequest(name="reader"), timeout_seconds=10)
    return (await client.put(b"key/last", b"v")).header.revision


@pytest.fixture
async def start_store(tmp_path: Path, authority: Authority) -> AsyncIterator[Any]:
    """Starts stores of one region of one replica."""
    started: list[RegionProcesses] = []

    async def start() -> RegionProcesses:
        directory = tmp_path / f"store-{len(started)}"
        region = RegionProcesses(directory, authority, region="us-east", replicas=1)
        started.append(region)
        region.start()
        await region.leader(timeout_seconds=START_SECONDS)
        await bootstrap(region)
        return region

    yield start
    for region in started:
        region.stop()


@pytest.fixture
async def archiver(tmp_path: Path, authority: Authority) -> AsyncIterator[Any]:
    started: list[ArchiverProcess] = []

    def start(region: RegionProcesses, destination: str) -> ArchiverProcess:
        started.append(ArchiverProcess(tmp_path / f"archiver-{len(started)}", authority, region, destination))
        started[-1].start()
        return started[-1]

    yield start
    for process in started:
        process.kill()


async def all_keys(client: Client) -> list[Any]:
    return list((await client.get_prefix(b"")).kvs)


async def test_a_store_is_restored_from_its_archive(
    start_store: Any, archiver: Any, authority: Authority, tmp_path: Path, cluster: FakeCluster, run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    east = await start_store()
    destination = f"file://{tmp_path}/archive"
    (tmp_path / "archive").mkdir(exist_ok=True)
    process = archiver(east, destination)
    await process.reports(lambda report: report.last_base is not None, timeout_seconds=START_SECONDS)
    async with east.client() as client:
        newest = await write(client)
        await process.reports(lambda report: report.archived_revision >= newest, timeout_seconds=START_SECONDS)
        wanted = await all_keys(client)
        past = max(kv.mod_revision for kv in wanted if kv.key.startswith(b"key/0"))
        then = (await client.get_prefix(b"", revision=past)).kvs

    other = await start_store()
    destination_of_other = f"file://{tmp_path}/archive-of-other"
    (tmp_path / "archive-of-other").mkdir()
    second = archiver(other, destination_of_other)
    await second.reports(lambda report: report.last_base is not None, timeout_seconds=START_SECONDS)
    reached = {"orders": east}

    @asynccontextmanager
    async def open_it(_cluster: Any, name: str, **_: Any) -> AsyncIterator[Client]:
        async with reached[name].client() as client:
            yield client

    monkeypatch.setattr("rstore_cli.store_access.open_store", open_it)
    cluster.objects["status"]["storeId"] = STORE_ID
    verified = await asyncio.to_thread(run, "backup", "verify", destination, "--against", "orders")
    assert verified.code == 0, verified.out + verified.err
    assert "orders has the same at that revision" in verified.out
    listed = await asyncio.to_thread(run, "backup", "list", destination, "-o", "json")
    spans = json.loads(listed.out)["archives"][0]["restorable"]
    assert spans[-1]["lastRevision"] == newest

    own = await asyncio.to_thread(run, "restore", "orders", "--from-archive", destination)
    assert "the archive of the store itself alone" in own.err
    reached["orders"] = other  # made anew, under the same name
    cluster.objects["status"]["storeId"] = "another"
    done = await asyncio.to_thread(run, "restore", "orders", "--from-archive", destination)
    assert done.code == 0, done.err
    assert f"{len(wanted)} keys and 1 leases" in done.out
    async with other.client() as client:
        assert await all_keys(client) == wanted
        roles = await client.call(methods.ROLE_LIST, rpc.AuthRoleListRequest(), timeout_seconds=10)
        assert list(roles.roles) == ["reader"]

    at = ["--from-archive", destination, "--store-id", STORE_ID, "--at", str(past), "--in-place"]
    back = await asyncio.to_thread(run, "restore", "orders", *at, "--yes")
    assert back.code == 0, back.err
    async with other.client() as client:
        kept = await client.get_prefix(b"")
    now = kept.header.revision
    assert {kv.key: kv.value for kv in kept.kvs if not kv.lease} == {kv.key: kv.value for kv in then if not kv.lease}

    # The archive of the restored store begins anew where it was filled, and has what came after.
    await second.reports(
        lambda report: report.archived_revision >= now and report.first_recoverable_revision > newest,
        timeout_seconds=START_SECONDS,
    )
    against = ["--store-id", STORE_ID, "--against", "orders"]
    again = await asyncio.to_thread(run, "backup", "verify", destination_of_other, *against)
    assert again.code == 0, again.out + again.err
    assert "orders has the same at that revision" in again.out
