"""Requests that are handed on: which replicas are asked, in which order, and what is never sent twice."""

from __future__ import annotations

import asyncio

import pytest
from rstore_api import methods
from rstore_api.domain.topology import ReplicaAddress
from rstore_api.errors import NoPrimary, NotLeader, NotPrimary, OutcomeUnknown, ShuttingDown, Unreachable
from rstore_api.proto import rpc_pb2
from rstore_replica.api.auth.credentials import FORWARDED_KEY
from rstore_replica.api.routing.forward import CLIENT_KEY, Forwarder
from rstore_replica.api.routing.route import ForwardTo
from unit.api.client_servers import ScriptedServer


@pytest.fixture
async def servers():
    started = [await ScriptedServer().start() for _ in range(3)]
    yield started
    for server in started:
        await server.stop()


@pytest.fixture
async def forwarder():
    made = Forwarder(replica="orders-eu-west-0", certificates=None)
    yield made
    await made.close()


def _target(*servers: ScriptedServer) -> ForwardTo:
    return ForwardTo(
        "us-east",
        tuple(ReplicaAddress(f"r{n}", f"peer-{n}:2380", server.address) for n, server in enumerate(servers)),
    )


async def _put(forwarder: Forwarder, target: ForwardTo, *, seconds: float = 5.0) -> rpc_pb2.PutResponse:
    deadline = asyncio.get_running_loop().time() + seconds
    return await forwarder.call(
        target, methods.PUT, rpc_pb2.PutRequest(key=b"k"), deadline=deadline, client="ipv4:10.1.2.3"
    )


def _asked(servers: list[ScriptedServer]) -> list[int]:
    return [len(server.requests) for server in servers]


async def test_the_leaders_hint_is_followed_and_remembered(servers, forwarder: Forwarder) -> None:
    servers[0].script = [NotLeader(leader="peer-2:2380")]
    await _put(forwarder, _target(*servers))
    assert _asked(servers) == [1, 0, 1]
    await _put(forwarder, _target(*servers))
    assert _asked(servers) == [1, 0, 2]


async def test_replicas_that_cannot_be_reached_are_passed_over(servers, forwarder: Forwarder) -> None:
    await servers[0].stop()
    servers[1].script = [ShuttingDown()]
    await _put(forwarder, _target(*servers))
    assert _asked(servers) == [0, 1, 1]


async def test_a_write_whose_connection_broke_is_sent_to_nobody_else(servers, forwarder: Forwarder) -> None:
    servers[0].script = [servers[0].break_connections()]
    with pytest.raises(OutcomeUnknown):
        await _put(forwarder, _target(*servers))
    assert _asked(servers) == [1, 0, 0]


async def test_nobody_reachable_is_no_primary(servers, forwarder: Forwarder) -> None:
    for server in servers:
        await server.stop()
    with pytest.raises(NoPrimary):
        await _put(forwarder, _target(*servers))


async def test_a_region_that_is_not_primary_ends_the_search(servers, forwarder: Forwarder) -> None:
    servers[0].script = [NotPrimary("the primary is eu-west")]
    with pytest.raises(NotPrimary):
        await _put(forwarder, _target(*servers))
    assert _asked(servers) == [1, 0, 0]


async def test_replicas_that_name_each_other_as_leader_are_asked_once_each(servers, forwarder: Forwarder) -> None:
    servers[0].script = [NotLeader(leader="peer-1:2380")] * 5
    servers[1].script = [NotLeader(leader="peer-0:2380")] * 5
    servers[2].script = [NotLeader(leader="peer-0:2380")] * 5
    with pytest.raises(NotLeader):
        await _put(forwarder, _target(*servers))
    assert _asked(servers) == [1, 1, 1]


async def test_what_is_handed_on_is_marked(servers, forwarder: Forwarder) -> None:
    seen: list[tuple[str, str]] = []
    original = servers[0].Put

    async def put(request, context):
        seen.extend(tuple(pair) for pair in context.invocation_metadata())
        return await original(request, context)

    marked = ScriptedServer()
    marked.Put = put  # type: ignore[method-assign]
    await marked.start()
    try:
        await _put(forwarder, _target(marked))
    finally:
        await marked.stop()
    assert {(FORWARDED_KEY, "orders-eu-west-0"), (CLIENT_KEY, "ipv4:10.1.2.3")} <= set(seen)


async def test_a_replica_that_is_asked_for_itself_is_not_taken_for_the_leader(servers, forwarder: Forwarder) -> None:
    await forwarder.ask(("us-east", servers[2].address), methods.RANGE, rpc_pb2.RangeRequest(key=b"k"), 5.0)
    assert servers[2].metadata[0][FORWARDED_KEY] == "orders-eu-west-0"
    await _put(forwarder, _target(*servers))
    assert _asked(servers) == [1, 0, 1]
    await servers[1].stop()
    with pytest.raises(Unreachable):
        await forwarder.ask(("us-east", servers[1].address), methods.RANGE, rpc_pb2.RangeRequest(key=b"k"), 5.0)


async def test_what_hangs_in_a_region_that_is_primary_no_more_is_not_waited_for(servers, forwarder: Forwarder) -> None:
    hangs = asyncio.Event()
    servers[0].script = [hangs.wait]
    forwarder.primary_is("us-east")
    waiting = asyncio.create_task(_put(forwarder, _target(servers[0])))
    other = ForwardTo("eu-west", (ReplicaAddress("r1", "peer-1:2380", servers[1].address),))
    async with asyncio.timeout(10):
        while not servers[0].requests:  # noqa: ASYNC110 - polled with a deadline
            await asyncio.sleep(0.01)
    began = asyncio.get_running_loop().time()
    forwarder.primary_is("eu-west")
    await _put(forwarder, other)
    with pytest.raises(OutcomeUnknown):
        await waiting
    assert asyncio.get_running_loop().time() - began < 3
    await _put(forwarder, other)
    hangs.set()
