"""Kills a whole region and brings it back, and finds the acknowledged writes that were lost by that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rstore_api.domain.kubernetes import pod_selector

from rstore_testkit.load import Ledger, Verdict, wait_until
from rstore_testkit.patience import WAIT_SECONDS
from rstore_testkit.store import Store

REGION_LABEL = "topology.kubernetes.io/region"


async def nodes_of(store: Store, region: str) -> list[str]:
    """Returns the names of the nodes in a region."""
    listed = await store.kube_get("nodes", f"-l={REGION_LABEL}={region}")
    return [item["metadata"]["name"] for item in listed["items"]]


def pods_selector(store: Store, region: str) -> str:
    """Returns the label selector of a region's pods."""
    return pod_selector(store.name, region)


async def lose_region(store: Store, region: str) -> None:
    """Kills every pod of a region without warning, and keeps the nodes from taking new ones."""
    for node in await nodes_of(store, region):
        await store.kube("cordon", node)
    await store.kube(
        "delete", "pod", f"-l={pods_selector(store, region)}", "--force", "--grace-period=0", "--wait=false"
    )


async def restore_region(store: Store, region: str) -> None:
    """Lets the nodes take pods again."""
    for node in await nodes_of(store, region):
        await store.kube("uncordon", node)


async def wait_failed_over(store: Store, region: str, *, timeout_seconds: float = WAIT_SECONDS) -> dict[str, Any]:
    """Waits until another region than ``region`` is primary and the failover is over; returns its receipt."""

    async def moved() -> bool:
        status = await store.status()
        return bool(status.get("history")) and not status.get("failover") and status.get("primaryRegion") != region

    await wait_until(moved, timeout_seconds=timeout_seconds, what=f"another primary than {region}", poll_seconds=0.2)
    receipt: dict[str, Any] = (await store.status())["history"][-1]
    return receipt


@dataclass(frozen=True)
class Account:
    """Where acknowledged writes are that the store does not have any more. ``lost`` must be empty."""

    quarantined: tuple[bytes, ...]
    lost: tuple[bytes, ...]


def account(ledger: Ledger, missing: Iterable[bytes], status: Mapping[str, Any]) -> Account:
    """Sorts the missing acknowledged keys by whether a quarantined tail has the revision at which they were
    acknowledged.

    Revisions are never used twice, so a revision inside a quarantined range is that very write.
    """
    ranges = [
        (tail["firstRevision"], tail["lastRevision"])
        for region in status.get("regions", [])
        for tail in region.get("quarantined", [])
    ]
    kept: list[bytes] = []
    lost: list[bytes] = []
    for key in sorted(missing):
        revision = ledger.acknowledged[key][1]
        (kept if any(first <= revision <= last for first, last in ranges) else lost).append(key)
    return Account(tuple(kept), tuple(lost))


def tolerable(verdict: Verdict) -> bool:
    """Returns whether a region has nothing wrong; :func:`account` judges what it lacks."""
    return not (verdict.altered or verdict.duplicated or verdict.unexpected)
