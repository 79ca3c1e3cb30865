"""Two releases of the chart watch the same stores: one runs them, and the other one says which does."""

from __future__ import annotations

import asyncio

import pytest
from e2e.cluster import ClusterUnderTest
from e2e.conftest import CHART
from e2e.operators import LEASE, no_operator, ready
from rstore_cli.helm import Helm
from rstore_testkit.load import wait_until

NAMESPACE, RELEASE = "rstore-other", "other"


@pytest.fixture
def other(cluster: ClusterUnderTest) -> Helm:
    return Helm(cluster.kubeconfig, RELEASE, NAMESPACE)


async def run_by(store, namespace: str) -> None:
    async def so() -> bool:
        return (await store.status()).get("operator", {}).get("namespace") == namespace

    await wait_until(so, what=f"run by the operator of {namespace}")


async def left_alone_by(store, who: str) -> None:
    await store.wait_event("RunByAnother", f"the operator {who} leaves")


async def test_one_of_two_releases_acts_and_the_other_takes_over_when_it_is_gone(store, load, operator, cluster, other):
    epoch = (await store.status())["epoch"]
    ours, theirs = f"rstore-system/{LEASE}", f"{NAMESPACE}/other-replicated-store-operator"
    try:
        async with load.running() as running:
            await asyncio.to_thread(other.install, CHART, {**cluster.values, "replicas": 1, "crds": {"create": False}})
            await left_alone_by(store, theirs)
            assert (await store.status())["operator"]["namespace"] == "rstore-system"
            async with no_operator(operator):
                await run_by(store, NAMESPACE)
                await store.wait_steady()
            await ready(operator)
            await left_alone_by(store, ours)
            assert (await store.status())["operator"]["namespace"] == NAMESPACE
            await asyncio.to_thread(other.uninstall)
            await run_by(store, "rstore-system")
            await store.wait_steady()
            await running.wait_acknowledged(50)
    finally:
        await asyncio.to_thread(store.kubectl.run, "delete", "namespace", NAMESPACE, "--ignore-not-found")
    assert (await store.status())["epoch"] == epoch
