"""The acting operator is killed every ten seconds, while stores are made, scaled, rolled, switched, lost and deleted.

Everything converges, a store of which nobody wants anything is not disturbed, and nothing acknowledged is lost.
``RSTORE_OPERATOR_KILLS_SECONDS`` makes the run longer.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml
from e2e.conftest import LoadRunner
from e2e.faults.scene import UNNOTICED_SECONDS, Scene
from e2e.manifests import small_store
from e2e.operators import acting_pod, ready
from localkube.processes import pids_of, signal_all
from rstore_testkit.load import wait_until
from rstore_testkit.loss import lose_region, restore_region, wait_failed_over
from rstore_testkit.reckoning import reckon
from rstore_testkit.store import Store

pytestmark = pytest.mark.runner

SECONDS = float(os.environ.get("RSTORE_OPERATOR_KILLS_SECONDS", "60"))
KILL_EVERY_SECONDS = 10.0
QUIET, CHURN, MOVED = "quiet", "churn", "moved"


@asynccontextmanager
async def operators_dying(operator, data_dir: Path) -> AsyncIterator[list[str]]:
    """Kills whichever operator acts while the block runs; the value is whom."""
    killed: list[str] = []

    async def kill() -> None:
        while True:
            await asyncio.sleep(KILL_EVERY_SECONDS)
            pod = await asyncio.to_thread(acting_pod, operator)
            signal_all(pids_of(data_dir, pod) if pod else [], signal.SIGKILL)
            killed.append(pod)

    killing = asyncio.create_task(kill())
    try:
        yield killed
        assert not killing.done(), killing.result()
    finally:
        killing.cancel()


class Changes:
    """What is asked for meanwhile; each is waited for."""

    def __init__(self, kubectl, directory: Path) -> None:
        self.kubectl = kubectl
        self.directory = directory

    async def run(self, until: float, *ways: Callable[[], Awaitable[None]]) -> list[str]:
        """Carries the changes out in turn until that moment, each of them at least once; returns their names."""
        done: list[str] = []
        for way in itertools.cycle(ways):
            if time.monotonic() >= until and len(done) >= len(ways):
                return done
            await way()
            done.append(way.__name__)
        raise AssertionError

    async def apply(self, name: str, replicas: int, memory: str) -> None:
        manifest = yaml.safe_load(small_store(name, ["eu-west"]))
        manifest["spec"]["regions"][0] |= {
            "replicas": replicas,
            "resources": {"requests": {"cpu": "50m", "memory": memory}},
        }
        await asyncio.to_thread(self.kubectl.run, "apply", "-f", "-", input_text=json.dumps(manifest))

        async def so() -> bool:
            pods = (await asyncio.to_thread(self.kubectl.get, "pods", f"-l=replicatedstore.io/store={name}"))["items"]
            status = (await asyncio.to_thread(self.kubectl.get, "rstore", name)).get("status", {})
            sizes = {pod["spec"]["containers"][0]["resources"]["requests"]["memory"] for pod in pods}
            return (
                status.get("phase") == "Steady"
                and status["summary"]["replicas"] == f"{replicas}/{replicas}"
                and (len(pods), sizes) == (replicas, {memory})
            )

        await wait_until(so, what=f"{name}: {replicas} x {memory}", poll_seconds=0.5)

    async def made_scaled_rolled_deleted(self) -> None:
        await self.apply(CHURN, 1, "96Mi")
        await self.apply(CHURN, 3, "96Mi")
        await self.apply(CHURN, 3, "112Mi")
        async with Store(self.kubectl, CHURN, self.directory / f"{CHURN}-{time.monotonic_ns()}") as store:
            await store.client("eu-west").put(b"key", b"value")
        await asyncio.to_thread(self.kubectl.run, "delete", "rstore", CHURN)
        selector = f"-l=replicatedstore.io/store={CHURN}"

        async def gone() -> bool:
            return not (await asyncio.to_thread(self.kubectl.get, "pods,statefulsets,services", selector))["items"]

        await wait_until(gone, what="nothing of it left", poll_seconds=0.5)
        await asyncio.to_thread(self.kubectl.run, "delete", "pvc", selector)


async def switched(store: Store) -> None:
    """Moves the primary to another region."""
    primary, regions = (await store.status())["primaryRegion"], await store.regions()
    target = regions[(regions.index(primary) + 1) % len(regions)]
    await store.kube("annotate", "rstore", store.name, f"replicatedstore.io/failover-to={target}", "--overwrite")
    await store.wait_steady(primary=target)


async def failed_over(store: Store) -> None:
    """Loses the primary region until another one is primary."""
    primary = (await store.status())["primaryRegion"]
    try:
        await lose_region(store, primary)
        await wait_failed_over(store, primary)
    finally:
        await restore_region(store, primary)
    await store.wait_steady()


async def pods_of(store: Store) -> dict[str, tuple[str, int]]:
    """Returns uid and restarts of each pod."""
    pods = (await store.kube_get("pods", f"-l=replicatedstore.io/store={store.name}"))["items"]
    return {
        pod["metadata"]["name"]: (
            pod["metadata"]["uid"],
            sum(one["restartCount"] for one in pod["status"]["containerStatuses"]),
        )
        for pod in pods
    }


@pytest.mark.timeout(SECONDS + 1200)
async def test_everything_converges_and_nothing_is_lost(store, kubectl, operator, data_dir, tmp_path, capsys):
    """``store`` is the one that is switched and failed over."""
    kubectl.run("apply", "-f", "-", input_text=small_store(QUIET, ["us-east", "eu-west", "ap-south"]))
    changes = Changes(kubectl, tmp_path)
    async with Store(kubectl, QUIET, tmp_path / QUIET) as quiet:
        await quiet.wait_steady()
        before, epoch = await pods_of(quiet), (await store.status())["epoch"]
        began = time.monotonic()
        until = began + SECONDS

        async def switch() -> None:
            await switched(store)

        async def fail_over() -> None:
            await failed_over(store)

        async with LoadRunner(quiet, b"quiet/").running(per_region=1) as untouched:
            async with Scene(store, b"moved/").writing() as load, operators_dying(operator, data_dir) as killed:
                moves, made = await asyncio.gather(
                    changes.run(until, switch, fail_over), changes.run(until, changes.made_scaled_rolled_deleted)
                )
            gap = untouched.ledger.longest_gap_seconds(began, time.monotonic())
        await ready(operator)
        await store.wait_steady()
        assert await pods_of(quiet) == before, "a store of which nobody wants anything is left alone"
        assert (await quiet.status())["epoch"] == 1
    with capsys.disabled():
        acknowledged = len(load.ledger.acks)
        print(
            f"\n{len(killed)} operators killed, {len(moves)} changes of primary, {len(made)} stores made and "
            f"deleted; {acknowledged} writes acknowledged; longest gap of the quiet store {gap:.2f} s"
        )
    assert len(killed) >= 3
    assert (await store.status())["epoch"] - epoch >= len(moves)
    assert gap < UNNOTICED_SECONDS
    reckoning = await reckon(store, load)
    assert not reckoning.wrong, "\n".join(reckoning.wrong)
    await asyncio.to_thread(kubectl.run, "delete", "rstore", QUIET)
