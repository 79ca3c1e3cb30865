"""Conditions of a store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from rstore_api.domain.kubernetes import PAUSED

from rstore_operator.facts.without_tenure import NO_TENURE
from rstore_operator.planning.conditions.backup_healthy import BACKUP_HEALTHY
from rstore_operator.planning.conditions.finding import Finding
from rstore_operator.planning.conditions.in_sync import UNCONFIRMED, Judgement
from rstore_operator.planning.conditions.kstatus import kstatus
from rstore_operator.planning.conditions.lacking_pods import Lacking
from rstore_operator.planning.conditions.not_connected import NOT_CONNECTED
from rstore_operator.planning.conditions.unreached import NOT_REACHED
from rstore_operator.planning.rollout.steps import NO_ROLLOUT, Rollout
from rstore_operator.resource.model import StoreSpec
from rstore_operator.resource.reader import Problem
from rstore_operator.resource.state import Condition, FailoverIntent, RegionStatus, Step, StoreStatus

AUTHORITY_CHANGING = "AuthorityChanging"
"""Type of the condition that is there while an authority that was replaced is still trusted."""
ACCESS_IN_FORCE = "AccessInForce"
"""Type of the condition that says whether every replica enforces the access rules; only where there are some."""
CLIENT_ENDPOINTS_ADVERTISED = "ClientEndpointsAdvertised"
"""Type of the condition that says whether every region lists the addresses in spec.regions[].clientEndpoints; only
where there are some."""
VOLUMES_GROWING = "VolumesGrowing"
"""Type of the condition that is there while volumes are made larger."""
OF_OBJECTS = frozenset({AUTHORITY_CHANGING, VOLUMES_GROWING})
ROLLOUT_BLOCKED = "RolloutBlocked"
"""Type of the condition that is there while a roll does not go on by itself."""
ROLLING_OUT = "RollingOut"
"""Reason of the condition Progressing."""
LIMIT = 1000
"""Longest message, in characters."""


@dataclass(frozen=True)
class Situation:
    """All that conditions speak of. ``problems`` are things that are wrong now, by reason."""

    spec: StoreSpec | None
    spec_problems: tuple[Problem, ...]
    regions: tuple[RegionStatus, ...]
    primary_region: str
    writable: bool
    ready_pods: int
    """Pods of the primary region that Services send clients to."""
    intent: FailoverIntent | None
    in_sync: Judgement
    waiting: str
    problems: tuple[tuple[str, str], ...]
    pending_changes: int
    replica_changes: tuple[str, ...]
    paused: bool
    blocked: str
    blocked_reason: str
    rejected: tuple[str, str] | None
    accepted: bool
    dry_run: tuple[bool, str] | None
    pending: tuple[str, str] | None = None
    """Why a request waits: reason and message."""
    no_tenure: str = ""
    """Why the primary acknowledges nothing although it accepts writes."""
    unreached: str = ""
    """Why it is unknown whether the primary accepts writes."""
    unknown_annotations: str = ""
    """What is reported of annotations that nobody answers."""
    not_connected: tuple[str, ...] = ()
    """What is reported of regions that should get the primary's changes and do not."""
    divergence: tuple[bool, str] | None = None
    """Whether regions hold different data, as far as that was found out anew."""
    lacking: Mapping[str, Lacking] = field(default_factory=dict)
    """Which pods are not there, and why, by region."""
    objects: tuple[Finding, ...] = ()
    """Conditions about changes of objects that take their time."""
    rollout: Rollout = NO_ROLLOUT
    restoring: str = ""
    """What a restore is doing that clients wait for."""
    changes_wait: bool = False
    """Whether something would be changed if the store were not paused."""


def findings(situation: Situation) -> list[Finding]:
    """Every condition that has something to say now."""
    conditions = [_valid(situation), _ready(situation), _progressing(situation), _degraded(situation)]
    conditions.append(Finding("InSync", *situation.in_sync))
    if situation.blocked:
        conditions.append(Finding("FailoverBlocked", True, situation.blocked_reason, situation.blocked))
    else:
        conditions.append(
            Finding("FailoverBlocked", False, "NothingPending", "no change of the primary region is waiting")
        )
    conditions += _automatic(situation)
    if situation.paused:
        message = f'nothing is changed until the annotation {PAUSED}: "true" is removed'
        conditions.append(Finding("Paused", True, "Annotation", message))
    if situation.unknown_annotations:
        conditions.append(Finding("UnknownAnnotation", True, "NotKnown", situation.unknown_annotations))
    if situation.rejected is not None:
        conditions.append(Finding(REQUEST_ACCEPTED, False, *situation.rejected))
    elif situation.accepted:
        conditions.append(
            Finding(REQUEST_ACCEPTED, True, "SwitchoverStarted", "the switchover that was asked for has begun")
        )
    if situation.pending is not None:
        conditions.append(Finding(REQUEST_PENDING, True, *situation.pending))
    conditions += situation.objects
    if situation.rollout.blocked is not None:
        blocked = situation.rollout.blocked
        conditions.append(Finding(ROLLOUT_BLOCKED, True, blocked.reason, blocked.message))
    if situation.divergence is not None:
        differ, message = situation.divergence
        conditions.append(Finding("Diverged", differ, "HashesDiffer" if differ else "HashesEqual", message))
    if situation.dry_run is not None:
        possible, message = situation.dry_run
        conditions.append(Finding(DRY_RUN, possible, "Possible" if possible else "Refused", message))
    stuck = "; ".join(f"{name}: {lacking.text}" for name, lacking in situation.lacking.items() if lacking.stuck)
    return [*conditions, *kstatus(conditions, stuck)]


