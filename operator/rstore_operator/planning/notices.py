"""Kubernetes Events, found by comparing two statuses: what happened that a person would want to know."""

from __future__ import annotations

from collections.abc import Iterator

from rstore_operator.facts.actions import Notice
from rstore_operator.facts.without_tenure import NO_TENURE
from rstore_operator.planning.conditions.backup_healthy import backup_notices
from rstore_operator.planning.conditions.conditions import EVEN_REPLICAS, ROLLOUT_BLOCKED, VOLUMES_GROWING
from rstore_operator.planning.conditions.in_sync import UNCONFIRMED, sync_notices
from rstore_operator.planning.conditions.lacking_pods import LACKS
from rstore_operator.planning.conditions.not_connected import NOT_CONNECTED, connection_notices
from rstore_operator.planning.conditions.restored import restore_notices
from rstore_operator.planning.hashes import DIVERGED, differing_regions
from rstore_operator.resource.state import (
    PLANNED,
    FailoverIntent,
    Outcome,
    QuarantinedTail,
    Receipt,
    RegionStatus,
    Step,
    StoreStatus,
)

BLOCKED_REASONS = {"SwitchoverBlocked": "SwitchoverBlocked"}
"""Event reasons that differ from the condition's type, by the condition's reason."""
REPORTED_ELSEWHERE = frozenset({"RegionLost", "ReplicasMissing", NOT_CONNECTED, *UNCONFIRMED})
"""Reasons of the condition Degraded that have events of their own."""


def notices(before: StoreStatus, after: StoreStatus) -> tuple[Notice, ...]:
    """One event per change worth reporting; the same two statuses give the same events."""
    kinds = (
        _bootstrap,
        _conditions,
        _tenure,
        _regions,
        connection_notices,
        _hashes,
        sync_notices,
        backup_notices,
        restore_notices,
        _failover,
    )
    return tuple(notice for look in kinds for notice in look(before, after))


def _bootstrap(before: StoreStatus, after: StoreStatus) -> Iterator[Notice]:
    if not before.epoch and after.epoch:
        yield Notice(
            "Bootstrapped", f"store {after.store_id} runs; {after.primary_region} is primary of epoch {after.epoch}"
        )


def _conditions(before: StoreStatus, after: StoreStatus) -> Iterator[Notice]:
    """Conditions whose message is news in itself."""
    tell = {
        "SpecValid": ("False", "InvalidSpec", True),
        "FailoverBlocked": ("True", "", True),
        ROLLOUT_BLOCKED: ("True", ROLLOUT_BLOCKED, True),
        "ReplicasChanging": ("True", "ReplicasChanging", False),
        VOLUMES_GROWING: ("True", VOLUMES_GROWING, False),
        "Paused": ("True", "Paused", False),
        "UnknownAnnotation": ("True", "UnknownAnnotation", True),
    }
    for condition in after.conditions:
        if condition.type not in tell:
            continue
        status, reason, warning = tell[condition.type]
        if condition.reason == EVEN_REPLICAS:
            status, reason = "True", EVEN_REPLICAS
        earlier = before.condition(condition.type)
        news = earlier is None or (earlier.status, earlier.message) != (condition.status, condition.message)
        if news and condition.status == status and condition.message:
            yield Notice(reason or BLOCKED_REASONS.get(condition.reason, condition.type), condition.message, warning)
    if before.condition("Paused") and not after.condition("Paused"):
        yield Notice("Resumed", "the operator changes things again")
    problems = after.condition("Degraded")
    earlier = before.condition("Degraded")
    if problems is None or problems.status != "True" or problems.reason in REPORTED_ELSEWHERE:
        return
    if problems.reason in LACKS and earlier is not None and earlier.reason == problems.reason:
        return  # what a quota or a registry says differs from one try to the next, which is no news
    if earlier is None or earlier.message != problems.message:
        yield Notice(problems.reason, problems.message, warning=True)


def _tenure(before: StoreStatus, after: StoreStatus) -> Iterator[Notice]:
    """When the primary stops acknowledging for want of a tenure, and when that is over."""
    earlier, ready = before.condition("Ready"), after.condition("Ready")
    was, is_now = (condition is not None and condition.reason == NO_TENURE for condition in (earlier, ready))
    if is_now and not was and ready is not None:
        yield Notice(NO_TENURE, ready.message, warning=True)
    elif was and ready is not None and ready.status == "True":
        yield Notice("TenureHeld", f"{after.primary_region} holds its tenure: writes are acknowledged again")


