"""Two of three regions are gone for good, the primary among them: the third goes on by the steps of the runbook."""

from __future__ import annotations

from e2e.manifests import small_store
from rstore_testkit.load import wait_until
from rstore_testkit.loss import nodes_of, restore_region
from rstore_testkit.store import Store

NAME = "bereft"
REGIONS = ["us-east", "eu-west", "ap-south"]
GONE = ["us-east", "ap-south"]
IN_GONE = f"-l=replicatedstore.io/store={NAME},replicatedstore.io/region in ({', '.join(GONE)})"


async def test_the_region_that_is_left_goes_on_once_a_person_has_deleted_the_others(kubectl, operator, scratch):
    del operator
    persistence = {"pvcPolicy": "Delete"}
    async with Store(kubectl, NAME, scratch / NAME) as store:
        kubectl.run("apply", "-f", "-", input_text=small_store(NAME, REGIONS, persistence=persistence))

        async def blocks(reason: str, text: str) -> None:
            async def blocked() -> bool:
                conditions = (await store.status()).get("conditions", [])
                found = [item for item in conditions if item["type"] == "FailoverBlocked"]
                return any(item["reason"] == reason and text in item["message"] for item in found)

            await wait_until(blocked, what=f"FailoverBlocked={reason}: {text}", poll_seconds=0.5)

        await store.wait_steady()
        await store.client("us-east").put(b"kept", b"1")
        await store.wait_converged()
        try:
            for node in [node for name in GONE for node in await nodes_of(store, name)]:
                await store.kube("cordon", node)
            # both at the same moment, so that no failover comes between
            await store.kube("delete", "pod", IN_GONE, "--force", "--grace-period=0", "--wait=false")
            await blocks(
                "NoMajority", "where one is gone for good, remove it from the spec, and delete its StatefulSet"
            )

            kubectl.run("apply", "-f", "-", input_text=small_store(NAME, ["eu-west"], persistence=persistence))
            kubectl.run("delete", "statefulset", *(f"{NAME}-{name}" for name in GONE))
            assert (await store.status())["primaryRegion"] == "us-east"
            kubectl.run("delete", "pvc", IN_GONE, "--wait=false")
            await blocks("DataLoss", 'nothing is left of ap-south, us-east; accept it by accept-data-loss: "1"')

            await store.kube("annotate", "rstore", NAME, "replicatedstore.io/accept-data-loss=1")
            await store.wait_steady(primary="eu-west")
            client = store.client("eu-west")
            assert (await client.get(b"kept")).kvs[0].value == b"1"
            await client.put(b"after", b"2")
            status = await store.status()
            assert [sent["regions"] for sent in status["toldRegions"]] == [["eu-west"]]
            assert (status["history"][-1]["from"], status["history"][-1]["outcome"]) == ("us-east", "Succeeded")
        finally:
            for name in GONE:
                await restore_region(store, name)
        # the name is free again; what comes under it starts with empty volumes
        kubectl.run("apply", "-f", "-", input_text=small_store(NAME, ["eu-west", "us-east"], persistence=persistence))

        async def ready() -> bool:
            return {one["name"]: one["phase"] for one in (await store.status())["regions"]} == both

        both = {"eu-west": "Ready", "us-east": "Ready"}
        await wait_until(ready, what=f"regions {both}", poll_seconds=0.5)
        client = store.new_client("us-east")
        try:
            for key, value in ((b"kept", b"1"), (b"after", b"2")):
                assert (await client.get(key)).kvs[0].value == value
        finally:
            await client.close()
        kubectl.run("delete", "rstore", NAME)
