"""Where a request goes, by role, state and setting."""

from __future__ import annotations

import random

import pytest
from rstore_api import methods
from rstore_api.domain.epochs import EpochStart
from rstore_api.domain.topology import ReplicaAddress
from rstore_api.errors import NoLeader, NoPrimary, NotBootstrapped, NotLeader, NotPrimary, OutcomeUnknown, ShuttingDown
from rstore_api.proto import rpc_pb2
from rstore_replica.api.routing.route import ForwardTo, Local, Refuse, decide
from rstore_replica.api.routing.router import CallInfo, Router
from rstore_replica.process.readiness import not_ready_reason
from rstore_replica.raft.types import Role
from unit.api.replica_fakes import NAMES, FakeGroup, group_status, region_state

OWN = {name: ReplicaAddress(name, f"{name}.peers:2380", f"{name}.peers:2379") for name in NAMES}
LEADER = group_status()
FOLLOWER = group_status(role=Role.FOLLOWER, leader=NAMES[1])
LEADERLESS = group_status(role=Role.CANDIDATE, leader=None)
SECONDARY = region_state(primary=False, primary_region="eu-west")


def _decide(state, status, *, forward: bool = True, forwarded: bool = False):
    return decide(state, status, region="us-east", own_replicas=OWN, forward=forward, forwarded=forwarded)


@pytest.mark.parametrize("forwarded", [False, True])
def test_the_primarys_leader_serves_it_itself(forwarded: bool) -> None:
    assert _decide(region_state(), LEADER, forwarded=forwarded) == Local()


@pytest.mark.parametrize("forward", [False, True])
def test_a_follower_in_the_primary_hands_on_to_its_leader_whatever_the_setting(forward: bool) -> None:
    assert _decide(region_state(), FOLLOWER, forward=forward) == ForwardTo("us-east", (OWN[NAMES[1]],))


def test_what_was_handed_on_goes_no_further() -> None:
    for state, status, error in (
        (region_state(), FOLLOWER, NotLeader),
        (SECONDARY, LEADER, NotPrimary),
        (SECONDARY, FOLLOWER, NotPrimary),
        (region_state(), LEADERLESS, NoLeader),
    ):
        decision = _decide(state, status, forwarded=True)
        assert isinstance(decision, Refuse)
        assert type(decision.error) is error
    follower = _decide(region_state(), FOLLOWER, forwarded=True)
    assert isinstance(follower, Refuse)
    assert follower.error.leader == OWN[NAMES[1]].peer_address


@pytest.mark.parametrize("status", [LEADER, FOLLOWER, LEADERLESS])
def test_a_secondary_hands_on_to_the_primary_region_even_without_a_leader_of_its_own(status) -> None:
    decision = _decide(SECONDARY, status)
    assert isinstance(decision, ForwardTo)
    assert decision.region == "eu-west"
    assert [replica.name for replica in decision.replicas] == ["orders-eu-west-0", "orders-eu-west-1"]
    assert decision.client_address_of("orders-eu-west-1.peers:2380") == "orders-eu-west-1.peers:2379"
    assert decision.client_address_of("elsewhere:2380") is None


def test_a_secondary_that_may_not_hand_on_names_the_primary() -> None:
    decision = _decide(SECONDARY, LEADER, forward=False)
    assert isinstance(decision, Refuse)
    assert isinstance(decision.error, NotPrimary)
    assert "eu-west" in str(decision.error)
    assert "orders-eu-west-0.peers:2379" in str(decision.error)


def test_a_demoted_primary_serves_nothing_and_sends_nobody_away() -> None:
    demoted = region_state(promised_epoch=2)
    for forwarded in (False, True):
        decision = _decide(demoted, LEADER, forwarded=forwarded)
        assert isinstance(decision, Refuse)
        assert isinstance(decision.error, NoPrimary)


def test_rows_of_a_later_epoch_tell_of_the_new_primary_before_the_topology_does() -> None:
    history = (
        EpochStart(epoch=1, first_revision=2, region="us-east"),
        EpochStart(epoch=2, first_revision=9, region="eu-west"),
    )
    decision = _decide(region_state(primary=False, history=history), LEADER)
    assert isinstance(decision, ForwardTo)
    assert decision.region == "eu-west"


def test_a_region_without_a_store_serves_nothing() -> None:
    decision = _decide(region_state(store_id="", topology=None), LEADER)
    assert isinstance(decision, Refuse)
    assert isinstance(decision.error, NotBootstrapped)


@pytest.mark.parametrize(
    ("status", "state", "stopping", "words"),
    [
        (LEADER, region_state(), False, ""),
        (FOLLOWER, SECONDARY, False, ""),
        (LEADER, region_state(), True, "stopping"),
        (LEADERLESS, region_state(), False, "no leader"),
        (group_status(commit_index=5000), region_state(), False, "4990 committed entries"),
        (group_status(not_ready_reason="receiving a checkpoint"), region_state(), False, "checkpoint"),
        (LEADER, region_state(store_id=""), False, "bootstrapped"),
    ],
)
def test_readiness(status, state, stopping: bool, words: str) -> None:
    reason = not_ready_reason(state, status, stopping=stopping)
    assert words in reason
    assert bool(reason) == bool(words)


def test_a_region_is_ready_with_what_it_has_while_a_snapshot_comes_in() -> None:
    started = region_state(history=(EpochStart(epoch=1, first_revision=2, region="us-east"),))
    assert not not_ready_reason(started, LEADER, stopping=False, receives_snapshot=True)
    fresh = region_state(history=())
    assert "first data" in not_ready_reason(fresh, LEADER, stopping=False, receives_snapshot=True)


class _Machine:
    def __init__(self, state) -> None:
        self.state = state


class _Forwarder:
    def __init__(self, *outcomes) -> None:
        self.outcomes = list(outcomes)
        self.targets: list[ForwardTo] = []

    async def call(self, target, method, request, *, deadline: float, request_id=None):
        self.targets.append(target)
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


def _router(machine, group, forwarder, *, patience_seconds: float = 5.0, forward: bool = True) -> Router:
    return Router(
        machine=machine,
        group=group,
        forwarder=forwarder,
        region="us-east",
        own_replicas=OWN,
        forward=forward,
        rng=random.Random(1),
        patience_seconds=patience_seconds,
    )


async def _serve(router: Router, local, *, forwarded: bool = False):
    import asyncio

    call = CallInfo(deadline=asyncio.get_running_loop().time() + 30, forwarded=forwarded)
    return await router.serve(methods.PUT, rpc_pb2.PutRequest(key=b"k"), local, call=call)


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
