"""Ports take connections over IPv6 and IPv4; without IPv6, over IPv4."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from rstore_api.dialling.channels import system_resolve
from rstore_api.exposition import Exposition
from rstore_api.listening import listening_socket
from rstore_replica.metrics import Metrics
from rstore_replica.process.http_port import HttpServer
from rstore_wire.connection import plain_address

needs_ipv6 = pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")


@contextmanager
def listening(host: str) -> Iterator[int]:
    with listening_socket(host, 0, backlog=8) as listener:
        yield listener.getsockname()[1]


def reached(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=2).close()
    except OSError:
        return False
    return True


@needs_ipv6
def test_every_address_is_of_both_families() -> None:
    with listening("::") as port:
        assert reached("::1", port)
        assert reached("127.0.0.1", port)


@needs_ipv6
def test_one_address_is_of_its_family() -> None:
    with listening("::1") as port:
        assert reached("::1", port)
        assert not reached("127.0.0.1", port)
    with listening("127.0.0.1") as port:
        assert not reached("::1", port)


@pytest.mark.parametrize("number", [errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL])
def test_a_platform_without_ipv6_listens_on_ipv4(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    made = socket.socket

    def without(family: int = socket.AF_INET, *rest: int, **named: int) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(number, "no IPv6 here")
        return made(family, *rest, **named)

    with monkeypatch.context() as patch:
        patch.setattr(socket, "socket", without)
        listener = listening_socket("::", 0, backlog=8)
    with listener:
        assert reached("127.0.0.1", listener.getsockname()[1])


def test_a_port_that_is_taken_is_an_error() -> None:
    with listening("::") as port, pytest.raises(OSError, match="in use"):
        listening_socket("::", port, backlog=8)


def test_addresses_are_written_as_callers_know_them() -> None:
    assert plain_address("::ffff:10.0.0.7") == "10.0.0.7"
    assert plain_address("10.0.0.7") == "10.0.0.7"
    assert plain_address("2001:db8::7") == "2001:db8::7"


@needs_ipv6
async def test_the_http_port_answers_probes_of_both_families() -> None:
    with listening("127.0.0.1") as port:
        pass
    server = HttpServer(
        host="::", port=port, exposition=Exposition(Metrics()), not_ready_reason=lambda: "", not_alive_reason=lambda: ""
    )
    await server.start()
    try:
        for address in ("::1", "127.0.0.1"):
            reader, writer = await asyncio.open_connection(address, port)
            writer.write(b"GET /healthz HTTP/1.0\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.0 200")
            writer.close()
    finally:
        await server.stop()


@needs_ipv6
async def test_links_find_replicas_that_have_ipv6_only(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(await system_resolve("::1", 2380)) == ["::1"]
    both = [(socket.AF_INET6, 1, 6, "", ("fd00::7", 2380, 0, 0)), (socket.AF_INET, 1, 6, "", ("10.0.0.7", 2380))]

    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_named: both)
    assert list(await system_resolve("orders-eu-0", 2380)) == ["10.0.0.7", "fd00::7"]
