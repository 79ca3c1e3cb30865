"""What the operator costs with many stores, and how fast it is: on the local API server, with stubs of replicas.

For each number of stores of three regions: how long until all are steady, made twenty at a time; what the operator does
at rest (steps per second, writes, CPU, memory); how long a change of a spec takes until the object that it concerns
shows it, for changes one after the other in random stores, and for twenty at once; and how long another operator, which
takes over, needs until it has looked at all stores, and the most memory that it uses for it. The operator is a process
of its own, as in a pod; the API server and the stubs are in this one, whose CPU time is measured as well: where it is
the larger one, it is what limits.

Environment: ``BENCH_STORES`` (default ``10,100,500``), ``BENCH_REST_SECONDS`` (default 60), ``BENCH_CHANGES`` (default
100). Updates ``build/bench.json``.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import os
import random
import re
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from bench.results import Row, save, show
from bench.stub_pods import StubPods
from localkube.apiserver import ApiServer
from rstore_api.domain.kubernetes import KIND, STORE
from rstore_testkit.load import wait_until

ROOT = Path(__file__).resolve().parents[2]
CRD = yaml.safe_load((ROOT / "crds" / "replicatedstores.yaml").read_text())
CRDS = "customresourcedefinitions.apiextensions.k8s.io"
STORES, POLICIES = "replicatedstores.replicatedstore.io", "networkpolicies.networking.k8s.io"
REGIONS = ("us-east", "eu-west", "ap-south")
NAMESPACE = "default"
AT_ONCE = 20
CHANGE_SECONDS = 60.0
MADE_AT_ONCE = 20
MADE_SECONDS = 300.0
REST_WITHIN_SECONDS = 120.0
QUIET_SECONDS = 3.0
"""Stores are at rest once nothing has been written for so long."""
LIMITS = {"memory": 200.0, "p99": 2.0, "writes at rest": 0.0}
"""At 500 stores: MiB of resident memory, seconds until a change is applied, and writes other than of the Lease."""
AS_IN_ITS_IMAGE = """
import sys
sys.modules["rich"] = sys.modules["bcrypt"] = None
from rstore_operator.__main__ import main
main()
"""
"""Without what the image does not have, and structlog and cryptography import where it is there: it takes 4 MiB."""
_TICKS = os.sysconf("SC_CLK_TCK")
_STEPS = re.compile(r"^rstore_operator_reconciles_total\{[^}]*\} ([0-9.e+]+)$", re.MULTILINE)
_LOOKED_AT = re.compile(r"^rstore_operator_store_epoch\{", re.MULTILINE)
_MOST_MEMORY = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)


@dataclass(frozen=True)
class Reading:
    """The operator's process at one moment."""

    at: float
    cpu_seconds: float
    memory_mib: float
    most_memory_mib: float
    steps: float
    looked_at: int
    """How many stores it has looked at."""


class Operator:
    """The operator's process."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self._process = process
        self._port = port

    async def read(self) -> Reading:
        """Returns what it has used and done so far."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        most = _MOST_MEMORY.search(Path(f"/proc/{self._process.pid}/status").read_text())
        assert most is not None
        async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{self._port}/metrics") as answer:
            text = await answer.text()
        return Reading(
            at=time.monotonic(),
            cpu_seconds=(int(fields[11]) + int(fields[12])) / _TICKS,
            memory_mib=pages * os.sysconf("SC_PAGE_SIZE") / 2**20,
            most_memory_mib=int(most.group(1)) / 1024,
            steps=sum(float(value) for value in _STEPS.findall(text)),
            looked_at=len(_LOOKED_AT.findall(text)),
        )

    async def look_at(self, stores: int) -> None:
        """Wait until it has looked at so many stores."""

        async def all_are() -> bool:
            try:
                return (await self.read()).looked_at >= stores
            except aiohttp.ClientConnectionError:  # it has not begun to listen
                return False

        await wait_until(all_are, timeout_seconds=MADE_SECONDS, what=f"{stores} stores looked at", poll_seconds=0.2)


