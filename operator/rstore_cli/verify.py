"""``rstore verify``: do all regions hold the same data? HashKV of every ready replica at one revision."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import typer
from rich.console import Console
from rstore_api.client import TlsPem
from rstore_api.errors import FutureRevision, StoreError

from rstore_cli.cluster import Cluster, Pod, Target
from rstore_cli.connect import client_certificates, open_replica, pick_region, region_names
from rstore_cli.errors import CliError
from rstore_cli.options import (
    ContextOption,
    KubeconfigOption,
    NamespaceOption,
    Output,
    OutputOption,
    StoreName,
    TimeoutOption,
)
from rstore_cli.output import emit, table

PARALLEL_REPLICAS = 8
POLL_SECONDS = 0.2


@dataclass(frozen=True)
class ReplicaHash:
    """What one replica answered: its hash at the revision asked for, or why there is none."""

    region: str
    replica: str
    revision: int = 0
    hash: int | None = None
    problem: str = ""


@dataclass(frozen=True)
class Verdict:
    """Whether the replicas agree, and what keeps that from being said of the whole store."""

    revision: int
    equal: bool
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Every region answered, and every answer is the same."""
        return self.equal and not self.problems


def verify(
    name: StoreName,
    namespace: NamespaceOption = None,
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = None,
    timeout: TimeoutOption = 30.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Compare the data of every ready replica in every region at the primary's present revision (HashKV).

    Regions that are behind are waited for. Exit code 1 when hashes differ or a region could not be asked.
    """
    cluster = Cluster.connect(Target(kubeconfig, context, namespace))
    store = cluster.store(name)
    pem = client_certificates(cluster, name)
    tls = TlsPem(ca=pem["ca.crt"], cert=pem["tls.crt"], key=pem["tls.key"])
    pods = cluster.pods(name)
    revision, hashes = asyncio.run(_ask_all(cluster, tls, pods, pick_region(store, None), timeout))
    verdict = judge(revision, hashes, region_names(store))
    data = {"revision": revision, "ok": verdict.ok, "problems": list(verdict.problems)}
    emit(
        {**data, "replicas": [asdict(found) for found in hashes]},
        output,
        lambda console: _print(console, verdict, hashes),
    )
    if not verdict.ok:
        raise typer.Exit(1)


def judge(revision: int, hashes: list[ReplicaHash], regions: list[str]) -> Verdict:
    """PURE: what the answers mean for a store of these regions."""
    answers = [found for found in hashes if found.hash is not None]
    problems = [f"{found.replica}: {found.problem}" for found in hashes if found.problem]
    problems += [
        f"region {region}: no replica answered" for region in regions if region not in {a.region for a in answers}
    ]
    counts = Counter(found.hash for found in answers)
    if len(counts) > 1:
        usual = counts.most_common(1)[0][0]
        odd = sorted(found.replica for found in answers if found.hash != usual)
        problems.insert(0, f"hashes differ at revision {revision}: {', '.join(odd)} against the others")
    return Verdict(revision=revision, equal=len(counts) == 1, problems=tuple(problems))


async def _ask_all(
    cluster: Cluster, tls: TlsPem, pods: list[Pod], primary: str, timeout_seconds: float
) -> tuple[int, list[ReplicaHash]]:
    first = next((pod for pod in pods if pod.ready and pod.region == primary), None)
    if first is None:
        raise CliError(f'no replica of the primary region "{primary}" is ready', hint="`kubectl get pods` shows why")
    async with open_replica(cluster, first.name, tls) as client:
        # A linearizable read: its header carries a revision that the primary has committed.
        revision = int((await client.get(b"\0", timeout_seconds=timeout_seconds)).header.revision)
    gate = asyncio.Semaphore(PARALLEL_REPLICAS)

    async def ask(pod: Pod) -> ReplicaHash:
        if not pod.ready:
            return ReplicaHash(pod.region, pod.name, problem="not ready, was not asked")
        async with gate:
            return await _ask(cluster, tls, pod, revision, timeout_seconds)

    found = await asyncio.gather(*(ask(pod) for pod in sorted(pods, key=lambda pod: (pod.region, pod.name))))
    return revision, list(found)


async def _ask(cluster: Cluster, tls: TlsPem, pod: Pod, revision: int, timeout_seconds: float) -> ReplicaHash:
    clock = asyncio.get_running_loop().time
    deadline = clock() + timeout_seconds
    try:
        async with open_replica(cluster, pod.name, tls) as client:
            while True:
                try:
                    answer = await client.hash_kv(revision, timeout_seconds=max(0.1, deadline - clock()))
                    return ReplicaHash(pod.region, pod.name, revision, int(answer.hash))
                except FutureRevision:
                    if clock() >= deadline:
                        return ReplicaHash(
                            pod.region,
                            pod.name,
                            problem=f"has not reached revision {revision} within {timeout_seconds:g} s",
                        )
                    await asyncio.sleep(POLL_SECONDS)
    except (StoreError, CliError) as error:
        return ReplicaHash(pod.region, pod.name, problem=str(error))


def _print(console: Console, verdict: Verdict, hashes: list[ReplicaHash]) -> None:
    rows: list[tuple[Any, ...]] = [
        (found.region, found.replica, "-" if found.hash is None else f"{found.hash:08x}", found.problem)
        for found in hashes
    ]
    console.print(table(("REGION", "REPLICA", "HASH", "PROBLEM"), rows))
    if verdict.ok:
        console.print(f"equal at revision {verdict.revision}", style="green")
    for problem in verdict.problems:
        console.print(problem, style="red")
