"""The conditions that tools of Kubernetes look at in any kind of object: ``Reconciling`` and ``Stalled``.

kstatus (of Flux, kpt, Argo CD) takes an object for current when ``observedGeneration`` is that of its spec and neither
is True, for in progress when ``Reconciling`` is, and for failed when ``Stalled`` is. So ``Stalled`` is True only where
nothing goes on before a person has changed something.
"""

from __future__ import annotations

from collections.abc import Iterable

from rstore_operator.planning.children.naming import NAMING_PROBLEMS
from rstore_operator.planning.conditions.finding import Finding
from rstore_operator.planning.conditions.restored import RESTORED, STALLING

RECONCILING, STALLED = "Reconciling", "Stalled"
STALLING_REASONS = NAMING_PROBLEMS | {"DataConflict"}
"""Reasons of the condition Degraded that a person has to remove."""


def kstatus(findings: Iterable[Finding], stuck: str = "") -> list[Finding]:
    """Both conditions, from the others; ``stuck`` is what pods have waited for so long that they will not start by
    themselves."""
    present = {finding.type: finding for finding in findings}
    stalled = _stalled(present, stuck)
    progressing = present["Progressing"]
    if stalled is not None:
        text = f"nothing goes on: {stalled.message}"
        return [Finding(RECONCILING, False, stalled.reason, text), Finding(STALLED, True, *_why(stalled))]
    nothing = Finding(STALLED, False, "NotStalled", "nothing waits for a change by a person")
    if progressing.status is False:
        return [Finding(RECONCILING, False, *_why(progressing)), nothing]
    return [Finding(RECONCILING, True, *_why(progressing)), nothing]


def _stalled(present: dict[str, Finding], stuck: str) -> Finding | None:
    """The finding because of which nothing goes on."""
    valid, degraded, rollout = (present.get(name) for name in ("SpecValid", "Degraded", "RolloutBlocked"))
    if valid is not None and valid.status is False:
        return valid
    if degraded is not None and degraded.status and degraded.reason in STALLING_REASONS:
        return degraded
    if rollout is not None and rollout.status:
        return rollout
    restored = present.get(RESTORED)
    if restored is not None and restored.status is False and restored.reason in STALLING:
        return restored
    return Finding(STALLED, True, "PodsDoNotStart", stuck) if stuck else None


def _why(finding: Finding) -> tuple[str, str]:
    return finding.reason, finding.message
