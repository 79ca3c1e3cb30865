"""What the pods of replicas and of the archiver have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rstore_operator.resource.model import Placement, PodsSpec, RegionSpec

CONFIG_DIRECTORY = "/etc/rstore/config"
TLS_DIRECTORY = "/etc/rstore/tls"
USER_ID = 65532
REGION_NODE_LABEL = "topology.kubernetes.io/region"
POD_SECURITY: Mapping[str, Any] = {
    "runAsNonRoot": True,
    "runAsUser": USER_ID,
    "runAsGroup": USER_ID,
    "fsGroup": USER_ID,
    "fsGroupChangePolicy": "OnRootMismatch",
    "seccompProfile": {"type": "RuntimeDefault"},
}
CONTAINER_SECURITY: Mapping[str, Any] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def given(value: Mapping[str, Any] | None, default: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what the spec gives, else the default."""
    return dict(default if value is None else value)


def pull_secrets_and_priority(pods: PodsSpec) -> dict[str, Any]:
    """Only what is asked for: a field that is absent is filled in by admission."""
    fields: dict[str, Any] = {}
    if pods.image_pull_secrets:
        fields["imagePullSecrets"] = [{"name": name} for name in pods.image_pull_secrets]
    if pods.priority_class:
        fields["priorityClassName"] = pods.priority_class
    return fields


def resources(requests: Mapping[str, str] | None, limits: Mapping[str, str] | None) -> dict[str, dict[str, str]]:
    """The compute resources of a container."""
    return {key: dict(values) for key, values in (("requests", requests), ("limits", limits)) if values}


def placement_of(region: RegionSpec) -> Placement:
    """Where the region's pods may run: by its node label, unless the user says otherwise."""
    return region.placement or Placement(node_selector={REGION_NODE_LABEL: region.name})


def nodes(placement: Placement) -> dict[str, Any]:
    """The fields of a pod that say on which nodes it may run."""
    fields: dict[str, Any] = {}
    if placement.node_selector:
        fields["nodeSelector"] = dict(placement.node_selector)
    if placement.tolerations:
        fields["tolerations"] = [dict(item) for item in placement.tolerations]
    return fields


def node_terms(placement: Placement) -> list[dict[str, Any]]:
    """Returns the node selector terms, of which a node has to meet one; none where any node will do."""
    at: Any = placement.affinity
    for key in ("nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms"):
        at = at.get(key) if isinstance(at, Mapping) else None
    required = [term for term in at if isinstance(term, Mapping)] if isinstance(at, list) else []
    labels = [
        {"key": key, "operator": "In", "values": [value]}
        for key, value in sorted((placement.node_selector or {}).items())
    ]
    terms = [
        {**term, "matchExpressions": [*labels, *(term.get("matchExpressions") or ())]} for term in required or [{}]
    ]
    return [{key: value for key, value in term.items() if value} for term in terms if any(term.values())]


def probe(path: str, *, period: int, timeout: int, failures: int) -> dict[str, Any]:
    """A probe of the container's HTTP port; times in seconds."""
    return {
        "httpGet": {"path": path, "port": "http"},
        "periodSeconds": period,
        "timeoutSeconds": timeout,
        "failureThreshold": failures,
    }
