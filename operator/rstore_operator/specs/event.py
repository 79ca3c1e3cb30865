"""Events about a store."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from rstore_api.domain.kubernetes import EVENT, KIND, OPERATOR_FIELD_MANAGER, STORE

from rstore_operator.facts.actions import Notice
from rstore_operator.resource.model import StoreRef

MESSAGE_CHARACTERS = 1024
INSTANCE_CHARACTERS = 128
"""What the API server accepts."""


def event(
    ref: StoreRef, resource_version: str, notice: Notice, *, number: int, now: datetime, instance: str
) -> dict[str, Any]:
    """Returns the manifest. Events of the same second sort by name in the order of their ``number``; ``instance`` is
    the pod that reports."""
    stamp = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": EVENT.api_version,
        "kind": "Event",
        "metadata": {"name": f"{ref.name[:40].rstrip('-')}.{number:016x}", "namespace": ref.namespace},
        "involvedObject": {
            "apiVersion": STORE.api_version,
            "kind": KIND,
            "name": ref.name,
            "namespace": ref.namespace,
            "uid": ref.uid,
            "resourceVersion": resource_version,
        },
        "reason": notice.reason,
        "message": notice.message[:MESSAGE_CHARACTERS],
        "type": "Warning" if notice.warning else "Normal",
        "source": {"component": OPERATOR_FIELD_MANAGER},
        "reportingComponent": OPERATOR_FIELD_MANAGER,
        "reportingInstance": instance[:INSTANCE_CHARACTERS],
        "firstTimestamp": stamp,
        "lastTimestamp": stamp,
        "count": 1,
    }
