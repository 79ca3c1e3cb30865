"""The operators of the release: which of them acts, and how tests take them away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from rstore_testkit.load import wait_until
from rstore_testkit.tools import Kubectl

LEASE = "rstore-replicated-store-operator"


def lease(operator: Kubectl) -> dict[str, Any]:
    """Returns the Lease of the release."""
    return operator.get("lease", LEASE)


def acting_pod(operator: Kubectl) -> str:
    """Returns the pod of the operator that acts, or acted last; "" when it has released the Lease."""
    return str(lease(operator)["spec"].get("holderIdentity") or "").partition("_")[0]


def pods(operator: Kubectl) -> list[str]:
    """Returns the operators' pods that are not being deleted."""
    listed = operator.get("pods")["items"]
    return [pod["metadata"]["name"] for pod in listed if not pod["metadata"].get("deletionTimestamp")]


def delete_at_once(operator: Kubectl, pod: str) -> None:
    """Kills an operator and deletes its pod, if it is still there."""
    operator.run("delete", "pod", pod, "--force", "--grace-period=0", "--ignore-not-found")


async def ready(operator: Kubectl, count: int = 2) -> None:
    """Waits until that many operators are ready, no other is left, and one of them acts."""

    async def so() -> bool:
        listed = (await asyncio.to_thread(operator.get, "pods"))["items"]
        conditions = [item.get("status", {}).get("conditions", []) for item in listed]
        up = [any(c["type"] == "Ready" and c["status"] == "True" for c in each) for each in conditions]
        return up == [True] * count and acting_pod(operator) in [item["metadata"]["name"] for item in listed]

    await wait_until(so, what=f"{count} operators", poll_seconds=0.3)


@asynccontextmanager
async def no_operator(operator: Kubectl) -> AsyncIterator[None]:
    """Takes all operators away while the block runs."""
    await asyncio.to_thread(operator.run, "scale", "deployment", LEASE, "--replicas=0")
    try:

        async def gone() -> bool:
            return not (await asyncio.to_thread(operator.get, "pods"))["items"]

        await wait_until(gone, what="no operator", poll_seconds=0.1)
        yield
    finally:
        await asyncio.to_thread(operator.run, "scale", "deployment", LEASE, "--replicas=2")
