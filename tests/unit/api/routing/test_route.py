"""Where a request goes, by role, state and setting."""

from __future__ import annotations

import pytest
from rstore_api.domain.epochs import EpochStart
from rstore_api.domain.topology import ReplicaAddress
from rstore_api.errors import NoLeader, NoPrimary, NotBootstrapped, NotLeader, NotPrimary
from rstore_replica.api.routing.route import ForwardTo, Local, Refuse, decide
from rstore_replica.raft.types import Role
from unit.api.replica_fakes import NAMES, group_status, region_state

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
