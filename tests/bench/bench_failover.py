"""Write gaps: automatic failovers and switchovers in a row, under load, with the defaults, on the local cluster.

One store of three regions (3 + 3 + 1 replicas, as in ``examples/``), two writers through each region. The gap is the
longest time in which no writer at all was told that a write had happened, from the moment of the fault on. Between two
changes the region that was lost comes back and catches up. At the end every acknowledged write is looked for in every
region: each must be there, or in a tail that is quarantined and counted.

Environment: ``BENCH_TIMES`` (of each kind, default 20), ``BENCH_ONLY`` (``failover`` or ``switchover``), ``BENCH_MODE``
(``Async`` or ``SemiSync``), ``BENCH_HOW`` (how the primary is lost: ``kill``: every pod killed; ``hang``: every process
stopped where it is; ``cut``: nothing comes through to anybody but its clients). Updates ``build/bench.json``; each
single change is in ``build/failover.json``.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.results import BUILD, Row, save, show, wanted
from localkube.links.control import LinkFaults
from localkube.links.rules import ANY, HANG, Fault, LinkRule
from localkube.processes import hanging
from rstore_cli.helm import Helm
from rstore_testkit.demo import REPOSITORY, dev_cluster
from rstore_testkit.load import Load, wait_until
from rstore_testkit.loss import lose_region, restore_region, wait_failed_over
from rstore_testkit.reckoning import reckon
from rstore_testkit.store import Store
from rstore_testkit.tools import Kubectl

WRITERS_PER_REGION = 2
SETTLED_WRITES = 50
LIMITS = {"failover": (5.0, 8.0), "switchover": (0.5, None)}
"""Seconds: median and maximum that are promised."""


@dataclass(frozen=True)
class Change:
    """One change of primary. ``gap_seconds`` is what writers saw, ``receipt_gap_seconds`` what the operator says."""

    kind: str
    source: str
    target: str
    gap_seconds: float
    receipt_gap_seconds: float
    revisions_lost: int


class Cluster:
    """The store, its load, and the ways to lose a region."""

    def __init__(self, store: Store, load: Load, data_dir: Path) -> None:
        self.store, self.load = store, load
        self._data_dir = data_dir
        self._links = LinkFaults(data_dir)
        self.revisions_lost: dict[int, int] = {}
        """By epoch, as the newest version of its receipt says: the region that returns knows it exactly."""

    @asynccontextmanager
    async def lost(self, region: str, how: str) -> AsyncIterator[None]:
        """The region is lost for as long as the block lasts."""
        if how == "hang":
            with hanging(self._data_dir, f"{self.store.name}-{region}-"):
                yield
            return
        if how == "cut":
            cut = LinkRule(cut=HANG)
            self._links.replace([Fault(region, ANY, cut), Fault(ANY, region, cut)])
            yield
            self._links.clear()
            return
        await lose_region(self.store, region)
        yield
        await restore_region(self.store, region)

    async def failover(self, how: str) -> Change:
        """Lose the primary, wait for another, bring the lost one back, and wait until all is well."""
        source = (await self.store.status())["primaryRegion"]
        began = time.monotonic()
        async with self.lost(source, how):
            await wait_failed_over(self.store, source)
            await self.load.wait_acknowledged(SETTLED_WRITES, timeout_seconds=60)
            gap = self.load.ledger.longest_gap_seconds(began, time.monotonic())
        await self.store.wait_steady(timeout_seconds=180)
        return await self._change("failover", source, gap)

    async def switchover(self) -> Change:
        """Ask for the next region as primary."""
        regions, source = await self.store.regions(), (await self.store.status())["primaryRegion"]
        target = regions[(regions.index(source) + 1) % len(regions)]
        began = time.monotonic()
        await self.store.kube("annotate", "rstore", self.store.name, f"replicatedstore.io/failover-to={target}")
        await self.store.wait_steady(primary=target, timeout_seconds=90)
        await self.load.wait_acknowledged(SETTLED_WRITES, timeout_seconds=60)
        return await self._change("switchover", source, self.load.ledger.longest_gap_seconds(began, time.monotonic()))

    async def read_receipts(self) -> list[dict[str, Any]]:
        """All that status keeps."""
        history: list[dict[str, Any]] = (await self.store.status())["history"]
        self.revisions_lost |= {entry["epoch"]: entry.get("revisionsLost", 0) for entry in history}
        return history

    async def receipts_agree(self) -> bool:
        """Whether the receipts say that as many revisions were lost as there are in quarantine."""
        await self.read_receipts()
        tails = [tail for region in (await self.store.status())["regions"] for tail in region.get("quarantined", [])]
        kept = sum(min(tail["rows"], tail["lastRevision"] - tail["firstRevision"] + 1) for tail in tails)
        print(f"receipts: {sum(self.revisions_lost.values())} revisions lost; in quarantine: {kept}", flush=True)
        return sum(self.revisions_lost.values()) == kept

    async def _change(self, kind: str, source: str, gap_seconds: float) -> Change:
        receipt = (await self.read_receipts())[-1]
        change = Change(
            kind,
            source,
            receipt["to"],
            round(gap_seconds, 3),
            receipt["writeGapSeconds"],
            receipt.get("revisionsLost", 0),
        )
        print(
            f"{kind:12} {source:>10} → {change.target:10} gap {change.gap_seconds:6.3f} s   "
            f"receipt {change.receipt_gap_seconds:6.3f} s   lost {change.revisions_lost} revisions",
            flush=True,
        )
        return change


async def measure(kubeconfig: Path, scratch: Path) -> list[Change]:
    """All changes, and the verdict on what was written meanwhile."""
    times, how = int(os.environ.get("BENCH_TIMES", "20")), os.environ.get("BENCH_HOW", "kill")
    kubectl = Kubectl(kubeconfig)
    await asyncio.to_thread(
        Helm(kubeconfig, "rstore", "rstore-system").install, REPOSITORY / "charts" / "replicated-store-operator", {}
    )
    kubectl.run("apply", "-f", str(REPOSITORY / "examples" / "three-regions.yaml"))
    mode = os.environ.get("BENCH_MODE", "Async")
    patch = json.dumps({"spec": {"replication": {"mode": mode}}})
    kubectl.run("patch", "rstore", "orders", "--type=merge", "-p", patch)
    changes: list[Change] = []
    async with Store(kubectl, "orders", scratch / "certificates") as store:
        await store.wait_steady(timeout_seconds=120)
        clients = [store.new_client(region) for region in await store.regions() for _ in range(WRITERS_PER_REGION)]
        try:
            async with Load([store.writer(client) for client in clients], pause_seconds=0.005) as load:
                cluster = Cluster(store, load, kubeconfig.parent)
                await load.wait_acknowledged(SETTLED_WRITES, timeout_seconds=60)
                for _ in range(times if wanted("switchover") else 0):
                    changes.append(await cluster.switchover())
                for _ in range(times if wanted("failover") else 0):
                    changes.append(await cluster.failover(how))
        finally:
            for client in clients:
                await client.close()
        found = await reckon(store, load)
        counts = f"acknowledged {found.acknowledged}, of which quarantined {len(found.quarantined)}"
        print(f"{counts}, lost {len(found.lost)}; mode {mode}", flush=True)
        await wait_until(
            cluster.receipts_agree, timeout_seconds=10, what="receipts that say what is in quarantine", poll_seconds=1
        )
        if found.wrong or (mode == "SemiSync" and found.quarantined):
            raise SystemExit(f"not all is well: {found.wrong or found.quarantined}")
    return changes


def rows_of(changes: list[Change]) -> list[Row]:
    """Median and maximum of each kind, beside what is promised."""
    settings = (os.environ.get("BENCH_MODE", "Async"), os.environ.get("BENCH_HOW", "kill"))
    aside = "".join(f", {value}" for value in settings if value not in ("Async", "kill"))
    rows = []
    for kind, limits in LIMITS.items():
        gaps = [change.gap_seconds for change in changes if change.kind == kind]
        if not gaps:
            continue
        found = (("median", statistics.median(gaps)), ("maximum", max(gaps)))
        for (name, value), limit in zip(found, limits, strict=True):
            title, seconds = f"{kind}{aside}, write gap, {name}", round(value, 3)
            promised = (limit, "promised", round(limit / value, 3)) if limit else (0.0, "", 0.0)
            rows.append(Row(title, seconds, *promised, "s"))
    return rows


def main() -> None:
    """The whole run; exit status 1 when an acknowledged write is lost or a gap is longer than promised."""
    if not (wanted("switchover") or wanted("failover")):
        return
    BUILD.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="rstore-bench-") as directory:
        scratch = Path(directory)
        with dev_cluster(scratch / "cluster", scratch.name, "--faults") as kubeconfig:
            changes = asyncio.run(measure(kubeconfig, scratch))
    rows = rows_of(changes)
    for line in rows:
        show(line)
    save(rows)
    (BUILD / "failover.json").write_text(json.dumps([asdict(change) for change in changes], indent=1) + "\n")
    if any(line.peer and line.ours > line.peer for line in rows):
        sys.exit("a gap is longer than promised")


if __name__ == "__main__":
    main()
