"""The StatefulSet of a region."""

from __future__ import annotations

from typing import Any

from rstore_api.domain import names
from rstore_api.domain.kubernetes import CONFIG_HASH

from rstore_operator.resource.model import PodsSpec, RegionSpec, ReplicaImage, StoreRef, StoreSpec
from rstore_operator.specs.configmap import replica_config
from rstore_operator.specs.labels import common_labels, digest, metadata, selector_labels
from rstore_operator.specs.pod_parts import (
    CONFIG_DIRECTORY,
    CONTAINER_SECURITY,
    POD_SECURITY,
    TLS_DIRECTORY,
    given,
    nodes,
    placement_of,
    probe,
    pull_secrets_and_priority,
    resources,
)

DATA_DIRECTORY = "/var/lib/rstore"
STOP_SECONDS = 45
"""What a replica needs at most to stop, above ``failover.drainTimeout``: 20 s, and as much again on a busy machine;
the seconds for which it still serves are among them."""
HOST_LABEL = "kubernetes.io/hostname"


def stateful_set(ref: StoreRef, spec: StoreSpec, region: RegionSpec, image: ReplicaImage) -> dict[str, Any]:
    """One Raft group. All pods start at once, since they need each other; ``planning/rollout`` replaces those that are
    out of date."""
    selector = selector_labels(ref.name, region.name)
    claim: dict[str, Any] = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": region.storage_size}},
    }
    if region.storage_class is not None:
        claim["storageClassName"] = region.storage_class
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": metadata(ref, names.region_object(ref.name, region.name), region.name),
        "spec": {
            "replicas": region.replicas,
            "serviceName": names.peers_service(ref.name, region.name),
            "podManagementPolicy": "Parallel",
            "updateStrategy": {"type": "OnDelete"},
            "revisionHistoryLimit": 5,
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": spec.pvc_policy, "whenScaled": "Retain"},
            "selector": {"matchLabels": selector},
            "template": {
                "metadata": {
                    "labels": {**spec.pods.labels, **common_labels(ref.name, region.name)},
                    "annotations": {**spec.pods.annotations, CONFIG_HASH: digest(_settings(ref, spec, region))},
                },
                "spec": _pod(ref, spec, region, image.of(spec.pods)),
            },
            "volumeClaimTemplates": [
                {
                    "apiVersion": "v1",
                    "kind": "PersistentVolumeClaim",
                    "metadata": {"name": "data", "labels": common_labels(ref.name, region.name)},
                    "spec": claim,
                }
            ],
        },
    }


def _settings(ref: StoreRef, spec: StoreSpec, region: RegionSpec) -> dict[str, Any]:
    """The settings that running replicas must be restarted for. Replicas know of each other without."""
    return {key: value for key, value in replica_config(ref, spec, region).items() if key != "members"}


def _pod(ref: StoreRef, spec: StoreSpec, region: RegionSpec, image: ReplicaImage) -> dict[str, Any]:
    pods = spec.pods
    return {
        "serviceAccountName": names.store_object(ref.name),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": STOP_SECONDS + -(-spec.failover.drain_timeout_ms // 1000),
        **pull_secrets_and_priority(pods),
        "securityContext": given(pods.security_context, POD_SECURITY),
        "containers": [_container(region, image, pods)],
        "volumes": [
            {"name": "config", "configMap": {"name": names.region_object(ref.name, region.name)}},
            {
                "name": "tls",
                "secret": {"secretName": names.region_tls_secret(ref.name, region.name), "defaultMode": 0o440},
            },
            {"name": "tmp", "emptyDir": {"sizeLimit": "256Mi"}},
        ],
        **_placement(ref, region, pods),
    }


def _container(region: RegionSpec, image: ReplicaImage, pods: PodsSpec) -> dict[str, Any]:
    return {
        "name": "replica",
        "image": image.image,
        "imagePullPolicy": image.pull_policy,
        "args": [
            f"--config={CONFIG_DIRECTORY}/replica.json",
            f"--data-dir={DATA_DIRECTORY}",
            f"--tls-dir={TLS_DIRECTORY}",
            "--name=$(POD_NAME)",
        ],
        "env": [
            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}},
            {"name": "TMPDIR", "value": "/tmp"},
        ],
        "ports": [
            {"name": "client", "containerPort": names.CLIENT_PORT, "protocol": "TCP"},
            {"name": "peer", "containerPort": names.PEER_PORT, "protocol": "TCP"},
            {"name": "http", "containerPort": names.HTTP_PORT, "protocol": "TCP"},
        ],
        "resources": resources(region.requests, region.limits),
        # Why a replica does not start is the last line of its log; so it is in the pod's status, and in the store's.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": given(pods.container_security_context, CONTAINER_SECURITY),
        # Replaying the journal after a crash may take minutes; until it is done only the startup probe counts.
        "startupProbe": probe("/healthz", period=1, timeout=5, failures=300),
        "livenessProbe": probe("/healthz", period=10, timeout=10, failures=6),
        "readinessProbe": probe("/readyz", period=2, timeout=3, failures=3),
        "volumeMounts": [
            {"name": "config", "mountPath": CONFIG_DIRECTORY, "readOnly": True},
            {"name": "tls", "mountPath": TLS_DIRECTORY, "readOnly": True},
            {"name": "data", "mountPath": DATA_DIRECTORY},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
    }


def _placement(ref: StoreRef, region: RegionSpec, pods: PodsSpec) -> dict[str, Any]:
    """Where pods may run: by the region's node label, unless the user says otherwise; apart, as far as possible."""
    selector = selector_labels(ref.name, region.name)
    placement = placement_of(region)
    fields = nodes(placement)
    term = {"topologyKey": HOST_LABEL, "labelSelector": {"matchLabels": selector}}
    apart: dict[str, Any] = {
        "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "podAffinityTerm": term}]
    }
    if pods.host_spread == "Required":
        apart = {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
    fields["affinity"] = given(placement.affinity, {"podAntiAffinity": apart})
    if placement.topology_spread_constraints is not None:
        constraints = [dict(item) for item in placement.topology_spread_constraints]
    else:
        constraints = [
            {
                "maxSkew": 1,
                "topologyKey": key,
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": selector},
            }
            for key in ("topology.kubernetes.io/zone", HOST_LABEL)
        ]
    if constraints:
        fields["topologySpreadConstraints"] = constraints
    return fields
