"""Bases that somebody asks for: which the archiver is asked to make, and what their status shows.

An archiver makes a base once for each request that it is given, and reports which request a base answers: so requests
are repeated until that is seen, and whoever is killed in between, the next look goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from rstore_api.domain.limits import MAX_BASE_REQUESTS
from rstore_backup.report import BaseReport, Report

from rstore_operator.facts.actions import UpdateRequestedBase
from rstore_operator.facts.archiver import ArchiverObserved
from rstore_operator.resource.backup import BackupSpec
from rstore_operator.resource.model import StoreRef
from rstore_operator.resource.requested_base import BasePhase, BaseStatus, RequestedBase
from rstore_operator.specs.labels import owner_reference

NO_BACKUP = "the store has no spec.backup"
SUSPENDED = "spec.backup.suspend is true"


@dataclass(frozen=True)
class RequestsPlan:
    """What to write to the objects; ``waits`` is whether one of them is not complete."""

    updates: tuple[UpdateRequestedBase, ...] = ()
    waits: bool = False


def requests_of(bases: Iterable[RequestedBase]) -> tuple[str, ...]:
    """The requests that the archiver is given: the oldest that are not complete, by the uids of their objects."""
    waiting = sorted((base.created_at, base.uid) for base in bases if not base.is_done)
    return tuple(uid for _, uid in waiting[:MAX_BASE_REQUESTS])


def plan_requested(
    ref: StoreRef, spec: BackupSpec | None, bases: Iterable[RequestedBase], archiver: ArchiverObserved
) -> RequestsPlan:
    """Returns what to write."""
    updates, waits = [], False
    for base in bases:
        status = base.status
        if status is None or not base.is_done:
            status = _status(base, spec, archiver.report)
        waits = waits or status.phase is not BasePhase.COMPLETED
        owners = None if base.retain else _with_owner(ref, base)
        if owners is not None or status != base.status:
            updates.append(UpdateRequestedBase(base.name, base.uid, base.resource_version, status, owners))
    return RequestsPlan(tuple(updates), waits)


def _with_owner(ref: StoreRef, base: RequestedBase) -> tuple[dict[str, object], ...] | None:
    """The owners with the store among them; None where it is."""
    if any(owner.get("uid") == ref.uid for owner in base.owners):
        return None
    mine = {**owner_reference(ref), "controller": False, "blockOwnerDeletion": False}
    return (*(dict(owner) for owner in base.owners), mine)


def _status(base: RequestedBase, spec: BackupSpec | None, report: Report | None) -> BaseStatus:
    before = base.status or BaseStatus()
    for made in _made(report):
        if made.request == base.uid:
            return BaseStatus(
                BasePhase.COMPLETED,
                revision=made.revision,
                size_bytes=made.size_bytes,
                started_at=_time(made.time_ms - made.duration_ms),
                completed_at=_time(made.time_ms),
            )
    if spec is None or spec.suspend:
        return BaseStatus(error=NO_BACKUP if spec is None else SUSPENDED)
    if report is None:
        return before
    making, error = report.making, report.error.text if report.error is not None else ""
    if making is not None and making.request == base.uid:
        began = _time(making.begun_ms)
        return BaseStatus(BasePhase.RUNNING, making.revision, started_at=began, error=error)
    return BaseStatus(error=error)


def _made(report: Report | None) -> Iterator[BaseReport]:
    if report is not None:
        yield from report.bases
        if report.last_base is not None:
            yield report.last_base


def _time(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(max(0, milliseconds) // 1000, UTC)
