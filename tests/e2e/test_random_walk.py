"""Edits, requests, killed pods and operators in any order, under load: nothing is lost, and the store comes to rest.

``RSTORE_E2E_WALKS`` is how many sequences there are, ``RSTORE_E2E_SEED`` the seed of the first one.
"""

from __future__ import annotations

import asyncio
import json
import os
import random

import pytest
from e2e.operators import acting_pod, delete_at_once
from rstore_testkit.load import wait_until
from rstore_testkit.store import Store
from rstore_testkit.tools import Kubectl

WALKS = int(os.environ.get("RSTORE_E2E_WALKS", "10"))
FIRST_SEED = int(os.environ.get("RSTORE_E2E_SEED", "0"))
MOVES = (1, 3)
PREFIX = "replicatedstore.io/"


class Walk:
    """One sequence of moves."""

    def __init__(self, seed: int, store: Store, operator: Kubectl) -> None:
        self.rng = random.Random(seed)
        self.store = store
        self.operator = operator
        self.moves = [self.ask, self.ask_twice, self.edit_primary, self.scale, self.kill_pod, self.kill_operator]
        self.moves += [self.ask_nonsense, self.change_while_paused]

    async def go(self) -> list[str]:
        """Make the moves, each once: a region that loses two of three replicas may be replaced. Returns their names."""
        moves = self.rng.sample(self.moves, k=self.rng.randint(*MOVES))
        for move in moves:
            await move()
            await asyncio.sleep(self.rng.choice([0.0, 0.3, 1.0]))
        return [move.__name__ for move in moves]

    async def annotate(self, *annotations: str) -> None:
        named = [f"{PREFIX}{annotation}" for annotation in annotations]
        await self.store.kube("annotate", "rstore", self.store.name, "--overwrite", *named)

    async def patch(self, *operations: dict) -> None:
        await self.store.kube("patch", "rstore", self.store.name, "--type=json", "-p", json.dumps(operations))

    async def ask(self) -> None:
        await self.annotate(f"failover-to={self.rng.choice(await self.store.regions())}")

    async def ask_twice(self) -> None:
        await self.ask()
        await asyncio.sleep(self.rng.uniform(0.0, 0.4))
        await self.annotate(self.rng.choice(["abort-failover=true", "failover-dry-run=eu-west"]))

    async def ask_nonsense(self) -> None:
        await self.annotate(*self.rng.choice([("failover-to=mars",), ("failover-to=eu-west", "failover-mode=frced")]))

    async def edit_primary(self) -> None:
        region = self.rng.choice(await self.store.regions())
        await self.patch({"op": "add", "path": "/spec/primaryRegion", "value": region})

    async def scale(self) -> None:
        """The last region, between one replica and two: its primary is not at risk by that."""
        last = len(await self.store.regions()) - 1
        replicas = self.rng.choice([1, 2])
        await self.patch({"op": "replace", "path": f"/spec/regions/{last}/replicas", "value": replicas})

    async def kill_pod(self) -> None:
        """One of three replicas."""
        name = f"{self.store.name}-{self.rng.choice((await self.store.regions())[:2])}-{self.rng.randrange(3)}"
        await self.store.kube("delete", "pod", name, "--force", "--grace-period=0", "--ignore-not-found")

    async def kill_operator(self) -> None:
        """The Lease may still name one that was killed in the walk before, or none."""
        if pod := await asyncio.to_thread(acting_pod, self.operator):
            await asyncio.to_thread(delete_at_once, self.operator, pod)

    async def change_while_paused(self) -> None:
        await self.annotate("paused=true")
        await self.scale()
        await asyncio.sleep(self.rng.uniform(0.0, 1.0))
        await self.annotate("paused-")


@pytest.mark.timeout(60 * WALKS + 1200)
async def test_the_store_comes_to_rest_after_each_walk(store, load, operator):
    wanted = (await store.object())["spec"]
    async with load.running() as running:
        for seed in range(FIRST_SEED, FIRST_SEED + WALKS):
            moves = await Walk(seed, store, operator).go()

            async def answered() -> bool:
                body = await store.object()
                asked = [name for name in body["metadata"].get("annotations", {}) if name.startswith(PREFIX)]
                status = body.get("status", {})
                conditions = {one["type"]: one["status"] for one in status.get("conditions", [])}
                current = status.get("observedGeneration") == body["metadata"]["generation"]
                return not asked and current and conditions.get("Reconciling") == conditions.get("Stalled") == "False"

            await wait_until(answered, what=f"walk {seed} is over: {moves}", poll_seconds=0.5)
            await store.wait_steady()
            await running.wait_acknowledged(10)
    patch = [{"op": "replace", "path": "/spec", "value": wanted}]
    await store.kube("patch", "rstore", store.name, "--type=json", "-p", json.dumps(patch))
    await store.wait_steady()
