"""The pure plan of StatefulSets: order, updates, partitions, status."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from localkube.controllers.objects import rfc3339
from localkube.controllers.statefulset_plan import (
    CreatePod,
    DeletePod,
    Revisions,
    plan_pods,
    plan_status,
)
from localkube.controllers.statefulset_pods import build_claims, build_pod, claim_owners, ordinal_of

NOW = 1_800_000_000.0
SAME = Revisions("db-a", "db-a")
MOVE = Revisions("db-a", "db-b")


def sts_of(replicas: int, policy: str = "Parallel", **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "db", "namespace": "default", "uid": "u", "generation": 4},
        "spec": {
            "replicas": replicas,
            "podManagementPolicy": policy,
            "serviceName": "peers",
            "template": {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [{"name": "c"}]}},
            **spec,
        },
    }


def pod_of(
    ordinal: int, *, ready: bool = True, revision: str = "db-a", since: float = 0, **more: Any
) -> dict[str, Any]:
    return {
        "metadata": {
            "name": f"db-{ordinal}",
            "uid": f"uid-{ordinal}",
            "labels": {"controller-revision-hash": revision},
            **({"deletionTimestamp": "2026-01-01T00:00:00Z"} if more.get("deleting") else {}),
        },
        "spec": {},
        "status": {
            "phase": more.get("phase", "Running"),
            "conditions": [
                {"type": "Ready", "status": str(ready), "lastTransitionTime": rfc3339(NOW - since)},
            ],
        },
    }


def ordinals(plan: Any) -> tuple[list[int], list[str]]:
    return (
        [a.ordinal for a in plan.actions if isinstance(a, CreatePod)],
        [a.name for a in plan.actions if isinstance(a, DeletePod)],
    )


def test_parallel_creates_all_at_once_and_ordered_one_at_a_time() -> None:
    assert ordinals(plan_pods(sts_of(3), [], SAME, NOW)) == ([0, 1, 2], [])
    assert ordinals(plan_pods(sts_of(3, "OrderedReady"), [], SAME, NOW)) == ([0], [])
    waiting = [pod_of(0, ready=False)]
    assert ordinals(plan_pods(sts_of(3, "OrderedReady"), waiting, SAME, NOW)) == ([], [])
    assert ordinals(plan_pods(sts_of(3, "OrderedReady"), [pod_of(0)], SAME, NOW)) == ([1], [])


def test_ordinals_start_where_the_spec_says() -> None:
    assert ordinals(plan_pods(sts_of(2, ordinals={"start": 5}), [], SAME, NOW)) == ([5, 6], [])


def test_scaling_down_deletes_the_highest_first() -> None:
    pods = [pod_of(i) for i in range(4)]
    assert ordinals(plan_pods(sts_of(1, "OrderedReady"), pods, SAME, NOW)) == ([], ["db-3"])
    assert ordinals(plan_pods(sts_of(1), pods, SAME, NOW)) == ([], ["db-3", "db-2", "db-1"])


def test_a_finished_pod_is_replaced() -> None:
    assert ordinals(plan_pods(sts_of(1), [pod_of(0, phase="Failed")], SAME, NOW)) == ([], ["db-0"])


def test_an_update_takes_the_highest_ordinal_first_and_waits_until_it_is_ready() -> None:
    pods = [pod_of(i) for i in range(3)]
    assert ordinals(plan_pods(sts_of(3), pods, MOVE, NOW)) == ([], ["db-2"])
    pods[2] = pod_of(2, revision="db-b", ready=False)
    assert ordinals(plan_pods(sts_of(3), pods, MOVE, NOW)) == ([], [])
    pods[2] = pod_of(2, revision="db-b")
    assert ordinals(plan_pods(sts_of(3), pods, MOVE, NOW)) == ([], ["db-1"])


def test_min_ready_seconds_delay_the_update() -> None:
    pods = [pod_of(0), pod_of(1, revision="db-b", since=2)]
    plan = plan_pods(sts_of(2, minReadySeconds=5), pods, MOVE, NOW)
    assert ordinals(plan) == ([], [])
    assert plan.again_seconds
    assert ordinals(plan_pods(sts_of(2, minReadySeconds=5), pods, MOVE, NOW + 10)) == ([], ["db-0"])


def test_a_partition_keeps_the_lower_ordinals_on_the_old_revision() -> None:
    sts = sts_of(3, updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 2}})
    pods = [pod_of(0), pod_of(1), pod_of(2, revision="db-b")]
    assert ordinals(plan_pods(sts, pods, MOVE, NOW)) == ([], [])
    plan = plan_pods(sts, [pods[2]], MOVE, NOW)
    assert [a for a in plan.actions if isinstance(a, CreatePod)] == [CreatePod(0, "db-a"), CreatePod(1, "db-a")]


def test_on_delete_leaves_pods_alone() -> None:
    sts = sts_of(2, updateStrategy={"type": "OnDelete"})
    assert not plan_pods(sts, [pod_of(0), pod_of(1)], MOVE, NOW).actions
    assert plan_pods(sts, [pod_of(0)], MOVE, NOW).actions == (CreatePod(1, "db-b"),)


def test_on_delete_the_current_revision_moves_once_all_pods_are_ready_and_of_the_update_revision() -> None:
    """So from Kubernetes 1.36 on; before, it stayed."""
    sts = sts_of(2, updateStrategy={"type": "OnDelete"})
    rolling = plan_status(sts, [pod_of(0), pod_of(1, revision="db-b")], MOVE, NOW)
    assert (rolling["currentRevision"], rolling["updateRevision"], rolling["updatedReplicas"]) == ("db-a", "db-b", 1)
    starting = plan_status(sts, [pod_of(0, revision="db-b"), pod_of(1, revision="db-b", ready=False)], MOVE, NOW)
    assert (starting["currentRevision"], starting["updatedReplicas"]) == ("db-a", 2)
    done = plan_status(sts, [pod_of(0, revision="db-b"), pod_of(1, revision="db-b")], MOVE, NOW)
    assert (done["currentRevision"], done["currentReplicas"]) == ("db-b", 2)


def test_status_counts_and_completes_the_revision() -> None:
    pods = [pod_of(0, revision="db-b"), pod_of(1, revision="db-b", ready=False)]
    status = plan_status(sts_of(2), pods, MOVE, NOW)
    assert (status["readyReplicas"], status["updatedReplicas"], status["currentRevision"]) == (1, 2, "db-a")
    done = plan_status(sts_of(2), [pod_of(0, revision="db-b"), pod_of(1, revision="db-b")], MOVE, NOW)
    assert (done["currentRevision"], done["updateRevision"], done["currentReplicas"]) == ("db-b", "db-b", 2)
    assert done["observedGeneration"] == 4


@pytest.mark.parametrize(
    ("name", "expected"), [("db-0", 0), ("db-12", 12), ("db-x", None), ("db-01", None), ("d-1", None)]
)
def test_ordinals_come_from_names(name: str, expected: int | None) -> None:
    assert ordinal_of(sts_of(1), {"metadata": {"name": name}}) == expected


def test_pods_carry_their_identity_and_their_claims() -> None:
    sts = sts_of(1, volumeClaimTemplates=[{"metadata": {"name": "data"}, "spec": {}}])
    pod = build_pod(sts, sts["spec"]["template"], "db-a", 2)
    assert pod["metadata"]["labels"] == {
        "app": "db",
        "statefulset.kubernetes.io/pod-name": "db-2",
        "apps.kubernetes.io/pod-index": "2",
        "controller-revision-hash": "db-a",
    }
    assert (pod["spec"]["hostname"], pod["spec"]["subdomain"]) == ("db-2", "peers")
    assert pod["spec"]["volumes"] == [{"name": "data", "persistentVolumeClaim": {"claimName": "data-db-2"}}]
    assert build_claims(sts, 2)[0]["metadata"]["name"] == "data-db-2"


def test_claims_are_owned_as_the_retention_policy_says() -> None:
    template = [{"metadata": {"name": "data"}, "spec": {}}]
    policy = {"whenDeleted": "Delete", "whenScaled": "Delete"}
    sts = sts_of(1, volumeClaimTemplates=template, persistentVolumeClaimRetentionPolicy=policy)
    claim = build_claims(sts, 1)[0]
    pod = {"metadata": {"name": "db-1", "uid": "pod-uid"}}
    assert [r["kind"] for r in claim_owners(sts, claim, pod, condemned=False)] == ["StatefulSet"]
    owners = claim_owners(sts, claim, pod, condemned=True)
    assert [r["kind"] for r in owners] == ["Pod"]
    claim["metadata"]["ownerReferences"] = owners
    assert claim_owners(sts, claim, pod, condemned=True) == owners
    retained = sts_of(1, volumeClaimTemplates=template)
    assert claim_owners(retained, claim, pod, condemned=True) == []


@settings(max_examples=60)
@given(
    policy=st.sampled_from(["Parallel", "OrderedReady"]),
    before=st.integers(0, 5),
    after=st.integers(0, 5),
    partition=st.integers(0, 5),
    order=st.randoms(use_true_random=False),
)
def test_every_start_converges_and_updates_take_one_pod_at_a_time(
    policy: str, before: int, after: int, partition: int, order: Any
) -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": partition}}
    sts = sts_of(after, policy, updateStrategy=strategy)
    pods = {i: pod_of(i) for i in range(before)}
    for _ in range(200):
        plan = plan_pods(sts, list(pods.values()), MOVE, NOW)
        rolling = [a for a in plan.actions if isinstance(a, DeletePod) and a.why == "rolling update"]
        if rolling:
            assert len(rolling) == 1
            assert all(p["status"]["conditions"][0]["status"] == "True" for p in pods.values())
        for action in plan.actions:
            if isinstance(action, CreatePod):
                if policy == "OrderedReady":
                    assert set(range(action.ordinal)) <= set(pods)
                pods[action.ordinal] = pod_of(action.ordinal, ready=False, revision=action.revision)
            else:
                del pods[int(action.name.rpartition("-")[2])]
        unready = [i for i, p in pods.items() if p["status"]["conditions"][0]["status"] != "True"]
        if not plan.actions and not unready:
            break
        if unready:
            chosen = order.choice(unready)
            revision = pods[chosen]["metadata"]["labels"]["controller-revision-hash"]
            pods[chosen] = pod_of(chosen, revision=revision)
    else:
        raise AssertionError("did not converge")
    assert sorted(pods) == list(range(after))
    for ordinal, pod in pods.items():
        revision = pod["metadata"]["labels"]["controller-revision-hash"]
        assert revision == ("db-b" if ordinal >= partition else "db-a")
