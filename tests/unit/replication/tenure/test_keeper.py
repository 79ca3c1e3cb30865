"""The tenure between regions in memory: rounds, new leaders, fences, unreachable regions, the witness."""

from __future__ import annotations

import asyncio

import pytest
from rstore_api import errors
from rstore_api.dialling.stream import LinkBrokenError
from rstore_api.proto import rstore_pb2 as pb
from unit.replication.fakes.regions import STORE, FakeRegion, bootstrap, eventually, topology

TENURE = 0.6


class Grants:
    """Carries questions between regions in memory; those to addresses in ``cut`` are lost."""

    def __init__(self) -> None:
        self.regions: dict[str, FakeRegion] = {}
        self.cut: set[str] = set()
        self.asked: list[str] = []

    async def ask(self, address: str, request: pb.GrantRequest, *, timeout_seconds: float) -> pb.GrantResponse:
        self.asked.append(address)
        await asyncio.sleep(0)
        region = self.regions.get(address)
        if region is None or address in self.cut:
            raise LinkBrokenError(address)
        return await region.replication.voter.grant(request)

    async def keep_only(self, addresses: object) -> None:
        pass


@pytest.fixture
async def regions(make_region):
    grants = Grants()

    async def make(*names: str, replicas: int = 1) -> tuple[Grants, list[FakeRegion]]:
        made = [make_region(name, tenure_seconds=TENURE, replicas=replicas, grants=grants) for name in names]
        for region in made:
            grants.regions[region.addresses[0]] = region
            await region.replication.start()
        await bootstrap(made, names[0])
        return grants, made

    return make


def fence(region: FakeRegion, epoch: int):
    return region.controller.fence(pb.FenceRequest(store_id=STORE, epoch=epoch))


async def test_held_while_a_majority_answers_and_lost_within_one_tenure(regions) -> None:
    grants, (east, west, asia) = await regions("east", "west", "asia")
    await eventually(lambda: east.replication.tenure.held(1))
    grants.cut.add(west.addresses[0])
    await asyncio.sleep(TENURE * 2)
    assert east.replication.tenure.held(1)
    grants.cut.add(asia.addresses[0])
    loop = asyncio.get_running_loop()
    cut_at = loop.time()
    await eventually(lambda: not east.replication.tenure.held(1))
    assert loop.time() - cut_at <= TENURE
    grants.cut.clear()
    await eventually(lambda: east.replication.tenure.held(1))
    status = east.controller.status()
    assert status.tenure.required
    assert status.tenure.held
    assert status.tenure.longest_ms == status.tenure.duration_ms == round(TENURE * 1000)
    assert status.tenure.witness_round == 0
    assert west.controller.status().granted.epoch == 1
    assert not west.controller.status().tenure.held


async def test_one_region_needs_no_tenure(regions) -> None:
    _, (east,) = await regions("east")
    await eventually(lambda: east.replication.tenure.held(1))
    assert not east.controller.status().tenure.required


async def test_two_regions_count_the_witness(regions) -> None:
    grants, (east, west) = await regions("east", "west")
    await eventually(lambda: east.replication.tenure.held(1))
    grants.cut.add(west.addresses[0])
    await eventually(lambda: not east.replication.tenure.held(1))
    offered = east.controller.status().tenure.witness_round
    assert offered > 0
    wrong = pb.WitnessGrantRequest(store_id=STORE, epoch=2, round=offered)
    assert not east.controller.witness_grant(wrong).counted
    right = pb.WitnessGrantRequest(store_id=STORE, epoch=1, round=offered)
    assert east.controller.witness_grant(right).counted
    assert east.replication.tenure.held(1)


async def test_fenced_regions_grant_no_more_and_tell_what_runs(regions) -> None:
    _, (east, west, asia) = await regions("east", "west", "asia")
    await eventually(lambda: east.replication.tenure.held(1))
    for other in (west, asia):
        await eventually(lambda other=other: other.controller.status().granted.epoch == 1)
    answers = [await fence(west, 2), await fence(asia, 2)]
    assert all(0 < answer.remaining_grant_ms <= TENURE * 1000 for answer in answers)
    assert {answer.promised_epoch for answer in answers} == {2}
    await asyncio.sleep(max(answer.remaining_grant_ms for answer in answers) / 1000)
    assert not east.replication.tenure.held(1)
    again = await fence(west, 2)
    assert again.remaining_grant_ms == 0
    assert again.history == answers[0].history
    with pytest.raises(errors.StaleEpoch):
        await fence(west, 1)
    with pytest.raises(errors.WrongStore):
        await west.controller.fence(pb.FenceRequest(store_id="another", epoch=3))


async def test_the_primarys_leader_knows_the_learners_of_the_other_regions(regions) -> None:
    _, (east, west, _) = await regions("east", "west", "asia", replicas=3)
    west.group.learners = ("west-2",)
    await eventually(lambda: east.replication.tenure.learners("west") == ("west-2",))
    assert east.replication.tenure.learners("asia") == ()
    assert west.replication.tenure.learners("west") == (), "nobody reports to it"
    west.group.learners = ()
    await eventually(lambda: east.replication.tenure.learners("west") == ())
    west.group.learners = ("west-1", "west-2")
    await eventually(lambda: len(east.replication.tenure.learners("west")) == 2)
    await fence(east, 5)
    await eventually(lambda: east.replication.tenure.learners("west") == (), what="nothing old is told afterwards")


