"""StatefulSets and Deployments over the store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from localkube.controllers.resources import DEPLOYMENTS, NODES, PODS, PVCS, STATEFUL_SETS

CLAIMS = [{"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": "1Gi"}}}}]


async def ready_all(harness: Any, names: list[str]) -> None:
    for name in names:
        await harness.until(lambda name=name: harness.find("pods", name), f"{name} exists")
        await harness.set_ready(name)


async def test_a_set_makes_pods_claims_and_volumes_and_reports_them(harness: Any, make_sts: Callable[..., Any]) -> None:
    sts = make_sts(podManagementPolicy="Parallel", volumeClaimTemplates=CLAIMS)
    await harness.api.create(STATEFUL_SETS, "default", sts)
    await ready_all(harness, ["db-0", "db-1", "db-2"])
    await harness.until(lambda: harness.status("statefulsets.apps", "db").get("readyReplicas") == 3, "status")
    assert harness.names("persistentvolumeclaims") == ["data-db-0", "data-db-1", "data-db-2"]
    await harness.until(
        lambda: harness.status("persistentvolumeclaims", "data-db-2").get("phase") == "Bound", "claims bound"
    )
    assert len(harness.store.list("persistentvolumes").items) == 3
    assert len(harness.names("controllerrevisions.apps")) == 1
    await harness.settled()
    before = harness.store.resource_version
    await harness.settled()
    assert harness.store.resource_version == before


async def test_a_deleted_pod_comes_back_with_the_same_claim(harness: Any, make_sts: Callable[..., Any]) -> None:
    await harness.api.create(STATEFUL_SETS, "default", make_sts(replicas=1, volumeClaimTemplates=CLAIMS))
    await ready_all(harness, ["db-0"])
    claim = await harness.until(lambda: harness.find("persistentvolumeclaims", "data-db-0"), "claim")
    old = harness.find("pods", "db-0")
    await harness.api.delete(PODS, "default", "db-0")
    await harness.finish_deletion("db-0")
    new = await harness.until(
        lambda: (p := harness.find("pods", "db-0")) and p["metadata"]["uid"] != old["metadata"]["uid"] and p, "new pod"
    )
    assert new["spec"]["volumes"] == old["spec"]["volumes"]
    assert harness.find("persistentvolumeclaims", "data-db-0")["metadata"]["uid"] == claim["metadata"]["uid"]


async def test_a_pod_that_waits_for_a_claim_that_was_deleted_gets_another_one(
    harness: Any, make_sts: Callable[..., Any]
) -> None:
    sts = make_sts(replicas=1, volumeClaimTemplates=CLAIMS)
    del sts["spec"]["template"]["spec"]["nodeName"]
    await harness.api.create(STATEFUL_SETS, "default", sts)
    claim = await harness.until(lambda: harness.find("persistentvolumeclaims", "data-db-0"), "claim")
    pod = await harness.until(lambda: harness.find("pods", "db-0"), "pod")
    await harness.api.delete(PVCS, "default", "data-db-0")

    def another() -> bool:
        now = harness.find("persistentvolumeclaims", "data-db-0")
        return bool(now) and now["metadata"]["uid"] != claim["metadata"]["uid"]

    await harness.until(another, "another claim")
    assert harness.find("pods", "db-0")["metadata"]["uid"] == pod["metadata"]["uid"]


async def test_a_changed_template_rolls_and_a_rollback_uses_the_old_revision(
    harness: Any, make_sts: Callable[..., Any]
) -> None:
    await harness.api.create(STATEFUL_SETS, "default", make_sts(replicas=2, podManagementPolicy="Parallel"))
    await ready_all(harness, ["db-0", "db-1"])
    await harness.until(lambda: harness.status("statefulsets.apps", "db").get("readyReplicas") == 2, "ready")
    first = harness.status("statefulsets.apps", "db")["currentRevision"]
    for image in ("app:2", "app:1"):
        live = await harness.api.get(STATEFUL_SETS, "default", "db")
        live["spec"]["template"]["spec"]["containers"][0]["image"] = image
        await harness.api.update(STATEFUL_SETS, "default", live)
        for name in ("db-1", "db-0"):
            await harness.until(
                lambda name=name: harness.find("pods", name)["metadata"].get("deletionTimestamp"), f"{name} deleted"
            )
            await harness.finish_deletion(name)
            await harness.until(
                lambda name=name, image=image: (
                    (p := harness.find("pods", name)) and p["spec"]["containers"][0]["image"] == image
                ),
                f"{name} at {image}",
            )
            await harness.set_ready(name)
        await harness.until(
            lambda: (
                (s := harness.status("statefulsets.apps", "db"))["currentRevision"] == s["updateRevision"]
                and s["readyReplicas"] == 2
                and s["observedGeneration"] == harness.find("statefulsets.apps", "db")["metadata"]["generation"]
            ),
            "rolled",
        )
    assert harness.status("statefulsets.apps", "db")["currentRevision"] == first
    revisions = harness.store.list("controllerrevisions.apps").items
    assert {r["metadata"]["name"]: r["revision"] for r in revisions}[first] == 3


async def test_retention_deletes_claims_when_scaled_and_when_deleted(
    harness: Any, make_sts: Callable[..., Any]
) -> None:
    policy = {"whenDeleted": "Delete", "whenScaled": "Delete"}
    sts = make_sts(
        replicas=2,
        podManagementPolicy="Parallel",
        volumeClaimTemplates=CLAIMS,
        persistentVolumeClaimRetentionPolicy=policy,
    )
    await harness.api.create(STATEFUL_SETS, "default", sts)
    await ready_all(harness, ["db-0", "db-1"])
    await harness.until(lambda: len(harness.names("persistentvolumeclaims")) == 2, "claims")
    live = await harness.api.get(STATEFUL_SETS, "default", "db")
    live["spec"]["replicas"] = 1
    await harness.api.update(STATEFUL_SETS, "default", live)
    await harness.until(lambda: harness.find("pods", "db-1")["metadata"].get("deletionTimestamp"), "scaled down")
    await harness.finish_deletion("db-1")
    await harness.until(lambda: harness.names("persistentvolumeclaims") == ["data-db-0"], "claim of db-1 gone")
    await harness.api.delete(STATEFUL_SETS, "default", "db", propagation="Background")
    await harness.until(lambda: harness.find("pods", "db-0")["metadata"].get("deletionTimestamp"), "pod deleted")
    await harness.finish_deletion("db-0")
    await harness.until(lambda: not harness.names("persistentvolumeclaims"), "claims gone")
    await harness.until(lambda: not harness.store.list("persistentvolumes").items, "volumes gone")
    assert not harness.names("controllerrevisions.apps")


def deployment(replicas: int = 2, strategy: dict[str, Any] | None = None, image: str = "app:1") -> dict[str, Any]:
    return {
        "metadata": {"name": "op", "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "op"}},
            "strategy": strategy or {"type": "RollingUpdate"},
            "template": {
                "metadata": {"labels": {"app": "op"}},
                "spec": {"containers": [{"name": "main", "image": image}], "nodeName": "n1"},
            },
        },
    }


def images_of(harness: Any) -> list[str]:
    return sorted(
        p["spec"]["containers"][0]["image"]
        for p in harness.store.list("pods").items
        if not p["metadata"].get("deletionTimestamp")
    )


async def test_a_paused_deployment_keeps_its_pods_and_follows_its_size_alone(harness: Any) -> None:
    paused = deployment(1)
    paused["spec"]["paused"] = True
    await harness.api.create(DEPLOYMENTS, "default", paused)
    await harness.until(lambda: harness.status("deployments.apps", "op").get("observedGeneration") == 1, "observed")
    await harness.settled()
    assert harness.names("replicasets.apps") == []

    async def change(**spec: Any) -> None:
        live = await harness.api.get(DEPLOYMENTS, "default", "op")
        live["spec"].update(spec)
        await harness.api.update(DEPLOYMENTS, "default", live)

    await change(paused=False)
    await harness.until(lambda: len(harness.names("pods")) == 1, "resumed")
    template = deployment(1, image="app:2")["spec"]["template"]
    await change(paused=True, replicas=2, template=template)
    await harness.until(lambda: len(harness.names("pods")) == 2, "scaled")
    await harness.settled()
    assert len(harness.names("replicasets.apps")) == 1
    conditions = {c["type"]: c for c in harness.status("deployments.apps", "op")["conditions"]}
    assert conditions["Progressing"]["reason"] == "DeploymentPaused"


async def test_a_deployment_becomes_available(harness: Any) -> None:
    await harness.api.create(DEPLOYMENTS, "default", deployment())
    await harness.until(lambda: len(harness.names("pods")) == 2, "pods")
    conditions = await harness.until(lambda: harness.status("deployments.apps", "op").get("conditions"), "conditions")
    assert {c["type"]: c["status"] for c in conditions}["Available"] == "False"
    await ready_all(harness, harness.names("pods"))
    await harness.until(lambda: harness.status("deployments.apps", "op").get("availableReplicas") == 2, "available")
    status = harness.status("deployments.apps", "op")
    assert {c["type"]: c["status"] for c in status["conditions"]}["Available"] == "True"
    assert status["updatedReplicas"] == 2
    assert status["observedGeneration"] == 1


async def test_recreate_waits_for_the_old_pods_to_end(harness: Any) -> None:
    await harness.api.create(DEPLOYMENTS, "default", deployment(1, {"type": "Recreate"}))
    (old,) = await harness.until(lambda: harness.names("pods"), "pod")
    await harness.set_ready(old)
    live = await harness.until(lambda: harness.find("deployments.apps", "op"), "deployment")
    live = await harness.api.get(DEPLOYMENTS, "default", "op")
    live["spec"]["template"]["spec"]["containers"][0]["image"] = "app:2"
    del live["metadata"]["resourceVersion"]
    await harness.api.update(DEPLOYMENTS, "default", live)
    await harness.until(lambda: harness.find("pods", old)["metadata"].get("deletionTimestamp"), "old deleted")
    await harness.settled()
    assert harness.names("pods") == [old]
    await harness.finish_deletion(old)
    await harness.until(lambda: images_of(harness) == ["app:2"], "new pod")


async def test_rolling_update_replaces_pods_without_dropping_below(harness: Any) -> None:
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    await harness.api.create(DEPLOYMENTS, "default", deployment(2, rolling))
    await harness.until(lambda: len(harness.names("pods")) == 2, "pods")
    await ready_all(harness, harness.names("pods"))
    await harness.until(lambda: harness.status("deployments.apps", "op").get("availableReplicas") == 2, "available")
    live = await harness.api.get(DEPLOYMENTS, "default", "op")
    live["spec"]["template"]["spec"]["containers"][0]["image"] = "app:2"
    await harness.api.update(DEPLOYMENTS, "default", live)
    for _ in range(2):
        new = await harness.until(
            lambda: [
                p["metadata"]["name"]
                for p in harness.store.list("pods").items
                if p["spec"]["containers"][0]["image"] == "app:2" and not p.get("status", {}).get("conditions")
            ],
            "one new pod",
        )
        assert len(new) == 1
        ready = [p for p in harness.store.list("pods").items if p.get("status", {}).get("conditions")]
        assert len([p for p in ready if not p["metadata"].get("deletionTimestamp")]) >= 2
        await harness.set_ready(new[0])
        leaving = await harness.until(
            lambda: [
                p["metadata"]["name"]
                for p in harness.store.list("pods").items
                if p["metadata"].get("deletionTimestamp")
            ],
            "an old pod leaves",
        )
        for name in leaving:
            await harness.finish_deletion(name)
    await harness.until(lambda: images_of(harness) == ["app:2", "app:2"], "all new")
    await harness.until(
        lambda: (
            harness.status("deployments.apps", "op").get("updatedReplicas") == 2
            and harness.status("deployments.apps", "op")["replicas"] == 2
        ),
        "status",
    )


async def test_pods_wait_for_a_node_that_fits(harness: Any) -> None:
    pod = {
        "metadata": {"name": "p"},
        "spec": {
            "nodeSelector": {"topology.kubernetes.io/region": "us-east"},
            "containers": [{"name": "main", "image": "x"}],
        },
    }
    await harness.api.create(PODS, "default", pod)
    await harness.until(lambda: harness.events("FailedScheduling"), "event")
    (condition,) = harness.status("pods", "p")["conditions"]
    assert (condition["type"], condition["status"], condition["reason"]) == ("PodScheduled", "False", "Unschedulable")
    node = {"metadata": {"name": "n", "labels": {"topology.kubernetes.io/region": "us-east"}}, "spec": {}}
    await harness.api.create(NODES, None, node)
    await harness.until(lambda: harness.find("pods", "p")["spec"].get("nodeName") == "n", "scheduled")
