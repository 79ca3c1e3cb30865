"""Garbage collection, namespaces, endpoints, budgets, claims."""

from __future__ import annotations

from typing import Any

import pytest
from localkube.apiserver.errors import ApiError
from localkube.apiserver.resources import Resource
from localkube.controllers.claims import PROVISIONER
from localkube.controllers.engine import Manager
from localkube.controllers.objects import owner_reference
from localkube.controllers.resources import (
    CONFIG_MAPS,
    CRDS,
    NAMESPACES,
    NODES,
    PDBS,
    PODS,
    PVCS,
    SERVICES,
    STORAGE_CLASSES,
)
from localkube.controllers.root_ca import RootCaPublisher

WIDGETS = Resource("example.org", "v1", "widgets", "Widget")


async def define_widgets(harness: Any) -> None:
    crd = {
        "metadata": {"name": "widgets.example.org"},
        "spec": {
            "group": "example.org",
            "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [{"name": "v1", "served": True, "storage": True}],
        },
    }
    created = await harness.api.create(CRDS, None, crd)
    created["status"] = {"conditions": [{"type": "Established", "status": "True"}]}
    await harness.api.update_status(CRDS, None, created)


async def family(harness: Any, finalizers: list[str] | None = None) -> dict[str, Any]:
    """A widget that owns the ConfigMap `child`, which owns `grandchild`."""
    await define_widgets(harness)
    owner = await harness.api.create(WIDGETS, "default", {"metadata": {"name": "w", "finalizers": finalizers or []}})
    child = await harness.api.create(
        CONFIG_MAPS, "default", {"metadata": {"name": "child", "ownerReferences": [owner_reference(owner, WIDGETS)]}}
    )
    await harness.api.create(
        CONFIG_MAPS,
        "default",
        {"metadata": {"name": "grandchild", "ownerReferences": [owner_reference(child, CONFIG_MAPS)]}},
    )
    await harness.settled()
    assert harness.names("configmaps") == ["child", "grandchild"]
    return owner


async def test_background_deletion_takes_everything_below(harness: Any) -> None:
    await family(harness)
    await harness.api.delete(WIDGETS, "default", "w", propagation="Background")
    await harness.until(lambda: not harness.names("configmaps"), "children gone")


async def test_foreground_deletion_ends_with_the_owner(harness: Any) -> None:
    await family(harness)
    held = await harness.api.get(CONFIG_MAPS, "default", "child")
    held["metadata"]["finalizers"] = ["example.org/hold"]
    await harness.api.update(CONFIG_MAPS, "default", held)
    await harness.api.delete(WIDGETS, "default", "w", propagation="Foreground")
    await harness.until(lambda: harness.names("configmaps") == ["child"], "grandchild gone")
    await harness.settled()
    assert harness.names("widgets.example.org") == ["w"]
    held = await harness.api.get(CONFIG_MAPS, "default", "child")
    held["metadata"]["finalizers"] = [f for f in held["metadata"]["finalizers"] if f != "example.org/hold"]
    await harness.api.update(CONFIG_MAPS, "default", held)
    await harness.until(lambda: not harness.names("widgets.example.org"), "owner gone")
    assert not harness.names("configmaps")


async def test_orphaned_children_stay(harness: Any) -> None:
    await family(harness)
    await harness.api.delete(WIDGETS, "default", "w", propagation="Orphan")
    await harness.until(lambda: not harness.names("widgets.example.org"), "owner gone")
    await harness.settled()
    assert harness.names("configmaps") == ["child", "grandchild"]
    assert not harness.find("configmaps", "child")["metadata"].get("ownerReferences")


async def test_a_child_with_another_living_owner_stays_and_loses_the_dead_one(harness: Any) -> None:
    owner = await family(harness)
    other = await harness.api.create(CONFIG_MAPS, "default", {"metadata": {"name": "other"}})
    child = await harness.api.get(CONFIG_MAPS, "default", "child")
    child["metadata"]["ownerReferences"].append(owner_reference(other, CONFIG_MAPS, controller=False))
    await harness.api.update(CONFIG_MAPS, "default", child)
    await harness.api.delete(WIDGETS, "default", "w")
    await harness.until(
        lambda: [r["name"] for r in harness.find("configmaps", "child")["metadata"]["ownerReferences"]] == ["other"],
        "dangling reference removed",
    )
    assert owner["metadata"]["uid"]


async def test_a_child_made_for_an_owner_of_another_uid_is_collected(harness: Any) -> None:
    await define_widgets(harness)
    owner = await harness.api.create(WIDGETS, "default", {"metadata": {"name": "w"}})
    owner["metadata"]["uid"] = "somebody-else"
    await harness.api.create(
        CONFIG_MAPS, "default", {"metadata": {"name": "lost", "ownerReferences": [owner_reference(owner, WIDGETS)]}}
    )
    await harness.until(lambda: not harness.names("configmaps"), "collected")


