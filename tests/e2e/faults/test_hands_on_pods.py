"""What people do to the StatefulSets, pods and volumes of a running store, past the operator."""

from __future__ import annotations

import asyncio

import pytest
from rstore_testkit.load import wait_until


def _uids(kubectl, name: str, region: str = "") -> dict[str, str]:
    selector = f"-l=replicatedstore.io/store={name}" + (f",replicatedstore.io/region={region}" if region else "")
    return {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in kubectl.get("pods", selector)["items"]}


@pytest.mark.parametrize("replicas", [0, 1, 5])
async def test_a_stateful_set_that_is_scaled_behind_the_operators_back_is_set_back(scene, kubectl, replicas):
    """The StatefulSet is scaled also to none: its pods end in good order, and nothing acknowledged is left behind."""
    primary = await scene.primary()
    stateful_set = f"{scene.store.name}-{primary}"
    wanted = kubectl.get("statefulset", stateful_set)["spec"]["replicas"]
    async with scene.writing() as load:
        await asyncio.to_thread(kubectl.run, "scale", "statefulset", stateful_set, f"--replicas={replicas}")

        async def back() -> bool:
            live = await asyncio.to_thread(kubectl.get, "statefulset", stateful_set)
            return live["spec"]["replicas"] == wanted and live["status"].get("readyReplicas") == wanted

        await wait_until(back, what=f"{wanted} replicas again", poll_seconds=0.3)
        await load.wait_acknowledged(50)
    await scene.store.wait_steady()
    await scene.judge(load, nothing_quarantined=True)


async def test_all_pods_of_a_store_are_lost_at_once(scene, kubectl):
    selector = f"-l=replicatedstore.io/store={scene.store.name}"
    epoch = (await scene.store.status())["epoch"]
    async with scene.writing() as load:
        command = ("delete", "pods", selector, "--force", "--grace-period=0", "--wait=false")
        await asyncio.to_thread(kubectl.run, *command)
        await load.wait_acknowledged(50)
    await scene.store.wait_steady()
    assert (await scene.store.status())["epoch"] - epoch <= 2
    await scene.judge(load)


@pytest.mark.parametrize("twice", [False, True], ids=["once", "twice in a row"])
async def test_a_rollout_restart_renews_each_pod_and_nothing_takes_it_back(scene, kubectl, twice):
    primary = await scene.primary()
    stateful_set = f"{scene.store.name}-{primary}"
    before = _uids(kubectl, scene.store.name, primary)

    async def restarted() -> bool:  # kubectl refuses a second time within the same second
        done = await asyncio.to_thread(kubectl.try_run, "rollout", "restart", "statefulset", stateful_set)
        return bool(done.returncode == 0)

    async with scene.writing() as load:
        for _ in range(2 if twice else 1):
            await wait_until(restarted, what="a restart that kubectl asks for", poll_seconds=0.3)
        await scene.store.wait_rolled()
    after = _uids(kubectl, scene.store.name, primary)
    assert before.keys() == after.keys()
    assert not set(before.values()) & set(after.values()), "each was renewed"
    template = kubectl.get("statefulset", stateful_set)["spec"]["template"]
    assert "kubectl.kubernetes.io/restartedAt" in template["metadata"]["annotations"]
    await scene.store.wait_steady()
    assert _uids(kubectl, scene.store.name, primary) == after, "and only once"
    await scene.judge(load, nothing_quarantined=True)


async def test_a_primary_region_that_lost_all_its_volumes_is_never_copied_from(scene, kubectl):
    """Another region takes over, and the empty one is filled from it."""
    async with scene.writing() as load:
        await load.wait_acknowledged(100)
    await scene.store.wait_converged()
    primary, revision = await scene.primary(), await scene.store.revision(await scene.primary())
    selector = f"-l=replicatedstore.io/store={scene.store.name},replicatedstore.io/region={primary}"
    await asyncio.to_thread(kubectl.run, "delete", "pvc", selector, "--wait=false")
    await asyncio.to_thread(kubectl.run, "delete", "pods", selector, "--force", "--grace-period=0", "--wait=false")
    receipt = await scene.failed_over(primary)
    assert receipt["from"] == primary
    await scene.store.wait_steady()
    assert await scene.store.revision(primary) >= revision
    await scene.judge(load, nothing_quarantined=True)
