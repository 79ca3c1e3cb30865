"""Calls at a contender's leader, 64 outstanding: how many in a second, and what they cost its members."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench import contenders
from bench.h2_load import Plan, run_apart
from integration.replicas.server_processes import CLIENT_PORT

CONNECTIONS, OUTSTANDING = 4, 64
WARMUP_SECONDS = 0.4


@dataclass(frozen=True)
class Figures:
    """``cpu_ms`` is the CPU time that all members used for one call."""

    per_second: float
    cpu_ms: float
    calls: int
    """All, those of the warm-up too."""


FIGURES: tuple[tuple[str, Callable[[Figures], float], bool], ...] = (
    ("calls/s", lambda figures: figures.per_second, False),
    ("CPU ms/call", lambda figures: figures.cpu_ms, True),
)
"""Units, the figures of them, and whether less is better."""


def measure(contender: contenders.Contender, method: str, messages: list[bytes], seconds: float) -> Figures:
    """Calls the method for so long, with these serialised requests in turn."""
    plan = Plan.of(
        contender.leader_host(),
        CLIENT_PORT,
        contender.tls_directory,
        method,
        messages,
        connections=CONNECTIONS,
        outstanding=OUTSTANDING,
        warmup_seconds=WARMUP_SECONDS,
        seconds=seconds,
    )
    before = contenders.cpu_seconds(contender.processes())
    found = run_apart(plan)
    used = contenders.cpu_seconds(contender.processes()) - before
    return Figures(found.calls_per_second, 1e3 * used / found.calls, found.calls)
