"""Connections that are given up while others still use them."""

from __future__ import annotations

import asyncio

import pytest
from rstore_api.client_call import PUT, Endpoint
from rstore_api.client_dial import Address
from rstore_api.errors import OutcomeUnknown, StoreError, Unreachable
from rstore_api.proto import rpc_pb2
from unit.client.client_servers import for_ever, until

REQUEST = rpc_pb2.PutRequest(key=b"k")


async def test_a_retired_connection_is_not_used_and_not_closed_under_a_call(scripted) -> None:
    gate = asyncio.Event()
    server = await scripted(gate.wait)
    endpoint = Endpoint(Address.parse(server.address), tls=None)
    slow = asyncio.create_task(endpoint.call(PUT, REQUEST, timeout_seconds=10))
    await until(lambda: len(server.requests) == 1)
    connection = endpoint._connection
    assert connection is not None
    await endpoint.retire()
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
    endpoint = Endpoint(Address.parse(server.address), tls=None)
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
            await endpoint.retire()
            await asyncio.sleep(0.003)

    await asyncio.gather(*(caller() for _ in range(10)), breaker())
    assert done == len(server.requests)
    assert done > 100
    await endpoint.close()


async def test_a_call_that_is_answered_with_an_error_keeps_the_connection(scripted) -> None:
    server = await scripted(StoreError("x"), None)
    endpoint = Endpoint(Address.parse(server.address), tls=None)
    with pytest.raises(StoreError):
        await endpoint.call(PUT, REQUEST, timeout_seconds=5)
    connection = endpoint._connection
    await endpoint.call(PUT, REQUEST, timeout_seconds=5)
    assert endpoint._connection is connection
    await endpoint.close()


async def test_a_call_without_an_answer_gives_its_connection_up(scripted) -> None:
    server = await scripted(for_ever)
    endpoint = Endpoint(Address.parse(server.address), tls=None)
    with pytest.raises(OutcomeUnknown):
        await endpoint.call(PUT, REQUEST, timeout_seconds=0.2)
    assert endpoint._connection is None
    await endpoint.call(PUT, REQUEST, timeout_seconds=5)
    await endpoint.close()
