"""The condition ``BackupHealthy``: whether the archive of a store is as its spec wants it.

It is about the archive alone: a store without one is ready, and writes never wait for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from rstore_backup.report import DrillResult, Phase, Problem, Report

from rstore_operator.facts.actions import Notice
from rstore_operator.facts.archiver import ArchiverObserved
from rstore_operator.planning.conditions.finding import Finding
from rstore_operator.resource.backup import BackupSpec
from rstore_operator.resource.state import BackupDrill, StoreStatus

BACKUP_HEALTHY = "BackupHealthy"
SUSPENDED, NOT_STARTED, NOT_ANSWERING, ARCHIVING = "Suspended", "NotStarted", "NotAnswering", "Archiving"
BEHIND, BASE_LATE, NO_BASE, LOG_LOST = "Behind", "BaseLate", "NoBase", "LogLost"
DRILL_FAILED, DRILL_LATE = "DrillFailed", "DrillLate"
MIN_BEHIND_SECONDS = 60.0
BEHIND_INTERVALS = 5
"""The log is behind when its oldest row has waited for so many intervals, and for MIN_BEHIND_SECONDS."""
TRANSIENT = frozenset({Problem.CANNOT_WRITE, Problem.CANNOT_READ})
"""What may be over at the next try."""
PATIENCE_SECONDS = 30.0
"""For how long what may be over at the next try is not reported."""


def backup_healthy(
    spec: BackupSpec | None,
    archiver: ArchiverObserved,
    deployment: Mapping[str, Any] | None,
    drill: BackupDrill | None,
    now: datetime,
) -> Finding | None:
    """The finding; None for a store without backup. Its message has no numbers that move all the time. ``deployment``
    is the archiver's, as it is in the cluster, and ``drill`` the last one."""
    if spec is None:
        return None
    if spec.suspend:
        return Finding(BACKUP_HEALTHY, None, SUSPENDED, "nothing is archived while spec.backup.suspend is true")
    report = archiver.report
    if report is None:
        return _without_report(archiver, deployment)
    error = report.error
    if error is not None:
        lasts = (report.time_ms - error.since_ms) / 1000
        if error.problem not in TRANSIENT or lasts >= PATIENCE_SECONDS:
            return Finding(BACKUP_HEALTHY, False, error.problem.value, error.text)
    if report.phase is Phase.STARTING:
        return Finding(BACKUP_HEALTHY, None, NOT_STARTED, "the archiver has not seen archive and store yet")
    return (
        _behind(spec, report)
        or _bases(spec, report, now)
        or _drills(spec, report, drill, now)
        or _archiving(spec, report)
    )


def is_unsettled(finding: Finding | None) -> bool:
    """Whether it is not known yet if the archive is as it should be: then it is soon."""
    return finding is not None and finding.status is None and finding.reason != SUSPENDED


def _without_report(archiver: ArchiverObserved, deployment: Mapping[str, Any] | None) -> Finding:
    pod = archiver.pod
    if pod is None:
        refusal = refusal_of(deployment)
        if refusal:
            return Finding(BACKUP_HEALTHY, False, NOT_STARTED, f"the archiver's pod cannot be created: {refusal}")
        return Finding(BACKUP_HEALTHY, None, NOT_STARTED, "the archiver's pod is not there yet")
    if pod.problem:
        return Finding(BACKUP_HEALTHY, False, NOT_STARTED, f"{pod.name}: {pod.problem}")
    if not pod.ip:
        return Finding(BACKUP_HEALTHY, None, NOT_STARTED, f"{pod.name} does not run yet")
    return Finding(BACKUP_HEALTHY, None, NOT_ANSWERING, f"{pod.name} does not report: {archiver.silence or 'not yet'}")


def refusal_of(deployment: Mapping[str, Any] | None) -> str:
    """Why the Deployment's pod is not created, as its controller says; "" if it does not."""
    conditions = ((deployment or {}).get("status") or {}).get("conditions") or ()
    failed = (item for item in conditions if item.get("type") == "ReplicaFailure" and item.get("status") == "True")
    return next((str(item.get("message") or "") for item in failed), "")


