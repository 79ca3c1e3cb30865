"""Node objects of the local cluster, labelled by region, always Ready while the runner lives."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field

from localkube.apiserver.errors import ApiError
from localkube.controllers.engine import Context
from localkube.controllers.objects import meta, rfc3339, set_condition
from localkube.controllers.resources import NODES, PODS, Obj

PROVIDER = "localkube://"
KUBELET_VERSION = "v1.36.0+localkube"


@dataclass(frozen=True)
class NodeSpec:
    """One node to pretend: its name, region and further labels."""

    name: str
    region: str
    zone: str = ""
    labels: tuple[tuple[str, str], ...] = field(default=())


DEFAULT_NODES: tuple[NodeSpec, ...] = (
    NodeSpec("us-east-node", "us-east", "us-east-a"),
    NodeSpec("eu-west-node", "eu-west", "eu-west-a"),
    NodeSpec("ap-south-node", "ap-south", "ap-south-a"),
)


def build_node(spec: NodeSpec, address: str, now: float) -> Obj:
    """Returns the Node object with its status."""
    capacity = {"cpu": str(os.cpu_count() or 1), "memory": "8Gi", "pods": "200", "ephemeral-storage": "100Gi"}
    labels = {
        "kubernetes.io/hostname": spec.name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64" if platform.machine() == "x86_64" else platform.machine(),
        "topology.kubernetes.io/region": spec.region,
        **({"topology.kubernetes.io/zone": spec.zone} if spec.zone else {}),
        **dict(spec.labels),
    }
    conditions: list[dict[str, str]] = []
    for name, status, reason in (
        ("MemoryPressure", False, "KubeletHasSufficientMemory"),
        ("DiskPressure", False, "KubeletHasNoDiskPressure"),
        ("PIDPressure", False, "KubeletHasSufficientPID"),
        ("Ready", True, "KubeletReady"),
    ):
        conditions = set_condition(conditions, name, status, now, reason=reason)
    for condition in conditions:
        condition["lastHeartbeatTime"] = rfc3339(now)
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": spec.name, "labels": labels},
        "spec": {"providerID": f"{PROVIDER}{spec.name}"},
        "status": {
            "capacity": capacity,
            "allocatable": capacity,
            "conditions": conditions,
            "addresses": [
                {"type": "InternalIP", "address": address},
                {"type": "Hostname", "address": spec.name},
            ],
            "nodeInfo": {
                "architecture": labels["kubernetes.io/arch"],
                "bootID": "",
                "containerRuntimeVersion": "process://1",
                "kernelVersion": platform.release(),
                "kubeProxyVersion": "",
                "kubeletVersion": KUBELET_VERSION,
                "machineID": "",
                "operatingSystem": "linux",
                "osImage": "processes of this machine",
                "systemUUID": "",
            },
        },
    }


async def ensure_nodes(context: Context, specs: Sequence[NodeSpec], address: str) -> None:
    """Create the nodes, or set the labels and status of those that exist."""
    for spec in specs:
        node = build_node(spec, address, context.clock.now())
        try:
            live = await context.api.create(NODES, None, node)
        except ApiError as error:
            if not error.already_exists:
                raise
            live = await context.api.get(NODES, None, spec.name)
            live["metadata"]["labels"] = {**(live["metadata"].get("labels") or {}), **node["metadata"]["labels"]}
            live = await context.api.update(NODES, None, live)
        live["status"] = node["status"]
        await context.api.update_status(NODES, None, live)


async def remove_other_nodes(context: Context, specs: Sequence[NodeSpec]) -> None:
    """Remove nodes of an earlier configuration, and the pods that were bound to them."""
    wanted = {spec.name for spec in specs}
    nodes, _ = await context.api.list(NODES)
    ours = {meta(n)["name"] for n in nodes if (n["spec"].get("providerID") or "").startswith(PROVIDER)}
    gone = ours - wanted
    if not gone:
        return
    pods, _ = await context.api.list(PODS)
    for pod in pods:
        if pod["spec"].get("nodeName") in gone:
            await context.api.delete(PODS, meta(pod)["namespace"], meta(pod)["name"], grace_seconds=0)
    for name in gone:
        await context.api.delete(NODES, None, name)
