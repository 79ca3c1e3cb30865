"""``rstore status``: shows a store's ``.status``."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Collection
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from rstore_cli.cluster import Cluster
from rstore_cli.commands import on_cluster
from rstore_cli.errors import CliError, UsageError
from rstore_cli.heartbeat import Heartbeat
from rstore_cli.options import Output, OutputOption, StoreName
from rstore_cli.output import emit, seconds, size, stderr, stdout, table
from rstore_cli.rates import WriteRate

WATCH_INTERVAL_SECONDS = 1.0
RECEIPTS_SHOWN = 3
REGION_HEADERS = ("REGION", "ROLE", "PHASE", "READY", "LEADER", "REVISION", "ACKED", "LAG")


@on_cluster
async def status(
    cluster: Cluster,
    name: StoreName,
    watch: Annotated[bool, typer.Option("-w", "--watch", help="Keep showing it until interrupted.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show a store's regions: roles, leaders, revisions, lag; its conditions; and its last changes of primary.

    The operator writes changes of state at once, revisions and lag every few seconds.
    Exit code 1 when the store is not ready, or when no operator observes it.
    """
    if watch:
        if output is not Output.TABLE:
            raise UsageError("-w shows a table", hint=f"for -o {output.value}, use `kubectl get rstore {name} -w -o …`")
        await _watch(cluster, name)
        return
    store = await cluster.store(name)
    unobserved = await Heartbeat(cluster).missing(store)
    emit(summary(store, unobserved), output, lambda console: console.print(render(store, unobserved)))
    if unobserved or not is_ready(store):
        raise typer.Exit(1)


def is_ready(store: dict[str, Any]) -> bool:
    """Returns whether the condition Ready is true."""
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in _status(store).get("conditions", []))


def summary(store: dict[str, Any], unobserved: str = "") -> dict[str, Any]:
    """Returns the status with the store's name, for -o json and -o yaml. ``unobserved`` is as in :func:`render`."""
    meta = store["metadata"]
    head = {"name": meta["name"], "namespace": meta.get("namespace", ""), "ready": is_ready(store) and not unobserved}
    return {**head, **({"unobserved": unobserved} if unobserved else {}), **_status(store)}


def render(store: dict[str, Any], unobserved: str = "", writes: float | None = None) -> RenderableType:
    """Returns the status as it is shown to people; ``unobserved`` is a sentence when no operator observes the store,
    ``writes`` how many revisions a second it makes, where that is known."""
    current = _status(store)
    meta = store["metadata"]
    if not current:
        return Text(f"{meta['name']}: the operator has not looked at this store yet; is it running?", style="yellow")
    head = Text.assemble(
        (f"{meta['name']}", "bold"),
        f"  namespace {meta.get('namespace', '')}  phase {current.get('phase', '-')}",
        f"  primary {current.get('primaryRegion') or '-'}  epoch {current.get('epoch', '-')}",
        "" if writes is None else f"  {writes:.0f} writes/s",
    )
    parts: list[RenderableType] = [head, Text(), table(REGION_HEADERS, region_rows(current))]
    if unobserved:
        parts.insert(1, Text(unobserved, style="red"))
    if compared := compared_line(current):
        parts += [Text(), Text(compared)]
    if archived := backup_line(current):
        parts += [] if compared else [Text()]
        parts += [Text(archived)]
    if current.get("failover"):
        parts += [Text(), Text(failover_line(current["failover"]), style="yellow")]
    troubles = condition_lines(current)
    troubles += [line for line in region_lines(current) if not any(line in trouble for trouble in troubles)]
    troubles += quarantine_lines(current, meta["name"])
    if troubles:
        parts += [Text(), *[Text(line, style="yellow") for line in troubles]]
    receipts = current.get("history", [])
    if receipts:
        parts += [Text(), Text("last changes of primary, newest first", style="bold")]
        newest = sorted(receipts, key=lambda receipt: int(receipt.get("epoch", 0)), reverse=True)[:RECEIPTS_SHOWN]
        away = {region["name"] for region in current.get("regions", []) if region.get("phase") == "Lost"}
        parts += [Text(receipt_line(receipt, final=not still_open(receipt, away))) for receipt in newest]
    return Group(*parts)


