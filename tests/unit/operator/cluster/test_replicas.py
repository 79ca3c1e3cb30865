"""Calls of replicas over real gRPC with mutual TLS: those that answer, are late, or are gone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

import grpc
import pytest
from rstore_api.domain import names
from rstore_api.errors import StoreError
from rstore_api.methods import ADMIN_BOOTSTRAP, ADMIN_DEMOTE
from rstore_api.proto import rstore_pb2 as pb
from rstore_api.proto import rstore_pb2_grpc
from rstore_api.tls import TlsPem
from rstore_operator.cluster.replicas import Replicas
from rstore_operator.cluster.spares import Spares
from rstore_operator.facts.actions import CertificateRequest, Target
from rstore_operator.facts.observed import Pod
from rstore_operator.specs.certificates import make_authority, make_certificate, new_key

NOW = datetime.now(UTC)
AUTHORITY = make_authority("default/orders", new_key(), NOW)
SERVER = make_certificate(
    AUTHORITY, CertificateRequest("peer", ("*.orders-a-peers.default.svc",), server=True), new_key(), NOW
)
OPERATOR = make_certificate(AUTHORITY, CertificateRequest("operator"), new_key(), NOW)
TLS = TlsPem(AUTHORITY.certificate, OPERATOR.certificate, OPERATOR.key)


class FakeAdmin(rstore_pb2_grpc.AdminServicer):
    def __init__(self, name: str) -> None:
        self.name = name
        self.calls = 0
        self.topology_version = 1
        self.hang = asyncio.Event()
        self.hang.set()

    async def Status(self, request: pb.StatusRequest, context: object) -> pb.StatusResponse:
        self.calls += 1
        await self.hang.wait()
        return pb.StatusResponse(
            replica=self.name,
            region="a",
            is_leader=True,
            revision=self.calls,
            store_id="s",
            topology=pb.Topology(epoch=1, version=self.topology_version, primary_region="a"),
        )

    async def Bootstrap(self, request: pb.BootstrapRequest, context: object) -> pb.BootstrapResponse:
        return pb.BootstrapResponse(store_id=request.store_id)


async def serve(admin: FakeAdmin, address: str) -> grpc.aio.Server:
    server = grpc.aio.server()
    rstore_pb2_grpc.add_AdminServicer_to_server(admin, server)
    credentials = grpc.ssl_server_credentials(
        [(SERVER.key, SERVER.certificate)], AUTHORITY.certificate, require_client_auth=True
    )
    assert server.add_secure_port(f"{address}:{names.PEER_PORT}", credentials)
    await server.start()
    return server


@pytest.fixture
def addresses() -> tuple[str, str]:
    stamp = time.monotonic_ns() // 1000
    return f"127.{90 + stamp % 60}.{stamp // 60 % 250}.1", f"127.{90 + stamp % 60}.{stamp // 60 % 250}.2"


@pytest.fixture
async def pair(addresses: tuple[str, str]) -> AsyncIterator[tuple[Replicas, list[Pod], list[FakeAdmin]]]:
    admins = [FakeAdmin("orders-a-0"), FakeAdmin("orders-a-1")]
    servers = [await serve(admin, address) for admin, address in zip(admins, addresses, strict=True)]
    pods = [
        Pod(admin.name, "a", address, ready=True, host=names.pod_host("orders", "a", "default", admin.name))
        for admin, address in zip(admins, addresses, strict=True)
    ]
    replicas = Replicas()
    await replicas.use(TLS)
    yield replicas, pods, admins
    await replicas.close()
    for admin in admins:
        admin.hang.set()
    await asyncio.gather(*(server.stop(0) for server in servers))


async def test_all_are_asked_by_address_and_known_by_name(pair: tuple) -> None:
    replicas, pods, _ = pair
    found = await replicas.statuses(pods, lambda _: True, patience_seconds=5)
    assert {name: status.revision for name, status in found.items()} == {"orders-a-0": 1, "orders-a-1": 1}
    again = await replicas.statuses(pods, lambda pod: pod.name == "orders-a-0", patience_seconds=5)
    assert {name: status.revision for name, status in again.items()} == {"orders-a-0": 2, "orders-a-1": 1}


async def test_the_topology_that_all_have_is_kept_once(pair: tuple) -> None:
    replicas, pods, admins = pair
    seen = await replicas.statuses(pods, lambda _: True, patience_seconds=5)
    assert seen["orders-a-0"].topology is seen["orders-a-1"].topology
    admins[1].topology_version = 2
    seen = await replicas.statuses(pods, lambda _: True, patience_seconds=5)
    assert [seen[f"orders-a-{number}"].topology.version for number in (0, 1)] == [1, 2]


async def test_messages_larger_than_the_buffers_of_a_connection_come_whole(pair: tuple) -> None:
    replicas, pods, _ = pair
    large = "".join(map(str, range(100_000)))
    answer = await replicas.call(
        Target.of(pods[0]), ADMIN_BOOTSTRAP, pb.BootstrapRequest(store_id=large), timeout_seconds=10
    )
    assert answer.store_id == large


async def test_a_replica_that_hangs_does_not_delay_the_others(pair: tuple) -> None:
    replicas, pods, admins = pair
    await replicas.statuses(pods, lambda _: True, patience_seconds=5)
    admins[1].hang.clear()
    began = time.monotonic()
    for _ in range(5):
        found = await replicas.statuses(pods, lambda _: True, patience_seconds=0.05)
    assert time.monotonic() - began < 0.9
    assert found["orders-a-1"].revision == 1, "the last answer"
    assert admins[1].calls == 2, "it is asked once at a time"


async def test_without_a_certificate_no_replica_is_asked(pair: tuple) -> None:
    replicas, pods, admins = pair
    await replicas.use(None)
    assert await replicas.statuses(pods, lambda _: True, patience_seconds=5) == {}
    assert [admin.calls for admin in admins] == [0, 0]


async def test_a_certificate_of_another_authority_gets_no_answer(pair: tuple) -> None:
    replicas, pods, admins = pair
    other = make_authority("x", new_key(), NOW)
    wrong = make_certificate(other, CertificateRequest("operator"), new_key(), NOW)
    await replicas.use(TlsPem(AUTHORITY.certificate, wrong.certificate, wrong.key))
    assert await replicas.statuses(pods, lambda _: True, patience_seconds=5) == {}
    assert [admin.calls for admin in admins] == [0, 0]


async def test_a_pod_that_moved_is_not_known_by_its_old_answer(pair: tuple) -> None:
    replicas, pods, _ = pair
    await replicas.statuses(pods, lambda _: True, patience_seconds=5)
    moved = [replace(pods[0], ip="127.0.0.2", ready=False), pods[1]]
    found = await replicas.statuses(moved, lambda pod: pod.name == pods[1].name, patience_seconds=5)
    assert set(found) == {"orders-a-1"}


async def test_another_replica_behind_the_address_is_not_taken_for_it(pair: tuple) -> None:
    replicas, pods, admins = pair
    admins[0].name = "orders-a-7"
    assert set(await replicas.statuses(pods, lambda _: True, patience_seconds=5)) == {"orders-a-1"}


async def test_a_refused_call_raises_a_store_error(pair: tuple) -> None:
    replicas, pods, _ = pair
    with pytest.raises(StoreError):
        await replicas.call(
            Target.of(pods[0]), ADMIN_DEMOTE, pb.DemoteRequest(store_id="s", epoch=2), timeout_seconds=10
        )


async def test_a_replica_that_answers_neither_of_two_requests_counts_as_silent_since_the_first(
    pair: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    replicas, pods, admins = pair
    monkeypatch.setattr("rstore_operator.cluster.replicas.STATUS_TIMEOUT_SECONDS", 0.2)
    monkeypatch.setattr("rstore_operator.cluster.replicas.KEEP_LATE_SECONDS", 0.3)
    await replicas.statuses(pods, lambda _: True, patience_seconds=5)
    assert "orders-a-1" not in replicas.unanswered_seconds()
    admins[1].hang.clear()
    began = time.monotonic()
    found = await replicas.statuses(pods, lambda _: True, patience_seconds=5)
    assert set(found) == {"orders-a-0", "orders-a-1"}, "only late, as yet"
    assert replicas.waits_for_late
    found = await replicas.statuses(pods, lambda _: True, patience_seconds=5)
    assert set(found) == {"orders-a-0"}
    assert not replicas.waits_for_late
    assert replicas.unanswered_seconds()["orders-a-1"] == pytest.approx(time.monotonic() - began, abs=0.1)
    admins[1].hang.set()
    assert set(await replicas.statuses(pods, lambda _: True, patience_seconds=5)) == {"orders-a-0", "orders-a-1"}
    assert "orders-a-1" not in replicas.unanswered_seconds()


async def test_connections_that_are_spare_are_closed_when_there_are_too_many_and_opened_again(
    pair: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, pods, _ = pair
    opened: list[str] = []
    endpoint = Replicas._endpoint

    def counted(replicas: Replicas, target: Target, port: int) -> object:
        opened.append(target.pod)
        return endpoint(replicas, target, port)

    monkeypatch.setattr(Replicas, "_endpoint", counted)
    replicas = Replicas(spares=Spares(limit=1))
    await replicas.use(TLS)
    try:
        for _ in range(2):
            assert set(await replicas.statuses(pods, lambda _: True, patience_seconds=5)) == {pod.name for pod in pods}
            await replicas.spare(pods[1:])
        assert opened == ["orders-a-0", "orders-a-1"], "one spare connection stays open"
        await replicas.spare(pods)
        statuses = await replicas.statuses(pods, lambda _: True, patience_seconds=5)
        assert min(status.revision for status in statuses.values()) == 3
        assert opened == ["orders-a-0", "orders-a-1"] * 2
    finally:
        await replicas.close()
