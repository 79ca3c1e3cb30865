"""The answer to all requests on an object, and to the faults that were observed.

A table that begins a change of primary is the last one: the tables after it are not asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rstore_api.domain import kubernetes as names

from rstore_operator.facts.actions import Notice
from rstore_operator.failover.annotations import Checked, Refusal
from rstore_operator.failover.lost import ending, primary_silence
from rstore_operator.failover.rules.decisions import Begin, Decision, Done, Refuse, Rule, Wait, first
from rstore_operator.failover.rules.dry_run import dry_run
from rstore_operator.failover.rules.faults import ENDING, LOST, UNDER_WAY, UNFINISHED
from rstore_operator.failover.rules.pending import expired, pending
from rstore_operator.failover.rules.preferred_primary import FAILBACK, SPEC
from rstore_operator.failover.rules.requests import ABORT, request, takes_the_planned_way
from rstore_operator.failover.rules.rollout import ROLLOUT
from rstore_operator.failover.scene import Scene
from rstore_operator.resource.commands import FAILOVER_REQUEST
from rstore_operator.resource.state import FailoverIntent, Trigger

SUSPICIOUS_SECONDS = 10.0
"""A primary without its tenure is looked at often for this long."""


@dataclass(frozen=True)
class Answer:
    """What all requests and faults come to."""

    intent: FailoverIntent | None
    preferred_primary: str
    remove: Mapping[str, str] = field(default_factory=dict)
    notices: tuple[Notice, ...] = ()
    blocked: str = ""
    """Why the change of primary that is asked for, or needed, cannot begin yet."""
    blocked_reason: str = ""
    suspicious: bool = False
    """Whether the primary region may have to be replaced soon, so that it is looked at more often."""
    rejected: tuple[str, str] | None = None
    """Reason and message for the condition, when a request was refused."""
    accepted: bool = False
    dry_run: tuple[bool, str] | None = None
    pending: tuple[str, str] | None = None
    """Why ``failover-to`` waits, where it does: reason and message."""


def decide(scene: Scene, checked: Checked) -> Answer:
    """Answer every request on the object, and say what faults come to. A request that was taken off by its check is
    not in ``scene``."""
    commands, status, refusals = scene.commands, scene.status, list(checked.refusals)
    remove, notices = dict(checked.removed), []
    would = next(((False, one.message) for one in refusals if one.annotation == names.FAILOVER_DRY_RUN), None)
    if commands.abort_failover is not None and isinstance(aborted := first(ABORT, scene), Refuse):
        refusals.append(Refusal(names.ABORT_FAILOVER, commands.abort_failover, aborted.reason, aborted.message))
    if commands.dry_run is not None:
        would = dry_run(scene, commands.dry_run)
        remove[names.FAILOVER_DRY_RUN] = commands.dry_run
        notices.append(Notice("DryRun", would[1], warning=not would[0]))
    asked, decisions = _decisions(scene)
    waiting = pending(scene, asked)
    if waiting is not None and (late := expired(scene, waiting)):
        decisions = [decision for decision in decisions if decision is not asked]
        asked, waiting = late, None
    if isinstance(asked, Refuse):
        kind = "failover-to" if takes_the_planned_way(scene) else "failover-to, forced"
        refusals.append(Refusal(names.FAILOVER_TO, scene.named, asked.reason, f"{kind}: {asked.message}"))
        remove |= commands.values(FAILOVER_REQUEST)
    elif isinstance(asked, Done):
        remove |= commands.values((names.FAILOVER_TO, names.FAILOVER_MODE))
    begun = next((decision for decision in decisions if isinstance(decision, Begin)), None)
    waits = [decision for decision in decisions if isinstance(decision, Wait)] if begun is None else []
    return Answer(
        intent=begun.intent if begun else status.failover,
        preferred_primary=_preferred(scene, begun),
        remove=remove | {refusal.annotation: refusal.value for refusal in refusals},
        notices=(*(Notice(one.reason, one.message, warning=True) for one in refusals), *notices),
        blocked=waits[-1].message if waits else "",
        blocked_reason=waits[-1].reason if waits else "",
        suspicious=_suspicious(scene),
        rejected=(refusals[0].reason, "; ".join(one.message for one in refusals)) if refusals else None,
        accepted=begun is not None and begun.reported,
        dry_run=would,
        pending=waiting,
    )


def _decisions(scene: Scene) -> tuple[Decision | None, list[Decision]]:
    """What ``failover-to`` comes to, and all that is decided until something begins."""
    commands, asked = scene.commands, None
    if commands.paused:
        return None, []
    if scene.status.failover is not None:
        rescued = first(UNDER_WAY, scene) if scene.truth.epoch else None
        return None, [rescued] if rescued else []
    decisions: list[Decision] = []
    if commands.failover_to is not None:
        asked = request(scene)
        decisions += [asked] if asked else []
    for table in _tables(scene):
        if any(isinstance(decision, Begin) for decision in decisions):
            break
        decision = first(table, scene)
        decisions += [decision] if decision else []
    return asked, decisions


def _tables(scene: Scene) -> tuple[tuple[Rule, ...], ...]:
    """What may begin without an annotation: nothing without a valid spec or before all is restored, and less while
    somebody forces a failover."""
    if scene.spec is None or not scene.truth.epoch or scene.is_restoring:
        return ()
    forcing = scene.commands.forced and scene.commands.failover_to is not None
    return (SPEC, UNFINISHED, FAILBACK) if forcing else (SPEC, ENDING, LOST, UNFINISHED, FAILBACK, ROLLOUT)


def _preferred(scene: Scene, begun: Begin | None) -> str:
    """The ``spec.primaryRegion`` that has been carried out."""
    before = scene.status.preferred_primary
    if scene.commands.paused or scene.status.failover is not None or scene.spec is None or not scene.truth.epoch:
        return before
    home = scene.spec.primary_region
    by_spec = begun is not None and begun.intent.trigger is Trigger.SPEC
    return home if not before or home == scene.truth.primary_region or by_spec else before


def _suspicious(scene: Scene) -> bool:
    """Whether the primary region may have to be replaced soon."""
    primary = scene.truth.primary_region
    if LOST not in _tables(scene) or scene.commands.paused or scene.status.failover is not None:
        return False
    without_seconds = scene.memory.without_tenure_seconds.get(primary)
    limit_seconds = SUSPICIOUS_SECONDS + scene.failover.failover_delay_ms / 1000
    lacking = without_seconds is not None and without_seconds < limit_seconds
    return lacking or primary_silence(scene) is not None or bool(ending(primary, scene.observed))
