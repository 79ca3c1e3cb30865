"""Writing many keys at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from rstore_api.client import Client
from rstore_api.client.many import put_many
from rstore_api.errors import NoSpace
from rstore_api.proto import rpc_pb2
from unit.api.client_servers import until


async def test_keys_are_gathered_into_transactions(scripted) -> None:
    server = await scripted()
    async with Client([server.address]) as client:
        result = await client.put_many(((f"k{number}", "v") for number in range(25)), ops_per_txn=10)
    assert result.count == 25
    assert result.revision == 4
    assert sorted(len(request.success) for request in server.requests) == [5, 10, 10]


async def test_transactions_are_in_flight_together_up_to_the_bound(scripted) -> None:
    gate = asyncio.Event()
    server = await scripted(*[gate.wait] * 20)
    async with Client([server.address]) as client:
        work = asyncio.create_task(
            client.put_many(((f"k{number}", "v") for number in range(12)), ops_per_txn=1, concurrency=3)
        )
        await until(lambda: server.in_flight == 3)
        gate.set()
        await work
    assert server.max_in_flight == 3


async def test_a_key_that_comes_twice_ends_with_its_last_value(scripted) -> None:
    server = await scripted()
    async with Client([server.address]) as client:
        await client.put_many([("a", "1"), ("b", "1"), ("a", "2"), ("b", "2"), ("a", "3")], ops_per_txn=2)
    written: dict[bytes, bytes] = {}
    for request in server.requests:
        keys = [op.request_put.key for op in request.success]
        assert len(set(keys)) == len(keys)
        written |= {op.request_put.key: op.request_put.value for op in request.success}
    assert written == {b"a": b"3", b"b": b"2"}


async def test_transactions_with_the_same_key_are_never_in_flight_together() -> None:
    in_flight: set[bytes] = set()

    async def transact(request: rpc_pb2.TxnRequest, *, timeout_seconds: float) -> rpc_pb2.TxnResponse:
        keys = {op.request_put.key for op in request.success}
        assert not keys & in_flight
        in_flight.update(keys)
        await asyncio.sleep(0)
        in_flight.difference_update(keys)
        return rpc_pb2.TxnResponse(header=rpc_pb2.ResponseHeader(revision=2))

    async def items() -> AsyncIterator[tuple[str, str]]:
        for number in range(60):
            yield f"k{number * number % 7}", str(number)

    result = await put_many(transact, items(), ops_per_txn=3, concurrency=4, timeout_seconds=1)
    assert result.revision == 2


async def test_the_first_error_ends_it_and_is_raised(scripted) -> None:
    server = await scripted(None, NoSpace())
    async with Client([server.address]) as client:
        with pytest.raises(NoSpace):
            await client.put_many(((f"k{number}", "v") for number in range(100)), ops_per_txn=1, concurrency=1)
    assert len(server.requests) == 2


async def test_bounds_below_one_are_refused(scripted) -> None:
    server = await scripted()
    async with Client([server.address]) as client:
        with pytest.raises(ValueError, match="at least 1"):
            await client.put_many([("a", "1")], ops_per_txn=0)
