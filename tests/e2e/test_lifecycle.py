"""A store of its own: created, described, a region added and removed, deleted; drift repaired."""

from __future__ import annotations

from e2e.manifests import small_store
from rstore_testkit.load import wait_until
from rstore_testkit.store import Store


def manifest(regions: list[str]) -> str:
    return small_store("small", regions)


async def test_a_store_from_apply_to_delete(kubectl, operator, scratch):
    del operator
    async with Store(kubectl, "small", scratch / "small") as small:
        kubectl.run("apply", "-f", "-", input_text=manifest(["us-east", "eu-west"]))
        await small.wait_steady()
        await small.client("us-east").put(b"a", b"1")

        described = kubectl.run("describe", "rstore", "small")
        for expected in ("Conditions:", "Ready", "Events:", "us-east"):
            assert expected in described

        # drift: a Service somebody deleted is made again
        kubectl.run("delete", "service", "small-eu-west")

        async def service_is_back() -> bool:
            return kubectl.try_run("get", "service", "small-eu-west").returncode == 0

        await wait_until(service_is_back, what="service made again")

        # a region is added: it gets everything
        kubectl.run("apply", "-f", "-", input_text=manifest(["us-east", "eu-west", "ap-south"]))
        await wait_until(lambda: _has_regions(small, 3), what="three regions in status", poll_seconds=0.3)
        await small.wait_steady()
        await small.wait_converged()
        assert (await small.read_all("ap-south", b"a"))[b"a"].value == b"1"

        # and removed
        kubectl.run("apply", "-f", "-", input_text=manifest(["us-east", "eu-west"]))

        async def stateful_set_is_gone() -> bool:
            return kubectl.try_run("get", "statefulset", "small-ap-south").returncode != 0

        await wait_until(stateful_set_is_gone, what="statefulset of the removed region gone")
        await small.wait_steady()
        await small.client("us-east").put(b"a", b"2")

    kubectl.run("delete", "rstore", "small")

    async def children_are_gone() -> bool:
        listed = kubectl.get("statefulsets,services,pods,configmaps", "-l=replicatedstore.io/store=small")
        return not listed["items"]

    await wait_until(children_are_gone, what="children of the deleted store gone")


async def _has_regions(store: Store, count: int) -> bool:
    return len((await store.status()).get("regions", [])) == count
