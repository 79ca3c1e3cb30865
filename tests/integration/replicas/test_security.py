"""Who gets in: certificates of another CA, of the wrong kind, none at all; and certificates that change."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest
from grpc import aio
from integration.replicas.server_certificates import Authority
from integration.replicas.server_processes import RegionProcesses, ReplicaProcess, eventually
from rstore_api import methods
from rstore_api.client import Client
from rstore_api.dialling.channels import Address, open_channel
from rstore_api.dialling.endpoint import Endpoint
from rstore_api.errors import PermissionDenied, Unreachable
from rstore_api.proto import rstore_pb2, rstore_pb2_grpc
from rstore_api.tls import TlsFiles


async def _stream_refusal(region: RegionProcesses, files: TlsFiles) -> grpc.StatusCode:
    """Calls Replication.Stream with a certificate, and returns the status it ends with."""
    channel = await open_channel(Address.parse(region.replicas[0].peer_address), tls=files)
    async with channel:
        call = rstore_pb2_grpc.ReplicationStub(channel).Stream(timeout=5)
        code = await call.code()
        assert code is not None
        return code


async def _status(replica: ReplicaProcess, files: TlsFiles) -> rstore_pb2.StatusResponse:
    async with Endpoint(replica.peer_address, tls=files) as peer:
        return await peer.call(methods.ADMIN_STATUS, rstore_pb2.StatusRequest(), timeout_seconds=2)


async def test_only_certificates_of_the_stores_ca_are_let_in(single: RegionProcesses, tmp_path: Path) -> None:
    region, [replica] = single, single.replicas
    other_ca = Authority.make("another-ca")
    # This client trusts the store's CA, so that it is the server that refuses.
    for kind in ("client", "operator", "peer"):
        files = other_ca.issue(tmp_path / f"other-{kind}", kind)
        stranger = TlsFiles(ca=region.client_files.ca, cert=files.cert, key=files.key)
        async with Client([replica.client_address], tls=stranger) as client:
            with pytest.raises(Unreachable):
                await client.get("k", serializable=True, timeout_seconds=1)
        with pytest.raises(Unreachable):
            await _status(replica, stranger)
    async with Client([replica.client_address], tls=None) as client:
        with pytest.raises(Unreachable):
            await client.get("k", serializable=True, timeout_seconds=1)


async def test_no_certificate_at_all_is_refused_on_both_ports(single: RegionProcesses) -> None:
    region, [replica] = single, single.replicas
    anonymous = grpc.ssl_channel_credentials(region.client_files.ca.read_bytes())
    for address in (replica.client_address, replica.peer_address):
        options = [("grpc.ssl_target_name_override", "localhost")]
        async with aio.secure_channel(address, anonymous, options=options) as channel:
            call = channel.unary_unary("/etcdserverpb.Maintenance/Status")
            with pytest.raises(aio.AioRpcError) as caught:
                await call(b"", timeout=3)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_client_refuses_a_server_of_another_ca(single: RegionProcesses, tmp_path: Path) -> None:
    region = single
    other = Authority.make("another-ca").issue(tmp_path / "other", "client")
    mistrustful = TlsFiles(ca=other.ca, cert=region.client_files.cert, key=region.client_files.key)
    async with Client([region.replicas[0].client_address], tls=mistrustful) as client:
        with pytest.raises(Unreachable, match="CERTIFICATE_VERIFY_FAILED"):
            await client.get("k", timeout_seconds=1)


async def test_the_peer_port_admits_by_kind(single: RegionProcesses) -> None:
    region, [replica] = single, single.replicas
    peer = TlsFiles.in_directory(replica.directory / "tls")
    for files in (region.operator, peer):
        assert (await _status(replica, files)).region == "us-east"
    with pytest.raises(PermissionDenied, match="client"):
        await _status(replica, region.client_files)
    for files in (region.client_files, region.operator):
        assert await _stream_refusal(region, files) is grpc.StatusCode.PERMISSION_DENIED


async def test_the_client_port_admits_every_kind_and_has_no_admin(single: RegionProcesses) -> None:
    region, [replica] = single, single.replicas
    for files in (region.client_files, region.operator, TlsFiles.in_directory(replica.directory / "tls")):
        async with Client([replica.client_address], tls=files) as client:
            await client.put("k", "v")
    channel = await open_channel(Address.parse(replica.client_address), tls=region.operator)
    async with channel:
        with pytest.raises(aio.AioRpcError) as caught:
            await rstore_pb2_grpc.AdminStub(channel).Status(rstore_pb2.StatusRequest(), timeout=3)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_without_client_authentication_the_client_port_still_speaks_tls_only(start_regions) -> None:
    [region] = await start_regions(("us-east", 1), clientAuth="None")
    [replica] = region.replicas
    anonymous = grpc.ssl_channel_credentials(region.client_files.ca.read_bytes())
    options = [("grpc.ssl_target_name_override", "localhost")]
    async with aio.secure_channel(replica.client_address, anonymous, options=options) as channel:
        await channel.unary_unary("/etcdserverpb.Maintenance/Status")(b"", timeout=3)
    async with aio.insecure_channel(replica.client_address) as channel:
        with pytest.raises(aio.AioRpcError):
            await channel.unary_unary("/etcdserverpb.Maintenance/Status")(b"", timeout=1)
    async with aio.secure_channel(replica.peer_address, anonymous, options=options) as channel:
        with pytest.raises(aio.AioRpcError):
            await channel.unary_unary("/rstore.v1.Admin/Status")(b"", timeout=1)


async def test_certificates_are_rotated_without_a_restart(start_regions, tmp_path: Path) -> None:
    [region] = await start_regions(("us-east", 1))
    [replica] = region.replicas
    new_ca = Authority.make("next-ca")
    new_client = new_ca.issue(tmp_path / "next", "client")
    async with region.client() as client:
        await client.put("k", "1")
        new_ca.issue(replica.directory / "tls", "peer")
        async with Client([replica.client_address], tls=new_client) as rotated:
            answer = await eventually(lambda: rotated.get("k", timeout_seconds=1))
            assert answer.kvs[0].value == b"1"
        await client.put("k", "2")  # on the connection from before
    async with region.client() as late:
        with pytest.raises(Unreachable):
            await late.get("k", timeout_seconds=1)
