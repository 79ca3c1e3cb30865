"""Loopback ranges and the service proxy."""

from __future__ import annotations

import asyncio
import contextlib
from ipaddress import IPv4Network
from pathlib import Path

import pytest
from localkube.network import AddressPool, ClusterNetwork, NetworkError
from localkube.proxy import Frontend, PortProxy, backends_of, frontends


def test_two_networks_differ_and_a_released_one_can_be_taken_again(tmp_path: Path) -> None:
    first = ClusterNetwork.take(tmp_path / "one.json")
    second = ClusterNetwork.take()
    assert first.second_octet != second.second_octet
    with pytest.raises(NetworkError, match="in use"):
        ClusterNetwork.take(tmp_path / "one.json")
    first.release()
    again = ClusterNetwork.take(tmp_path / "one.json")
    assert again.second_octet == first.second_octet
    again.release()
    second.release()


def test_when_no_range_is_free_it_is_said() -> None:
    taken = ClusterNetwork.take()
    with pytest.raises(NetworkError, match="no free range"):
        ClusterNetwork.take(candidates=[taken.second_octet])
    taken.release()


def test_addresses_are_not_reused_at_once_and_run_out() -> None:
    pool = AddressPool(IPv4Network("127.9.9.0/27"))
    first = pool.allocate()
    pool.release(first)
    others = [pool.allocate() for _ in range(11)]
    assert first not in others
    assert pool.allocate() == first
    with pytest.raises(NetworkError):
        pool.allocate()


def test_frontends_and_backends() -> None:
    service = {
        "metadata": {"name": "s", "namespace": "n"},
        "spec": {
            "clusterIP": "127.70.0.3",
            "selector": {"a": "b"},
            "ports": [{"port": 80, "targetPort": "web"}, {"port": 53, "protocol": "UDP"}],
        },
    }
    (frontend,) = frontends(service)
    assert frontend == Frontend("127.70.0.3", 80)
    assert frontends({**service, "spec": {**service["spec"], "clusterIP": "None"}}) == {}
    assert frontends({**service, "spec": {**service["spec"], "clusterIP": "10.0.0.1"}}) == {}
    pods = [
        {
            "metadata": {"name": f"p{i}", "labels": {"a": "b"}},
            "spec": {"containers": [{"ports": [{"name": "web", "containerPort": 8080}]}]},
            "status": {"podIP": f"127.0.0.{i}", "conditions": [{"type": "Ready", "status": ready}]},
        }
        for i, ready in ((1, "True"), (2, "False"))
    ]
    assert backends_of(service, service["spec"]["ports"][0], pods) == (("127.0.0.1", 8080),)


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers with all it was sent, after the sender has ended."""
    writer.write(await reader.read())
    with contextlib.suppress(OSError):
        await writer.drain()
    writer.close()


async def test_the_proxy_passes_bytes_and_ends_both_ways_and_a_dead_endpoint_is_seen() -> None:
    network = ClusterNetwork.take()
    address = network.pods.allocate()
    server = await asyncio.start_server(_echo, address, 7001)
    proxy = PortProxy(Frontend(network.pods.allocate(), 7000))
    host, port = proxy.frontend.host, proxy.frontend.port
    try:
        await proxy.set_backends(((address, 7001),))
        payload = bytes(range(256)) * 4096
        for _ in range(3):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(payload)
            writer.write_eof()
            assert await reader.read() == payload
            writer.close()
        await proxy.set_backends(((address, 7001), (address, 7999)))
        answers = []
        for _ in range(4):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(b"x")
            writer.write_eof()
            try:
                answers.append(await reader.read())
            except ConnectionResetError:
                answers.append(b"")
            writer.close()
        assert sorted(answers) == [b"", b"", b"x", b"x"], "each endpoint has its turn, as with kube-proxy"
        await proxy.set_backends(())
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(host, port)
    finally:
        await proxy.close()
        server.close()
        network.release()
