"""A region whose data was changed behind the store's back: it is reported, also by `rstore verify`, never repaired."""

from __future__ import annotations

from pathlib import Path

import lmdb
import pytest
import yaml
from rstore_testkit.load import wait_until
from rstore_testkit.store import Store

pytestmark = pytest.mark.runner

MANIFEST = yaml.safe_dump(
    {
        "apiVersion": "replicatedstore.io/v1alpha1",
        "kind": "ReplicatedStore",
        "metadata": {"name": "damaged"},
        "spec": {
            "primaryRegion": "us-east",
            "regions": [{"name": name, "replicas": 1, "storage": {"size": "1Gi"}} for name in ("us-east", "eu-west")],
            "persistence": {"pvcPolicy": "Delete"},
        },
    }
)
WRITTEN, DAMAGED = b"a value as it was written", b"a VALUE as it was damaged"


def overwrite(kubectl, claim: str) -> int:
    """Replaces the value in the files of a replica that does not run; returns how many rows were changed."""
    volume = kubectl.get("pvc", claim)["spec"]["volumeName"]
    directory = kubectl.get("pv", volume)["spec"]["hostPath"]["path"]
    (file,) = Path(directory).rglob("live/data.mdb")
    changed = 0
    with lmdb.open(str(file.parent), max_dbs=32, map_size=1 << 30) as environment:
        with environment.begin() as transaction:
            names = [key for key, _ in transaction.cursor() if key.startswith(b"rows")]
        for name in names:
            rows = environment.open_db(name, create=False)
            with environment.begin(db=rows, write=True) as transaction:
                for key, row in list(transaction.cursor()):
                    if WRITTEN in row:
                        transaction.put(key, row.replace(WRITTEN, DAMAGED))
                        changed += 1
    return changed


async def test_a_damaged_region_is_reported_and_left_as_it_is(kubectl, operator, scratch, rstore):
    del operator
    async with Store(kubectl, "damaged", scratch / "damaged") as store:
        kubectl.run("apply", "-f", "-", input_text=MANIFEST)

        async def diverged(expected: str) -> dict | None:
            conditions = [item for item in (await store.status()).get("conditions", []) if item["type"] == "Diverged"]
            return conditions[0] if conditions and conditions[0]["status"] == expected else None

        async def compared() -> bool:
            regions = (await store.status())["regions"]
            return {region.get("hash", {}).get("revision") for region in regions} == {await store.revision("us-east")}

        async def eu_west_is_gone() -> bool:
            return not (await store.kube_get("pods", "-l=replicatedstore.io/store=damaged"))["items"][1:]

        await store.wait_steady()
        await store.client().put(b"key", WRITTEN)
        await wait_until(compared, what="the newest revision was compared", poll_seconds=1.0)
        assert await diverged("False")

        await store.kube("annotate", "rstore", "damaged", "replicatedstore.io/paused=true")
        await store.kube("scale", "statefulset", "damaged-eu-west", "--replicas=0")
        await wait_until(eu_west_is_gone, what="no pod of eu-west")
        assert overwrite(kubectl, "data-damaged-eu-west-0") == 1
        await store.kube("annotate", "rstore", "damaged", "replicatedstore.io/paused-")

        await wait_until(lambda: diverged("True"), what="the difference is reported", poll_seconds=1.0)
        message = (await diverged("True"))["message"]
        assert message.startswith("hashes differ at revision ")
        regions = {region["name"]: region["hash"].get("differs") for region in (await store.status())["regions"]}
        assert regions == {"us-east": False, "eu-west": True}
        await store.wait_event("Diverged", message, kind="Warning")
        by_hand = rstore("verify", "damaged", code=1).stdout
        assert "hashes differ at revision " in by_hand
        assert "Diverged=True HashesDiffer" in rstore("status", "damaged").stdout

        # it goes on as it is: the primary takes writes, the region follows, nobody touches what differs
        await store.client().put(b"another", b"1")
        await store.wait_converged()
        assert (await store.read_all("eu-west", b"key"))[b"key"].value == DAMAGED
        assert (await store.status())["phase"] == "Steady"
        kubectl.run("delete", "rstore", "damaged")
