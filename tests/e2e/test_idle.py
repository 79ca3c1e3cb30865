"""An idle store costs the Kubernetes API nothing: for a minute the operators write their Lease, and nothing else."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
from rstore_operator.leadership.rules import RENEW_SECONDS
from rstore_testkit.load import wait_until

pytestmark = pytest.mark.runner

IDLE_SECONDS = 60
WINDOWS = 3
"""On a busy machine a replica may answer so late that this is reported; what writes by itself does so in each."""


async def operator_writes(store) -> tuple[int, int]:
    """Returns the number of writes by the operators' service account so far, as the embedded API server counts them: of
    everything but Leases, and of Leases."""
    counted = json.loads(await store.kube("get", "--raw", "/debug/writes"))["writes"]
    own = [entry for entry in counted if entry["user"].startswith("system:serviceaccount:rstore-system:")]
    leases = sum(entry["count"] for entry in own if entry["resource"].startswith("leases"))
    return sum(entry["count"] for entry in own) - leases, leases


async def test_no_write_to_the_kubernetes_api_in_an_idle_minute(store):
    revision = await store.wait_converged()
    await store.wait_steady()

    async def compared() -> bool:
        regions = (await store.status())["regions"]
        return all(region.get("hash", {}).get("revision") == revision for region in regions)

    await wait_until(compared, what="the data at rest was compared", poll_seconds=1.0)
    stable = (await operator_writes(store))[0]
    for _ in range(30):  # the last status patches after whatever ran before
        await asyncio.sleep(0.4)
        now = (await operator_writes(store))[0]
        if now == stable:
            break
        stable = now
    for _ in range(WINDOWS):
        (before, renewed), began = await operator_writes(store), time.monotonic()
        assert before > 0, "the counter sees the operator's earlier writes"
        assert "observedAt" not in await store.status()
        await asyncio.sleep(IDLE_SECONDS)  # the rule is about elapsed time
        after, renewed_then = await operator_writes(store)
        assert 0 < renewed_then - renewed <= (time.monotonic() - began) / RENEW_SECONDS + 2
        if after == before:
            break
    assert after == before
