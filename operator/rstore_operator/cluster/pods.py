"""What a watched pod shows of a replica."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rstore_api.domain.kubernetes import COMPONENT_LABEL, REGION_LABEL, RESTARTED_AT, REVISION_LABEL

from rstore_operator.facts.archiver import ArchiverPod
from rstore_operator.facts.observed import ChildKey, Pod

_SHOWN = 400
"""How many characters of a replica's last message are shown."""

Body = Mapping[str, Any]


def read_pod(body: Body, host: Callable[[str, str], str]) -> Pod | None:
    """Returns a watched pod; None if it belongs to no region. ``host`` returns a pod's name in its certificate."""
    meta, status = body["metadata"], body.get("status") or {}
    region = (meta.get("labels") or {}).get(REGION_LABEL)
    if not region:
        return None
    conditions = {item.get("type"): item for item in status.get("conditions") or []}
    containers = (body.get("spec") or {}).get("containers") or [{}]
    return Pod(
        name=meta["name"],
        region=region,
        host=host(region, meta["name"]),
        ip=status.get("podIP") or "" if status.get("phase") == "Running" else "",
        ready=conditions.get("Ready", {}).get("status") == "True",
        terminating=bool(meta.get("deletionTimestamp")),
        problem=_pod_problem(status, conditions),
        restarted_at=str((meta.get("annotations") or {}).get(RESTARTED_AT) or ""),
        uid=str(meta.get("uid") or ""),
        resource_version=str(meta.get("resourceVersion") or ""),
        revision=str((meta.get("labels") or {}).get(REVISION_LABEL) or ""),
        image=str(containers[0].get("image") or ""),
        node=str((body.get("spec") or {}).get("nodeName") or ""),
        grace_seconds=int(meta.get("deletionGracePeriodSeconds") or 0),
    )


def newest_of(component: str, bodies: Iterable[Body]) -> ArchiverPod | None:
    """Returns the pod of a component, ARCHIVER or RESTORER, among watched pods: the newest that is not being
    deleted."""
    pods = [
        body
        for body in bodies
        if (body["metadata"].get("labels") or {}).get(COMPONENT_LABEL) == component
        and not body["metadata"].get("deletionTimestamp")
    ]
    if not pods:
        return None
    body = max(pods, key=lambda body: str(body["metadata"].get("creationTimestamp") or ""))
    status = body.get("status") or {}
    conditions = {item.get("type"): item for item in status.get("conditions") or []}
    ip = status.get("podIP") or "" if status.get("phase") == "Running" else ""
    return ArchiverPod(body["metadata"]["name"], ip, _pod_problem(status, conditions))


def is_of_former_store(body: Body, children: Mapping[ChildKey, Body], created_at: str) -> bool:
    """Returns whether a pod is being deleted that belonged to a deleted store of the same name: it is no replica of
    this one.

    Such a pod is older than the store object, and its StatefulSet is none of the present ones.
    """
    meta = body["metadata"]
    controllers = [owner.get("uid") for owner in meta.get("ownerReferences") or [] if owner.get("controller")]
    present = {child["metadata"].get("uid") for (kind, _), child in children.items() if kind == "StatefulSet"}
    older = str(meta.get("creationTimestamp") or created_at) <= created_at
    return bool(meta.get("deletionTimestamp") and controllers and older and not present & set(controllers))


def _pod_problem(status: Body, conditions: Mapping[Any, Any]) -> str:
    if status.get("phase") == "Failed" and status.get("reason"):  # by the kubelet: evicted, or not admitted
        return f"{status['reason']}: {status.get('message') or ''}".rstrip(": ")
    for container in status.get("containerStatuses") or []:
        waiting = (container.get("state") or {}).get("waiting") or {}
        ended = last_words(container)
        if waiting.get("reason") not in (None, "", "ContainerCreating", "PodInitializing"):
            return f"{waiting['reason']}: {ended or waiting.get('message', '')}".rstrip(": ")
        if ended and (container.get("state") or {}).get("terminated"):
            return ended
    scheduled = conditions.get("PodScheduled", {})
    if scheduled.get("status") == "False":
        return f"{scheduled.get('reason', 'Unschedulable')}: {scheduled.get('message', '')}".rstrip(": ")
    return ""


def last_words(container: Body) -> str:
    """Returns why a replica ended by itself, from the last line of its log; "" if that gives no reason."""
    ends = [(container.get(state) or {}).get("terminated") for state in ("state", "lastState")]
    end: Body = next((end for end in ends if end), {})
    if not end.get("exitCode"):
        return ""
    line = str(end.get("message") or "").strip().rpartition("\n")[2]
    try:
        entry = json.loads(line)
    except ValueError:
        return ""
    reason = entry.get("reason") if isinstance(entry, dict) and entry.get("level") == "error" else ""
    return str(reason or "")[:_SHOWN]
