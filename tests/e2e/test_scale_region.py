"""The replicas of a running region change from one to three and back, while clients write."""

from __future__ import annotations

import yaml
from e2e.conftest import LoadRunner
from rstore_testkit.load import wait_until
from rstore_testkit.store import Store

NAME, REGION = "scaled", "us-east"


def manifest(replicas: int) -> str:
    return yaml.safe_dump(
        {
            "apiVersion": "replicatedstore.io/v1alpha1",
            "kind": "ReplicatedStore",
            "metadata": {"name": NAME},
            "spec": {
                "primaryRegion": REGION,
                "regions": [{"name": REGION, "replicas": replicas, "storage": {"size": "1Gi"}}],
            },
        }
    )


async def test_a_region_grows_and_shrinks_under_load(kubectl, operator, scratch):
    del operator

    def pods() -> dict[str, str]:
        listed = kubectl.get("pods", f"-l=replicatedstore.io/store={NAME}")["items"]
        return {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in listed}

    async def has(replicas: int) -> bool:
        live = kubectl.get("statefulset", f"{NAME}-{REGION}")
        conditions = {item["type"]: item["status"] for item in (await store.status()).get("conditions", [])}
        return (
            live["spec"]["replicas"] == replicas
            and live["status"].get("readyReplicas") == replicas
            and len(pods()) == replicas
            and conditions.get("ReplicasChanging") != "True"
        )

    async with Store(kubectl, NAME, scratch / NAME) as store:
        kubectl.run("apply", "-f", "-", input_text=manifest(1))
        await store.wait_steady()
        first = pods()
        runner = LoadRunner(store, b"load/scale/")
        async with runner.running(regions=[REGION], per_region=2) as load:
            for replicas in (3, 1):
                kubectl.run("apply", "-f", "-", input_text=manifest(replicas))
                await wait_until(
                    lambda replicas=replicas: has(replicas),
                    what=f"{replicas} replicas, all of them ready",
                    poll_seconds=0.3,
                )
                await load.wait_acknowledged(50)
                assert first.items() <= pods().items(), "the first replica was restarted"
        await store.wait_steady()
        for reason in ("ReplicaAdded", "ReplicaRemoved"):
            await store.wait_event(reason)
    kubectl.run("delete", "rstore", NAME)
