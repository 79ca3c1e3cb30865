"""Clients with certificates of their own: what they may do, and how one is shut out."""

from __future__ import annotations

import asyncio
import signal
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest
from grpc import aio
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from integration.replicas.server_certificates import Authority
from integration.replicas.server_processes import RegionProcesses, ReplicaProcess, eventually
from rstore_api import methods
from rstore_api.dialling.channels import Address, open_channel
from rstore_api.domain.access import Access, AccessRules, ClientRule, SharedClient
from rstore_api.errors import PermissionDenied
from rstore_api.proto import rpc_pb2, rpc_pb2_grpc, rstore_pb2
from rstore_api.tls import TlsFiles

SHOP = ClientRule(name="shop", prefixes=("shop/",))
REPORT = ClientRule(name="report", access=Access.READ)


async def enforce(rules: AccessRules, *regions: RegionProcesses) -> None:
    """As the operator does it."""
    for region in regions:
        for replica in region.replicas:
            async with region.peer(replica) as peer:
                request = rstore_pb2.SetAccessRequest(rules=rules.encode())
                await peer.call(methods.ADMIN_SET_ACCESS, request, timeout_seconds=5)
                status = await peer.call(methods.ADMIN_STATUS, rstore_pb2.StatusRequest(), timeout_seconds=5)
                assert status.access.digest == rules.digest


def own_certificate(authority: Authority, directory: Path, name: str, begins: datetime | None = None) -> TlsFiles:
    return authority.issue(directory, name, organization="client", begins=begins)


async def _opened_stream(replica: ReplicaProcess, files: TlsFiles) -> tuple[aio.Channel, aio.StreamStreamCall]:
    """A stream that stays open, and has been answered once."""
    channel = await open_channel(Address.parse(replica.client_address), tls=files)
    call = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo()
    await call.write(reflection_pb2.ServerReflectionRequest(list_services="*"))
    assert await asyncio.wait_for(call.read(), 5) is not aio.EOF
    return channel, call


async def test_a_client_is_kept_to_its_keys_in_every_region(start_regions, authority, tmp_path: Path) -> None:
    regions = await start_regions(("us-east", 1), ("eu-west", 1))
    shop = own_certificate(authority, tmp_path / "shop", "shop")
    report = own_certificate(authority, tmp_path / "report", "report")
    stranger = own_certificate(authority, tmp_path / "stranger", "stranger")
    await enforce(AccessRules(version=1, clients=(SHOP, REPORT)), *regions)
    for region in regions:  # the second one hands on to the first with its own certificate
        async with region.client(files=shop) as client:
            await eventually(lambda client=client: client.put("shop/1", "a"))
            assert (await client.get("shop/1")).kvs[0].value == b"a"
            assert (await client.status()).version
            for refused in (
                client.put("cart/1", "a"),
                client.get("cart/1"),
                client.get("cart/1", serializable=True),
                client.get_prefix("s"),
                client.delete("cart/1"),
                client.compact(1),
            ):
                with pytest.raises(PermissionDenied):
                    await refused
        async with region.client(files=report) as client:
            assert (await client.get("shop/1")).kvs[0].value == b"a"
            with pytest.raises(PermissionDenied):
                await client.put("shop/1", "b")
        async with region.client(files=stranger) as client:
            with pytest.raises(PermissionDenied, match="the store has no client 'stranger'"):
                await client.get("shop/1", timeout_seconds=2)
        with pytest.raises(PermissionDenied):
            async with region.peer(region.replicas[0], files=shop) as peer:
                await peer.call(methods.ADMIN_STATUS, rstore_pb2.StatusRequest(), timeout_seconds=2)
    channel = await open_channel(Address.parse(regions[0].replicas[0].client_address), tls=shop)
    async with channel:
        with pytest.raises(aio.AioRpcError) as caught:
            await rpc_pb2_grpc.KVStub(channel).Put(rpc_pb2.PutRequest(key=b"cart/1"), timeout=5)
        assert caught.value.details() == "etcdserver: permission denied", "as etcd's clients know it"