def region_rows(current: dict[str, Any]) -> list[tuple[str, ...]]:
    """Returns one row of REGION_HEADERS for each region."""
    rows: list[tuple[str, ...]] = []
    for region in current.get("regions", []):
        secondary = region.get("role") == "Secondary"
        rows.append(
            (
                region["name"],
                region.get("role") or "-",
                region.get("phase") or "-",
                f"{region.get('readyReplicas', 0)}/{region.get('replicas', '?')}",
                region.get("leader") or "-",
                _number(region.get("revision")),
                _number(region.get("ackedRevision") or None) if secondary else "-",
                lag_text(region) if secondary else "-",
            )
        )
    return rows


def lag_text(region: dict[str, Any]) -> str:
    """Returns how far a secondary is behind: ``4ms``, ``1.5s (2KiB)``, ``not connected``."""
    if region.get("connected") is False:
        return "not connected"
    behind = int(region.get("lagBytes") or 0)
    return seconds(region.get("lagSeconds")) + (f" ({size(behind)})" if behind else "")


def condition_lines(current: dict[str, Any]) -> list[str]:
    """Returns the conditions that report a problem, or something that waits, one line each."""
    since = (current.get("pendingRequest") or {}).get("since")
    wanted = {
        "SpecValid": "True",
        "Ready": "True",
        "InSync": "True",
        "Degraded": "False",
        "FailoverBlocked": "False",
        "Diverged": "False",
        "Paused": "False",
        "UnknownAnnotation": "False",
        "RequestPending": "False",
        "BackupHealthy": "True",
    }
    lines = []
    for condition in current.get("conditions", []):
        kind, value = condition.get("type", ""), condition.get("status", "")
        if value != wanted.get(kind, value) or (kind, value) == ("Progressing", "Unknown"):
            line = f"{kind}={value} {condition.get('reason', '')}: {condition.get('message', '')}".rstrip(": ")
            lines.append(f"{line} (since {since})" if kind == "RequestPending" and since else line)
    return lines


def region_lines(current: dict[str, Any]) -> list[str]:
    """Returns the problems of single regions, one line each."""
    lines = []
    for region in current.get("regions", []):
        name, hash_ = region["name"], region.get("hash") or {}
        if region.get("message"):
            lines.append(f"{name}: {region['message']}")
        if hash_.get("differs"):
            lines.append(f"{name}: has other data than the others, {hash_['value']} at revision {hash_['revision']}")
    return lines


def compared_line(current: dict[str, Any]) -> str:
    """Returns at which revision how many regions had equal data last; "" if they differ or were never compared."""
    hashes = [region["hash"] for region in current.get("regions", []) if region.get("hash")]
    if not hashes or any(hash_.get("differs") for hash_ in hashes):
        return ""
    newest = max(int(hash_["revision"]) for hash_ in hashes)
    equal = sum(int(hash_["revision"]) == newest for hash_ in hashes)
    return f"data compared at revision {newest}: equal in {equal} of {len(current['regions'])} regions"


def backup_line(current: dict[str, Any]) -> str:
    """Returns what is in the archive; "" for a store without one."""
    backup = current.get("backup")
    if backup is None:
        return ""
    text = f"archived up to revision {backup.get('archivedRevision', 0)}"
    if backup.get("lagSeconds"):
        text += f", {seconds(backup['lagSeconds'])} behind"
    since, until, base = (backup.get(name) for name in ("firstRecoverable", "lastRecoverable", "lastBase"))
    if not since or not until:
        return f"{text}; nothing can be restored yet"
    text += f"; can be restored to any moment from {since} to {until}"
    text += f"; last base {base['at']}" if base else ""
    drill = backup.get("lastDrill")
    return f"{text}; last drill {drill['time']}: {drill['result']}" if drill else text


def quarantine_lines(current: dict[str, Any], store: str) -> list[str]:
    """Returns what each region keeps in quarantine, one line each, and how to look at it."""
    kept = [(region["name"], region["quarantine"]) for region in current.get("regions", []) if region.get("quarantine")]
    return [
        f"{name}: keeps {_counted(quarantine.get('rows', 0), 'change')} of its own in quarantine "
        f"({_counted(quarantine.get('tails', 0), 'tail')}): `rstore quarantine list {store}`"
        for name, quarantine in kept
    ]


