"""Requests that wait for a leader or a primary, and those that do not."""

from __future__ import annotations

import asyncio
import random

import grpc
import pytest
from rstore_api import methods
from rstore_api.errors import (
    NoLeader,
    NoPrimary,
    NotLeader,
    NotPrimary,
    OutcomeUnknown,
    PermissionDenied,
    ShuttingDown,
    StoreError,
)
from rstore_api.proto import rpc_pb2
from rstore_replica.api.routing.route import ForwardTo
from rstore_replica.api.routing.router import CallInfo, Router
from rstore_replica.raft.types import Role
from unit.api.replica_fakes import FakeGroup, group_status, region_state

LEADER = group_status()
LEADERLESS = group_status(role=Role.CANDIDATE, leader=None)
SECONDARY = region_state(primary=False, primary_region="eu-west")


class _Machine:
    def __init__(self, state) -> None:
        self.state = state


class _Forwarder:
    def __init__(self, *outcomes) -> None:
        self.outcomes = list(outcomes)
        self.targets: list[ForwardTo] = []
        self.credentials: tuple[tuple[str, str], ...] = ()

    async def call(self, target, method, request, *, deadline: float, client="", request_id=None, credentials=()):
        self.targets.append(target)
        self.credentials = credentials
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


def _router(machine, group, forwarder, *, patience_seconds: float = 5.0, forward: bool = True, guard=None) -> Router:
    return Router(
        machine=machine,
        group=group,
        forwarder=forwarder,
        region="us-east",
        own_replicas={},
        forward=forward,
        rng=random.Random(1),
        patience_seconds=patience_seconds,
        guard=guard,
    )


async def _serve(router: Router, local, *, forwarded: bool = False):
    call = CallInfo(deadline=asyncio.get_running_loop().time() + 30, forwarded=forwarded)
    return await router.serve(methods.PUT, lambda: rpc_pb2.PutRequest(key=b"k"), local, call=call)


async def test_a_request_waits_for_a_leader_and_is_then_served() -> None:
    machine, group = _Machine(region_state()), FakeGroup(now=LEADERLESS)
    served = rpc_pb2.PutResponse()
    attempts = 0

    async def local():
        return served

    router = _router(machine, group, _Forwarder())
    original = group.status

    def status():
        nonlocal attempts
        attempts += 1
        return original() if attempts < 4 else LEADER

    group.status = status  # type: ignore[method-assign]
    assert await _serve(router, local) is served
    assert attempts == 4


async def test_a_request_that_was_handed_on_does_not_wait() -> None:
    router = _router(_Machine(region_state()), FakeGroup(now=LEADERLESS), _Forwarder())
    with pytest.raises(NoLeader):
        await _serve(router, _never, forwarded=True)


async def test_patience_ends() -> None:
    router = _router(_Machine(region_state()), FakeGroup(now=LEADERLESS), _Forwarder(), patience_seconds=0.1)
    with pytest.raises(NoLeader):
        await _serve(router, _never)


async def test_an_unknown_outcome_is_never_tried_again() -> None:
    forwarder = _Forwarder(OutcomeUnknown("broken"), rpc_pb2.PutResponse())
    with pytest.raises(OutcomeUnknown):
        await _serve(_router(_Machine(SECONDARY), FakeGroup(now=LEADER), forwarder), _never)
    assert len(forwarder.targets) == 1


async def test_a_refusal_that_changed_nothing_is_routed_anew() -> None:
    forwarder = _Forwarder(NotPrimary("moved"), NoPrimary(), rpc_pb2.PutResponse())
    await _serve(_router(_Machine(SECONDARY), FakeGroup(now=LEADER), forwarder), _never)
    assert len(forwarder.targets) == 3


async def test_a_stopping_replica_says_so_instead_of_waiting() -> None:
    router = _router(_Machine(region_state()), FakeGroup(now=LEADERLESS), _Forwarder())
    router.stopping = True
    with pytest.raises(ShuttingDown):
        await _serve(router, _never)


async def _never():
    raise AssertionError("not served here")


@pytest.mark.parametrize(
    ("error", "answered"),
    [(NotPrimary("the primary is ap"), NoPrimary), (NotLeader("the leader is b"), NoLeader), (NoPrimary(), NoPrimary)],
)
async def test_a_request_that_waited_in_vain_is_answered_as_one_to_try_again(
    error: StoreError, answered: type[StoreError]
) -> None:
    """What replicas tell each other, FAILED_PRECONDITION, clients of etcd take as final."""
    forwarder = _Forwarder(*[error] * 50)
    router = _router(_Machine(SECONDARY), FakeGroup(now=LEADER), forwarder, patience_seconds=0.3)
    with pytest.raises(StoreError) as caught:
        await _serve(router, None)
    assert type(caught.value) is answered
    assert caught.value.status is grpc.StatusCode.UNAVAILABLE


async def test_a_region_that_does_not_forward_says_so_at_once() -> None:
    router = _router(_Machine(SECONDARY), FakeGroup(now=LEADER), _Forwarder(), forward=False)
    with pytest.raises(NotPrimary):
        await asyncio.wait_for(_serve(router, None), 0.2)


class _Guard:
    """Lets nobody do anything, and knows a token."""

    is_needed = True

    async def admit(self, path, request, credentials, *, deadline: float) -> None:
        raise PermissionDenied

    def handed_on(self, credentials):
        return (("token", "t"),)


async def test_who_carries_a_request_out_asks_what_its_user_may_do_and_who_hands_it_on_does_not() -> None:
    async def local():
        raise AssertionError

    router = _router(_Machine(region_state()), FakeGroup(now=LEADER), _Forwarder(), guard=_Guard())
    with pytest.raises(PermissionDenied):
        await _serve(router, local)
    forwarder = _Forwarder("done")
    router = _router(_Machine(SECONDARY), FakeGroup(now=LEADER), forwarder, guard=_Guard())
    assert await _serve(router, local) == "done"
    assert forwarder.credentials == (("token", "t"),)
