"""Connections that say nothing keep nobody out: over TLS, and the rule on its own."""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from rstore_api.listening import listening_socket
from rstore_api.tls import TlsPem
from rstore_operator.facts.actions import CertificateRequest
from rstore_operator.specs.certificates import make_authority, make_certificate, new_key
from rstore_replica.api.access.admission import identify_by_kind, may_call_anything
from rstore_replica.tls_contexts import client_context, server_context
from rstore_wire.acquaintances import Acquaintances
from rstore_wire.handshakes import Handshakes, source_of
from rstore_wire.limits import Limits
from rstore_wire.refusals import Refusals
from rstore_wire.server import Server

SILENT = 160


def test_the_oldest_of_the_address_that_has_most_makes_room() -> None:
    handshakes: Handshakes[str] = Handshakes(3)
    assert handshakes.add("a1", "a") is None
    assert handshakes.add("b1", "b") is None
    assert handshakes.add("a2", "a") is None
    assert handshakes.add("c1", "c") == "a1"
    handshakes.discard("b1")
    assert handshakes.add("b2", "b") is None
    assert sorted(handshakes) == ["a2", "b2", "c1"]


@pytest.mark.parametrize("limit", [3, 8, 64])
def test_a_flood_of_one_address_pushes_out_its_own_only(limit: int) -> None:
    handshakes: Handshakes[str] = Handshakes(limit)
    handshakes.add("x1", "flood")
    handshakes.add("x2", "flood")
    gone = [handshakes.add("honest", "other")]
    gone += [handshakes.add(f"flood{n}", "flood") for n in range(500)]
    assert len(handshakes) == limit
    assert "honest" not in gone


def test_strangers_from_many_addresses_do_not_reach_one_that_is_known() -> None:
    handshakes: Handshakes[str] = Handshakes(8)
    gone = [handshakes.add("peer", "10.0.0.1", known=True)]
    gone += [handshakes.add(f"flood{n}", f"10.1.{n // 250}.{n % 250}") for n in range(5_000)]
    gone += [handshakes.add("operator", "10.0.0.2", known=True)]
    gone += [handshakes.add(f"more{n}", f"10.2.0.{n}") for n in range(200)]
    assert not {"peer", "operator"} & set(gone)
    assert len(handshakes) == 8


def test_known_ones_alone_make_room_for_each_other_and_for_strangers() -> None:
    handshakes: Handshakes[str] = Handshakes(3)
    for name in ("a1", "a2", "b1"):
        assert handshakes.add(name, name[0], known=True) is None
    assert handshakes.add("a3", "a", known=True) == "a1"
    assert handshakes.add("stranger", "x") == "a2"
    assert handshakes.add("a4", "a", known=True) == "stranger"
    assert sorted(handshakes) == ["a3", "a4", "b1"]


def test_a_new_caller_among_a_flood_of_many_addresses_gets_in_with_its_luck() -> None:
    """Given up in order, one whose handshake takes as long as 100 others take to come would never get in."""
    got_in = 0
    for seed in range(200):
        handshakes: Handshakes[str] = Handshakes(64, random.Random(seed))
        for number in range(64):
            handshakes.add(f"before{number}", f"10.0.0.{number}")
        handshakes.add("honest", "10.9.9.9")
        for number in range(100):
            handshakes.add(f"after{number}", f"10.1.0.{number}")
        got_in += "honest" in handshakes
    assert 20 < got_in < 80, "about (63/64)^100 of them"


def test_a_host_has_one_source_however_many_addresses_of_its_own_network_it_uses() -> None:
    assert source_of("10.0.0.1") == "10.0.0.1"
    assert source_of("2001:db8:0:7::1") == source_of("2001:db8:0:7:ffff::2") != source_of("2001:db8:0:8::1")
    assert source_of("fe80::1%eth0") == source_of("fe80::2")


def test_acquaintances_are_bounded_and_the_oldest_is_forgotten() -> None:
    acquaintances = Acquaintances(2)
    for address in ("a", "b", "a", "c"):
        acquaintances.note(address)
    assert [address in acquaintances for address in "abc"] == [True, False, True]


