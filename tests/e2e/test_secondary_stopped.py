"""A whole secondary region is away for a while; it catches up when it is back."""

from __future__ import annotations

from rstore_api.domain.kubernetes import pod_selector
from rstore_testkit.load import wait_until


async def test_a_stopped_secondary_catches_up(store, load):
    status = await store.status()
    secondary = next(name for name in reversed(await store.regions()) if name != status["primaryRegion"])
    stateful_set = f"{store.name}-{secondary}"
    others = [name for name in await store.regions() if name != secondary]

    async def region_is_gone() -> bool:
        return not (await store.kube_get("pods", f"-l={pod_selector(store.name, secondary)}"))["items"]

    # paused: else the operator repairs the drift at once
    await store.kube("annotate", "rstore", store.name, "replicatedstore.io/paused=true")
    try:
        async with load.running(regions=others) as running:
            await store.kube("scale", "statefulset", stateful_set, "--replicas=0")
            await wait_until(region_is_gone, what=f"no pod of {secondary}")
            await running.wait_acknowledged(200)
            await store.kube("annotate", "rstore", store.name, "replicatedstore.io/paused-")
            await store.wait_steady()
    finally:
        await store.kube("annotate", "rstore", store.name, "replicatedstore.io/paused-")
