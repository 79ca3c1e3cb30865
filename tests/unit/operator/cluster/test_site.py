"""Two clusters: each region is looked at and called where it is, and objects are written at home only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from rstore_api.domain.kubernetes import Kind
from rstore_operator.act import Actor
from rstore_operator.cluster.site import Site, Sites
from rstore_operator.facts.actions import Apply, Delete, DeletePod, PushTopology, RemoveAnnotations, Target
from rstore_operator.facts.observed import Observed, Pod, Topology
from rstore_operator.observe import observe
from rstore_operator.resource.model import StoreRef
from rstore_operator.specs.labels import metadata, with_hash

HOME, AWAY = StoreRef("team", "orders", "uid-home"), StoreRef("elsewhere", "orders", "uid-away")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def pod(region: str, ip: str) -> dict[str, Any]:
    labels = {"replicatedstore.io/store": "orders", "replicatedstore.io/region": region}
    meta = {"name": f"orders-{region}-0", "labels": labels}
    return {"metadata": meta, "status": {"phase": "Running", "podIP": ip}}


LEFT_BEHIND: dict[str, Any] = {
    "metadata": {
        **pod("us-east", "")["metadata"],
        "name": "orders-us-east-1",
        "ownerReferences": [{"kind": "StatefulSet", "uid": "former", "controller": True}],
        "creationTimestamp": "2025-12-31T00:00:00Z",
        "deletionTimestamp": "2025-12-31T23:00:00Z",
    },
    "spec": {"nodeName": "node-7"},
}
"""A pod of a deleted store of the same name, which its kubelet does not end."""


@dataclass
class Cluster:
    """The Kubernetes API and the watches of one cluster."""

    pod_objects: list[dict[str, Any]]
    objects: list[dict[str, Any]] = field(default_factory=list)
    writes: list[tuple[str, ...]] = field(default_factory=list)

    async def find(self, kind: Kind, namespace: str, name: str) -> None:
        return None

    async def apply(self, kind: Kind, manifest: dict[str, Any]) -> dict[str, Any]:
        self.writes.append(("apply", manifest["metadata"]["namespace"], manifest["metadata"]["name"]))
        return {**manifest, "metadata": {**manifest["metadata"], "resourceVersion": "1"}}

    async def delete(
        self, kind: Kind, namespace: str, name: str, *, uid: str, propagation: str, resource_version: str = ""
    ) -> None:
        self.writes.append((f"delete {propagation}", namespace, name))

    async def json_patch(self, kind: Kind, namespace: str, name: str, operations: list[dict[str, Any]]) -> None:
        self.writes.append(("patch", namespace, name))

    def children(self) -> list[dict[str, Any]]:
        return self.objects

    def pods(self) -> list[dict[str, Any]]:
        return self.pod_objects

    def requested_bases(self) -> list[dict[str, Any]]:
        return []

    def claims(self) -> list[dict[str, Any]]:
        return []


class FakeReplicas:
    """Remembers which pods are asked, and which are called where."""

    def __init__(self) -> None:
        self.asked: list[Pod] = []
        self.called: list[Target] = []

    async def use(self, tls: object) -> None:
        pass

    async def statuses(self, pods: list[Pod], ask: Callable[[Pod], bool], *, patience_seconds: float) -> dict:
        self.asked += [one for one in pods if ask(one)]
        return {}

    def unanswered_seconds(self) -> dict[str, float]:
        return {}

    async def call(self, target: Target, method: object, request: object, *, timeout_seconds: float) -> Any:
        self.called.append(target)


@pytest.fixture
def here() -> Cluster:
    # A pod with the label of a region that is elsewhere is none of that region's replicas.
    return Cluster([pod("us-east", "10.0.0.1"), pod("eu-west", "10.0.0.66"), LEFT_BEHIND])


@pytest.fixture
def there() -> Cluster:
    foreign = {"kind": "Service", "metadata": {"name": "orders-eu-west", "ownerReferences": [{"uid": "x"}]}}
    return Cluster([pod("eu-west", "10.9.0.1"), pod("us-east", "10.9.0.66")], [foreign])


@pytest.fixture
def sites(here: Cluster, there: Cluster) -> Sites:
    return Sites(Site(HOME, here, here), {"eu-west": Site(AWAY, there, there)})  # type: ignore[arg-type]


@pytest.fixture
async def look(sites: Sites) -> tuple[FakeReplicas, Observed]:
    replicas = FakeReplicas()
    observed = await observe(
        sites,
        replicas,  # type: ignore[arg-type]
        created_at="2026-01-01T00:00:00Z",
        ask=lambda _pod: True,
        patience_seconds=1.0,
    )
    return replicas, observed


async def test_each_region_is_looked_at_where_it_is(look: tuple[FakeReplicas, Observed]) -> None:
    replicas, observed = look
    asked = {one.region: (one.ip, one.host) for one in replicas.asked}
    assert len(replicas.asked) == 2
    assert asked == {
        "us-east": ("10.0.0.1", "orders-us-east-0.orders-us-east-peers.team.svc"),
        "eu-west": ("10.9.0.1", "orders-eu-west-0.orders-eu-west-peers.elsewhere.svc"),
    }
    assert {name: [one.ip for one in region.pods] for name, region in observed.regions.items()} == {
        "us-east": ["10.0.0.1"],
        "eu-west": ["10.9.0.1"],
    }
    assert observed.elsewhere == {"eu-west"}
    assert observed.left_behind == {"orders-us-east-1": "node-7"}
    assert not observed.children
    assert not observed.foreign, "names that are taken elsewhere are free here"


async def test_objects_are_written_at_home_and_replicas_called_where_they_are(
    here: Cluster, there: Cluster, sites: Sites, look: tuple[FakeReplicas, Observed]
) -> None:
    replicas, observed = look
    manifest = with_hash({"kind": "ConfigMap", "metadata": metadata(HOME, "orders-us-east", "us-east"), "data": {}})
    targets = {region: Target.of(observed.region(region).pods[0]) for region in ("us-east", "eu-west")}
    topology = Topology(3, 1, "us-east", ())
    done = await Actor(sites.home, replicas, lambda: NOW).run(  # type: ignore[arg-type]
        (
            Apply(("ConfigMap", "orders-us-east"), manifest, "create"),
            Delete(("Service", "orders-old"), "u"),
            RemoveAnnotations({"a": "b"}),
            *(PushTopology(region, target, "id", topology) for region, target in targets.items()),
        ),
        {},
        patience_seconds=5.0,
    )
    assert [one.failure for one in done] == [""] * 5
    assert here.writes == [
        ("apply", "team", "orders-us-east"),
        ("delete Background", "team", "orders-old"),
        ("patch", "team", "orders"),
    ]
    assert there.writes == []
    assert {target.ip for target in replicas.called} == {"10.0.0.1", "10.9.0.1"}


async def test_a_volume_is_given_up_before_the_pod_that_uses_it(here: Cluster, sites: Sites) -> None:
    first = DeletePod("us-east", "orders-us-east-1", "pod", "7", "moved", "data-orders-us-east-1", "claim")
    second = DeletePod("us-east", "orders-us-east-2", "pod", "8", "out of date")
    actor = Actor(sites.home, FakeReplicas(), lambda: NOW)  # type: ignore[arg-type]
    for action in (first, second):
        await actor.run((action,), {}, patience_seconds=5.0)
    assert here.writes == [
        ("delete Background", "team", "data-orders-us-east-1"),
        ("delete Background", "team", "orders-us-east-1"),
        ("delete Background", "team", "orders-us-east-2"),
    ]


def test_a_site_of_several_regions_is_one(sites: Sites, there: Cluster) -> None:
    away = Site(AWAY, there, there)  # type: ignore[arg-type]
    both = Sites(sites.home, {"eu-west": away, "ap-south": away})
    assert list(both) == [sites.home, away]
    assert both.of("ap-south") is away
    assert both.of("us-east") is sites.home