async def test_a_namespace_has_a_default_account_and_takes_its_contents_along(harness: Any) -> None:
    await harness.api.create(NAMESPACES, None, {"metadata": {"name": "team"}, "spec": {"finalizers": ["kubernetes"]}})
    await harness.until(lambda: harness.names("serviceaccounts", "team") == ["default"], "account")
    held = {"metadata": {"name": "held", "finalizers": ["example.org/hold"]}}
    await harness.api.create(CONFIG_MAPS, "team", held)
    await harness.api.create(CONFIG_MAPS, "team", {"metadata": {"name": "free"}})
    await harness.api.delete(NAMESPACES, None, "team")
    await harness.until(lambda: harness.names("configmaps", "team") == ["held"], "contents deleted")
    assert harness.find("namespaces", "team", None)["status"]["phase"] == "Terminating"
    with pytest.raises(ApiError, match="being terminated"):
        await harness.api.create(CONFIG_MAPS, "team", {"metadata": {"name": "late"}})
    live = await harness.api.get(CONFIG_MAPS, "team", "held")
    live["metadata"]["finalizers"] = []
    await harness.api.update(CONFIG_MAPS, "team", live)
    await harness.until(lambda: not harness.find("namespaces", "team", None), "namespace gone")


def service(name: str, **spec: Any) -> dict[str, Any]:
    ports = [{"name": "client", "port": 80, "targetPort": "http"}]
    return {"metadata": {"name": name}, "spec": {"selector": {"app": "a"}, "ports": ports, **spec}}


async def test_each_namespace_has_the_certificate_authority(harness: Any) -> None:
    publisher = Manager(harness.context, [lambda context: RootCaPublisher(context, "PEM")])
    await publisher.start()
    try:
        await harness.api.create(NAMESPACES, None, {"metadata": {"name": "team"}})

        async def published(namespace: str) -> None:
            await harness.until(
                lambda: harness.find("configmaps", "kube-root-ca.crt", namespace).get("data") == {"ca.crt": "PEM"},
                f"published in {namespace}",
            )

        await published("default")
        await published("team")
        await harness.api.delete(CONFIG_MAPS, "team", "kube-root-ca.crt")
        await published("team")
        changed = await harness.api.get(CONFIG_MAPS, "team", "kube-root-ca.crt")
        await harness.api.update(CONFIG_MAPS, "team", {**changed, "data": {"ca.crt": "other", "more": "x"}})
        await published("team")
        await harness.api.delete(NAMESPACES, None, "team")
        await harness.until(lambda: not harness.find("namespaces", "team", None), "namespace gone")
    finally:
        await publisher.stop()


async def test_endpoints_follow_readiness_unless_the_service_says_otherwise(harness: Any) -> None:
    await harness.api.create(SERVICES, "default", service("ready"))
    await harness.api.create(SERVICES, "default", service("all", clusterIP="None", publishNotReadyAddresses=True))
    for name, ip in (("one", "127.9.0.1"), ("two", "127.9.0.2")):
        pod = {
            "metadata": {"name": name, "labels": {"app": "a"}},
            "spec": {
                "nodeName": "n",
                "hostname": name,
                "subdomain": "all",
                "containers": [{"name": "c", "image": "x", "ports": [{"name": "http", "containerPort": 8080}]}],
            },
        }
        await harness.api.create(PODS, "default", pod)
        await harness.set_ready(name, name == "one", ip)
    await harness.until(
        lambda: len(harness.find("endpointslices.discovery.k8s.io", "all-ipv4").get("endpoints") or []) == 2, "slice"
    )
    await harness.settled()
    (subset,) = harness.find("endpoints", "ready")["subsets"]
    assert [a["ip"] for a in subset["addresses"]] == ["127.9.0.1"]
    assert [a["ip"] for a in subset["notReadyAddresses"]] == ["127.9.0.2"]
    assert subset["ports"] == [{"name": "client", "port": 8080, "protocol": "TCP"}]
    (subset,) = harness.find("endpoints", "all")["subsets"]
    assert [(a["ip"], a["hostname"]) for a in subset["addresses"]] == [("127.9.0.1", "one"), ("127.9.0.2", "two")]
    endpoints = harness.find("endpointslices.discovery.k8s.io", "ready-ipv4")["endpoints"]
    assert [e["conditions"]["ready"] for e in endpoints] == [True, False]
    await harness.api.delete(PODS, "default", "one")
    await harness.until(
        lambda: not harness.find("endpoints", "ready")["subsets"][0].get("addresses"), "a leaving pod is no endpoint"
    )
    await harness.api.delete(SERVICES, "default", "ready")
    await harness.until(lambda: not harness.find("endpoints", "ready"), "endpoints gone")
    await harness.until(lambda: "ready-ipv4" not in harness.names("endpointslices.discovery.k8s.io"), "slice gone")


