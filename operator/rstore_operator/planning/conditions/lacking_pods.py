"""Pods that a region should have and that are not there, or do not start: which, since when, and why.

What refuses a pod (a quota, a LimitRange, Pod Security, an admission webhook) answers the StatefulSet's controller,
and the controller reports it in an event alone: there is no pod to look at. Why a volume is not bound is in an event of
its claim. Events are read of the StatefulSets and claims that :func:`questions` names, so never in a steady state.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rstore_api.domain import names

from rstore_operator.facts.lacks import (
    ABSENT,
    ENDING,
    NO_SET,
    PRESENT,
    WAITING,
    missing_pods,
    set_key,
    why_not_started,
)
from rstore_operator.facts.memory import Memory
from rstore_operator.facts.observed import CLAIM, ChildKey, Observed

NOT_CREATED, NOT_STARTED = "PodsNotCreated", "PodsNotStarted"
LACKS = frozenset({NOT_CREATED, NOT_STARTED})
"""Reasons of the condition Degraded."""
GRACE_SECONDS = 5.0
"""A pod that is missing for less than this is being created."""
GIVEN_UP_SECONDS = 600.0
"""Pods that have waited this long will not start before somebody changes something, as in a Deployment."""
STUCK_SECONDS = 30.0
"""Pods may wait this long for a node, a volume or an image before the store is degraded."""
ASK_FIRST_SECONDS, ASK_SELDOM_SECONDS = 10.0, 60.0
"""Bounds of the time between two looks at one StatefulSet's events; it grows with the time that a pod is missing."""
OLDER_SECONDS = 30.0
"""By how much an event may seem older than the absence that it explains: clocks differ, events have whole seconds."""
LATE_SECONDS = 60.0
"""The kubelet of a pod that has had so much longer to end than it may take does not answer."""
UNBOUND_REASONS = ("ProvisioningFailed", "FailedBinding")
"""Reasons of the events that say why a claim is not bound: by a provisioner, and where there is none."""
SHOWN_KINDS = 3
"""Different problems that are shown of one region."""
SHOWN_MESSAGE = 600
"""Characters of an event or of a pod's problem that are shown."""

Body = Mapping[str, Any]


@dataclass(frozen=True)
class Lacking:
    """What a region lacks. ``reason`` is one of :data:`LACKS`; ``lasts`` once it has lasted too long to be a start,
    ``stuck`` once it has lasted so long that it will not end by itself."""

    reason: str
    text: str
    lasts: bool
    stuck: bool = False


@dataclass(frozen=True)
class Question:
    """A StatefulSet whose events of these ``reasons`` may say why ``pods`` are missing, or a claim for whose volume
    they wait, and for how many ``seconds`` it has been so.

    An event that is older than ``older_seconds`` is about an earlier absence; None: the pods were never seen, or have
    never started.
    """

    key: ChildKey
    uid: str
    pods: tuple[str, ...]
    seconds: float
    older_seconds: float | None
    reasons: tuple[str, ...] = ("FailedCreate",)


def lacking_pods(
    store: str, regions: Iterable[str], observed: Observed, memory: Memory, *, paused: bool = False
) -> dict[str, Lacking]:
    """What is reported of regions whose pods are not there or do not start, by region.

    That a store which is ``paused`` gets no StatefulSets is what was asked for.
    """
    described = ((region, _region(store, region, observed, memory, paused=paused)) for region in regions)
    return {region: lacking for region, lacking in described if lacking is not None}


def questions(store: str, regions: Iterable[str], observed: Observed, memory: Memory) -> dict[ChildKey, Question]:
    """The objects whose events should be read: StatefulSets that lack pods for more than a moment, and claims that have
    kept pods waiting for as long."""
    asked: dict[ChildKey, Question] = {}
    for region in regions:
        asked |= _unbound_claims(region, observed, memory)
        absent = _absent(store, region, observed, memory)
        live = observed.children.get(set_key(store, region))
        if not absent or live is None:
            continue
        seen = [memory.lacking_seconds.get((PRESENT, name)) for name in absent]
        ages = [seconds for seconds in seen if seconds is not None]
        key = set_key(store, region)
        asked[key] = Question(
            key,
            str(live["metadata"].get("uid", "")),
            absent,
            max(memory.lacking_seconds[ABSENT, pod] for pod in absent),
            max(ages) + OLDER_SECONDS if len(ages) == len(absent) else None,
        )
    return asked


