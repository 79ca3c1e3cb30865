"""What a failed test leaves for people and for the tests after it: the cluster's state as text, and no store of its
own, which could hold up the stores of others."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from typing import Any

from e2e.cluster import OPERATOR_NAMESPACE, ClusterUnderTest
from rstore_testkit.tools import Kubectl

EVENTS_SHOWN = 40
LOG_LINES_SHOWN = 60
_DELETE_SECONDS = 60
_NOT_THERE = "(not answered)"

Name = tuple[str, str]
"""Namespace and name."""


def stores(cluster: ClusterUnderTest) -> frozenset[Name]:
    """Returns the stores of all namespaces; none while the resource is not installed."""
    return frozenset((one["metadata"]["namespace"], one["metadata"]["name"]) for one in _items(cluster, "rstore"))


def delete_stores(cluster: ClusterUnderTest, names: Iterable[Name]) -> None:
    """Deletes stores, and waits a while for their end."""
    for namespace, name in sorted(names):
        wait = f"--timeout={_DELETE_SECONDS}s"
        cluster.kubectl(namespace).try_run("delete", "rstore", name, wait, timeout_seconds=_DELETE_SECONDS + 30)


def cluster_state(cluster: ClusterUnderTest) -> str:
    """Returns what a person asks for first: conditions of stores, pods that are not ready, events, the operators'
    logs."""
    lines: list[str] = []
    for store in _items(cluster, "rstore"):
        metadata, status = store["metadata"], store.get("status") or {}
        shown = {name: status.get(name) for name in ("phase", "primaryRegion", "epoch")}
        annotations = metadata.get("annotations") or {}
        shown["annotations"] = {name: text for name, text in annotations.items() if not name.startswith("kubectl.")}
        lines.append(f"{metadata['namespace']}/{metadata['name']}: {json.dumps(shown)}")
        lines += [
            f"  {one['type']}={one['status']} {one.get('reason', '')}: {one.get('message', '')}"
            for one in status.get("conditions", ())
        ]
    lines += [f"not ready: {_pod_text(pod)}" for pod in _items(cluster, "pods") if not _is_ready(pod)]
    lines.append(_shown(cluster.kubectl(), "get", "events", "-A", "--sort-by=.lastTimestamp", last=EVENTS_SHOWN))
    operators = cluster.kubectl(OPERATOR_NAMESPACE)
    for pod in _items(cluster, "pods"):
        if pod["metadata"]["namespace"] == OPERATOR_NAMESPACE:
            name = pod["metadata"]["name"]
            lines += [f"log of {name}:", _shown(operators, "logs", name, f"--tail={LOG_LINES_SHOWN}")]
    return "\n".join(lines)


def _items(cluster: ClusterUnderTest, kind: str) -> list[dict[str, Any]]:
    try:
        done = cluster.kubectl().try_run("get", kind, "-A", "-o", "json")
    except subprocess.TimeoutExpired:
        return []
    items: list[dict[str, Any]] = json.loads(done.stdout)["items"] if done.returncode == 0 else []
    return items


def _shown(kubectl: Kubectl, *arguments: str, last: int = 0) -> str:
    """The output of kubectl, or of its lines the last ones, or why there is none."""
    try:
        done = kubectl.try_run(*arguments)
    except subprocess.TimeoutExpired:
        return _NOT_THERE
    return "\n".join((done.stdout or done.stderr or _NOT_THERE).splitlines()[-last:])


def _pod_text(pod: dict[str, Any]) -> str:
    containers = [one.get("state") for one in pod.get("status", {}).get("containerStatuses", ())]
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']} {pod.get('status', {}).get('phase')} {containers}"


def _is_ready(pod: dict[str, Any]) -> bool:
    conditions = pod.get("status", {}).get("conditions", ())
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
