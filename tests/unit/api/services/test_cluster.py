"""Members: every replica of every region, with the same ids wherever one asks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from rstore_api.errors import (
    LearnerNotReady,
    MemberNotFound,
    MemberNotLearner,
    MembersManaged,
    MemberUrlsInvalid,
    NoPrimary,
    NotPrimary,
    PeerUrlExists,
    StoreError,
)
from rstore_api.messages import topology_of
from rstore_api.proto import rpc_pb2 as rpc
from rstore_api.proto import rstore_pb2
from rstore_replica.api.identity import Identity, member_id
from rstore_replica.api.members import are_valid_urls
from rstore_replica.api.routing.own_replicas import OwnReplicas
from rstore_replica.api.routing.router import CallInfo
from rstore_replica.api.services.cluster import ClusterService
from rstore_replica.raft.types import Member
from unit.api.replica_fakes import NAMES, FakeGroup, group_status, region_state, region_topology

EAST = [f"us-east/{name}" for name in NAMES]
WEST = ["eu-west/orders-eu-west-0", "eu-west/orders-eu-west-1"]


class _Router:
    """Serves here, or answers as another replica does, or refuses."""

    def __init__(self, answer: rpc.MemberListResponse | StoreError | None = None) -> None:
        self.answer = answer

    async def serve(self, _method: Any, _request: Any, local: Any, *, call: CallInfo) -> Any:
        if isinstance(self.answer, StoreError):
            raise self.answer
        return await local() if self.answer is None else self.answer


def _service(
    *,
    router: _Router | None = None,
    learners: tuple[str, ...] = (),
    reported: Callable[[str], tuple[str, ...]] = lambda _region: (),
    region: str = "us-east",
    **state: Any,
) -> ClusterService:
    machine: Any = SimpleNamespace(revision=7, state=region_state(**state))
    name = NAMES[0] if region == "us-east" else "orders-eu-west-0"
    names = NAMES if region == "us-east" else ("orders-eu-west-0", "orders-eu-west-1")
    members = tuple(Member(each, f"{each}.peers:2380") for each in names)
    group = FakeGroup(now=group_status(name=name, members=members, learners=learners))
    replicas = OwnReplicas(group.status, 2379)
    return ClusterService(
        calls=None,  # type: ignore[arg-type]
        router=router or _Router(),  # type: ignore[arg-type]
        machine=machine,
        group=group,
        identity=Identity(region=region, replica=name, machine=machine, group=group),
        replicas=replicas,
        learners=lambda: replicas.learners,
        reported_learners=reported,
        scheme="https",
    )


def _call(*, forwarded: bool = False) -> CallInfo:
    return CallInfo(deadline=asyncio.get_running_loop().time() + 10, forwarded=forwarded)


async def _list(service: ClusterService, *, linearizable: bool = False, forwarded: bool = False) -> list[rpc.Member]:
    request = rpc.MemberListRequest(linearizable=linearizable)
    return list((await service.member_list(request, _call(forwarded=forwarded))).members)


async def test_every_replica_of_every_region_is_listed() -> None:
    members = await _list(_service())
    assert [member.name for member in members] == WEST + EAST
    assert len({member.ID for member in members}) == 5
    first = members[0]
    assert member_id("store", "eu-west", "orders-eu-west-0") == first.ID
    assert list(first.clientURLs) == ["https://orders-eu-west-0.peers:2379"]
    assert list(first.peerURLs) == ["https://orders-eu-west-0.peers:2380"]


async def test_addresses_for_clients_outside_follow_those_for_clients_inside() -> None:
    """The own region's replicas come from the Raft group, and their advertised addresses from the topology as well."""
    regions = [region_topology(name) for name in ("us-east", "eu-west")]
    for region in regions:
        for ordinal, replica in enumerate(region.replicas):
            addresses = [f"rs-{ordinal}.{region.name}.example.com:443", "[2001:db8::7]:1"]
            replica.advertised_client_addresses.extend(addresses)
    where = topology_of(rstore_pb2.Topology(epoch=1, version=1, primary_region="us-east", regions=regions))
    for asked in ("us-east", "eu-west"):
        urls = {member.name: list(member.clientURLs) for member in await _list(_service(region=asked, topology=where))}
        assert urls["eu-west/orders-eu-west-1"] == [
            "https://orders-eu-west-1.peers:2379",
            "https://rs-1.eu-west.example.com:443",
            "https://[2001:db8::7]:1",
        ]
        assert "https://rs-0.us-east.example.com:443" in urls[f"us-east/{NAMES[0]}"]


