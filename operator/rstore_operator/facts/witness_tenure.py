"""What the operator, as witness, may have granted: persisted, because it outlives the process that granted.

A round of the tenure runs for as long as the primary's leader uses, from when it was offered. ``grants_ms`` is the
longest that may be granted, ``runs_ms`` the longest that may still run; an operator that fences waits for ``runs_ms``.
Both are raised in `.status` before anything longer is granted. When less is asked for, ``grants_ms`` is lowered at
once, and ``runs_ms`` by a process that has seen that very change in `.status` for as long as ``runs_ms``: an operator
that read a status before the change granted, if at all, a round that was offered before, which has run out since.
"""

from __future__ import annotations

from msgspec.structs import replace

from rstore_operator.facts.observed import ReplicaStatus
from rstore_operator.resource.state import WitnessTenure

CLOCK_MARGIN = 1.02
"""Durations that others measure are waited for a little longer: clocks may differ by a percent."""


def asked_tenure_ms(leader: ReplicaStatus | None, *, witness: bool) -> int | None:
    """Return the length of the grant that the primary's ``leader`` asks for; 0 where there is no witness, None where
    it is not known."""
    if not witness:
        return 0
    if leader is None or leader.tenure is None or not leader.primary or not leader.tenure.witness_round:
        return None
    return leader.tenure.duration_ms


def next_witness_tenure(before: WitnessTenure, asked_ms: int | None, seen_seconds: float) -> WitnessTenure:
    """Return what is to be persisted next; this process has seen ``before`` in `.status` for ``seen_seconds``."""
    after = before
    if asked_ms is not None and asked_ms != before.grants_ms:
        after = replace(after, grants_ms=asked_ms, runs_ms=max(before.runs_ms, asked_ms))
    elif before.runs_ms > before.grants_ms and seen_seconds * 1000 >= before.runs_ms * CLOCK_MARGIN:
        after = replace(after, runs_ms=before.grants_ms)
    return after if after == before else replace(after, change=before.change + 1)
