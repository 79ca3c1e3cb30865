"""Connections that are given up while others still use them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest
from rstore_api.dialling.endpoint import Endpoint
from rstore_api.errors import OutcomeUnknown, StoreError, Unreachable
from rstore_api.methods import PUT, RANGE
from rstore_api.proto import rpc_pb2
from unit.api.client_servers import for_ever, until

REQUEST = rpc_pb2.PutRequest(key=b"k")


async def _give_up(endpoint: Endpoint) -> None:
    """As after a call that could not be sent."""
    if endpoint._connection is not None:
        await endpoint._drop(endpoint._connection)


async def test_a_retired_connection_is_not_used_and_not_closed_under_a_call(scripted) -> None:
    gate = asyncio.Event()
    server = await scripted(gate.wait)
    endpoint = Endpoint(server.address, tls=None)
    slow = asyncio.create_task(endpoint.call(PUT, REQUEST, timeout_seconds=10))
    await until(lambda: len(server.requests) == 1)
    connection = endpoint._connection
    assert connection is not None
    await _give_up(endpoint)
    with pytest.raises(Unreachable):
        await connection.call(PUT, REQUEST, timeout_seconds=1)
    assert len(server.requests) == 1
    gate.set()
    await slow
    await endpoint.call(PUT, REQUEST, timeout_seconds=5)  # on a new one
    await endpoint.close()


async def test_calls_that_come_while_the_connection_is_given_up_go_well_or_say_what_happened(scripted) -> None:
    """Many calls, and a connection that is given up again and again: only errors of the vocabulary come out."""
    server = await scripted()
    endpoint = Endpoint(server.address, tls=None)
    done = 0

    async def caller() -> None:
        nonlocal done
        for _ in range(30):
            try:
                await endpoint.call(PUT, REQUEST, timeout_seconds=10)
                done += 1
            except Unreachable:
                continue

    async def breaker() -> None:
        for _ in range(60):
            await _give_up(endpoint)
            await asyncio.sleep(0.003)

    await asyncio.gather(*(caller() for _ in range(10)), breaker())
    assert done == len(server.requests)
    assert done > 100
    await endpoint.close()


async def test_a_call_that_is_answered_with_an_error_keeps_the_connection(scripted) -> None:
    server = await scripted(StoreError("x"), None)
    endpoint = Endpoint(server.address, tls=None)
    with pytest.raises(StoreError):
        await endpoint.call(PUT, REQUEST, timeout_seconds=5)
    connection = endpoint._connection
    await endpoint.call(PUT, REQUEST, timeout_seconds=5)
    assert endpoint._connection is connection
    await endpoint.close()


async def test_a_call_without_an_answer_gives_its_connection_up(scripted) -> None:
    server = await scripted(for_ever)
    endpoint = Endpoint(server.address, tls=None)
    with pytest.raises(OutcomeUnknown):
        await endpoint.call(PUT, REQUEST, timeout_seconds=0.2)
    assert endpoint._connection is None
    await endpoint.call(PUT, REQUEST, timeout_seconds=5)
    await endpoint.close()


@pytest.fixture
def black_hole() -> Iterator[int]:
    """A port of 127.9.9.9 that takes connections, as a kernel does, and never says anything."""
    with socket.socket() as listening:
        listening.bind(("127.9.9.9", 0))
        listening.listen()
        yield listening.getsockname()[1]


class Moving:
    """A name whose address changes: first to where nobody is any more, from the second look-up on to a live server."""

    def __init__(self, *hosts: str) -> None:
        self.hosts = list(hosts)
        self.looked_up = 0

    async def __call__(self, host: str, port: int) -> list[str]:
        del host, port
        self.looked_up += 1
        return [self.hosts[min(self.looked_up, len(self.hosts)) - 1]]


async def test_a_dial_that_hangs_holds_up_no_call(scripted, black_hole: int) -> None:
    """Many callers share it, and all get through by the next one; none waits for the others' dials to run out."""
    server = await scripted(host="127.0.0.1", port=black_hole)
    names = Moving("127.9.9.9", "127.0.0.1")
    address = f"orders-us-east-0.peers:{black_hole}"
    endpoint = Endpoint(str(address), tls=None, resolve=names, connect_timeout_seconds=1.5)
    await asyncio.gather(*(endpoint.call(PUT, REQUEST, timeout_seconds=1.5) for _ in range(20)))
    assert (len(server.requests), names.looked_up) == (20, 2)
    await endpoint.close()


async def test_after_a_connection_broke_the_name_is_looked_up_again(scripted) -> None:
    first = await scripted()
    second = await scripted(host="127.9.9.8", port=first.port)
    names = Moving("127.0.0.1", "127.9.9.8")
    endpoint = Endpoint(f"orders-us-east-0.peers:{first.port}", tls=None, resolve=names)
    await endpoint.call(PUT, REQUEST, timeout_seconds=5)
    await first.stop()
    await until(lambda: endpoint._connection is not None and not endpoint._connection.is_ready)
    await endpoint.call(PUT, REQUEST, timeout_seconds=5)
    assert (len(first.requests), len(second.requests)) == (1, 1)
    await endpoint.close()


async def test_a_connection_over_which_no_answer_comes_is_not_used_again(scripted) -> None:
    gate = asyncio.Event()
    server = await scripted(gate.wait)
    endpoint = Endpoint(server.address, tls=None)
    with pytest.raises(StoreError):
        await endpoint.call(RANGE, rpc_pb2.RangeRequest(key=b"k"), timeout_seconds=0.3)
    assert endpoint._connection is None
    gate.set()
    await endpoint.call(RANGE, rpc_pb2.RangeRequest(key=b"k"), timeout_seconds=5)
    await endpoint.close()