async def test_a_client_watches_its_own_keys_until_it_is_shut_out(start_regions, authority, tmp_path: Path) -> None:
    [region] = await start_regions(("us-east", 1))
    await enforce(AccessRules(version=1, clients=(SHOP,)), region)
    address = Address.parse(region.replicas[0].client_address)
    async with (
        await open_channel(address, tls=own_certificate(authority, tmp_path / "shop", "shop")) as channel,
        await open_channel(address, tls=region.client_files) as other_channel,
        region.client() as writer,
    ):
        watch, other = (rpc_pb2_grpc.WatchStub(each).Watch() for each in (channel, other_channel))
        for key in (b"cart/", b"shop/"):
            request = rpc_pb2.WatchCreateRequest(key=key, range_end=key[:-1] + b"0")
            await watch.write(rpc_pb2.WatchRequest(create_request=request))
        await other.write(rpc_pb2.WatchRequest(create_request=rpc_pb2.WatchCreateRequest(key=b"\0", range_end=b"\0")))
        assert (await asyncio.wait_for(other.read(), 5)).created
        refused, created = [await asyncio.wait_for(watch.read(), 5) for _ in range(2)]
        assert (refused.canceled, refused.cancel_reason) == (True, "etcdserver: permission denied")
        assert (created.created, created.canceled) == (True, False)
        await writer.put("cart/1", "a")
        await writer.put("shop/1", "b")
        [event] = (await asyncio.wait_for(watch.read(), 5)).events
        assert event.kv.key == b"shop/1"
        await enforce(AccessRules(version=2), region)
        assert await asyncio.wait_for(watch.code(), 2) is grpc.StatusCode.UNAVAILABLE
        await writer.put("shop/1", "c")
        seen: list[bytes] = []
        while b"c" not in seen:
            seen += [event.kv.value for event in (await asyncio.wait_for(other.read(), 5)).events]
        assert seen == [b"a", b"b", b"c"]
        other.cancel()


async def test_a_leaked_certificate_is_shut_out_with_what_it_has_open(start_regions, authority, tmp_path) -> None:
    [region] = await start_regions(("us-east", 1))
    [replica] = region.replicas
    leaked = own_certificate(authority, tmp_path / "leaked", "shop")
    await enforce(AccessRules(version=1, clients=(SHOP, REPORT)), region)
    channel, stream = await _opened_stream(replica, leaked)
    shared_channel, shared_stream = await _opened_stream(replica, region.client_files)
    async with channel, shared_channel, region.client(files=leaked) as client, region.client() as other:
        await client.put("shop/1", "a", retry_unknown=True)
        await other.put("k", "v")
        now = datetime.now(UTC).replace(microsecond=0)
        revoked = ClientRule(name="shop", prefixes=("shop/",), revoked_before=int(now.timestamp()))
        await enforce(AccessRules(version=2, clients=(revoked, REPORT)), region)
        assert await asyncio.wait_for(stream.code(), 2) is grpc.StatusCode.UNAVAILABLE
        with pytest.raises(PermissionDenied, match="the certificate of client 'shop' was revoked"):
            await client.get("shop/1", timeout_seconds=5)
        await shared_stream.write(reflection_pb2.ServerReflectionRequest(list_services="*"))
        assert await asyncio.wait_for(shared_stream.read(), 5) is not aio.EOF
        assert (await other.get("k")).kvs[0].value == b"v"
        shared_stream.cancel()
    renewed = own_certificate(authority, tmp_path / "renewed", "shop", now)
    async with region.client(files=renewed) as client:
        assert (await client.get("shop/1")).kvs[0].value == b"a"
    # Without the operator, a replica that starts again has the rules that it had.
    await replica.end(signal.SIGKILL)
    replica.start()
    await region.leader()
    async with region.client(files=leaked) as client, region.client(files=renewed) as good:
        assert (await eventually(lambda: good.get("shop/1"))).kvs
        with pytest.raises(PermissionDenied, match="revoked"):
            await client.get("shop/1", timeout_seconds=5)


async def test_the_shared_certificate_can_be_turned_off_and_a_new_replica_starts_with_that(
    start_regions, authority, tmp_path: Path
) -> None:
    rules = AccessRules(version=5, shared_client=SharedClient(enabled=False), clients=(ClientRule(name="admin"),))
    mounted = tmp_path / "us-east" / "access.json"
    mounted.parent.mkdir()
    mounted.write_bytes(rules.encode())
    [region] = await start_regions(("us-east", 1))
    async with region.client() as client:
        with pytest.raises(PermissionDenied, match="not accepted any more"):
            await client.get("k", timeout_seconds=5)
    async with region.client(files=own_certificate(authority, tmp_path / "admin", "admin")) as admin:
        await admin.put("k", "v")
        await admin.compact((await admin.get("k")).header.revision)
    await enforce(rules, region)
