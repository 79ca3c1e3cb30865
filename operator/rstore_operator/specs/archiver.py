"""The archiver of a store: its Deployment, and the NetworkPolicy that lets the operator and metrics reach it."""

from __future__ import annotations

from typing import Any

from rstore_api.domain import names
from rstore_api.domain.kubernetes import ARCHIVER, CONFIG_HASH

from rstore_operator.resource.backup import BackupSpec
from rstore_operator.resource.model import OperatorPods, RegionSpec, ReplicaImage, StoreRef, StoreSpec
from rstore_operator.specs.labels import common_labels, component_labels, metadata
from rstore_operator.specs.network_policy import operator_peers, rule
from rstore_operator.specs.pod_parts import (
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

ARCHIVE_DIRECTORY = "/var/lib/rstore-archive"
"""Where the volume of a ``file`` destination is mounted."""
STOP_SECONDS = 30


def archiver_deployment(
    ref: StoreRef, spec: StoreSpec, backup: BackupSpec, image: ReplicaImage, started_with: str
) -> dict[str, Any]:
    """One pod that copies the store's log and makes bases; none while backup is suspended.

    ``started_with`` is a digest of what the pod reads when it starts: when it changes, the pod is replaced. A second
    pod would do no harm, but only one is of use, so the old one ends before the next begins.
    """
    selector = component_labels(ref.name, ARCHIVER)
    pods = spec.pods
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(ref, names.archiver_object(ref.name), component=ARCHIVER),
        "spec": {
            "replicas": 0 if backup.suspend else 1,
            "revisionHistoryLimit": 2,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": selector},
            "template": {
                "metadata": {
                    "labels": {**pods.labels, **common_labels(ref.name, component=ARCHIVER)},
                    "annotations": {**pods.annotations, CONFIG_HASH: started_with},
                },
                "spec": _pod(ref, spec, backup, image.of(pods)),
            },
        },
    }


def _pod(ref: StoreRef, spec: StoreSpec, backup: BackupSpec, image: ReplicaImage) -> dict[str, Any]:
    pods, home = spec.pods, preferred_regions(spec, backup)[0]
    placement = placement_of(home)
    return {
        "serviceAccountName": backup.service_account or names.store_object(ref.name),
        "automountServiceAccountToken": bool(backup.service_account),
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": STOP_SECONDS,
        **pull_secrets_and_priority(pods),
        "securityContext": given(pods.security_context, POD_SECURITY),
        "containers": [_container(ref, spec, backup, image)],
        "volumes": [
            {"name": "tls", "secret": {"secretName": names.archiver_tls_secret(ref.name), "defaultMode": 0o440}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}},
            *_archive_volume(backup),
        ],
        **nodes(placement),
        **({"affinity": dict(placement.affinity)} if placement.affinity else {}),
    }


def _archive_volume(backup: BackupSpec) -> list[dict[str, Any]]:
    if not backup.is_folder:
        return []
    return [{"name": "archive", "persistentVolumeClaim": {"claimName": backup.volume_claim}}]


def _container(ref: StoreRef, spec: StoreSpec, backup: BackupSpec, image: ReplicaImage) -> dict[str, Any]:
    secret = backup.credentials_secret
    return {
        "name": "archiver",
        "image": image.image,
        "imagePullPolicy": image.pull_policy,
        "command": ["python", "-m", "rstore_backup", "archive"],
        "args": _arguments(ref, spec, backup),
        "env": [{"name": "TMPDIR", "value": "/tmp"}],
        **({"envFrom": [{"secretRef": {"name": secret}}]} if secret else {}),
        "ports": [{"name": "http", "containerPort": names.HTTP_PORT, "protocol": "TCP"}],
        "resources": resources(backup.requests, backup.limits),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": given(spec.pods.container_security_context, CONTAINER_SECURITY),
        "livenessProbe": probe("/healthz", period=10, timeout=10, failures=6),
        "readinessProbe": probe("/readyz", period=5, timeout=5, failures=3),
        "volumeMounts": [
            {"name": "tls", "mountPath": TLS_DIRECTORY, "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},
            *([{"name": "archive", "mountPath": ARCHIVE_DIRECTORY}] if backup.is_folder else []),
        ],
    }


def _arguments(ref: StoreRef, spec: StoreSpec, backup: BackupSpec) -> list[str]:
    destination = f"file://{ARCHIVE_DIRECTORY}/{backup.folder}" if backup.is_folder else backup.destination
    regions = (names.region_object(ref.name, region.name) for region in preferred_regions(spec, backup))
    return [
        f"--destination={destination}",
        *(f"--endpoint={service}.{ref.namespace}.svc:{names.CLIENT_PORT}" for service in regions),
    ]


def preferred_regions(spec: StoreSpec, backup: BackupSpec) -> tuple[RegionSpec, ...]:
    """The regions in the order in which the archiver asks their replicas: the preferred primary is the first or the
    last. Which of them is primary at the moment does not count, so a change of that does not restart the archiver."""
    regions = sorted(spec.regions, key=lambda region: region.name == spec.primary_region)
    return tuple(reversed(regions) if backup.source == "Primary" else regions)


def archiver_network_policy(ref: StoreRef, spec: StoreSpec, operator: OperatorPods) -> dict[str, Any]:
    """Lets the operator in, which shows what the archiver reports, and metrics as the spec allows.

    The policy of the replicas lets every pod of the store in, so the archiver as well.
    """
    metrics = spec.network_policy.metrics
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(ref, names.archiver_object(ref.name), component=ARCHIVER),
        "spec": {
            "podSelector": {"matchLabels": component_labels(ref.name, ARCHIVER)},
            "policyTypes": ["Ingress"],
            "ingress": [rule(operator_peers(operator), names.HTTP_PORT), rule(metrics, names.HTTP_PORT)],
        },
    }
