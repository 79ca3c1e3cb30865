"""Bootstrap, topology, demotion, promotion and leadership transfer of one region."""

from __future__ import annotations

import asyncio

import pytest
from rstore_api import errors
from rstore_api.proto import rstore_pb2 as pb
from unit.replication.fakes.regions import STORE, FakeRegion, bootstrap, eventually, topology


@pytest.fixture
async def pair(make_region) -> tuple[FakeRegion, FakeRegion]:
    east, west = make_region("east"), make_region("west")
    await bootstrap([east, west], "east")
    return east, west


def demotion(epoch: int, store_id: str = STORE) -> pb.DemoteRequest:
    return pb.DemoteRequest(store_id=store_id, epoch=epoch)


def promotion(regions, region: FakeRegion, epoch: int, min_revision: int = 0) -> pb.PromoteRequest:
    return pb.PromoteRequest(
        store_id=STORE,
        epoch=epoch,
        min_revision=min_revision,
        topology=topology(regions, region.name, epoch=epoch),
    )


async def test_bootstrap_makes_only_the_primary_region_writable(pair):
    east, west = pair
    assert east.controller.write_gate.open
    assert east.controller.write_gate.epoch == 1
    assert not west.controller.write_gate.open
    assert west.controller.status().store_id == STORE


async def test_bootstrap_again_changes_nothing_and_another_store_is_refused(pair):
    east, _ = pair
    await east.write(b"value")
    request = pb.BootstrapRequest(store_id=STORE, topology=topology(pair, "east"))
    response = await east.controller.bootstrap(request)
    assert (response.store_id, response.epoch) == (STORE, 1)
    assert east.machine.revision == 2
    request.store_id = "store-2"
    with pytest.raises(errors.WrongStore):
        await east.controller.bootstrap(request)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda shape: shape.Clear(),
        lambda shape: setattr(shape, "epoch", 0),
        lambda shape: setattr(shape, "primary_region", "nowhere"),
        lambda shape: shape.regions.append(shape.regions[0]),
        lambda shape: setattr(shape.regions[1].replicas[0], "peer_address", ""),
    ],
)
async def test_a_topology_that_makes_no_sense_is_refused_before_it_is_proposed(pair, spoil):
    east, _ = pair
    shape = topology(pair, "east", version=5)
    spoil(shape)
    before = east.group.proposals
    with pytest.raises(errors.InvalidRequest):
        await east.controller.set_topology(pb.SetTopologyRequest(store_id=STORE, topology=shape))
    with pytest.raises(errors.InvalidRequest):
        await east.controller.bootstrap(pb.BootstrapRequest(store_id=STORE, topology=shape))
    assert east.group.proposals == before


async def test_only_a_newer_topology_changes_anything(pair):
    east, _ = pair

    async def set_version(version: int) -> bool:
        shape = topology(pair, "east", version=version)
        response = await east.controller.set_topology(pb.SetTopologyRequest(store_id=STORE, topology=shape))
        return response.changed

    assert await set_version(3)
    before = east.group.proposals
    assert not await set_version(3)
    assert not await set_version(2)
    assert east.group.proposals == before
    assert east.controller.status().topology.version == 3


async def test_calls_of_another_store_or_before_bootstrap_are_refused(pair, make_region):
    east, _ = pair
    with pytest.raises(errors.WrongStore):
        await east.controller.demote(demotion(2, "store-2"))
    fresh = make_region("north")
    with pytest.raises(errors.NotBootstrapped):
        await fresh.controller.demote(demotion(2))


async def test_a_replica_that_does_not_lead_names_the_leader(pair):
    east, _ = pair
    east.group.names.append("east-1")
    east.group.lead("east-1")
    with pytest.raises(errors.NotLeader) as caught:
        await east.controller.demote(demotion(2))
    assert caught.value.leader == "east-1:2380"
    east.group.lead(None)
    with pytest.raises(errors.NoLeader):
        await east.controller.demote(demotion(2))


async def test_demotion_returns_the_final_revision_and_nothing_is_written_after_it(pair):
    east, _ = pair
    east.group.commit_seconds = 0.02
    early = [asyncio.create_task(east.write(b"%d" % number)) for number in range(5)]
    await asyncio.sleep(0)  # they are proposed
    demoting = asyncio.create_task(east.controller.demote(demotion(2)))
    await asyncio.sleep(0.005)
    assert not east.controller.write_gate.open, "the gate must shut before the promise is committed"
    response = await demoting
    answers = [await task for task in early]
    assert all(not isinstance(answer[0], errors.StoreError) for answer in answers), "what was in flight is drained"
    assert (response.epoch, response.final_revision) == (1, 6)
    with pytest.raises(errors.NoPrimary):
        await east.write(b"late")
    assert east.machine.revision == 6


async def test_a_write_that_slips_behind_the_promise_is_refused_by_the_state(pair):
    east, _ = pair
    east.group.commit_seconds = 0.02
    demoting = asyncio.create_task(east.controller.demote(demotion(2)))
    await eventually(lambda: east.group.in_flight == 1)
    entry = pb.LogEntry(write=pb.WriteBatch(epoch=1, requests=[pb.WriteRequest()]))
    (answer,) = await east.group.propose(entry.SerializeToString(), timeout_seconds=1)
    assert isinstance(answer, errors.NoPrimary)
    assert (await demoting).final_revision == east.machine.revision == 1


