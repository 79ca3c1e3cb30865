"""``rstore verify``: compares the HashKV of every ready replica at one revision."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass
from typing import Any

import typer
from rich.console import Console
from rstore_api.client import TlsPem
from rstore_api.domain.hashes import HashAnswer, compare, format_hash
from rstore_api.errors import FutureRevision, StoreError

from rstore_cli.cluster import Pod
from rstore_cli.errors import CliError
from rstore_cli.options import Output, OutputOption
from rstore_cli.output import emit, table
from rstore_cli.regions import pick_region, region_names
from rstore_cli.store_access import StoreAccess, on_store

PARALLEL_REPLICAS = 8
POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Verdict:
    """Whether the replicas agree, and which of them or which regions are not included."""

    revision: int
    equal: bool
    text: str
    """Says that they are equal, or which differ from which, in the words of the condition Diverged."""
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether every region answered, and all answers are the same."""
        return self.equal and not self.problems


@on_store(timeout_seconds=30.0, has_region=False, has_endpoint=False)
async def verify(
    access: StoreAccess,
    output: OutputOption = Output.TABLE,
) -> None:
    """Compare the data of every ready replica in every region at the primary's present revision (HashKV).

    Regions that are behind are waited for. Exit code 1 when hashes differ or a region could not be asked.
    """
    store = await access.cluster.store(access.name)
    tls = await access.tls()
    pods = await access.cluster.pods(access.name)
    primary = pick_region(store, None)
    revision, hashes = await _ask_all(access, tls, pods, primary)
    verdict = judge(revision, hashes, region_names(store), primary)
    data = {"revision": revision, "ok": verdict.ok, "problems": list(verdict.problems)}
    emit(
        {**data, "replicas": [{**asdict(answer), "hash": _shown(answer.hash)} for answer in hashes]},
        output,
        lambda console: _print(console, verdict, hashes),
    )
    if not verdict.ok:
        raise typer.Exit(1)


def judge(revision: int, answers: list[HashAnswer], regions: list[str], primary: str) -> Verdict:
    """Returns what the answers mean for a store of these regions."""
    hashes = [answer for answer in answers if answer.hash is not None]
    problems = [f"{answer.replica}: {answer.problem}" for answer in answers if answer.problem]
    problems += [
        f"region {region}: no replica answered"
        for region in regions
        if region not in {answer.region for answer in hashes}
    ]
    compared = compare(revision, hashes, primary)
    if compared is None:
        return Verdict(revision, bool(hashes), f"nothing to compare at revision {revision}", tuple(problems))
    if not compared.equal:
        problems.insert(0, compared.text)
    return Verdict(revision, compared.equal, compared.text, tuple(problems))


async def _ask_all(access: StoreAccess, tls: TlsPem, pods: list[Pod], primary: str) -> tuple[int, list[HashAnswer]]:
    first = next((pod for pod in pods if pod.ready and pod.region == primary), None)
    if first is None:
        raise CliError(f'no replica of the primary region "{primary}" is ready', hint="`kubectl get pods` shows why")
    async with access.open_replica(first.name, tls) as client:
        # A linearizable read: its header carries a revision that the primary has committed.
        revision = int((await client.get(b"\0", timeout_seconds=access.timeout_seconds)).header.revision)
    gate = asyncio.Semaphore(PARALLEL_REPLICAS)

    async def ask(pod: Pod) -> HashAnswer:
        if not pod.ready:
            return HashAnswer(pod.region, pod.name, problem="not ready, was not asked")
        async with gate:
            return await _ask(access, tls, pod, revision)

    answers = await asyncio.gather(*(ask(pod) for pod in sorted(pods, key=lambda pod: (pod.region, pod.name))))
    return revision, list(answers)


async def _ask(access: StoreAccess, tls: TlsPem, pod: Pod, revision: int) -> HashAnswer:
    clock = asyncio.get_running_loop().time
    deadline = clock() + access.timeout_seconds
    try:
        async with access.open_replica(pod.name, tls) as client:
            while True:
                try:
                    answer = await client.hash_kv(revision, timeout_seconds=max(0.1, deadline - clock()))
                    return HashAnswer(pod.region, pod.name, int(answer.hash))
                except FutureRevision:
                    if clock() >= deadline:
                        return HashAnswer(
                            pod.region,
                            pod.name,
                            problem=f"has not reached revision {revision} within {access.timeout_seconds:g} s",
                        )
                    await asyncio.sleep(POLL_SECONDS)
    except (StoreError, CliError) as error:
        return HashAnswer(pod.region, pod.name, problem=str(error))


def _shown(value: int | None) -> str | None:
    """Returns a hash as the store's status and its condition Diverged show it."""
    return None if value is None else format_hash(value)


def _print(console: Console, verdict: Verdict, hashes: list[HashAnswer]) -> None:
    rows: list[tuple[Any, ...]] = [
        (answer.region, answer.replica, _shown(answer.hash) or "-", answer.problem) for answer in hashes
    ]
    console.print(table(("REGION", "REPLICA", "HASH", "PROBLEM"), rows))
    if verdict.ok:
        console.print(verdict.text, style="green")
    for problem in verdict.problems:
        console.print(problem, style="red")
