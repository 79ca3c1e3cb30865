"""ReplicatedStoreBackups as objects of the API, both ways."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from rstore_api.domain.kubernetes import BACKUP
from rstore_kube.client import KubeClient

from rstore_operator.facts.actions import UpdateRequestedBase
from rstore_operator.resource.requested_base import DEADLINE_SECONDS, BaseStatus, RequestedBase
from rstore_operator.resource.state_json import stored_to_json


def read_requested_base(body: Mapping[str, Any]) -> RequestedBase:
    """Returns a watched object. A status that cannot be read counts as none, and is written anew."""
    meta, spec = body["metadata"], body.get("spec") or {}
    return RequestedBase(
        name=str(meta.get("name") or ""),
        uid=str(meta.get("uid") or ""),
        resource_version=str(meta.get("resourceVersion") or ""),
        created_at=str(meta.get("creationTimestamp") or ""),
        retain=spec.get("retain") is True,
        deadline_seconds=_deadline(spec.get("deadlineSeconds")),
        owners=tuple(meta.get("ownerReferences") or ()),
        status=_status(body.get("status")),
    )


def _deadline(raw: object) -> int:
    """An object that was stored under an older schema has none."""
    return raw if isinstance(raw, int) and raw > 0 else DEADLINE_SECONDS


def _status(raw: object) -> BaseStatus | None:
    try:
        return msgspec.convert(raw, BaseStatus) if raw else None
    except msgspec.ValidationError:
        return None


def status_patch(status: BaseStatus) -> dict[str, Any]:
    """Returns what to merge into ``.status``: fields that say nothing are removed."""
    names = (field.encode_name for field in msgspec.structs.fields(BaseStatus))
    return {**dict.fromkeys(names), **stored_to_json(status)}


async def update_requested_base(client: KubeClient, namespace: str, action: UpdateRequestedBase) -> None:
    """Write owners and status of a ReplicatedStoreBackup, if it still is of the version that was seen."""
    place = (BACKUP, namespace, action.name)
    version = action.resource_version
    if action.owners is not None:
        owners = {"metadata": {"ownerReferences": [dict(owner) for owner in action.owners]}}
        after = await client.merge(*place, owners, resource_version=version)
        version = str(after["metadata"].get("resourceVersion", ""))
    patch = {"status": status_patch(action.status)}
    await client.merge(*place, patch, resource_version=version, subresource="status")