def is_rolling(status: StoreStatus) -> bool:
    """Whether a roll is shown."""
    progressing = status.condition("Progressing")
    shown = progressing is not None and progressing.status == "True" and progressing.reason == ROLLING_OUT
    return shown or status.condition(ROLLOUT_BLOCKED) is not None


EVEN_REPLICAS = "EvenReplicas"
"""Reason of the condition SpecValid, which is true, where a region has a replica that does not make it safer."""
REQUEST_ACCEPTED, DRY_RUN = "RequestAccepted", "DryRun"
REQUEST_PENDING = "RequestPending"
"""Type of the condition that is there while ``failover-to`` waits."""
ANSWERS = frozenset({REQUEST_ACCEPTED, DRY_RUN})
"""Conditions that answer an annotation."""
STICKY = ANSWERS | {"Diverged"}
"""Conditions that stay as they are until there is something new to say."""
OF_VALID_SPEC = frozenset({"AutomaticFailover", "AutomaticFailback", "ReplicasChanging", BACKUP_HEALTHY})
"""Conditions that say something about a valid spec, and stay while it is invalid."""


def merge(
    before: Sequence[Condition], found: Sequence[Finding], *, generation: int, now: datetime, new_epoch: bool = False
) -> tuple[Condition, ...]:
    """The new conditions; a time changes only with its status. Sticky ones stay when there is nothing new to say.

    The answer to a request stays until the next request is answered; that to a dry run at most as long as the epoch.
    Each keeps its place, so that one that comes and goes is no reason to write the others.
    """
    old = {condition.type: condition for condition in before}
    merged = []
    for finding in found:
        status = {True: "True", False: "False", None: "Unknown"}[finding.status]
        earlier = old.get(finding.type)
        changed = earlier is None or earlier.status != status
        since = now if earlier is None or changed else earlier.last_transition_time
        message = finding.message[:LIMIT]
        merged.append(Condition(finding.type, status, finding.reason, message, generation, since))
    present = {condition.type for condition in merged}
    invalid = any(finding.type == "SpecValid" and finding.status is False for finding in found)
    staying = STICKY | OF_VALID_SPEC if invalid else STICKY
    if ANSWERS & present:
        staying -= ANSWERS
    elif new_epoch:
        staying -= {DRY_RUN}
    kept = [condition for condition in before if condition.type in staying and condition.type not in present]
    places = {condition.type: place for place, condition in enumerate(before)}
    return tuple(sorted([*merged, *kept], key=lambda condition: places.get(condition.type, len(places))))


def _valid(situation: Situation) -> Finding:
    if situation.spec_problems:
        unsupported = all("not supported" in problem.message for problem in situation.spec_problems)
        text = "; ".join(str(problem) for problem in situation.spec_problems)
        return Finding("SpecValid", False, "NotSupported" if unsupported else "Invalid", text)
    even = [
        f"{region.name} has {region.replicas} replicas and bears the loss of no more of them than {region.replicas - 1}"
        for region in (situation.spec.regions if situation.spec else ())
        if region.replicas % 2 == 0
    ]
    if even:
        return Finding("SpecValid", True, EVEN_REPLICAS, f"the spec is valid, but {'; '.join(even)}")
    return Finding("SpecValid", True, "Valid", "the spec is valid")


def _ready(situation: Situation) -> Finding:
    if situation.intent is not None and (not situation.writable or situation.no_tenure):
        return Finding("Ready", False, "SwitchingOver", _intent_text(situation.intent))
    if not situation.primary_region:
        return Finding("Ready", False, "NotBootstrapped", situation.waiting or "the store is being created")
    if situation.restoring:
        return Finding("Ready", False, "Restoring", situation.restoring)
    if situation.unreached:
        return Finding("Ready", None, NOT_REACHED, situation.unreached)
    if not situation.writable:
        return Finding("Ready", False, "NoPrimary", f"the primary region {situation.primary_region} accepts no writes")
    if situation.no_tenure:
        return Finding("Ready", False, NO_TENURE, situation.no_tenure)
    if not situation.ready_pods:
        message = f"{situation.primary_region} accepts writes, but none of its pods is ready: Services lead nowhere"
        return Finding("Ready", False, "NoReadyReplica", message)
    return Finding("Ready", True, "PrimaryAcceptsWrites", f"{situation.primary_region} accepts writes")


