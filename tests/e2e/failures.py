"""What a failed test leaves for people and for the tests after it: the cluster's state as text, and a cluster as it was
before: no store of its own, which could hold up the stores of others, and no other spec of theirs."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from e2e.cluster import OPERATOR_NAMESPACE, ClusterUnderTest
from localkube.links.control import FaultError, LinkFaults
from rstore_testkit.tools import Kubectl

EVENTS_SHOWN = 40
LOG_LINES_SHOWN = 60
_DELETE_SECONDS = 60
_NOT_THERE = "(not answered)"
_OURS = "replicatedstore.io/"

Name = tuple[str, str]
"""Namespace and name."""


@dataclass(frozen=True)
class Before:
    """What was in the cluster before a test."""

    stores: Mapping[Name, dict[str, Any]]
    cordoned: frozenset[str]
    """The nodes that took no pods."""


def state_before(cluster: ClusterUnderTest) -> Before:
    """Returns what a test finds; nothing while the resource is not installed."""
    items = _items(cluster, "rstore,nodes")
    return Before(
        {_name(item): item for item in items if item["kind"] == "ReplicatedStore"},
        frozenset(item["metadata"]["name"] for item in items if item["spec"].get("unschedulable")),
    )


def put_back(cluster: ClusterUnderTest, before: Before) -> str:
    """Deletes the stores that a failed test made, and makes specs, requests, nodes and links what they were; returns
    what was done."""
    lines: list[str] = []
    now = state_before(cluster)
    for namespace, name in sorted(now.stores.keys() - before.stores.keys()):
        lines.append(_shown(cluster.kubectl(namespace), "delete", "rstore", name, f"--timeout={_DELETE_SECONDS}s"))
    for (namespace, name), store in now.stores.items():
        if (namespace, name) in before.stores:
            kubectl, was = cluster.kubectl(namespace), before.stores[namespace, name]
            asked = _annotations(store) - _annotations(was)
            if asked:
                lines.append(_shown(kubectl, "annotate", "rstore", name, *(f"{one}-" for one in sorted(asked))))
            if store["spec"] != was["spec"]:
                patch = json.dumps([{"op": "replace", "path": "/spec", "value": was["spec"]}])
                lines.append(_shown(kubectl, "patch", "rstore", name, "--type=json", "-p", patch))
    if cordoned := now.cordoned - before.cordoned:
        lines.append(_shown(cluster.kubectl(), "uncordon", *sorted(cordoned)))
    if cluster.data_dir is not None:
        try:
            LinkFaults(cluster.data_dir).clear()
        except FaultError as error:
            lines.append(str(error))
    return "\n".join(lines)


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


def _name(item: dict[str, Any]) -> Name:
    return item["metadata"]["namespace"], item["metadata"]["name"]


def _annotations(item: dict[str, Any]) -> set[str]:
    """The names of the store's annotations that ask the operator for something."""
    return {name for name in item["metadata"].get("annotations") or {} if name.startswith(_OURS)}


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