async def test_demotion_is_idempotent_at_the_same_epoch_and_refused_at_a_lower_one(pair):
    east, _ = pair
    await east.write(b"value")
    first = await east.controller.demote(demotion(3))
    assert await east.controller.demote(demotion(3)) == first
    before = east.group.proposals
    for epoch in (1, 2):
        with pytest.raises(errors.StaleEpoch):
            await east.controller.demote(demotion(epoch))
    assert east.group.proposals == before


async def test_a_new_leader_decides_only_after_it_applied_what_was_committed(pair):
    east, _ = pair
    east.group.committed_unapplied = [pb.LogEntry(promise=pb.Promise(epoch=7)).SerializeToString()]
    with pytest.raises(errors.StaleEpoch):
        await east.controller.demote(demotion(2))


async def test_demotion_is_refused_on_a_secondary(pair):
    _, west = pair
    with pytest.raises(errors.NotPrimary, match="east"):
        await west.controller.demote(demotion(2))


@pytest.mark.parametrize("failure", [errors.OutcomeUnknown, errors.TooManyRequests])
async def test_the_gate_opens_again_when_the_promise_is_not_committed(pair, failure):
    east, _ = pair
    east.group.fail_next = failure()
    with pytest.raises(failure):
        await east.controller.demote(demotion(2))
    assert east.controller.write_gate.open
    await east.write(b"value")


async def test_the_gate_opens_again_when_the_caller_goes_away(pair):
    east, _ = pair
    east.group.commit_seconds = 10
    demoting = asyncio.create_task(east.controller.demote(demotion(2)))
    await eventually(lambda: east.group.in_flight == 1)
    demoting.cancel()
    await asyncio.wait({demoting})
    assert east.controller.write_gate.open


async def test_promotion_is_refused_when_behind(pair):
    _, west = pair
    before = west.group.proposals
    with pytest.raises(errors.Behind):
        await west.controller.promote(promotion(pair, west, 2, min_revision=2))
    assert west.group.proposals == before
    assert not west.controller.write_gate.open


async def test_promotion_opens_the_next_epoch_and_is_idempotent(pair):
    east, west = pair
    response = await west.controller.promote(promotion(pair, west, 2, min_revision=1))
    assert (response.epoch, response.first_revision) == (2, 2)
    await west.write(b"value")
    assert await west.controller.promote(promotion(pair, west, 2, min_revision=1)) == response
    assert west.machine.revision == 2
    assert west.controller.write_gate.epoch == 2
    assert east.controller.write_gate.epoch == 1


async def test_promotion_below_a_promise_is_refused(pair):
    east, _ = pair
    await east.controller.demote(demotion(5))
    with pytest.raises(errors.StaleEpoch):
        await east.controller.promote(promotion(pair, east, 4))


async def test_an_epoch_that_is_known_to_be_another_regions_is_not_taken(pair):
    _, west = pair
    with pytest.raises(errors.StaleEpoch, match="east"):
        await west.controller.promote(promotion(pair, west, 1))
    assert not west.controller.write_gate.open


async def test_promotion_needs_a_topology_that_names_this_region_and_epoch(pair):
    east, west = pair
    with pytest.raises(errors.InvalidRequest):
        await west.controller.promote(promotion(pair, east, 2))
    request = promotion(pair, west, 2)
    request.topology.epoch = 3
    with pytest.raises(errors.InvalidRequest):
        await west.controller.promote(request)


async def test_a_demoted_region_can_be_promoted_again_at_the_promised_epoch(pair):
    east, _ = pair
    await east.write(b"one")
    await east.controller.demote(demotion(2))
    response = await east.controller.promote(promotion(pair, east, 2, min_revision=2))
    assert (response.epoch, response.first_revision) == (2, 3)
    await east.write(b"two")
    assert east.machine.revision == 3


async def test_the_old_primary_cannot_write_after_it_hears_of_the_next(pair):
    east, west = pair
    await west.controller.promote(promotion(pair, west, 2))
    shape = topology(pair, "west", epoch=2)
    await east.controller.set_topology(pb.SetTopologyRequest(store_id=STORE, topology=shape))
    with pytest.raises(errors.NoPrimary):
        await east.write(b"value")
    entry = pb.LogEntry(write=pb.WriteBatch(epoch=1, requests=[pb.WriteRequest()]))
    (answer,) = await east.group.propose(entry.SerializeToString(), timeout_seconds=1)
    assert isinstance(answer, errors.NotPrimary)
    assert east.machine.revision == 1


async def test_leadership_goes_to_a_member_only(pair):
    east, _ = pair
    with pytest.raises(errors.InvalidRequest):
        await east.controller.transfer_leadership(pb.TransferLeadershipRequest(target="west-0"))
    east.group.names.append("east-1")
    response = await east.controller.transfer_leadership(pb.TransferLeadershipRequest(target="east-1"))
    assert response.leader == "east-1"
    with pytest.raises(errors.NotLeader):
        await east.controller.transfer_leadership(pb.TransferLeadershipRequest())


async def test_status_tells_role_and_other_regions(pair):
    east, west = pair
    await east.replication.start()
    await east.write(b"value")
    await eventually(lambda: west.machine.revision == 2)
    status = east.controller.status()
    assert (status.region, status.replica, status.is_leader, status.leader) == ("east", "east-0", True, "east-0")
    assert (status.epoch, status.promised_epoch, status.primary, status.writable) == (1, 1, True, True)
    assert [start.region for start in status.history] == ["east"]
    assert [region.region for region in status.progress] == ["west"]
    assert list(status.members) == ["east-0"]
    assert not west.controller.status().progress
