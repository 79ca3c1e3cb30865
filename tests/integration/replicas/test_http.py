"""Liveness, readiness, metrics and gRPC health of a real replica."""

from __future__ import annotations

import asyncio
import signal
import socket
from pathlib import Path

from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from integration.replicas.server_certificates import Authority
from integration.replicas.server_processes import (
    RegionProcesses,
    bootstrap,
    eventually,
    get_page,
)
from rstore_api.dialling.channels import Address, open_channel


async def test_a_replica_is_alive_at_once_and_ready_when_it_can_serve(tmp_path: Path, authority: Authority) -> None:
    region = RegionProcesses(tmp_path, authority, region="us-east", replicas=3)
    first, *others = region.replicas
    try:
        first.start()
        await eventually(lambda: get_page(first, "/healthz"), accept=lambda answer: answer[0] == 200)
        status, _reason = await eventually(
            lambda: get_page(first, "/readyz"), accept=lambda answer: "no leader" in answer[1]
        )
        assert status == 503
        for other in others:
            other.start()
        await eventually(lambda: get_page(first, "/readyz"), accept=lambda answer: "not been bootstrapped" in answer[1])
        await bootstrap(region)
        await eventually(lambda: get_page(first, "/readyz"), accept=lambda answer: answer == (200, "ok\n"))
        for other in others:
            await other.end(signal.SIGKILL)
        await eventually(lambda: get_page(first, "/readyz"), accept=lambda answer: answer[0] == 503)
        assert (await get_page(first, "/healthz"))[0] == 200
    finally:
        region.stop()


async def test_metrics_tell_what_happened(single: RegionProcesses) -> None:
    [replica] = single.replicas
    async with single.client() as client:
        await asyncio.gather(*(client.put(f"m{number}", "v") for number in range(10)))
        revision = (await client.get("m1")).header.revision
    status, text = await get_page(replica, "/metrics")
    assert status == 200
    lines = set(text.splitlines())
    assert f"rstore_revision {float(revision)}" in lines
    assert {"rstore_epoch 1.0", "rstore_is_leader 1.0", "rstore_primary 1.0", "rstore_ready 1.0"} <= lines
    assert 'rstore_requests_total{method="Put",result="ok"} 10.0' in lines
    assert any(line.startswith("rstore_event_loop_lag_seconds_count") for line in lines)
    assert any(line.startswith('rstore_request_seconds_bucket{le="0.01",method="Put"}') for line in lines)


async def test_metrics_tell_what_etcd_would(triple: RegionProcesses) -> None:
    async with triple.client() as client:
        await asyncio.gather(*(client.put(f"e{number}", "v") for number in range(10)))

    def value(text: str, name: str) -> float:
        return sum(
            float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith((f"{name} ", f"{name}{{"))
        )

    leaders = received = sent = 0
    for replica in triple.replicas:
        _, text = await get_page(replica, "/metrics")
        leaders += int(value(text, "etcd_server_is_leader"))
        assert value(text, "etcd_server_has_leader") == 1
        assert value(text, "etcd_server_leader_changes_seen_total") >= 1
        assert value(text, "etcd_disk_wal_fsync_duration_seconds_count") > 0
        assert value(text, "etcd_disk_backend_commit_duration_seconds_count") > 0
        assert value(text, "etcd_mvcc_db_total_size_in_use_in_bytes") <= value(text, "etcd_mvcc_db_total_size_in_bytes")
        assert 0 < value(text, "rstore_disk_free_bytes") <= value(text, "rstore_disk_size_bytes")
        assert value(text, "process_resident_memory_bytes") > 1e6
        if hasattr(socket, "TCP_INFO"):
            assert value(text, "etcd_network_peer_round_trip_time_seconds_count") == len(triple.replicas) - 1
        assert value(text, "etcd_network_peer_received_bytes_total") > 0
        assert value(text, "etcd_network_peer_sent_bytes_total") > 0
        received += int(value(text, "etcd_network_client_grpc_received_bytes_total"))
        sent += int(value(text, "etcd_network_client_grpc_sent_bytes_total"))
    assert leaders == 1
    assert received >= 10 * len("e0v")
    assert sent > 0


async def test_grpc_health_and_reflection_are_served(single: RegionProcesses) -> None:
    channel = await open_channel(Address.parse(single.replicas[0].client_address), tls=single.client_files)
    async with channel:
        health = health_pb2_grpc.HealthStub(channel)

        async def check() -> int:
            answer = await health.Check(health_pb2.HealthCheckRequest(service="etcdserverpb.KV"), timeout=2)
            return int(answer.status)

        await eventually(check, accept=lambda status: status == health_pb2.HealthCheckResponse.SERVING)
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        requests = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
        names = {
            service.name
            async for response in stub.ServerReflectionInfo(requests, timeout=2)
            for service in response.list_services_response.service
        }
    assert {"etcdserverpb.KV", "etcdserverpb.Maintenance", "etcdserverpb.Cluster"} <= names
