"""`make demo`: installs the chart in a local cluster, writes to the example store, moves its primary, and loses it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rstore_api.domain.kubernetes import FAILOVER_TO
from rstore_cli.helm import Helm, ToolError, clean_environment
from rstore_cli.status import step_durations

from rstore_testkit.load import Load
from rstore_testkit.loss import nodes_of, pods_selector, restore_region, wait_failed_over
from rstore_testkit.reckoning import reckon
from rstore_testkit.store import Store
from rstore_testkit.tools import Kubectl

REPOSITORY = Path(__file__).resolve().parents[2]
WRITERS_PER_REGION = 2
DEV_SECONDS = 400
"""Bounds a command of `rstore dev`, which itself gives up earlier."""


class Timeline:
    """Prints what happens, with seconds since the start."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started = time.monotonic()

    def say(self, text: str) -> None:
        """Prints one line of the timeline."""
        self._console.print(f"[dim]{time.monotonic() - self._started:6.1f}s[/dim]  {text}", highlight=False)

    def show(self, text: str) -> None:
        """Prints the output of a command, indented."""
        for line in text.rstrip().splitlines():
            self._console.print(f"         {line}", highlight=False, markup=False)

    async def shell(self, kubectl: Kubectl, *args: str) -> str:
        """Runs kubectl the way a person would, showing command and output."""
        self._console.print(f"       [bold]$ kubectl {' '.join(args)}[/bold]", highlight=False)
        output = await asyncio.to_thread(kubectl.run, *args)
        self.show(output)
        return output

    async def rstore(self, kubectl: Kubectl, *args: str) -> None:
        """Runs rstore the way a person would, showing command and output."""
        self._console.print(f"       [bold]$ rstore {' '.join(args)}[/bold]", highlight=False)
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "rstore_cli", *args, f"--kubeconfig={kubectl.kubeconfig}"],
            text=True,
            capture_output=True,
            check=False,
            timeout=60,
            env=clean_environment(),
        )
        self.show(done.stdout + done.stderr)