def test_refusals_are_counted_each_and_logged_once_a_second(capsys: pytest.CaptureFixture[str]) -> None:
    now, seen = [100.0], []
    refusals = Refusals(lambda: now[0], seen.append)
    for step in range(40):
        now[0] = 100.0 + step / 20
        refusals.add("full", peer="x")
        refusals.add("slow")
    assert refusals.counts == {"full": 40, "slow": 40}
    assert seen.count("full") == 40
    lines = [line for line in capsys.readouterr().out.splitlines() if "reason=full" in line]
    assert [line.split("since_last_line=")[1].split()[0] for line in lines] == ["1", "20"]


@dataclass
class Port:
    """A server over TLS on which certificates of the kind ``client`` may call nothing, as on the peer port."""

    server: Server
    number: int
    peer: ssl.SSLContext
    client: ssl.SSLContext

    async def connect(self, context: ssl.SSLContext, source: str = "127.0.0.1") -> asyncio.StreamWriter:
        """Connects from an address of its own; raises TimeoutError, or OSError when it is kept out."""
        _, writer = await asyncio.wait_for(
            asyncio.open_connection(
                "127.0.0.1", self.number, ssl=context, server_hostname="localhost", local_addr=(source, 0)
            ),
            5,
        )
        return writer


@pytest.fixture
async def port() -> AsyncIterator[Port]:
    now = datetime.now(UTC)
    authority = make_authority("orders", new_key(), now)

    def pem(kind: str) -> TlsPem:
        request = CertificateRequest(kind, ("localhost",), ("127.0.0.1",), kind == "peer")
        made = make_certificate(authority, request, new_key(), now)
        return TlsPem(authority.certificate, made.certificate, made.key)

    served = pem("peer")
    context = server_context(served, require_client=True)
    server = Server(
        max_message_bytes=1_000,
        limits=Limits(handshake_seconds=1.0, connections=20),
        identify=identify_by_kind,
        welcome=may_call_anything,
    )
    listener = listening_socket("127.0.0.1", 0, backlog=512)
    number = listener.getsockname()[1]
    server.add_listener(listener, lambda: context)
    await server.start()
    yield Port(server, number, client_context(served), client_context(pem("client")))
    await server.stop(None)


async def test_silent_connections_keep_nobody_out(port: Port) -> None:
    silent: list[socket.socket] = []
    try:
        for _ in range(12):
            silent = top_up(silent, port.number, lambda _number: "127.0.0.1")
            await asyncio.sleep(0.05)
            (await port.connect(port.peer)).close()
        assert port.server.refusals.counts["handshakes"] >= SILENT - 64
        assert not port.server.refusals.counts["connections"]
    finally:
        for each in silent:
            each.close()


async def test_silent_connections_of_many_addresses_keep_no_peer_out(port: Port) -> None:
    port.server.know("127.0.0.9")
    (await port.connect(port.peer, "127.0.0.8")).close()  # known from now on, as its certificate is welcome
    silent: list[socket.socket] = []
    try:
        for _ in range(12):
            silent = top_up(silent, port.number, lambda number: f"127.7.{number % 250}.1")
            await asyncio.sleep(0.05)
            for source in ("127.0.0.8", "127.0.0.9"):
                (await port.connect(port.peer, source)).close()
        assert port.server.refusals.counts["handshakes"] >= SILENT - 64
    finally:
        for each in silent:
            each.close()


async def test_connections_with_a_certificate_that_may_call_nothing_make_room_for_those_of_peers(port: Port) -> None:
    peers = [await port.connect(port.peer, "127.0.0.8")]
    strangers = [await port.connect(port.client, f"127.7.0.{number}") for number in range(1, 20)]
    peers += [await port.connect(port.peer, "127.0.0.9") for _ in range(10)]
    await asyncio.sleep(0.1)
    assert port.server.refusals.counts["idle_connection"] == 10
    assert not port.server.refusals.counts["connections"]
    assert {each.address for each in port.server._connections if each.is_welcome} == {"127.0.0.8", "127.0.0.9"}
    assert sum(each.is_welcome for each in port.server._connections) == len(peers), "the idle peer is still there"
    for writer in (*peers, *strangers):
        writer.close()


def top_up(silent: list[socket.socket], port: int, source: Callable[[int], str]) -> list[socket.socket]:
    """Returns those that are still open, and new ones: as many as the server has places and more."""
    silent = [each for each in silent if not is_closed(each)]
    while len(silent) < SILENT:
        silent.append(socket.create_connection(("127.0.0.1", port), source_address=(source(len(silent)), 0)))
        silent[-1].setblocking(False)
    return silent


def is_closed(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