async def test_the_primary_region_can_be_fenced(regions) -> None:
    _, (east, _, _) = await regions("east", "west", "asia")
    await eventually(lambda: east.replication.tenure.held(1))
    answer = await fence(east, 5)
    assert answer.epoch == 1
    assert answer.region == "east"
    assert not east.controller.write_gate.open


async def test_the_leader_is_found_among_the_replicas(regions) -> None:
    grants, (east, west, asia) = await regions("east", "west", "asia", replicas=3)
    await eventually(lambda: east.replication.tenure.held(1))
    for other in (west, asia):
        await eventually(lambda other=other: other.controller.status().granted.epoch == 1)
    await asyncio.sleep(0)
    grants.asked.clear()
    await asyncio.sleep(TENURE)
    assert set(grants.asked) <= {west.addresses[0], asia.addresses[0]}, "who leads is remembered"


async def test_not_granted_by_a_replica_that_does_not_lead(regions) -> None:
    _, (east, west, _) = await regions("east", "west", "asia")
    await eventually(lambda: east.replication.tenure.held(1))
    request = pb.GrantRequest(store_id=STORE, region="east", epoch=1, round=9, duration_ms=600)
    assert (await west.replication.voter.grant(request)).granted
    west.group.lead(None)
    assert not (await west.replication.voter.grant(request)).granted
    assert west.replication.voter.remaining_ms() == TENURE * 1000


async def test_a_demoted_primary_asks_no_more(regions) -> None:
    grants, (east, _, _) = await regions("east", "west", "asia")
    await eventually(lambda: east.replication.tenure.held(1))
    await east.controller.demote(pb.DemoteRequest(store_id=STORE, epoch=2))
    assert east.replication.tenure.held(1), "what was committed before may still be acknowledged"
    await asyncio.sleep(0.05)
    grants.asked.clear()
    await asyncio.sleep(TENURE)
    assert grants.asked == []
    assert not east.replication.tenure.held(1)


async def test_it_ends_with_the_topology_that_makes_its_granters_a_minority(regions) -> None:
    grants, (east, west, asia) = await regions("east", "west", "asia")
    grants.cut.add(asia.addresses[0])
    await asyncio.sleep(TENURE)  # rounds that asia has granted are over
    assert east.replication.tenure.held(1)
    assert east.controller.status().tenure.granted_version == 1
    wider = topology([east, west, asia], "east", version=2)
    for name in ("north", "south"):
        wider.regions.add(name=name).replicas.add(name=f"{name}-0", peer_address=f"{name}-0:2380")
    seen = []
    east.machine.subscribe_state(lambda _state: seen.append(east.controller.status()))
    await east.controller.set_topology(pb.SetTopologyRequest(store_id=STORE, topology=wider))
    assert [status.topology.version for status in seen] == [2]
    assert not seen[0].tenure.held, "whoever sees the new topology finds nothing acknowledged by the old one's voters"
    assert seen[0].tenure.granted_version == 1
    grants.cut.clear()
    await eventually(lambda: east.replication.tenure.held(1))
    assert east.controller.status().tenure.granted_version == 2


async def test_it_reports_how_long_ago_it_first_held_the_tenure(regions) -> None:
    grants, (east, west, asia) = await regions("east", "west", "asia")
    await eventually(lambda: east.controller.status().tenure.HasField("held_ms"))
    before = east.controller.status().tenure.held_ms
    assert not west.controller.status().tenure.HasField("held_ms")
    grants.cut |= {west.addresses[0], asia.addresses[0]}
    await eventually(lambda: not east.replication.tenure.held(1))
    grants.cut.clear()
    await eventually(lambda: east.replication.tenure.held(1))
    assert east.controller.status().tenure.held_ms > before, "from the first time on, whatever came between"


async def test_a_primary_that_lacks_what_another_region_has_holds_nothing_and_asks_for_nothing(regions) -> None:
    grants, (east, west, asia) = await regions("east", "west", "asia")
    await eventually(lambda: east.replication.tenure.held(1))
    assert east.controller.status().tenure.missing_revision == 0
    await eventually(lambda: west.machine.state.epoch == 1)
    west.machine.revision = east.machine.revision + 5
    await eventually(lambda: not east.replication.tenure.held(1))
    assert east.controller.status().tenure.missing_revision == west.machine.revision
    asked = len(grants.asked)
    await asyncio.sleep(TENURE)
    assert len(grants.asked) <= asked + 2, "of the round that was under way"
    assert asia.controller.status().granted.age_ms >= TENURE * 500, "so an operator sees the tenure run out"
    east.machine.revision = west.machine.revision
    await eventually(lambda: east.replication.tenure.held(1))
