"""With policy Manual a lost primary region is replaced when a person asks for it, and only then."""

from __future__ import annotations

from rstore_testkit.load import wait_until
from rstore_testkit.loss import lose_region, restore_region, wait_failed_over


async def condition(store, kind: str) -> dict:
    conditions = (await store.status()).get("conditions", [])
    return next((one for one in conditions if one["type"] == kind), {})


async def test_a_person_forces_the_failover(store):
    status = await store.status()
    primary, epoch = status["primaryRegion"], status["epoch"]
    await store.kube("patch", "rstore", store.name, "--type=merge", '-p={"spec":{"failover":{"policy":"Manual"}}}')
    try:
        await store.wait_steady()
        before = {region: await store.revision(region) for region in await store.regions()}
        try:
            await lose_region(store, primary)

            async def asks_for_a_person() -> bool:
                return (await condition(store, "FailoverBlocked")).get("reason") == "PolicyManual"

            await wait_until(asks_for_a_person, what="FailoverBlocked, PolicyManual")
            assert (await store.status())["epoch"] == epoch
            target = next(region for region in await store.regions() if region != primary)
            assert len(set(before.values())) == 1, "nothing is written meanwhile"
            await store.kube(
                "annotate",
                "rstore",
                store.name,
                f"replicatedstore.io/failover-to={target}",
                "replicatedstore.io/failover-mode=forced",
            )
            receipt = await wait_failed_over(store, primary)
            assert (receipt["mode"], receipt["to"]) == ("Forced", target)
            assert await store.client(target).put(b"forced/a", b"1", timeout_seconds=20)
        finally:
            await restore_region(store, primary)
        await store.wait_steady(primary=target)

        async def answered() -> bool:
            annotations = (await store.object())["metadata"].get("annotations", {})
            return not [name for name in annotations if "failover" in name]

        await wait_until(answered, what="annotations removed")
        await store.wait_converged()
    finally:
        await store.kube(
            "patch", "rstore", store.name, "--type=merge", '-p={"spec":{"failover":{"policy":"Automatic"}}}'
        )