def _regions(before: StoreStatus, after: StoreStatus) -> Iterator[Notice]:
    for region in after.regions:
        earlier = before.region(region.name)
        phase = earlier.phase if earlier else ""
        if region.phase == phase:
            continue
        if region.phase == "Ready":
            yield Notice(
                "RegionReady",
                f"{region.name}: {region.ready_replicas} of {region.replicas} replicas ready, led by {region.leader}",
            )
        elif region.phase == "Lost":
            yield Notice("RegionLost", f"{region.name}: {region.message}", warning=True)
        elif region.phase == "CatchingUp":
            yield Notice("RegionCatchingUp", f"{region.name} {region.message}")
        elif region.phase == "Removing":
            yield Notice("RegionRemoving", f"{region.name} was removed from the spec")
    for region in after.regions:
        earlier = before.region(region.name)
        yield from _tails(region, earlier.quarantined if earlier else ())
    gone = {region.name for region in before.regions} - {region.name for region in after.regions}
    for name in sorted(gone):
        yield Notice("RegionRemoved", f"{name} is gone")


def _hashes(before: StoreStatus, after: StoreStatus) -> Iterator[Notice]:
    """An event for each new set of regions that differ, not at every revision at which they are compared."""
    differed, differing = differing_regions(before), differing_regions(after)
    condition = after.condition(DIVERGED)
    if differing == differed or condition is None:
        return
    if differing:
        yield Notice(DIVERGED, condition.message, warning=True)
    elif condition.status == "False":
        yield Notice(condition.reason, condition.message)


def _tails(region: RegionStatus, before: tuple[QuarantinedTail, ...]) -> Iterator[Notice]:
    """New tails. Where one was dropped, an older one may be among the newest again, which is no news."""
    newest = max((tail.replaced_by_epoch for tail in before), default=0)
    for tail in region.quarantined:
        if tail in before or tail.replaced_by_epoch < newest:
            continue
        yield Notice(
            "TailQuarantined",
            f"{region.name} had revisions {tail.first_revision} to {tail.last_revision} of its own, up to epoch "
            f"{tail.epoch} ({tail.revisions} revisions, {tail.rows} rows, {tail.size_bytes} bytes); they are kept as "
            f"{tail.file}: `rstore quarantine list`, `diff`, `replay`",
            warning=True,
        )


def _failover(before: StoreStatus, after: StoreStatus) -> Iterator[Notice]:
    seen = set(before.failover.steps) if before.failover else set()
    intent = after.failover
    if intent is not None:
        for step in intent.steps:
            if step not in seen:
                yield _step_notice(intent, step.name)
    if len(after.history) > len(before.history) or _newest(after) != _newest(before):
        receipt = after.history[-1]
        if receipt.mode != PLANNED:
            yield _failover_over(receipt)
        elif receipt.outcome is Outcome.SUCCEEDED:
            yield Notice(
                "SwitchoverSucceeded",
                f"{receipt.to_region} is primary of epoch {receipt.epoch} after revision {receipt.final_revision}; "
                f"writes waited at most {receipt.write_gap_seconds:g} s",
            )
        else:
            yield Notice(
                "SwitchoverAborted",
                f"{receipt.from_region} stays primary, in epoch {receipt.epoch}: {receipt.reason}",
                warning=True,
            )


def _newest(status: StoreStatus) -> tuple[int, str] | None:
    return (status.history[-1].epoch, status.history[-1].to_region) if status.history else None


def _failover_over(receipt: Receipt) -> Notice:
    reason = "FailoverSucceeded" if receipt.outcome is Outcome.SUCCEEDED else "FailoverCalledOff"
    missing = f"{receipt.revisions_lost} revisions of {receipt.from_region} are known to be missing"
    if receipt.acknowledged_kept:
        missing = f"nothing that was acknowledged is missing; {receipt.revisions_unacknowledged} other revisions are"
    text = (
        f"{receipt.to_region} is primary of epoch {receipt.epoch} after revision {receipt.final_revision}, "
        f"{missing}; writes waited about {receipt.write_gap_seconds:g} s"
    )
    return Notice(reason, f"{text}; {receipt.reason}" if receipt.reason else text, warning=True)


def _step_notice(intent: FailoverIntent, step: Step) -> Notice:
    planned = intent.mode == PLANNED
    texts = {
        Step.DEMOTING: f"from {intent.from_region} to {intent.to_region}, epoch {intent.epoch}; {intent.reason}",
        Step.CATCHING_UP: f"{intent.to_region} needs revision {intent.final_revision}",
        Step.FENCING: f"{intent.mode}: {intent.from_region} is replaced in epoch {intent.epoch}; {intent.reason}",
        Step.WAITING: f"a majority has promised epoch {intent.epoch}; the old primary's tenure runs out",
        Step.PROMOTING: f"{intent.to_region} has revision {intent.final_revision}",
        Step.REVERTING: f"{intent.from_region} becomes primary again: {intent.reason}",
        Step.REPOINTING: f"{intent.promoted} is primary of epoch {intent.epoch}",
    }
    warning = step is Step.REVERTING or not planned
    kind = "Switchover" if planned or step in (Step.DEMOTING, Step.CATCHING_UP, Step.REVERTING) else "Failover"
    return Notice(f"{kind}{step.value}", texts[step].rstrip("; "), warning=warning)