async def test_a_budget_says_how_many_pods_may_go(harness: Any) -> None:
    budget = {"metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "a"}}}}
    await harness.api.create(PDBS, "default", budget)
    key = "poddisruptionbudgets.policy"
    for name in ("one", "two"):
        spec = {"nodeName": "n", "containers": [{"name": "c", "image": "x"}]}
        await harness.api.create(PODS, "default", {"metadata": {"name": name, "labels": {"app": "a"}}, "spec": spec})
        await harness.set_ready(name)
    await harness.until(lambda: harness.status(key, "b").get("disruptionsAllowed") == 1, "one may go")
    assert harness.status(key, "b")["currentHealthy"] == 2
    await harness.set_ready("one", False)
    await harness.until(lambda: harness.status(key, "b").get("disruptionsAllowed") == 0, "none may go")


async def test_a_claim_in_use_is_kept_until_its_pod_is_gone(harness: Any) -> None:
    await harness.api.create(PVCS, "default", {"metadata": {"name": "data"}, "spec": {}})
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]
    spec = {"nodeName": "n", "containers": [{"name": "c", "image": "x"}], "volumes": volumes}
    await harness.api.create(PODS, "default", {"metadata": {"name": "p"}, "spec": spec})
    await harness.until(lambda: harness.status("persistentvolumeclaims", "data").get("phase") == "Bound", "bound")
    await harness.api.delete(PVCS, "default", "data")
    await harness.settled()
    assert harness.names("persistentvolumeclaims") == ["data"]
    await harness.api.delete(PODS, "default", "p", grace_seconds=0)
    await harness.until(lambda: not harness.names("persistentvolumeclaims"), "claim gone")


@pytest.mark.parametrize(
    "not_provisioned",
    [
        {"storageClassName": "fast"},
        {"volumeMode": "Block"},
        {"dataSource": {"kind": "PersistentVolumeClaim", "name": "other"}},
        {"volumeName": "not-there"},
    ],
)
async def test_a_pod_gets_no_node_before_its_claims_have_volumes(harness: Any, not_provisioned: dict[str, Any]) -> None:
    await harness.api.create(NODES, None, {"metadata": {"name": "n"}, "spec": {}})
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]
    spec = {"containers": [{"name": "c", "image": "x"}], "volumes": volumes}
    await harness.api.create(PODS, "default", {"metadata": {"name": "p"}, "spec": spec})

    def why() -> str:
        conditions = harness.status("pods", "p").get("conditions") or []
        return next((item["message"] for item in conditions if item["type"] == "PodScheduled"), "")

    await harness.until(
        lambda: why() == '0/1 nodes are available: persistentvolumeclaim "data" not found.', "no claim is named"
    )
    await harness.api.create(PVCS, "default", {"metadata": {"name": "data"}, "spec": not_provisioned})
    await harness.until(
        lambda: why() == "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.", "no volume"
    )
    await harness.api.delete(PVCS, "default", "data")
    await harness.until(lambda: not harness.names("persistentvolumeclaims"), "no pod without a node keeps a claim")
    await harness.api.create(PVCS, "default", {"metadata": {"name": "data"}, "spec": {}})
    await harness.until(lambda: harness.find("pods", "p")["spec"].get("nodeName") == "n", "it has a node")
    assert harness.status("persistentvolumeclaims", "data")["phase"] == "Bound"


async def test_a_claim_of_an_unknown_class_waits_until_there_is_one(harness: Any) -> None:
    await harness.api.create(PVCS, "default", {"metadata": {"name": "c"}, "spec": {"storageClassName": "fast"}})
    assert "not found" in (await harness.until(lambda: harness.events("ProvisioningFailed"), "event"))[0]
    assert harness.status("persistentvolumeclaims", "c") == {"phase": "Pending"}
    await harness.api.create(STORAGE_CLASSES, None, {"metadata": {"name": "fast"}, "provisioner": PROVISIONER})
    await harness.until(lambda: harness.status("persistentvolumeclaims", "c").get("phase") == "Bound", "bound")


async def test_a_block_claim_is_refused_with_an_event(harness: Any) -> None:
    await harness.api.create(PVCS, "default", {"metadata": {"name": "raw"}, "spec": {"volumeMode": "Block"}})
    await harness.until(lambda: harness.events("ProvisioningFailed"), "event")
    assert harness.status("persistentvolumeclaims", "raw").get("phase") != "Bound"
