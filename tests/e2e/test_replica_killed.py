"""One replica of the primary region is killed without warning, follower or leader; writes go on."""

from __future__ import annotations

import pytest
from rstore_api.domain.kubernetes import pod_selector
from rstore_testkit.load import wait_until


async def leader_and_follower(store) -> tuple[str, str]:
    status = await store.status()
    primary = next(region for region in status["regions"] if region["name"] == status["primaryRegion"])
    leader = primary["leader"]
    pods = (await store.kube_get("pods", f"-l={pod_selector(store.name, primary['name'])}"))["items"]
    follower = next(pod["metadata"]["name"] for pod in pods if pod["metadata"]["name"] != leader)
    return leader, follower


async def kill_and_wait(store, pod: str) -> None:
    uid = (await store.kube_get("pod", pod))["metadata"]["uid"]
    await store.kube("delete", "pod", pod, "--force", "--grace-period=0")

    async def ready() -> bool:
        shown = store.kubectl.try_run("wait", "--for=condition=Ready", f"pod/{pod}", "--timeout=1s")
        if shown.returncode != 0:
            return False
        return (await store.kube_get("pod", pod))["metadata"]["uid"] != uid

    await wait_until(ready, what=f"{pod} ready again")


@pytest.mark.parametrize("role", ["follower", "leader"])
async def test_writes_go_on_after_a_replica_is_killed(store, load, role):
    leader, follower = await leader_and_follower(store)
    victim = leader if role == "leader" else follower
    async with load.running() as running:
        await kill_and_wait(store, victim)
        await running.wait_acknowledged(50)
    await store.wait_steady()
