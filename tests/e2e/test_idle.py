"""An idle store costs the Kubernetes API nothing: for a minute the operators write their Lease, and nothing else."""

from __future__ import annotations

import asyncio
import json

import pytest
from rstore_operator.leadership.rules import RENEW_SECONDS
from rstore_testkit.load import wait_until

pytestmark = pytest.mark.runner

IDLE_SECONDS = 60


async def operator_writes(store) -> tuple[int, int]:
    """Returns the number of writes by the operators' service account so far, as the embedded API server counts them: of
    everything but Leases, and of Leases."""
    counted = json.loads(await store.kube("get", "--raw", "/debug/writes"))["writes"]
    own = [entry for entry in counted if entry["user"].startswith("system:serviceaccount:rstore-system:")]
    leases = sum(entry["count"] for entry in own if entry["resource"].startswith("leases"))
    return sum(entry["count"] for entry in own) - leases, leases


@pytest.mark.timeout(240)
async def test_no_write_to_the_kubernetes_api_in_an_idle_minute(store):
    revision = await store.wait_converged()
    await store.wait_steady()

    async def compared() -> bool:
        regions = (await store.status())["regions"]
        return all(region.get("hash", {}).get("revision") == revision for region in regions)

    await wait_until(compared, timeout_seconds=70, what="the data at rest was compared", poll_seconds=1.0)
    stable = (await operator_writes(store))[0]
    for _ in range(30):  # the last status patches after whatever ran before
        await asyncio.sleep(0.4)
        now = (await operator_writes(store))[0]
        if now == stable:
            break
        stable = now
    before, renewed = await operator_writes(store)
    assert before > 0, "the counter sees the operator's earlier writes"
    assert "observedAt" not in await store.status()
    await asyncio.sleep(IDLE_SECONDS)  # the rule is about elapsed time
    after, renewed_then = await operator_writes(store)
    assert after == before
    assert 0 < renewed_then - renewed <= IDLE_SECONDS / RENEW_SECONDS + 2
