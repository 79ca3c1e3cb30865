"""Leases: their defaults, and what is wrong with them."""

from __future__ import annotations

from localkube.apiserver.errors import Cause
from localkube.apiserver.jsonobj import JsonObject
from localkube.apiserver.kinds.common import child
from localkube.apiserver.kinds.rules import (
    Table,
    at_least,
    check,
)


def default_lease(obj: JsonObject, old: JsonObject | None) -> None:  # noqa: ARG001
    """Defaults of a Lease."""
    child(obj, "spec")


def complete_lease(obj: JsonObject, old: JsonObject | None) -> None:  # noqa: ARG001
    """Without the feature of coordinated election two fields of a Lease are dropped."""
    for name in ("strategy", "preferredHolder"):
        obj["spec"].pop(name, None)


_LEASE: Table = (
    ("leaseDurationSeconds", at_least(1, "must be greater than 0")),
    ("leaseTransitions", at_least(0)),
)


def validate_lease(obj: JsonObject, old: JsonObject | None, subresource: str = "") -> list[Cause]:  # noqa: ARG001
    """Returns what is wrong with a Lease."""
    return check(_LEASE, obj["spec"], "spec")