def _unbound_claims(region: str, observed: Observed, memory: Memory) -> dict[ChildKey, Question]:
    asked: dict[ChildKey, Question] = {}
    for pod in observed.region(region).pods:
        claim = observed.claims.get(names.claim_of(pod.name))
        waited = memory.lacking_seconds.get((WAITING, pod.name), 0.0)
        if claim is not None and not claim.bound and waited >= GRACE_SECONDS:
            key = (CLAIM, claim.name)
            asked[key] = Question(key, claim.uid, (pod.name,), waited, None, UNBOUND_REASONS)
    return asked


def ask_after_seconds(question: Question) -> float:
    """How long after its last reading the events are read again."""
    return min(max(ASK_FIRST_SECONDS, question.seconds / 4), ASK_SELDOM_SECONDS)


def newest_refusal(events: Iterable[Body], question: Question, now: datetime) -> str:
    """The message of the newest event that explains the absence; "" when none does."""
    dated = []
    for event in events:
        at = _event_time(event)
        about = event.get("involvedObject") or {}
        message = " ".join(str(event.get("message") or "").split())
        if at is None or not message or (question.uid and about.get("uid") not in (None, "", question.uid)):
            continue
        if question.older_seconds is None or (now - at).total_seconds() <= question.older_seconds:
            named = any(word.strip('",:') in question.pods for word in message.split())
            dated.append((named, at, message))
    return max(dated)[2] if dated else ""


def _event_time(event: Body) -> datetime | None:
    """When it last happened: of a series, of an event that is counted, or of a single one."""
    meta = event.get("metadata") or {}
    series = event.get("series") or {}
    texts = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    text = next((text for text in (*texts, meta.get("creationTimestamp")) if text), "")
    try:
        at = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return at if at.tzinfo is not None else None


def _region(store: str, region: str, observed: Observed, memory: Memory, *, paused: bool) -> Lacking | None:
    seconds = memory.lacking_seconds
    absent = _absent(store, region, observed, memory)
    stateful_set = names.region_object(store, region)
    problems: dict[str, list[str]] = {}
    lasts = bool(absent)
    longest = max((seconds[ABSENT, name] for name in absent), default=0.0)
    for name in absent:
        why = observed.refusals.get(set_key(store, region)) or f"see the events of StatefulSet/{stateful_set}"
        if name in observed.left_behind:
            why = f"one of a deleted store has its name, and {_silent(observed.left_behind[name])}"
        problems.setdefault(f"no pod was created; {why[:SHOWN_MESSAGE]}", []).append(name)
    if not paused and seconds.get((NO_SET, stateful_set), 0.0) >= STUCK_SECONDS:
        lasts = True
        problems["no pod was created; the StatefulSet does not exist yet"] = [stateful_set]
    for pod in observed.region(region).pods:
        ending = seconds.get((ENDING, pod.name), 0.0)
        if ending >= pod.grace_seconds + LATE_SECONDS:
            problems.setdefault(f"it is being deleted, and {_silent(pod.node)}", []).append(pod.name)
            lasts, longest = True, max(longest, ending)
        why = why_not_started(pod, observed)
        waited = seconds.get((WAITING, pod.name), 0.0)
        if why and (pod.problem or waited >= GRACE_SECONDS):
            problems.setdefault(why[:SHOWN_MESSAGE], []).append(pod.name)
            lasts = lasts or waited >= STUCK_SECONDS
            longest = max(longest, waited)
    if not problems:
        return None
    shown = list(problems.items())[:SHOWN_KINDS]
    text = "; ".join(f"{', '.join(pods)}: {problem}" for problem, pods in shown)
    created = not absent and (NO_SET, stateful_set) not in seconds
    return Lacking(NOT_STARTED if created else NOT_CREATED, text, lasts, longest >= GIVEN_UP_SECONDS)


def _silent(node: str) -> str:
    return f"node {node} does not report that it has ended"


def _absent(store: str, region: str, observed: Observed, memory: Memory) -> tuple[str, ...]:
    """Pods that have been missing for more than a moment."""
    seconds = memory.lacking_seconds
    return tuple(
        name for name in missing_pods(store, region, observed) if seconds.get((ABSENT, name), 0.0) >= GRACE_SECONDS
    )