def _progressing(situation: Situation) -> Finding:
    if situation.intent is not None:
        return Finding("Progressing", True, "SwitchingOver", _intent_text(situation.intent))
    if situation.spec is None:
        return Finding("Progressing", False, "InvalidSpec", "nothing is changed until the spec is valid")
    if situation.changes_wait:
        message = f"changes wait until the annotation {PAUSED} is removed"
        return Finding("Progressing", None, "Paused", "; ".join((message, *situation.replica_changes)))
    if situation.waiting:
        return Finding("Progressing", True, "Creating", situation.waiting)
    if situation.restoring:
        return Finding("Progressing", True, "Restoring", situation.restoring)
    if situation.rollout.message:
        return Finding("Progressing", True, ROLLING_OUT, situation.rollout.message)
    incomplete = [region.name for region in situation.regions if region.phase in ("Pending", "Creating", "Removing")]
    if incomplete:
        problems = "".join(f"; {situation.lacking[name].text}" for name in incomplete if name in situation.lacking)
        return Finding("Progressing", True, "Regions", f"under way: {', '.join(incomplete)}{problems}")
    catching_up = [f"{region.name} {region.message}" for region in situation.regions if region.phase == "CatchingUp"]
    if catching_up:
        return Finding("Progressing", True, "CatchingUp", "; ".join(catching_up))
    if situation.replica_changes:
        return Finding("Progressing", True, "Scaling", "; ".join(situation.replica_changes))
    growing = next((finding for finding in situation.objects if finding.type == VOLUMES_GROWING), None)
    if growing is not None:
        return Finding("Progressing", True, VOLUMES_GROWING, growing.message)
    if situation.pending_changes:
        return Finding("Progressing", True, "Applying", f"{situation.pending_changes} objects are being changed")
    return Finding("Progressing", False, "Steady", "everything is as the spec wants it")


def _intent_text(intent: FailoverIntent) -> str:
    target = intent.to_region or "the region with most data"
    text = f"{intent.step.value}: from {intent.from_region} to {target}, epoch {intent.epoch}"
    if intent.step is Step.CATCHING_UP:
        text += f", waiting for revision {intent.final_revision}"
    elif intent.step is Step.WAITING:
        text += ", waiting until the old primary's tenure has run out"
    return f"{text}; {intent.reason}" if intent.reason else text


def _degraded(situation: Situation) -> Finding:
    reasons = list(situation.problems)
    for region in situation.regions:
        lacking = situation.lacking.get(region.name)
        if region.phase == "Lost":
            reasons.append(("RegionLost", f"{region.name}: {region.message}"))
        elif region.phase == "Degraded":
            text = f"{region.ready_replicas} of {region.replicas} replicas are ready"
            if not region.leader:
                text += f", {region.message}"
            elif lacking is not None:
                text += f", {lacking.text}"
            reasons.append(("ReplicasMissing", f"{region.name}: {text}"))
        elif region.phase in ("Pending", "Creating", "Ready") and lacking is not None and lacking.lasts:
            reasons.append((lacking.reason, f"{region.name}: {lacking.text}"))
    reasons += [(NOT_CONNECTED, text) for text in situation.not_connected]
    in_sync, why, message = situation.in_sync
    if in_sync is False and why in UNCONFIRMED:
        reasons.append((why, message))
    if not reasons:
        return Finding("Degraded", False, "AsExpected", "nothing is missing")
    return Finding("Degraded", True, reasons[0][0], "; ".join(message for _, message in reasons))


def _automatic(situation: Situation) -> list[Finding]:
    if situation.spec is None:
        return []
    conditions, failover = [], situation.spec.failover
    if failover.policy != "Automatic":
        conditions.append(Finding("AutomaticFailover", False, "PolicyManual", "spec.failover.policy is Manual"))
    elif len(situation.spec.regions) < 2:
        conditions.append(Finding("AutomaticFailover", False, "OneRegion", "there is no other region to fail over to"))
    else:
        message = f"a lost primary region is replaced after {failover.failover_delay_ms / 1000:g} s"
        conditions.append(Finding("AutomaticFailover", True, "Armed", message))
    if failover.failback == "Automatic":
        message = f"after a failover the primary goes back to {situation.spec.primary_region} once that is well"
        conditions.append(Finding("AutomaticFailback", True, "Armed", message))
    if situation.replica_changes and not situation.changes_wait:
        message = "; ".join(situation.replica_changes)
        conditions.append(Finding("ReplicasChanging", True, "Scaling", message))
    return conditions
