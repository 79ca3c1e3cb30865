"""Who streams to whom, from replicated state and Raft's status alone."""

from __future__ import annotations

import pytest
from rstore_api.domain.topology import RegionTopology, ReplicaAddress, Topology
from rstore_replica.mvcc.state import RegionState
from rstore_replica.raft.types import GroupStatus, Member, Role
from rstore_replica.replication.roles import is_source, leader_address, stream_targets


def topology(primary: str, epoch: int) -> Topology:
    def region(name: str, *addresses: str) -> RegionTopology:
        return RegionTopology(name, tuple(ReplicaAddress(address, address, address) for address in addresses))

    return Topology(epoch, 1, primary, (region("east", "e:1"), region("north", "n:1", "n:2"), region("west")))


def state(*, primary=True, epoch=1, promised=1, names="east", topology_epoch=1) -> RegionState:
    return RegionState(
        "east",
        store_id="store-1",
        epoch=epoch,
        promised_epoch=promised,
        primary=primary,
        topology=topology(names, topology_epoch),
    )


def status(role: Role, leader: str | None = "east-0") -> GroupStatus:
    members = (Member("east-0", "e:1"), Member("east-1", "e:2"))
    return GroupStatus("east-0", role, leader, 1, 1, 1, 1, members, None)


@pytest.mark.parametrize(
    ("region_state", "expected"),
    [
        (state(), True),
        (state(promised=2), True),  # demoted: what follows must catch up
        (state(promised=2, names="north", topology_epoch=2), False),
        (state(promised=2, names="east", topology_epoch=2), True),
        (state(primary=False), False),
        (RegionState("east", store_id="store-1", primary=True), False),  # knows nobody
        (RegionState("east", primary=True, topology=topology("east", 1)), False),  # not bootstrapped
    ],
)
def test_source(region_state, expected):
    assert is_source(region_state, "east") is expected


def test_the_leader_of_the_source_streams_to_every_region_that_has_replicas():
    assert stream_targets(state(), status(Role.LEADER), "east") == {"north": ("n:1", "n:2")}


@pytest.mark.parametrize("role", [Role.FOLLOWER, Role.CANDIDATE])
def test_others_do_not_stream(role):
    assert stream_targets(state(), status(role), "east") == {}


def test_the_leaders_address_is_that_of_the_member():
    assert leader_address(status(Role.FOLLOWER, "east-1")) == "e:2"
    assert leader_address(status(Role.FOLLOWER, None)) == ""
    assert leader_address(status(Role.FOLLOWER, "east-9")) == ""
