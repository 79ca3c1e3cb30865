"""Bases that somebody asks for: which the archiver is asked to make, and what their status shows.

An archiver makes a base once for each request that it is given, and reports which request a base answers: so requests
are repeated until that is seen, and whoever is killed in between, the next look goes on.

One that cannot be made fails: what has failed stays so, and is not asked for any more. The archive may have a base for
it nevertheless, where the archiver was faster than the news; that is a base as any other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from msgspec.structs import replace
from rstore_api.domain.limits import MAX_BASE_REQUESTS
from rstore_backup.report import BaseReport, Problem, Report

from rstore_operator.facts.actions import UpdateRequestedBase
from rstore_operator.facts.archiver import ArchiverObserved
from rstore_operator.resource.backup import BackupSpec
from rstore_operator.resource.model import StoreRef
from rstore_operator.resource.requested_base import DONE, BaseArchive, BasePhase, BaseStatus, RequestedBase
from rstore_operator.resource.units import parse_time
from rstore_operator.specs.labels import owner_reference

NO_BACKUP = "the store has no spec.backup"
SUSPENDED = "spec.backup.suspend is true"
INVALID = "the spec of the store is invalid"
RESTORING = "the store is being restored"
ABSENT_SECONDS = 120.0
"""How long after a request the store, or its ``spec.backup``, may come: they may be applied together."""
PERMANENT = frozenset(
    {Problem.ACCESS_REFUSED, Problem.DESTINATION_INVALID, Problem.WRONG_STORE, Problem.ARCHIVE_DAMAGED}
)
"""What trying again does not help against."""
PERMANENT_SECONDS = 60.0
"""For how long the archiver tries it again nevertheless, from the request on."""


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
    ref: StoreRef,
    spec: BackupSpec | None,
    bases: Iterable[RequestedBase],
    archiver: ArchiverObserved,
    now: datetime,
    *,
    unknown: str = "",
) -> RequestsPlan:
    """Returns what to write. ``unknown`` is why it is not known yet whether the store has a ``spec.backup`` in use."""
    updates, waits = [], False
    for base in bases:
        status = base.status
        if status is None or not base.is_done:
            status = _in_time(base, _status(base, spec, archiver.report, now, unknown), now)
        waits = waits or status.phase not in DONE
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


def without_store(base: RequestedBase, store: str, now: datetime) -> BaseStatus:
    """What the status is of a base of a store that is not there."""
    if base.status is not None and base.is_done:
        return base.status
    return _in_time(base, _absent(base, f"there is no ReplicatedStore {store} in this namespace", now), now)


def _status(
    base: RequestedBase, spec: BackupSpec | None, report: Report | None, now: datetime, unknown: str
) -> BaseStatus:
    before = base.status or BaseStatus()
    for made in _made(report):
        if made.request == base.uid:
            assert report is not None
            return BaseStatus(
                BasePhase.COMPLETED,
                revision=made.revision,
                size_bytes=made.size_bytes,
                started_at=_time(made.time_ms - made.duration_ms),
                completed_at=_time(made.time_ms),
                archive=_archive(spec, report.store_id),
            )
    if unknown:
        return replace(before, error=unknown)
    if spec is None:
        return _absent(base, NO_BACKUP, now)
    if spec.suspend:
        return BaseStatus(error=SUSPENDED)
    if report is None:
        return before
    blocked = report.base_error
    if blocked is not None and blocked.problem in PERMANENT:
        requested_ms = int(_created(base, now).timestamp() * 1000)
        lasts_ms = report.time_ms - max(blocked.since_ms, requested_ms)
        if blocked.time_ms > requested_ms and lasts_ms >= PERMANENT_SECONDS * 1000:
            return replace(before, phase=BasePhase.FAILED, error=blocked.text)
    making, shown = report.making, blocked or report.error
    error = shown.text if shown is not None else ""
    if making is not None and making.request == base.uid:
        began = _time(making.begun_ms)
        return BaseStatus(BasePhase.RUNNING, making.revision, started_at=began, error=error)
    return BaseStatus(error=error)


def _archive(spec: BackupSpec | None, store_id: str) -> BaseArchive | None:
    """Where a base is that is complete; None where the spec does not say it any more."""
    if spec is None or not store_id:
        return None
    return BaseArchive(
        store_id, spec.destination, spec.volume_claim, spec.endpoint, spec.credentials_secret, spec.service_account
    )


def _absent(base: RequestedBase, why: str, now: datetime) -> BaseStatus:
    if (now - _created(base, now)).total_seconds() < ABSENT_SECONDS:
        return BaseStatus(error=why)
    return BaseStatus(BasePhase.FAILED, error=why)


def _in_time(base: RequestedBase, status: BaseStatus, now: datetime) -> BaseStatus:
    """The status, or that it has failed since its time is over."""
    if status.phase in DONE or (now - _created(base, now)).total_seconds() < base.deadline_seconds:
        return status
    why = status.error or ("it was being made" if status.phase is BasePhase.RUNNING else "it had not begun")
    text = f"it was not complete {base.deadline_seconds} s after it was asked for (spec.deadlineSeconds): {why}"
    return replace(status, phase=BasePhase.FAILED, error=text)


def _created(base: RequestedBase, now: datetime) -> datetime:
    """When it was asked for; ``now`` where the object does not say."""
    try:
        return parse_time(base.created_at)
    except ValueError:
        return now


def _made(report: Report | None) -> Iterator[BaseReport]:
    if report is not None:
        yield from report.bases
        if report.last_base is not None:
            yield report.last_base


def _time(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(max(0, milliseconds) // 1000, UTC)
