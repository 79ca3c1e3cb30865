"""Connections that say nothing keep nobody out: over TLS, and the rule on its own."""

from __future__ import annotations

import asyncio
import socket
from datetime import UTC, datetime

import pytest
from rstore_api.listening import listening_socket
from rstore_api.tls import TlsPem
from rstore_operator.facts.actions import CertificateRequest
from rstore_operator.specs.certificates import make_authority, make_certificate, new_key
from rstore_replica.tls_contexts import client_context, server_context
from rstore_wire.handshakes import Handshakes
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


async def test_silent_connections_keep_nobody_out() -> None:
    now = datetime.now(UTC)
    authority = make_authority("orders", new_key(), now)
    served = make_certificate(
        authority, CertificateRequest("peer", ("localhost",), ("127.0.0.1",), True), new_key(), now
    )
    caller = make_certificate(authority, CertificateRequest("client"), new_key(), now)
    context = server_context(TlsPem(authority.certificate, served.certificate, served.key), require_client=True)
    caller_context = client_context(TlsPem(authority.certificate, caller.certificate, caller.key))
    server = Server(max_message_bytes=1_000, limits=Limits(handshake_seconds=1.0))
    listener = listening_socket("127.0.0.1", 0, backlog=512)
    port = listener.getsockname()[1]
    server.add_listener(listener, lambda: context)
    await server.start()
    silent: list[socket.socket] = []
    try:
        for _ in range(12):
            silent = [each for each in silent if not is_closed(each)]
            while len(silent) < SILENT:
                silent.append(socket.create_connection(("127.0.0.1", port)))
                silent[-1].setblocking(False)
            await asyncio.sleep(0.05)
            _, writer = await asyncio.wait_for(
                asyncio.open_connection("127.0.0.1", port, ssl=caller_context, server_hostname="localhost"), 5
            )
            writer.close()
        assert server.refusals.counts["handshakes"] >= SILENT - 64
        assert not server.refusals.counts["connections"]
    finally:
        for each in silent:
            each.close()
        await server.stop(None)


def is_closed(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
