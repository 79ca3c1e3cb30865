"""Members and maintenance across regions, as etcd's clients use them: the real etcdctl, and a client that syncs."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import grpc
import pytest
from integration.replicas.server_processes import RegionProcesses, ReplicaProcess, eventually, topology
from integration.replicas.test_etcdctl import ETCDCTL, EtcdCtl
from rstore_api import methods
from rstore_api.client import Client
from rstore_api.errors import DETAIL_KEY, OUTCOME_KEY, NoSpace
from rstore_api.proto import rpc_pb2 as rpc

JUMP = 1_000_000_000
QUOTA_BYTES = (1 << 20) + 1000

pytestmark = pytest.mark.skipif(not ETCDCTL.exists(), reason="etcdctl is not installed in this environment")


def _names(*regions: RegionProcesses) -> set[str]:
    return {f"{region.region}/{replica.name}" for region in regions for replica in region.replicas}


async def _members(etcdctl: EtcdCtl) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = json.loads(await etcdctl("member", "list", "-w", "json"))["members"]
    return listed


async def test_a_client_of_any_region_knows_all_members(start_regions) -> None:
    east, west = await start_regions(("us-east", 2), ("eu-west", 1))
    near, far = EtcdCtl(east), EtcdCtl(west)
    members = await _members(far)
    assert {member["name"] for member in members} == _names(east, west)
    assert members == await _members(near)
    await near("put", "key", "value")
    for command in ("status", "health", "hashkv"):
        lines = (await far("endpoint", command, "--cluster")).splitlines()
        assert {line.split(",")[0].split()[0].removeprefix("https://") for line in lines} == {
            replica.client_address for region in (east, west) for replica in region.replicas
        }, f"endpoint {command} --cluster asks every replica of every region"
    statuses = json.loads(await far("endpoint", "status", "--cluster", "-w", "json"))
    ids = {status["Status"]["header"]["member_id"] for status in statuses}
    assert ids == {member["ID"] for member in members}
    assert {status["Status"]["leader"] for status in statuses} <= ids
    assert len({status["Status"]["header"]["cluster_id"] for status in statuses}) == 1


async def test_addresses_for_clients_outside_are_listed_by_every_region_also_after_a_restart(start_regions) -> None:
    east, west = await start_regions(("us-east", 1), ("eu-west", 1))
    where = topology("us-east", east, west, version=2)
    for region in where.regions:
        region.replicas[0].advertised_client_addresses.extend([f"rs-0.{region.name}.example.com:2379", "192.0.2.7:443"])
    for region in (east, west):
        await region.set_topology(where)
    [killed] = west.replicas
    killed.kill()
    killed.start()
    await west.leader()
    for region in (east, west):
        listed = {member["name"]: member["clientURLs"] for member in await _members(EtcdCtl(region))}
        assert listed == {
            f"{each.region}/{replica.name}": [
                f"https://{replica.client_address}",
                f"https://rs-0.{each.region}.example.com:2379",
                "https://192.0.2.7:443",
            ]
            for each in (east, west)
            for replica in each.replicas
        }


async def test_a_client_that_syncs_its_endpoints_survives_the_loss_of_the_primary_region(start_regions) -> None:
    east, west, south = await start_regions(("us-east", 1), ("eu-west", 1), ("ap-south", 1))
    async with east.client() as client:
        members = (await client.member_list()).members
        written = (await client.put("before", "1")).header.revision
    async with west.client() as client:
        await eventually(client.status, accept=lambda status: status.header.revision >= written)
    endpoints = [url.removeprefix("https://") for member in members for url in member.clientURLs]
    async with Client(endpoints, tls=east.client_files) as synced:
        await synced.put("before", "2")
        for replica in east.replicas:
            replica.kill()
        fork = (await _newest(west)) or written
        where = topology("eu-west", east, west, south, epoch=2)
        await west.promote(2, fork, where, revision_jump=JUMP)
        await south.set_topology(where)
        await eventually(lambda: synced.put("after", "3"))
        assert (await synced.get("after")).kvs[0].value == b"3"


async def _newest(region: RegionProcesses) -> int:
    async with region.client() as client:
        return int((await client.status()).header.revision)


async def test_leadership_moves_by_etcdctl(start_regions) -> None:
    [region] = await start_regions(("us-east", 3))
    etcdctl = EtcdCtl(region)
    leader = await region.leader()
    ids = {member["name"]: member["ID"] for member in await _members(etcdctl)}
    target = next(replica for replica in region.replicas if replica is not leader)
    target_id = f"{ids[f'us-east/{target.name}']:x}"
    assert "Leadership transferred from" in await etcdctl("move-leader", target_id)
    assert await region.leader() is target
    assert "etcdserver: bad leader transferee" in await EtcdCtl(region).fails("move-leader", "1")
    assert "no leader endpoint given" in await EtcdCtl(region, leader).fails("move-leader", target_id)


async def test_maintenance_by_etcdctl(start_regions) -> None:
    [region] = await start_regions(("us-east", 1))
    etcdctl = EtcdCtl(region)
    assert "Finished defragmenting etcd member" in await etcdctl("defrag")
    assert await etcdctl("alarm", "list") == ""
    assert await etcdctl("alarm", "disarm") == ""
    refused = await etcdctl.fails("member", "add", "more", "--peer-urls=https://localhost:2380")
    assert "rstore: members are changed through the ReplicatedStore object" in refused
    assert "etcdserver: member not found" in await etcdctl.fails("member", "remove", "1")


async def test_a_full_primary_is_listed_and_is_unhealthy_wherever_one_asks(start_regions) -> None:
    east, west = await start_regions(("us-east", 1), ("eu-west", 1), limits={"quotaBytes": QUOTA_BYTES})
    async with east.client() as client:
        for size in (200_000, 20_000, 2_000, 1):
            await _fill(client, size)
        assert (await client.status()).dbSizeInUse > QUOTA_BYTES
    assert "alarm:NOSPACE" in await EtcdCtl(west)("alarm", "list")
    assert "is unhealthy" in await EtcdCtl(west).fails("endpoint", "health")
    assert "database space exceeded" in await EtcdCtl(west).fails("put", "more", "v" * 1000)


async def test_a_member_without_space_is_listed_wherever_one_asks(start_regions) -> None:
    east, west = await start_regions(("us-east", 3), ("eu-west", 1))
    async with east.client() as client:
        for number in range(10):
            await client.put(f"key-{number}", "v" * 200_000)
        leader = await east.leader()
        full = next(replica for replica in east.replicas if replica is not leader)
        settings = json.loads((east.directory / "replica.json").read_text())
        small = full.directory / "small.json"
        small.write_text(json.dumps(settings | {"limits": {"quotaBytes": QUOTA_BYTES}}))
        await full.end()
        full.start(f"--config={small}")
        listed = f"memberID:{await _id_of(east, full)} alarm:NOSPACE"
        for region, replica in [*((east, each) for each in east.replicas), (west, west.replicas[0])]:
            etcdctl = EtcdCtl(region, replica)
            await eventually(partial(_ask, etcdctl), accept=lambda printed: printed == listed)
            assert "is unhealthy" in await etcdctl.fails("endpoint", "health")
        await full.end()
        for etcdctl in (EtcdCtl(east, leader), EtcdCtl(west)):
            await eventually(partial(_ask, etcdctl), accept=lambda printed: printed == "")


async def _ask(etcdctl: EtcdCtl) -> str | None:
    """Returns the list of alarms; None where there is no answer yet."""
    try:
        return (await etcdctl("alarm", "list")).strip()
    except AssertionError:
        return None


async def _id_of(region: RegionProcesses, replica: ReplicaProcess) -> int:
    async with region.client() as client:
        members = (await client.member_list()).members
    return next(member.ID for member in members if member.name == f"{region.region}/{replica.name}")


async def _fill(client: Client, size: int) -> None:
    """Puts values of so many bytes until there is no room for one."""
    for number in range(1000):
        try:
            await client.put(f"key-{size}-{number}", "v" * size, timeout_seconds=20)
        except NoSpace:
            return
    raise AssertionError(f"there is always room for {size} bytes")


async def test_the_detail_of_an_error_is_in_its_metadata(single: RegionProcesses) -> None:
    replica = single.replicas[0]
    request = rpc.TxnRequest(success=[rpc.RequestOp(request_range=rpc.RangeRequest(key=b"k"))] * 200)
    options = [("grpc.ssl_target_name_override", "localhost")]
    credentials = single.client_files.channel_credentials()
    async with grpc.aio.secure_channel(replica.client_address, credentials, options=options) as channel:
        invoke = channel.unary_unary(
            methods.TXN.path,
            request_serializer=rpc.TxnRequest.SerializeToString,
            response_deserializer=rpc.TxnResponse.FromString,
        )
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await invoke(request, timeout=10)
        status = channel.unary_unary(
            methods.STATUS.path,
            request_serializer=rpc.StatusRequest.SerializeToString,
            response_deserializer=rpc.StatusResponse.FromString,
        )(rpc.StatusRequest(), timeout=10)
        trailing = dict(await status.trailing_metadata())
    assert caught.value.details() == "etcdserver: too many operations in txn request"
    metadata = dict(caught.value.trailing_metadata())
    assert metadata[DETAIL_KEY] == "the limit is 128"
    assert metadata[OUTCOME_KEY] == "none"
    assert trailing["rstore-version"]