@asynccontextmanager
async def operator(server: ApiServer, directory: Path) -> AsyncIterator[Operator]:
    """Runs the operator around a block."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    environment = {
        **os.environ,
        "KUBECONFIG": str(server.kubeconfig(directory / "kubeconfig", user="admin")),
        "RSTORE_REPLICA_IMAGE": "replica:bench",
        "RSTORE_LISTEN_HOST": "127.0.0.1",
        "RSTORE_HEALTH_PORT": str(port),
        "RSTORE_HASH_CHECK_SECONDS": "0",
        "RSTORE_LOG_LEVEL": "warning",
        "MALLOC_ARENA_MAX": "1",  # as the chart has it
        "MALLOC_MMAP_THRESHOLD_": "131072",
    }
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", AS_IN_ITS_IMAGE, env=environment)
    try:
        yield Operator(process, port)
    finally:
        process.terminate()
        await process.wait()


def manifest(name: str) -> dict[str, Any]:
    """Returns a store of one replica in each region, whose pods may run anywhere."""
    regions = [{"name": region, "replicas": 1, "placement": {}} for region in REGIONS]
    spec = {"primaryRegion": REGIONS[0], "regions": regions}
    return {"apiVersion": STORE.api_version, "kind": KIND, "metadata": {"name": name}, "spec": spec}


def steady(server: ApiServer) -> int:
    """Returns how many stores are steady."""
    return sum(stored.obj.get("status", {}).get("phase") == "Steady" for stored in server.store.peek_all(STORES))


async def make(server: ApiServer, names: list[str]) -> None:
    """Make stores, and wait until they are steady: so many at a time that the API server keeps up."""
    for made, name in enumerate(names, 1):
        server.store.create(STORES, manifest(name), namespace=NAMESPACE)
        others = 0 if made == len(names) else MADE_AT_ONCE

        async def few_are_being_made(wanted: int = made - others) -> bool:
            return steady(server) >= wanted

        await wait_until(few_are_being_made, timeout_seconds=MADE_SECONDS, what=f"{made} stores", poll_seconds=0.1)


def writes(server: ApiServer) -> int:
    """Returns how often anything but Leases has been written."""
    return sum(count for key, count in server.writes.items() if key.resource != "leases")


async def at_rest(server: ApiServer) -> None:
    """Wait until nothing is written any more."""
    last = (writes(server), time.monotonic())

    async def quiet() -> bool:
        nonlocal last
        now = (writes(server), time.monotonic())
        last = last if now[0] == last[0] else now
        return now[1] - last[1] >= QUIET_SECONDS

    await wait_until(quiet, timeout_seconds=REST_WITHIN_SECONDS, what="stores at rest", poll_seconds=0.2)


class Policies:
    """Sees when a store's NetworkPolicy shows what its spec asks for."""

    def __init__(self, server: ApiServer) -> None:
        self._server = server
        self._waiting: dict[str, asyncio.Future[float]] = {}

    async def watch(self) -> None:
        """Watch until cancelled."""
        watch = self._server.store.watch(POLICIES)
        try:
            while (event := await watch.next()) is not None:
                for rule in event.object.get("spec", {}).get("ingress", []):
                    for peer in rule.get("from", []):
                        waiting = self._waiting.pop(peer.get("ipBlock", {}).get("cidr", ""), None)
                        if waiting is not None:
                            waiting.set_result(time.monotonic())
        finally:
            watch.close()

    async def change(self, name: str, number: int) -> float:
        """Returns how many seconds after a change of that store's spec its NetworkPolicy shows it."""
        address = f"10.{number // 65536 % 256}.{number // 256 % 256}.{number % 256}/32"
        shown = self._waiting[address] = asyncio.get_running_loop().create_future()
        began = time.monotonic()
        clients = {"security": {"networkPolicy": {"clients": [{"ipBlock": {"cidr": address}}]}}}
        self._server.store.patch(STORES, NAMESPACE, name, {"spec": clients})
        async with asyncio.timeout(CHANGE_SECONDS):
            return await shown - began


async def measure(count: int, *, rest_seconds: float, changes: int) -> list[Row]:
    """Returns the figures with that many stores."""
    server = ApiServer()
    await server.start()
    server.store.create(CRDS, CRD)
    server.definitions.settle()
    pods = asyncio.create_task(StubPods(server, "127.77").run())
    try:
        with tempfile.TemporaryDirectory(prefix="rstore-bench-") as scratch:
            async with operator(server, Path(scratch)) as running:
                rows = await _with_stores(server, running, count, rest_seconds=rest_seconds, changes=changes)
            began = time.monotonic()
            async with operator(server, Path(scratch)) as running:
                return rows + await _taken_over(server, running, count, began)
    finally:
        pods.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await pods
        await server.stop()


