"""The round trip of a connection, as the kernel has measured it."""

from __future__ import annotations

import socket

import pytest
from rstore_wire.round_trips import tcp_round_trip_seconds


@pytest.mark.skipif(not hasattr(socket, "TCP_INFO"), reason="the system does not tell round trips")
def test_the_round_trip_of_a_connection_on_this_machine_is_short() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        accepted, _ = server.accept()
        with accepted:
            for _ in range(3):
                client.sendall(b"x")
                accepted.recv(1)
                accepted.sendall(b"y")
                client.recv(1)
            seconds = tcp_round_trip_seconds(client)
            assert seconds is not None
            assert 0 < seconds < 5
            client.sendall(b"still open")
            assert accepted.recv(10) == b"still open"


def test_a_socket_that_is_closed_or_none_of_tcp_tells_nothing() -> None:
    closed = socket.socket()
    closed.close()
    assert tcp_round_trip_seconds(closed) is None
    near, far = socket.socketpair()
    with near, far:
        assert tcp_round_trip_seconds(near) is None