async def test_the_ids_are_those_that_the_other_region_lists() -> None:
    ours = {member.name: member.ID for member in await _list(_service())}
    theirs = {member.name: member.ID for member in await _list(_service(region="eu-west"))}
    assert {name: ours[name] for name in theirs} == theirs


async def test_before_there_is_a_store_only_the_own_region_is_known() -> None:
    assert [member.name for member in await _list(_service(store_id="", topology=None))] == EAST


async def test_learners_of_the_own_region_are_marked() -> None:
    members = await _list(_service(learners=(NAMES[2],)))
    assert [member.name for member in members if member.isLearner] == [f"us-east/{NAMES[2]}"]


async def test_learners_of_other_regions_are_marked_as_they_were_reported() -> None:
    reported = {"eu-west": ("orders-eu-west-1",), "us-east": (NAMES[1],)}
    service = _service(learners=(NAMES[2],), reported=lambda region: reported[region])
    marked = [member.name for member in await _list(service, linearizable=True) if member.isLearner]
    assert marked == ["eu-west/orders-eu-west-1", f"us-east/{NAMES[2]}"], (
        "of the own region its Raft group knows better"
    )


async def test_a_linearizable_list_is_the_primarys_with_the_own_region_as_it_is_here() -> None:
    primarys = rpc.MemberListResponse(
        members=[
            rpc.Member(name="eu-west/orders-eu-west-0", isLearner=True),
            rpc.Member(name="eu-west/orders-eu-west-5"),
            rpc.Member(name="us-east/orders-us-east-0"),
            rpc.Member(name="us-east/orders-us-east-7"),
        ]
    )
    members = await _list(_service(router=_Router(primarys)), linearizable=True)
    assert [member.name for member in members] == ["eu-west/orders-eu-west-0", "eu-west/orders-eu-west-5", *EAST]
    assert members[0].isLearner


async def test_a_linearizable_list_fails_while_there_is_no_primary() -> None:
    service = _service(router=_Router(NoPrimary()))
    with pytest.raises(NoPrimary):
        await _list(service, linearizable=True)
    assert len(await _list(service)) == 5


async def test_a_region_that_hands_nothing_on_lists_what_it_knows() -> None:
    service = _service(router=_Router(NotPrimary()))
    assert [member.name for member in await _list(service, linearizable=True)] == WEST + EAST
    with pytest.raises(NotPrimary):
        await _list(service, linearizable=True, forwarded=True)


@pytest.mark.parametrize(
    ("ask", "error"),
    [
        (lambda service, _id: service.member_add(rpc.MemberAddRequest(), _call()), MemberUrlsInvalid),
        (
            lambda service, _id: service.member_add(
                rpc.MemberAddRequest(peerURLs=["https://orders-eu-west-1.peers:2380"]), _call()
            ),
            PeerUrlExists,
        ),
        (
            lambda service, _id: service.member_add(rpc.MemberAddRequest(peerURLs=["https://new:2380"]), _call()),
            MembersManaged,
        ),
        (lambda service, _id: service.member_remove(rpc.MemberRemoveRequest(ID=1), _call()), MemberNotFound),
        (lambda service, voter: service.member_remove(rpc.MemberRemoveRequest(ID=voter), _call()), MembersManaged),
        (
            lambda service, voter: service.member_update(
                rpc.MemberUpdateRequest(ID=voter, peerURLs=["https://new:2380"]), _call()
            ),
            MembersManaged,
        ),
        (lambda service, voter: service.member_promote(rpc.MemberPromoteRequest(ID=voter), _call()), MemberNotLearner),
        (
            lambda service, _id: service.member_promote(
                rpc.MemberPromoteRequest(ID=member_id("store", "us-east", NAMES[2])), _call()
            ),
            LearnerNotReady,
        ),
    ],
)
async def test_changes_are_refused(ask: Callable[[ClusterService, int], Any], error: type[StoreError]) -> None:
    service = _service(learners=(NAMES[2],))
    with pytest.raises(error):
        await ask(service, member_id("store", "us-east", NAMES[0]))


@pytest.mark.parametrize(
    ("urls", "valid"),
    [
        ([], False),
        (["https://a:1"], True),
        (["http://a:1", "http://[::1]:2"], True),
        (["unix://a:1"], True),
        (["a:1"], False),
        (["ftp://a:1"], False),
        (["https://a"], False),
        (["https://a:1/"], False),
        (["https://a:x"], False),
        (["https://a:1", "b"], False),
    ],
)
def test_which_urls_a_member_may_have(urls: list[str], valid: bool) -> None:
    assert are_valid_urls(urls) is valid
