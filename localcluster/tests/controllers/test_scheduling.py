"""The pure scheduling rules."""

from __future__ import annotations

from typing import Any

import pytest
from localkube.controllers.scheduling import choose


def node(name: str, region: str = "us-east", **spec: Any) -> dict[str, Any]:
    labels = {"topology.kubernetes.io/region": region, "kubernetes.io/hostname": name, "rank": name[-1]}
    return {"metadata": {"name": name, "labels": labels}, "spec": spec}


def pod(name: str = "p", node_name: str = "", labels: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    bound = {"nodeName": node_name} if node_name else {}
    return {"metadata": {"name": name, "namespace": "n", "labels": labels or {}}, "spec": {**spec, **bound}}


def required(*terms: dict[str, Any]) -> dict[str, Any]:
    selector = {"nodeSelectorTerms": list(terms)}
    return {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": selector}}}


NODES = [node("n1"), node("n2", "eu-west"), node("n3", "ap-south")]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"nodeSelector": {"topology.kubernetes.io/region": "eu-west"}}, "n2"),
        ({"nodeSelector": {"topology.kubernetes.io/region": "mars"}}, None),
        (required({"matchExpressions": [{"key": "rank", "operator": "In", "values": ["3"]}]}), "n3"),
        (required({"matchExpressions": [{"key": "rank", "operator": "Gt", "values": ["2"]}]}), "n3"),
        (required({"matchExpressions": [{"key": "none", "operator": "Exists"}]}, {}), None),
        (required({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n2"]}]}), "n2"),
        ({}, "n1"),
    ],
)
def test_selectors_and_affinity(spec: dict[str, Any], expected: str | None) -> None:
    decision = choose(pod(**spec), NODES, [])
    assert decision.node == expected
    assert bool(decision.message) == (expected is None)


def test_the_emptiest_node_wins() -> None:
    assert choose(pod(), NODES, [pod("a", "n1"), pod("b", "n2")]).node == "n3"


def test_a_node_that_is_preferred_wins_where_there_is_one() -> None:
    def preferring(region: str) -> dict[str, Any]:
        expression = {"key": "topology.kubernetes.io/region", "operator": "In", "values": [region]}
        terms = [
            {"weight": 1, "preference": {"matchExpressions": [{"key": "rank", "operator": "Exists"}]}},
            {"weight": 100, "preference": {"matchExpressions": [expression]}},
        ]
        affinity = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": terms}}
        return pod(affinity=affinity)

    assert choose(preferring("eu-west"), NODES, [pod("a", "n2")]).node == "n2"
    assert choose(preferring("eu-west"), [node("n1"), node("n2", "eu-west", unschedulable=True)], []).node == "n1"
    assert choose(preferring("mars"), NODES, [pod("a", "n1")]).node == "n2"


def test_taints_need_tolerations() -> None:
    taint = {"key": "k", "value": "v", "effect": "NoSchedule"}
    tainted = [node("n1", taints=[taint])]
    refused = choose(pod(), tainted, [])
    assert refused.node is None
    assert "untolerated taint {k: v}" in refused.message
    assert choose(pod(tolerations=[{"key": "k", "value": "v"}]), tainted, []).node == "n1"
    assert choose(pod(tolerations=[{"operator": "Exists"}]), tainted, []).node == "n1"
    assert choose(pod(tolerations=[{"key": "k", "value": "w"}]), tainted, []).node is None
    assert choose(pod(), [node("n1", unschedulable=True)], []).node is None


def test_required_anti_affinity_keeps_pods_apart() -> None:
    term = {"labelSelector": {"matchLabels": {"a": "b"}}, "topologyKey": "kubernetes.io/hostname"}
    affinity = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    wanted = pod(labels={"a": "b"}, affinity=affinity)
    bound = [pod("x", "n1", {"a": "b"}), pod("y", "n2", {"a": "c"})]
    assert choose(wanted, NODES, bound).node == "n3"
    everywhere = [pod(name, name, {"a": "b"}) for name in ("n1", "n2", "n3")]
    assert choose(wanted, NODES, everywhere).node is None


def test_topology_spread_that_must_hold() -> None:
    constraint = {
        "maxSkew": 1,
        "topologyKey": "topology.kubernetes.io/region",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"a": "b"}},
    }
    bound = [pod("x", "n1", {"a": "b"}), pod("y", "n2", {"a": "b"}), pod("z", "n3"), pod("w", "n3")]
    assert choose(pod(labels={"a": "b"}, topologySpreadConstraints=[constraint]), NODES, bound).node == "n3"


def test_a_pod_goes_where_its_volumes_can_be_used() -> None:
    expression = {"key": "topology.kubernetes.io/region", "operator": "In", "values": ["eu-west"]}
    there = {"spec": {"nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}}}}
    assert choose(pod(), NODES, [], [{"spec": {}}, there]).node == "n2"
    refused = choose(pod(nodeSelector={"topology.kubernetes.io/region": "us-east"}), NODES, [], [there])
    assert refused.node is None
    assert "node(s) didn't match PersistentVolume's node affinity" in choose(pod(), NODES[:1], [], [there]).message
