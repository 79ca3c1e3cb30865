"""What the client tries again, and what it does not."""

from __future__ import annotations

import asyncio

import pytest
from rstore_api.client import Client
from rstore_api.errors import (
    DeadlineExceeded,
    InvalidRequest,
    NoLeader,
    NotPrimary,
    OutcomeUnknown,
    ShuttingDown,
    TooManyRequests,
    Unreachable,
)
from unit.api.client_servers import for_ever, until


async def test_write_refused_by_one_endpoint_is_done_by_the_next(scripted) -> None:
    first, second = await scripted(NoLeader()), await scripted()
    async with Client([first.address, second.address]) as client:
        response = await client.put("k", "v")
    assert response.header.revision == 2
    assert [len(first.requests), len(second.requests)] == [1, 1]


async def test_client_stays_with_the_endpoint_that_answers(scripted) -> None:
    first, second = await scripted(ShuttingDown()), await scripted()
    async with Client([first.address, second.address]) as client:
        for number in range(5):
            await client.put("k", str(number))
    assert [len(first.requests), len(second.requests)] == [1, 5]


async def test_temporary_refusal_by_the_only_endpoint_is_retried(scripted) -> None:
    server = await scripted(NoLeader(), TooManyRequests(), NoLeader())
    async with Client([server.address]) as client:
        await client.put("k", "v")
    assert len(server.requests) == 4


async def test_the_last_refusal_is_raised_when_the_time_is_over(scripted) -> None:
    server = await scripted(*[NoLeader("us-east")] * 1000)
    async with Client([server.address]) as client:
        with pytest.raises(NoLeader, match="us-east"):
            await client.put("k", "v", timeout_seconds=1.5)
    assert 2 <= len(server.requests) < 30


async def test_permanent_refusal_is_raised_at_once(scripted) -> None:
    server = await scripted(InvalidRequest("no"))
    async with Client([server.address]) as client:
        with pytest.raises(InvalidRequest):
            await client.put("k", "v")
    assert len(server.requests) == 1


async def test_unknown_outcome_from_a_replica_is_never_retried(scripted) -> None:
    first, second = await scripted(OutcomeUnknown("no majority")), await scripted()
    async with Client([first.address, second.address]) as client:
        with pytest.raises(OutcomeUnknown, match="no majority"):
            await client.put("k", "v")
    assert [len(first.requests), len(second.requests)] == [1, 0]


async def test_write_whose_connection_breaks_has_an_unknown_outcome_and_is_not_retried(scripted) -> None:
    first, second = await scripted(), await scripted()
    first.script = [first.break_connections()]
    async with Client([first.address, second.address]) as client:
        with pytest.raises(OutcomeUnknown):
            await client.put("k", "v")
    assert [len(first.requests), len(second.requests)] == [1, 0]


async def test_read_whose_connection_breaks_is_done_by_the_next_endpoint(scripted) -> None:
    first, second = await scripted(), await scripted()
    first.script = [first.break_connections()]
    async with Client([first.address, second.address]) as client:
        assert (await client.get("k")).count == 7
    assert [len(first.requests), len(second.requests)] == [1, 1]


async def test_endpoint_where_nobody_listens_is_passed_over(scripted, closed_port: int) -> None:
    server = await scripted()
    async with Client([f"127.0.0.1:{closed_port}", server.address]) as client:
        await client.put("k", "v", timeout_seconds=2)
    assert len(server.requests) == 1


async def test_no_endpoint_reachable_says_so_with_the_address(closed_port: int) -> None:
    async with Client([f"127.0.0.1:{closed_port}"]) as client:
        with pytest.raises(Unreachable, match=f"127.0.0.1:{closed_port}"):
            await client.put("k", "v", timeout_seconds=0.4)


async def test_late_answer_leaves_a_write_unknown_and_a_read_late(scripted) -> None:
    server = await scripted(for_ever, for_ever)
    async with Client([server.address]) as client:
        with pytest.raises(OutcomeUnknown, match="deadline"):
            await client.put("k", "v", timeout_seconds=0.2)
        with pytest.raises(DeadlineExceeded):
            await client.get("k", timeout_seconds=0.2)


async def test_secondary_that_does_not_forward_is_not_asked_for_ever(scripted) -> None:
    server = await scripted(*[NotPrimary("the primary is eu-west")] * 10)
    async with Client([server.address]) as client:
        with pytest.raises(NotPrimary, match="eu-west"):
            await client.put("k", "v", timeout_seconds=5)
    assert len(server.requests) == 1


async def test_name_is_resolved_again_after_the_connection_broke(scripted) -> None:
    first = await scripted()
    addresses = ["127.0.0.1"]
    asked: list[str] = []

    async def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        return addresses

    async with Client([f"orders-0.peers:{first.port}"], resolve=resolve) as client:
        await client.put("k", "1")
        await client.put("k", "2")
        assert asked == ["orders-0.peers"]
        await first.stop()
        addresses = ["127.0.0.2"]
        moved = await scripted(host="127.0.0.2", port=first.port)
        await client.put("k", "3")
    assert len(moved.requests) == 1
    assert len(asked) >= 2


async def test_a_cancelled_caller_does_not_disturb_the_others(scripted) -> None:
    gate = asyncio.Event()
    server = await scripted(gate.wait, gate.wait)
    async with Client([server.address]) as client:
        cancelled = asyncio.create_task(client.put("a", "1"))
        other = asyncio.create_task(client.put("b", "2"))
        await until(lambda: len(server.requests) == 2)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        gate.set()
        assert (await other).header.revision > 1


async def test_closing_the_client_under_a_write_leaves_it_unknown(scripted) -> None:
    server = await scripted(for_ever)
    client = Client([server.address])
    write = asyncio.create_task(client.put("k", "v"))
    await until(lambda: len(server.requests) == 1)
    await client.close()
    with pytest.raises(OutcomeUnknown):
        await write
