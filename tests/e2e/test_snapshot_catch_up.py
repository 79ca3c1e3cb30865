"""Regions that need what the primary has compacted get a snapshot, under load: a new one, and one long away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from e2e.conftest import LoadRunner
from e2e.manifests import small_store
from rstore_testkit.load import wait_until
from rstore_testkit.store import Store
from rstore_testkit.tools import Kubectl

NAME, KEYS = "caught-up", 5000


def manifest(regions: list[str]) -> str:
    return small_store(NAME, regions, failover={"policy": "Manual"})


def snapshots(kubectl: Kubectl, region: str) -> int:
    """Returns how many snapshots the primary has installed in a region, by its log."""
    lines = kubectl.run("logs", f"{NAME}-us-east-0").splitlines()
    return sum("snapshot_installed" in line and f'"{region}"' in line for line in lines)


async def compact(store: Store) -> None:
    """Compacts all history."""
    await store.client("us-east").compact(await store.revision("us-east"))


async def region_of(store: Store, name: str) -> dict[str, Any]:
    return next((one for one in (await store.status()).get("regions", []) if one["name"] == name), {})


async def caught_up(store: Store, kubectl: Kubectl, region: str, count: int) -> None:
    async def installed() -> bool:
        shown = await region_of(store, region)
        return snapshots(kubectl, region) == count and shown.get("phase") == "Ready" and shown.get("connected", False)

    await wait_until(installed, what=f"a snapshot installed in {region}", poll_seconds=0.3)


async def test_a_new_region_and_one_long_away_catch_up_under_load(kubectl: Kubectl, operator, scratch: Path):
    del operator
    async with Store(kubectl, NAME, scratch / NAME) as store:
        kubectl.run("apply", "-f", "-", input_text=manifest(["us-east", "eu-west"]))
        await store.wait_steady()
        client = store.client("us-east")
        await client.put_many([(b"old/%05d" % number, b"v" * 200) for number in range(KEYS)])
        runner = LoadRunner(store, b"load/snapshot/")
        async with runner.running(regions=["us-east", "eu-west"], per_region=2) as load:
            await compact(store)

            # a region is added to a store whose history is gone
            kubectl.run("apply", "-f", "-", input_text=manifest(["us-east", "eu-west", "ap-south"]))
            await caught_up(store, kubectl, "ap-south", 1)
            await load.wait_acknowledged(50)

            # the region is away (paused: else the operator repairs that at once), and the primary forgets why it waited
            await store.kube("annotate", "rstore", NAME, "replicatedstore.io/paused=true")
            await store.kube("scale", "statefulset", f"{NAME}-ap-south", "--replicas=0")

            async def gone() -> bool:
                return not (await region_of(store, "ap-south")).get("connected", False)

            await wait_until(gone, what="ap-south is away", poll_seconds=0.3)
            await load.wait_acknowledged(100)
            await compact(store)
            await store.kube("delete", "pod", f"{NAME}-us-east-0")
            await load.wait_acknowledged(50)
            await store.kube("annotate", "rstore", NAME, "replicatedstore.io/paused-")
            await caught_up(store, kubectl, "ap-south", 1)
        await store.wait_steady()
        assert len(await store.read_all("ap-south", b"old/")) == KEYS
        assert snapshots(kubectl, "eu-west") == 0, "a region that is there needs none"
    kubectl.run("delete", "rstore", NAME)