def _behind(spec: BackupSpec, report: Report) -> Finding | None:
    allowed = max(MIN_BEHIND_SECONDS, BEHIND_INTERVALS * spec.log_interval_ms / 1000)
    if report.lag_seconds <= allowed:
        return None
    text = f"rows wait for longer than {allowed:g} s to be archived; a loss of every region now would lose them"
    return Finding(BACKUP_HEALTHY, False, BEHIND, text)


def _bases(spec: BackupSpec, report: Report, now: datetime) -> Finding | None:
    """Whether there is a base, and whether one of the last two that were due was made."""
    if not report.first_recoverable_revision or report.last_base is None:
        doing = "it is being made" if report.making is not None else "none is being made"
        if report.hole:
            text = f"{report.hole}; nothing later can be restored before there is a new base; {doing}"
            return Finding(BACKUP_HEALTHY, False, LOG_LOST, text)
        return Finding(BACKUP_HEALTHY, None, NO_BASE, f"nothing can be restored before there is a base; {doing}")
    due = spec.schedule.before(spec.schedule.before(now))
    made = datetime.fromtimestamp(report.last_base.time_ms / 1000, UTC)
    if made >= due:
        return None
    text = f"no base was made since {made:%Y-%m-%d %H:%M} UTC, though the schedule is {spec.schedule.text}"
    return Finding(BACKUP_HEALTHY, False, BASE_LATE, text)


def _drills(spec: BackupSpec, report: Report, drill: BackupDrill | None, now: datetime) -> Finding | None:
    """Whether the last drill has failed, or neither of the last two that were due was made."""
    if drill is None:
        return None  # the first one is made as soon as something can be restored
    if drill.result is DrillResult.FAILED:
        text = f"the drill at {drill.time:%Y-%m-%d %H:%M} UTC has failed: {drill.message}"
        return Finding(BACKUP_HEALTHY, False, DRILL_FAILED, text)
    schedule = spec.drill_schedule
    if schedule is None or report.drilling is not None or drill.time >= schedule.before(schedule.before(now)):
        return None
    text = f"no drill was made since {drill.time:%Y-%m-%d %H:%M} UTC, though their schedule is {schedule.text}"
    return Finding(BACKUP_HEALTHY, False, DRILL_LATE, text)


def _archiving(spec: BackupSpec, report: Report) -> Finding:
    text = f"what {report.region} has is archived in {spec.destination}"
    return Finding(BACKUP_HEALTHY, True, ARCHIVING, f"{text}; before that {report.hole}" if report.hole else text)


def backup_notices(before: StoreStatus, after: StoreStatus) -> Iterator[Notice]:
    """An event when the archive begins to be not as it should, when the reason changes, and when that is over; one for
    what was lost to it, also where a new base was there at once; and one for each drill that has succeeded."""
    earlier, now = before.condition(BACKUP_HEALTHY), after.condition(BACKUP_HEALTHY)
    if now is None:
        return
    hole, known = after.backup.hole if after.backup else "", before.backup.hole if before.backup else ""
    if hole and hole != known:
        yield Notice(f"Backup{LOG_LOST}", f"{hole}; later moments can be restored from a new base on", warning=True)
    was_wrong = earlier is not None and earlier.status == "False"
    said = now.reason == LOG_LOST
    if now.status == "False" and not said and not (was_wrong and earlier is not None and earlier.reason == now.reason):
        yield Notice(f"Backup{now.reason}", now.message, warning=True)
    drill, last = after.backup and after.backup.last_drill, before.backup and before.backup.last_drill
    if drill and drill != last and drill.result is DrillResult.SUCCEEDED:
        yield Notice(
            "BackupDrillSucceeded", f"{drill.message}; RTO {drill.rto_seconds:g} s, RPO {drill.rpo_seconds:g} s"
        )
    if now.status == "True" and (earlier is None or earlier.status != "True"):
        yield Notice("BackupArchiving", now.message)