async def _with_stores(
    server: ApiServer, running: Operator, count: int, *, rest_seconds: float, changes: int
) -> list[Row]:
    names = [f"store-{number}" for number in range(count)]
    began = time.monotonic()
    await make(server, names)
    made_seconds = time.monotonic() - began
    await at_rest(server)
    before, written, here = await running.read(), writes(server), time.process_time()
    await asyncio.sleep(rest_seconds)
    after, written, here = await running.read(), writes(server) - written, time.process_time() - here
    seconds = after.at - before.at
    began, changing = time.monotonic(), time.process_time()
    pick = random.Random(count)
    policies = Policies(server)
    watching = asyncio.create_task(policies.watch())
    one_by_one = [await policies.change(pick.choice(names), number) for number in range(changes)]
    together: list[float] = []
    for first in range(0, changes, AT_ONCE):
        chosen = pick.sample(names, min(AT_ONCE, count))
        numbers = range(changes + first, changes + first + len(chosen))
        together += await asyncio.gather(*map(policies.change, chosen, numbers))
    watching.cancel()
    changed, changed_seconds = await running.read(), time.monotonic() - began
    changing = time.process_time() - changing
    resting_seconds = (after.cpu_seconds - before.cpu_seconds) / seconds * changed_seconds
    changes_seconds = changed.cpu_seconds - after.cpu_seconds - resting_seconds
    row = functools.partial(_row, count)
    return [
        row("all made", "s", made_seconds),
        row("steps at rest", "1/s", (after.steps - before.steps) / seconds),
        row("CPU at rest", "% of a core", 100 * (after.cpu_seconds - before.cpu_seconds) / seconds),
        row("CPU of the API server and the stubs at rest", "% of a core", 100 * here / seconds),
        row("writes at rest", "", written),
        row("memory", "MiB", max(after.memory_mib, changed.memory_mib)),
        row("memory at the most", "MiB", changed.most_memory_mib),
        row("a change applied, median", "s", statistics.median(one_by_one)),
        row("a change applied, p99", "s", _p99(one_by_one)),
        row(f"{AT_ONCE} changes at once applied, p99", "s", _p99(together)),
        row("CPU while specs change", "% of a core", 100 * (changed.cpu_seconds - after.cpu_seconds) / changed_seconds),
        row("CPU of the API server and the stubs then", "% of a core", 100 * changing / changed_seconds),
        row("CPU time of a change", "ms", 1000 * changes_seconds / (len(one_by_one) + len(together))),
    ]


async def _taken_over(server: ApiServer, running: Operator, count: int, began: float) -> list[Row]:
    """Returns the figures of an operator that was started at that time and takes over."""
    await running.look_at(count)
    looked_at = await running.read()
    await at_rest(server)
    rested = await running.read()
    row = functools.partial(_row, count)
    return [
        row("taken over, all looked at", "s", looked_at.at - began),
        row("CPU time of taking over", "s", looked_at.cpu_seconds),
        row("taken over, at rest, memory", "MiB", rested.memory_mib),
        row("taken over, memory at the most", "MiB", rested.most_memory_mib),
    ]


def _row(count: int, what: str, unit: str, value: float) -> Row:
    return Row(f"operator, {count} stores: {what}", round(value, 3), 0, "", 0, unit)


def _p99(values: list[float]) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * 0.99))]


def main() -> int:
    """Entry point. Returns 1 when a limit is broken."""
    counts = [int(part) for part in os.environ.get("BENCH_STORES", "10,100,500").split(",")]
    rest_seconds = float(os.environ.get("BENCH_REST_SECONDS", "60"))
    changes = int(os.environ.get("BENCH_CHANGES", "100"))
    gc.disable()  # with the objects of hundreds of stores a collection takes seconds, in which no stub answers
    broken = []
    for count in counts:
        rows = asyncio.run(measure(count, rest_seconds=rest_seconds, changes=changes))
        for line in rows:
            show(line)
            for what, limit in LIMITS.items():
                if line.name.endswith(what) and line.ours > limit:
                    broken.append(f"{line.name} {line.ours} {line.unit}, at most {limit}")
        save(rows)
    for text in broken:
        print(f"bench: {text}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    raise SystemExit(main())