def failover_line(failover: dict[str, Any]) -> str:
    """Returns a line about a change of primary that is under way."""
    return (
        f"{failover.get('mode', 'Planned')} change of primary under way: {failover.get('from', '?')} → "
        f"{failover.get('to', '?')}, epoch {failover.get('epoch', '?')}, step {failover.get('step', '?')}"
        f", since {failover.get('startedAt', '?')}"
    )


def still_open(receipt: dict[str, Any], away: Collection[str]) -> bool:
    """Returns whether more may have been lost than is known: the old primary's region has not come back yet."""
    return receipt.get("mode", "Planned") != "Planned" and receipt.get("from") in away


def receipt_line(receipt: dict[str, Any], *, final: bool = True) -> str:
    """Returns a line about a change of primary that is over; ``final`` is whether it is certain how much was lost."""
    parts = [f"epoch {receipt.get('epoch', '?')}: {receipt.get('from', '?')} → {receipt.get('to', '?')}"]
    parts += [str(receipt[key]) for key in ("trigger", "outcome") if receipt.get(key)]
    if receipt.get("writeGapSeconds") is not None:
        parts.append(f"write gap {seconds(float(receipt['writeGapSeconds']))}")
    if receipt.get("revisionsLost") is not None:
        so_far = "" if final else f" as far as known ({receipt.get('from')} is away)"
        parts.append(f"revisions lost {receipt['revisionsLost']}{so_far}")
    if receipt.get("revisionsUnacknowledged"):
        parts.append(f"never acknowledged {receipt['revisionsUnacknowledged']}")
    if receipt.get("askedFor") not in (None, receipt.get("to")):
        parts.append(f"asked for {receipt['askedFor']}")
    finished = receipt.get("finishedAt") or receipt.get("startedAt")
    if finished:
        parts.append(str(finished))
    steps = ", ".join(f"{name} {seconds(duration)}" for name, duration in step_durations(receipt))
    if steps:
        parts.append(f"({steps})")
    return "  " + "  ".join(parts)


def step_durations(receipt: dict[str, Any]) -> list[tuple[str, float]]:
    """Returns (step, seconds) of a receipt: each step lasts until the next one begins, the last until the end."""
    steps = [(str(step.get("name")), str(step.get("startedAt"))) for step in receipt.get("steps", [])]
    marks = [*(begun for _, begun in steps), str(receipt.get("finishedAt"))]
    try:
        moments = [datetime.fromisoformat(mark) for mark in marks]
    except ValueError:
        return []
    pairs = itertools.pairwise(moments)
    return [(name, (end - begun).total_seconds()) for (name, _), (begun, end) in zip(steps, pairs, strict=True)]


async def _watch(cluster: Cluster, name: str) -> None:
    """Redraw in place on a terminal; without one, print the status again whenever it has changed."""
    console, heartbeat = stdout(), Heartbeat(cluster)
    rate = WriteRate()
    try:
        if console.is_terminal:
            with Live(render(await cluster.store(name)), console=console, auto_refresh=False) as live:
                while True:
                    await asyncio.sleep(WATCH_INTERVAL_SECONDS)
                    live.update(await _render_or_problem(cluster, heartbeat, name, rate), refresh=True)
        await _print_changes(cluster, heartbeat, name, console)
    except asyncio.CancelledError:  # how asyncio.run passes an interrupt on
        stderr().print("stopped watching")


async def _print_changes(cluster: Cluster, heartbeat: Heartbeat, name: str, console: Console) -> None:
    shown: tuple[dict[str, Any] | None, str] | None = None
    while True:
        store = await cluster.store(name)
        now = (store.get("status"), await heartbeat.missing(store, wait=False))
        if now != shown:
            shown = now
            console.print(render(store, now[1]))
            console.print()
        await asyncio.sleep(WATCH_INTERVAL_SECONDS)


async def _render_or_problem(cluster: Cluster, heartbeat: Heartbeat, name: str, rate: WriteRate) -> RenderableType:
    """Returns the status, or the error: while watching, an API server that does not answer for a moment is not
    fatal."""
    try:
        store = await cluster.store(name)
        writes = rate.look(_status(store), asyncio.get_running_loop().time())
        return render(store, await heartbeat.missing(store, wait=False), writes)
    except CliError as error:
        return Text(error.message, style="red")


def _status(store: dict[str, Any]) -> dict[str, Any]:
    return dict(store.get("status") or {})


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _number(value: Any) -> str:
    return "-" if value is None else str(value)