@contextmanager
def dev_cluster(directory: Path, name: str, *up_options: str) -> Iterator[Path]:
    """`rstore dev up` around a block; yields the kubeconfig's path. A process that is killed takes it along."""

    def rstore(*args: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "rstore_cli", "dev", *args, "--name", name, "--data-dir", str(directory)],
            text=True,
            capture_output=True,
            check=False,
            timeout=DEV_SECONDS,
            env=clean_environment(),
        )
        if done.returncode != 0:
            raise ToolError(f"rstore dev {' '.join(args)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout.strip()

    rstore("up", f"--end-with={os.getpid()}", *up_options)
    try:
        yield Path(rstore("kubeconfig"))
    finally:
        rstore("down")


async def switchover(timeline: Timeline, store: Store, load: Load, target: str) -> float:
    """Moves the primary by annotation under load; returns the longest time without an acknowledgement, in seconds."""
    began = time.monotonic()
    await timeline.shell(store.kubectl, "annotate", "replicatedstore", store.name, f"{FAILOVER_TO}={target}")
    await store.wait_steady(primary=target, timeout_seconds=60)
    await load.wait_acknowledged(50, timeout_seconds=30)
    return load.ledger.longest_gap_seconds(began, time.monotonic())


async def lose_primary(timeline: Timeline, store: Store, load: Load) -> float:
    """Kills the primary region under load and brings it back; returns the longest time without an acknowledgement."""
    primary = (await store.status())["primaryRegion"]
    timeline.say(f"killing every pod of the primary region {primary} under load")
    for node in await nodes_of(store, primary):
        await timeline.shell(store.kubectl, "cordon", node)
    began = time.monotonic()
    await timeline.shell(
        store.kubectl, "delete", "pod", f"-l={pods_selector(store, primary)}", "--force", "--grace-period=0"
    )
    receipt = await wait_failed_over(store, primary)
    await load.wait_acknowledged(200, timeout_seconds=60)
    gap_seconds = load.ledger.longest_gap_seconds(began, time.monotonic())
    timeline.say(
        f"{receipt['to']} took over by itself; longest time without an acknowledged write: {gap_seconds * 1000:.0f} ms"
    )
    timeline.say("receipt: " + describe_receipt(receipt))
    timeline.say(f"{primary} comes back and rejoins")
    await restore_region(store, primary)
    await store.wait_steady(timeout_seconds=90)
    return gap_seconds


def tails_table(status: dict[str, Any]) -> list[str]:
    """Returns one line for each quarantined tail."""
    return [
        f"quarantine of {region['name']}: revisions {tail['firstRevision']} to {tail['lastRevision']} of epoch "
        f"{tail['epoch']}, {tail['rows']} rows in {tail.get('file', '')}"
        for region in status.get("regions", [])
        for tail in region.get("quarantined", [])
    ]


def describe_receipt(receipt: dict[str, Any]) -> str:
    """Returns one line for an entry of `.status.history`."""
    steps = ", ".join(f"{name} {seconds:.3f} s" for name, seconds in step_durations(receipt))
    return (
        f"epoch {receipt.get('epoch')}: {receipt.get('from')} → {receipt.get('to')}, "
        f"write gap {receipt.get('writeGapSeconds')} s ({steps})"
    )


async def run(timeline: Timeline, kubeconfig: Path, directory: Path) -> bool:
    """Runs the whole scenario; returns whether it passed."""
    kubectl = Kubectl(kubeconfig)
    example = REPOSITORY / "examples" / "three-regions.yaml"

    timeline.say("installing the operator by Helm")
    helm = Helm(kubeconfig, "rstore", "rstore-system")
    await asyncio.to_thread(helm.install, REPOSITORY / "charts" / "replicated-store-operator", {})

    timeline.say("applying a store of three regions")
    await timeline.shell(kubectl, "apply", "-f", str(example.relative_to(REPOSITORY)))
    async with Store(kubectl, "orders", directory / "certificates") as store:
        await store.wait_steady(timeout_seconds=120)
        await store.wait_reported(1)
        timeline.say("every region has a leader, and the log streams to the secondary ones")
        await timeline.shell(kubectl, "get", "rstore")
        primary = (await store.status())["primaryRegion"]
        target = next(region for region in await store.regions() if region != primary)

        clients = [store.new_client(region) for region in await store.regions() for _ in range(WRITERS_PER_REGION)]
        try:
            async with Load([store.writer(client) for client in clients]) as load:
                began = time.monotonic()
                await load.wait_acknowledged(500, timeout_seconds=60)
                rate = load.ledger.rate_per_second(began, time.monotonic())
                timeline.say(f"writing through all three regions: {rate:.0f} acknowledged puts/s")
                await store.wait_reported(load.ledger.acks[-1].revision)
                await timeline.rstore(kubectl, "status", store.name)
                timeline.say(f"moving the primary from {primary} to {target} under load")
                gap_seconds = await switchover(timeline, store, load, target)
                timeline.say(f"moved; longest time without an acknowledged write: {gap_seconds * 1000:.0f} ms")
                timeline.say("receipt: " + describe_receipt((await store.status())["history"][-1]))
                failover_gap_seconds = await lose_primary(timeline, store, load)
            ledger = load.ledger
        finally:
            for client in clients:
                await client.close()
        reckoning = await reckon(store, load)
        await store.wait_reported(reckoning.hashes[0].revision)
        await timeline.rstore(kubectl, "status", store.name)
        await timeline.shell(kubectl, "get", "rstore")
        for answer in reckoning.hashes:
            timeline.say(f"HashKV at revision {answer.revision} in {answer.region}: {answer.hash:08x}")
        for line in (*tails_table(await store.status()), *reckoning.wrong):
            timeline.say(line)
        passed = not reckoning.wrong
        timeline.say(
            f"{len(ledger.acknowledged)} writes were acknowledged: {len(reckoning.lost)} are lost, "
            f"{len(reckoning.quarantined)} are in quarantine, all others are in every region"
        )
        if ledger.unknown:
            timeline.say(
                f"{len(ledger.unknown)} more were under way when the primary changed; their writers got the error "
                "that the outcome is unknown"
            )
        print(
            f"demo: {'PASS' if passed else 'FAIL'} acknowledged={len(ledger.acknowledged)} "
            f"lost={len(reckoning.lost)} quarantined={len(reckoning.quarantined)} "
            f"unknown={len(ledger.unknown)} hashes_equal={str(reckoning.equal).lower()} "
            f"switchover_gap_ms={gap_seconds * 1000:.0f} failover_gap_ms={failover_gap_seconds * 1000:.0f}"
        )
        return passed


def main() -> int:
    """Runs the demo; the exit status is 0 if it passed."""
    timeline = Timeline(Console(soft_wrap=True))
    with tempfile.TemporaryDirectory(prefix="rstore-demo-") as scratch:
        directory = Path(scratch)
        timeline.say("starting the embedded cluster")
        try:
            with dev_cluster(directory / "cluster", directory.name) as kubeconfig:
                return 0 if asyncio.run(run(timeline, kubeconfig, directory)) else 1
        except (ToolError, TimeoutError) as error:
            print(f"demo: FAIL {json.dumps(str(error))}")
            return 1


if __name__ == "__main__":
    sys.exit(main())
