"""``.status`` as JSON, both ways, and the merge patch between two of them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from rstore_operator.resource.state import (
    AUTOMATIC,
    FORCED,
    PLANNED,
    Answered,
    Condition,
    FailoverIntent,
    Outcome,
    Phase,
    Quarantine,
    QuarantinedTail,
    Receipt,
    RegionHash,
    RegionStatus,
    Step,
    StepTime,
    StoreStatus,
    Summary,
    ToldRegions,
    Trigger,
    WitnessTenure,
)
from rstore_operator.resource.units import format_time, format_time_seconds, parse_time

T = TypeVar("T")

MAX_SECONDS = 1e12
_EPOCH_START = datetime(1970, 1, 1, tzinfo=UTC)


class UnreadableIntentError(ValueError):
    """A change of primary is on record that cannot be understood."""


def status_to_json(status: StoreStatus) -> dict[str, Any]:
    """The status as the API server stores it; fields that say nothing are left out."""
    return _without_empty(
        {
            "phase": status.phase.value,
            "storeId": status.store_id,
            "primaryRegion": status.primary_region,
            "preferredPrimary": status.preferred_primary,
            "epoch": status.epoch or None,
            "promisedEpoch": status.promised_epoch or None,
            "inSyncRegions": status.in_sync_regions or None,
            "inSyncRound": status.in_sync_round or None,
            "witnessLease": _witness_tenure_to_json(status.witness_tenure),
            "toldRegions": [_told_to_json(told) for told in status.told_regions],
            "answered": [_answered_to_json(one) for one in status.answered],
            "observedGeneration": status.observed_generation,
            "summary": _without_empty(
                {
                    "regions": status.summary.regions,
                    "replicas": status.summary.replicas,
                    "lag": status.summary.lag,
                }
            ),
            "conditions": conditions_to_json(status.conditions),
            "regions": [_region_to_json(region) for region in status.regions],
            "failover": _intent_to_json(status.failover) if status.failover else None,
            "history": [_receipt_to_json(receipt) for receipt in status.history],
        }
    )


def _witness_tenure_to_json(tenure: WitnessTenure) -> dict[str, Any]:
    return {"grantsMs": tenure.grants_ms, "runsMs": tenure.runs_ms, "change": tenure.change} if tenure.change else {}


def _witness_tenure_from_json(data: Mapping[str, Any]) -> WitnessTenure:
    return WitnessTenure(_whole(data, "grantsMs"), _whole(data, "runsMs"), _whole(data, "change"))


def _answered_to_json(answered: Answered) -> dict[str, Any]:
    return _without_empty(
        {
            "request": answered.request,
            "manager": answered.manager,
            "value": answered.value,
            "answer": answered.answer,
            "epoch": answered.epoch,
            "at": format_time_seconds(answered.at),
            "repeated": answered.repeated or None,
        }
    )


def _answered_from_json(data: Mapping[str, Any]) -> Answered:
    return Answered(
        _text(data, "request"),
        _text(data, "manager"),
        _text(data, "value"),
        _text(data, "answer"),
        _whole(data, "epoch"),
        _time(data, "at"),
        data.get("repeated") is True,
    )


def _told_to_json(told: ToldRegions) -> dict[str, Any]:
    return {"epoch": told.epoch, "version": told.version, "regions": list(told.regions)}


def _told_from_json(data: Mapping[str, Any]) -> ToldRegions:
    return ToldRegions(_whole(data, "epoch"), _whole(data, "version"), tuple(_texts(data, "regions")))


def _condition_to_json(condition: Condition) -> dict[str, Any]:
    return {
        "type": condition.type,
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message,
        "observedGeneration": condition.observed_generation,
        "lastTransitionTime": format_time_seconds(condition.last_transition_time),
    }


def _region_to_json(region: RegionStatus) -> dict[str, Any]:
    """Positions that are not known are left out, and so is the lag of a region that follows nobody."""
    follows = region.role == "Secondary"
    return _without_empty(
        {
            "name": region.name,
            "role": region.role,
            "phase": region.phase,
            "replicas": region.replicas,
            "readyReplicas": region.ready_replicas,
            "leader": region.leader,
            "term": region.term or None,
            "commitIndex": region.commit_index or None,
            "appliedIndex": region.applied_index or None,
            "revision": region.revision or None,
            "ackedRevision": region.acked_revision if follows else None,
            "lagRevisions": region.lag_revisions if follows else None,
            "lagBytes": region.lag_bytes if follows else None,
            "lagSeconds": region.lag_seconds if follows else None,
            "connected": region.connected if follows else None,
            "message": region.message,
            "quarantine": _quarantine_to_json(region.quarantine),
            "quarantined": [_tail_to_json(tail) for tail in region.quarantined],
            "hash": _hash_to_json(region.hash) if region.hash is not None else None,
        }
    )


def _hash_to_json(hash_: RegionHash) -> dict[str, Any]:
    return {"revision": hash_.revision, "value": hash_.value, "differs": hash_.differs}


def _hash_from_json(raw: object) -> RegionHash | None:
    data = _object(raw)
    revision, value = _whole(data, "revision"), _text(data, "value")
    return RegionHash(revision, value, data.get("differs") is True) if revision and value else None


def _quarantine_to_json(quarantine: Quarantine) -> dict[str, Any]:
    if not quarantine.tails:
        return {}
    return {"tails": quarantine.tails, "rows": quarantine.rows, "bytes": quarantine.size_bytes}


def _quarantine_from_json(data: Mapping[str, Any]) -> Quarantine:
    return Quarantine(_whole(data, "tails"), _whole(data, "rows"), _whole(data, "bytes"))


def _tail_to_json(tail: QuarantinedTail) -> dict[str, Any]:
    return {
        "epoch": tail.epoch,
        "firstRevision": tail.first_revision,
        "lastRevision": tail.last_revision,
        "rows": tail.rows,
        "bytes": tail.size_bytes,
        "file": tail.file,
        "replacedByEpoch": tail.replaced_by_epoch,
        "revisions": tail.revisions,
    }


def _tail_from_json(data: Mapping[str, Any]) -> QuarantinedTail:
    return QuarantinedTail(
        epoch=_whole(data, "epoch"),
        first_revision=_whole(data, "firstRevision"),
        last_revision=_whole(data, "lastRevision"),
        rows=_whole(data, "rows"),
        size_bytes=_whole(data, "bytes"),
        file=_text(data, "file"),
        replaced_by_epoch=_whole(data, "replacedByEpoch"),
        revisions=_whole(data, "revisions"),
    )


def _steps_to_json(steps: tuple[StepTime, ...]) -> list[dict[str, Any]]:
    return [{"name": step.name.value, "startedAt": format_time(step.started_at)} for step in steps]


def _intent_to_json(intent: FailoverIntent) -> dict[str, Any]:
    return _without_empty(
        {
            "mode": intent.mode,
            "trigger": intent.trigger.value,
            "from": intent.from_region,
            "to": intent.to_region,
            "fromEpoch": intent.from_epoch,
            "epoch": intent.epoch,
            "step": intent.step.value,
            "startedAt": format_time(intent.started_at),
            "writesStoppedAt": format_time(intent.stopped_at) if intent.stopped_at else None,
            "writesResumedAt": format_time(intent.resumed_at) if intent.resumed_at else None,
            "finalRevision": intent.final_revision,
            "promoted": intent.promoted,
            "aborted": intent.aborted or None,
            "reason": intent.reason,
            "lastKnownRevision": intent.last_known_revision or None,
            "revisionsLost": intent.revisions_lost or None,
            "cutOff": intent.cut_off or None,
            "steps": _steps_to_json(intent.steps),
        }
    )


def _receipt_to_json(receipt: Receipt) -> dict[str, Any]:
    return _without_empty(
        {
            "mode": receipt.mode,
            "trigger": receipt.trigger.value,
            "outcome": receipt.outcome.value,
            "from": receipt.from_region,
            "to": receipt.to_region,
            "epoch": receipt.epoch,
            "startedAt": format_time(receipt.started_at),
            "finishedAt": format_time(receipt.finished_at),
            "finalRevision": receipt.final_revision,
            "writeGapSeconds": receipt.write_gap_seconds,
            "revisionsLost": receipt.revisions_lost,
            "reason": receipt.reason,
            "steps": _steps_to_json(receipt.steps),
        }
    )


def _without_empty(value: dict[str, Any]) -> dict[str, Any]:
    return {key: item for key, item in value.items() if item is not None and item not in ("", [], {})}


def status_from_json(raw: object) -> StoreStatus:
    """The status that was stored.

    Raises UnreadableIntentError when an intent is recorded that cannot be understood: acting as if there were none
    could promote a second region. Anything else that is missing or odd reads as unknown, and is rebuilt from the
    regions.
    """
    data = _object(raw)
    summary = _object(data.get("summary"))
    return StoreStatus(
        phase=next((phase for phase in Phase if phase.value == data.get("phase")), Phase.PENDING),
        store_id=_text(data, "storeId"),
        primary_region=_text(data, "primaryRegion"),
        preferred_primary=_text(data, "preferredPrimary"),
        epoch=_whole(data, "epoch"),
        promised_epoch=_whole(data, "promisedEpoch"),
        in_sync_regions=_whole(data, "inSyncRegions"),
        in_sync_round=_whole(data, "inSyncRound"),
        witness_tenure=_witness_tenure_from_json(_object(data.get("witnessLease"))),
        told_regions=tuple(_told_from_json(item) for item in _objects(data, "toldRegions")),
        answered=tuple(_answered_from_json(item) for item in _objects(data, "answered")),
        observed_generation=_whole(data, "observedGeneration"),
        summary=Summary(_text(summary, "regions"), _text(summary, "replicas"), _text(summary, "lag")),
        conditions=conditions_from_json(data),
        regions=tuple(_region_from_json(item) for item in _objects(data, "regions")),
        failover=_intent_from_json(data["failover"]) if data.get("failover") else None,
        history=tuple(_receipt_from_json(item) for item in _objects(data, "history")),
    )


def conditions_from_json(raw: object) -> tuple[Condition, ...]:
    """The conditions in a status, whatever else is in it."""
    return tuple(_condition_from_json(item) for item in _objects(_object(raw), "conditions"))


def conditions_to_json(conditions: tuple[Condition, ...]) -> list[dict[str, Any]]:
    """The conditions as they are stored."""
    return [_condition_to_json(condition) for condition in conditions]


def _condition_from_json(data: Mapping[str, Any]) -> Condition:
    return Condition(
        type=_text(data, "type"),
        status=_text(data, "status") or "Unknown",
        reason=_text(data, "reason"),
        message=_text(data, "message"),
        observed_generation=_whole(data, "observedGeneration"),
        last_transition_time=_time(data, "lastTransitionTime"),
    )


def _region_from_json(data: Mapping[str, Any]) -> RegionStatus:
    return RegionStatus(
        name=_text(data, "name"),
        role=_text(data, "role") or "Unknown",
        phase=_text(data, "phase") or "Pending",
        replicas=_whole(data, "replicas"),
        ready_replicas=_whole(data, "readyReplicas"),
        leader=_text(data, "leader"),
        term=_whole(data, "term"),
        commit_index=_whole(data, "commitIndex"),
        applied_index=_whole(data, "appliedIndex"),
        revision=_whole(data, "revision"),
        acked_revision=_whole(data, "ackedRevision"),
        lag_revisions=_whole(data, "lagRevisions"),
        lag_bytes=_whole(data, "lagBytes"),
        lag_seconds=_seconds(data, "lagSeconds"),
        connected=data.get("connected") is True,
        message=_text(data, "message"),
        quarantine=_quarantine_from_json(_object(data.get("quarantine"))),
        quarantined=tuple(_tail_from_json(item) for item in _objects(data, "quarantined")),
        hash=_hash_from_json(data.get("hash")),
    )


def _steps_from_json(data: Mapping[str, Any]) -> tuple[StepTime, ...]:
    return tuple(StepTime(Step(item["name"]), parse_time(item["startedAt"])) for item in _objects(data, "steps"))


def _intent_from_json(raw: object) -> FailoverIntent:
    data = _object(raw)
    try:
        if data["mode"] not in (PLANNED, AUTOMATIC, FORCED):
            raise ValueError(f"mode {data['mode']!r} is not known to this version")
        return FailoverIntent(
            trigger=Trigger(data["trigger"]),
            from_region=_required(data, "from", str),
            to_region=_text(data, "to") if data["mode"] != PLANNED else _required(data, "to", str),
            from_epoch=_required(data, "fromEpoch", int),
            epoch=_required(data, "epoch", int),
            step=Step(data["step"]),
            started_at=parse_time(data["startedAt"]),
            steps=_steps_from_json(data),
            stopped_at=parse_time(data["writesStoppedAt"]) if data.get("writesStoppedAt") else None,
            resumed_at=parse_time(data["writesResumedAt"]) if data.get("writesResumedAt") else None,
            final_revision=_optional(data, "finalRevision", int),
            promoted=_optional(data, "promoted", str),
            aborted=data.get("aborted") is True,
            reason=_text(data, "reason"),
            mode=data["mode"],
            last_known_revision=_whole(data, "lastKnownRevision"),
            revisions_lost=_whole(data, "revisionsLost"),
            cut_off=data.get("cutOff") is True,
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise UnreadableIntentError(
            f"status.failover holds an intent that this version cannot read: {error!r}"
        ) from error


def _receipt_from_json(data: Mapping[str, Any]) -> Receipt:
    try:
        steps = _steps_from_json(data)
    except (KeyError, ValueError):
        steps = ()
    return Receipt(
        mode=_text(data, "mode"),
        trigger=_trigger(data.get("trigger")),
        outcome=Outcome.ABORTED if data.get("outcome") == "Aborted" else Outcome.SUCCEEDED,
        from_region=_text(data, "from"),
        to_region=_text(data, "to"),
        epoch=_whole(data, "epoch"),
        started_at=_time(data, "startedAt"),
        finished_at=_time(data, "finishedAt"),
        steps=steps,
        final_revision=_whole(data, "finalRevision") if isinstance(data.get("finalRevision"), int) else None,
        write_gap_seconds=_seconds(data, "writeGapSeconds"),
        revisions_lost=_whole(data, "revisionsLost"),
        reason=_text(data, "reason"),
    )


def _trigger(raw: object) -> Trigger:
    return next((trigger for trigger in Trigger if trigger.value == raw), Trigger.ANNOTATION)


def _object(raw: object) -> Mapping[str, Any]:
    return raw if isinstance(raw, Mapping) else {}


def _objects(data: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    raw = data.get(name)
    return [item for item in raw if isinstance(item, Mapping)] if isinstance(raw, list) else []


def _texts(data: Mapping[str, Any], name: str) -> list[str]:
    value = data.get(name)
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _text(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    return value if isinstance(value, str) else ""


def _required(data: Mapping[str, Any], name: str, kind: type[T]) -> T:
    value = data[name]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"{name} is {value!r}")
    return value


def _optional(data: Mapping[str, Any], name: str, kind: type[T]) -> T | None:
    return None if data.get(name) is None else _required(data, name, kind)


def _seconds(data: Mapping[str, Any], name: str) -> float:
    value = data.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_SECONDS:
        return 0.0
    return float(value)


def _whole(data: Mapping[str, Any], name: str) -> int:
    value = data.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _time(data: Mapping[str, Any], name: str) -> datetime:
    try:
        return parse_time(data.get(name))
    except ValueError:
        return _EPOCH_START


def merge_patch(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON merge patch (RFC 7396) that makes ``new`` of ``old``; empty when they are equal."""
    patch: dict[str, Any] = {key: None for key in old if key not in new}
    for key, value in new.items():
        before = old.get(key)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            inner = merge_patch(before, value)
            if inner:
                patch[key] = inner
        elif key not in old or before != value:
            patch[key] = value
    return patch
