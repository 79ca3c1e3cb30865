"""Two operators: one acts, and when it is lost the other one acts within seconds."""

from __future__ import annotations

import asyncio
import signal
import time

import pytest
from e2e.operators import acting_pod, lease, no_operator, pods, ready
from localkube.processes import pids_of, signal_all
from rstore_testkit.load import wait_until

HAND_OVER_SECONDS = 5.0
SLACK_SECONDS = 30.0
"""For a machine that is busy with other tests."""
DRY_RUN = "replicatedstore.io/failover-dry-run"


async def answered_in_seconds(store, began: float) -> float:
    """Returns how long after ``began`` an operator has answered a request that is made now."""
    primary = (await store.status())["primaryRegion"]
    target = next(region for region in await store.regions() if region != primary)
    await store.kube("annotate", "rstore", store.name, f"{DRY_RUN}={target}", "--overwrite")

    async def answered() -> bool:
        return DRY_RUN not in (await store.object())["metadata"].get("annotations", {})

    await wait_until(answered, what="an answer to a dry run", poll_seconds=0.05)
    return time.monotonic() - began


@pytest.mark.runner
async def test_the_other_operator_acts_within_seconds_of_a_kill(store, operator, data_dir, capsys):
    await ready(operator)
    killed = acting_pod(operator)
    signal_all(pids_of(data_dir, killed), signal.SIGKILL)
    seconds = await answered_in_seconds(store, time.monotonic())
    with capsys.disabled():
        print(f"\nan operator was killed: the other one answered after {seconds:.2f} s")
    assert acting_pod(operator) in set(pods(operator)) - {killed}
    assert seconds < HAND_OVER_SECONDS + SLACK_SECONDS
    assert seconds > 1, "the Lease was in force"
    await store.wait_steady()


async def test_the_other_operator_acts_at_once_after_a_clean_stop(store, operator, capsys):
    await ready(operator)
    stopped = acting_pod(operator)
    began = time.monotonic()
    await asyncio.to_thread(operator.run, "delete", "pod", stopped, "--wait=false")

    async def taken() -> bool:
        return (await asyncio.to_thread(acting_pod, operator)) not in ("", stopped)

    await wait_until(taken, what="another holder", poll_seconds=0.05)
    seconds = time.monotonic() - began
    with capsys.disabled():
        print(f"\nan operator was stopped: the other one acted after {seconds:.2f} s")
    assert seconds < 2 + SLACK_SECONDS
    assert await answered_in_seconds(store, began) < 3 + SLACK_SECONDS
    await ready(operator)


@pytest.mark.runner
async def test_an_operator_that_stood_still_does_not_act_when_it_goes_on(store, operator, data_dir):
    await ready(operator)
    still = acting_pod(operator)
    pids = pids_of(data_dir, still)
    signal_all(pids, signal.SIGSTOP)
    try:
        await answered_in_seconds(store, time.monotonic())
        holder = lease(operator)["spec"]["holderIdentity"]
    finally:
        signal_all(pids, signal.SIGCONT)
    await asyncio.sleep(3)  # what is waited for is that nothing happens
    assert lease(operator)["spec"]["holderIdentity"] == holder

    async def logged() -> bool:
        return "stopped_acting" in await asyncio.to_thread(operator.run, "logs", still, "--tail=200")

    await wait_until(logged, what=f"stopped_acting in the log of {still}")
    assert lease(operator)["spec"]["holderIdentity"] == holder
    await store.wait_steady()


async def test_a_status_that_no_operator_refreshes_is_not_shown_as_healthy(store, operator, rstore):
    assert "not observed" not in rstore("status", store.name).stdout
    async with no_operator(operator):
        shown = rstore("status", store.name, code=1).stdout
        assert "not observed since 20" in shown
        assert (await store.object())["status"]["operator"]["namespace"] == "rstore-system"
    await ready(operator)

    async def observed() -> bool:
        return "observedAt" not in await store.status()

    await wait_until(observed, what="a status that an operator keeps")
    await store.wait_steady()
    rstore("status", store.name)
