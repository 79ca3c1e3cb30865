"""A Lease as an object of the API, both ways."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from rstore_api.domain.kubernetes import LEASE, MANAGED_BY, OPERATOR_FIELD_MANAGER

from rstore_operator.leadership.rules import DURATION_SECONDS, Record
from rstore_operator.resource.units import format_time


def read_lease(body: Mapping[str, Any]) -> Record:
    """Returns what the Lease says; what is missing or damaged reads as if it had not been set."""
    spec = body.get("spec") or {}
    return Record(
        holder=str(spec.get("holderIdentity") or ""),
        version=str(body["metadata"].get("resourceVersion", "")),
        renewed_at=_time(spec.get("renewTime")),
        acquired_at=_time(spec.get("acquireTime")),
        transitions=_count(spec.get("leaseTransitions"), 0),
        duration_seconds=_count(spec.get("leaseDurationSeconds"), DURATION_SECONDS),
    )


def lease_spec(record: Record) -> dict[str, Any]:
    """Returns ``.spec`` of the Lease."""
    times = {"acquireTime": record.acquired_at, "renewTime": record.renewed_at}
    return {
        "holderIdentity": record.holder,
        "leaseDurationSeconds": record.duration_seconds,
        "leaseTransitions": record.transitions,
        **{key: format_time(value) for key, value in times.items() if value is not None},
    }


def new_lease(namespace: str, name: str, record: Record) -> dict[str, Any]:
    """Returns the Lease that is made when there is none."""
    labels = {"app.kubernetes.io/name": name, MANAGED_BY: OPERATOR_FIELD_MANAGER}
    return {
        "apiVersion": LEASE.api_version,
        "kind": "Lease",
        "metadata": {"namespace": namespace, "name": name, "labels": labels},
        "spec": lease_spec(record),
    }


def _time(value: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(value)) if value else None
    except ValueError:
        return None
    return moment if moment is None or moment.tzinfo is not None else None


def _count(value: object, default: int) -> int:
    return value if isinstance(value, int) and value >= 0 else default
