"""Hazard 15: names are cached for 600 s and only one side dials: a restarted pod can stay unreachable."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Sequence

import pytest
from hazards.hazard_clock import HandClock
from hazards.hazard_groups import until
from hazards.hazard_stock import stock_module
from pysyncobj import dns_resolver
from rstore_api.listening import listening_socket
from rstore_api.proto import raft_pb2 as pb
from rstore_replica.raft import GrpcTransport, Member
from rstore_replica.raft.links.grpc_transport import MAX_MESSAGE_BYTES
from rstore_wire.server import Server


def test_hazard_15_stock_dials_an_address_of_ten_minutes_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, address = HandClock(), "10.0.0.1"
    monkeypatch.setattr(dns_resolver, "monotonicTime", clock.monotonic)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: [(socket.AF_INET, 1, 6, "", (address, 0))])
    conf = stock_module().SyncObjConf()
    resolver = dns_resolver.DnsCachingResolver(conf.dnsCacheTime, conf.dnsFailCacheTime)
    assert resolver.resolve("pod-0.peers") == "10.0.0.1"
    address = "10.0.0.2"  # the pod was restarted
    clock.advance(599)
    assert resolver.resolve("pod-0.peers") == "10.0.0.1"
    clock.advance(2)
    assert resolver.resolve("pod-0.peers") == "10.0.0.2"


def test_hazard_15_stock_one_side_never_dials() -> None:
    module = stock_module()
    host = f"127.{random.randint(20, 250)}.{random.randint(1, 250)}.7"
    conf = module.SyncObjConf(autoTick=False)
    low, high = f"{host}:4001", f"{host}:4002"
    replica = module.SyncObj(low, [high], conf=conf)
    try:
        transport = replica._SyncObj__transport
        assert [transport._shouldConnect(node) for node in transport._nodes] == [False]
        assert transport._connections == {}
    finally:
        replica.destroy()


class Names:
    """A resolver of fixed names, which counts its look-ups."""

    def __init__(self, **addresses: str) -> None:
        self.addresses = addresses
        self.asked = 0

    async def resolve(self, host: str, _port: int) -> Sequence[str]:
        self.asked += 1
        if not self.addresses[host]:
            raise OSError(f"{host} is not known")
        return [self.addresses[host]]


class Peer:
    """A transport that listens, and the terms that it has received."""

    def __init__(self, name: str, members: tuple[Member, ...], names: Names, host: str, port: int) -> None:
        self.transport = GrpcTransport(name, members, resolver=names.resolve)
        self.server = Server(max_message_bytes=MAX_MESSAGE_BYTES)
        self.transport.add_to_server(self.server)
        self.server.add_listener(listening_socket(host, port, backlog=8), None)
        self.up: set[str] = set()
        self.received: list[int] = []

    async def start(self) -> None:
        await self.server.start()
        await self.transport.start(lambda _peer, envelope: self.received.append(envelope.term), self.on_link)

    def on_link(self, peer: str, connected: bool, _new_session: bool) -> None:
        (self.up.add if connected else self.up.discard)(peer)

    async def stop(self) -> None:
        await self.transport.stop()
        await self.server.stop(None)


def places() -> tuple[tuple[Member, ...], list[str], int]:
    base = f"127.{random.randint(20, 250)}.{random.randint(1, 250)}"
    hosts = [f"{base}.{number}" for number in (1, 2, 3)]
    with socket.socket() as probe:
        probe.bind((hosts[0], 0))
        port = probe.getsockname()[1]
    return (Member("a", f"name-a:{port}"), Member("b", f"name-b:{port}")), hosts, port


@pytest.mark.parametrize("dialler", ["a", "b"])
async def test_hazard_15_ours_one_side_that_can_dial_is_enough(dialler: str) -> None:
    members, hosts, port = places()
    names = Names(**{"name-a": hosts[0], "name-b": hosts[1]})
    unknown = Names(**{"name-a": "", "name-b": ""})
    a = Peer("a", members, names if dialler == "a" else unknown, hosts[0], port)
    b = Peer("b", members, names if dialler == "b" else unknown, hosts[1], port)
    await asyncio.gather(a.start(), b.start())
    try:
        await until(lambda: a.up == {"b"} and b.up == {"a"}, "a link, dialled by either")
        assert a.transport.send("b", pb.RaftEnvelope(term=7))
        assert b.transport.send("a", pb.RaftEnvelope(term=8))
        await until(lambda: (a.received, b.received) == ([8], [7]), "both directions of it")
    finally:
        await asyncio.gather(a.stop(), b.stop())


async def test_hazard_15_ours_asks_for_the_address_at_each_dial() -> None:
    members, hosts, port = places()
    names = Names(**{"name-a": hosts[0], "name-b": hosts[1]})
    a = Peer("a", members, names, hosts[0], port)
    b = Peer("b", members, Names(**{"name-a": "", "name-b": ""}), hosts[1], port)
    await asyncio.gather(a.start(), b.start())
    try:
        await until(lambda: a.up == {"b"}, "a link")
        await b.stop()
        await until(lambda: not a.up, "the link breaks")
        asked = names.asked
        names.addresses["name-b"] = hosts[2]
        b = Peer("b", members, Names(**{"name-a": "", "name-b": ""}), hosts[2], port)
        await b.start()
        await until(lambda: a.up == {"b"}, "a link to the new address")
        assert names.asked > asked
    finally:
        await asyncio.gather(a.stop(), b.stop())
