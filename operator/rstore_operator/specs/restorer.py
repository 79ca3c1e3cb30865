"""The restorer of a store: its Deployment, its configuration, and its NetworkPolicy, which are there while it works."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from rstore_api.domain import names
from rstore_api.domain.kubernetes import CONFIG_HASH, RESTORER
from rstore_api.domain.limits import QUOTA_BYTES
from rstore_backup.restore_report import Pinned

from rstore_operator.resource.backup import DEFAULT_REQUESTS, ArchivePlace
from rstore_operator.resource.bootstrap import LATEST, Moment
from rstore_operator.resource.model import OperatorPods, RegionSpec, ReplicaImage, StoreRef, StoreSpec
from rstore_operator.specs.archive_pods import ARCHIVE_DIRECTORY, anywhere_in, archive_mount, archive_volume
from rstore_operator.specs.labels import common_labels, component_labels, metadata
from rstore_operator.specs.network_policy import operator_peers, rule
from rstore_operator.specs.pod_parts import (
    CONFIG_DIRECTORY,
    CONTAINER_SECURITY,
    POD_SECURITY,
    TLS_DIRECTORY,
    given,
    probe,
    pull_secrets_and_priority,
    resources,
)

FILE_NAME = "restore.json"
SCRATCH_DIRECTORY = "/var/lib/rstore-restore"
"""Where its temporary file is, in a volume of its own."""
SCRATCH_BYTES = QUOTA_BYTES
STOP_SECONDS = 30


@dataclass(frozen=True)
class Restore:
    """What is to be restored, once it is known where that is."""

    place: ArchivePlace
    source_id: str = ""
    source_name: str = ""
    at: Moment = LATEST
    pinned: Pinned | None = None
    """What is recorded of it."""
    store_id: str = ""
    """That of the store which is filled."""


def restorer_deployment(
    ref: StoreRef, spec: StoreSpec, primary_region: str, place: ArchivePlace, image: ReplicaImage, credentials: str
) -> dict[str, Any]:
    """One pod that fills the store. ``credentials`` is a digest of what it has in its environment: when that changes,
    the pod is replaced. Two at once do no harm, but the old one ends before the next begins.
    """
    pods = spec.pods
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(ref, names.restorer_object(ref.name), component=RESTORER),
        "spec": {
            "replicas": 1,
            "revisionHistoryLimit": 2,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": component_labels(ref.name, RESTORER)},
            "template": {
                "metadata": {
                    "labels": {**pods.labels, **common_labels(ref.name, component=RESTORER)},
                    "annotations": {**pods.annotations, CONFIG_HASH: credentials},
                },
                "spec": _pod(ref, spec, primary_region, place, image.of(pods)),
            },
        },
    }


def _pod(
    ref: StoreRef, spec: StoreSpec, primary_region: str, place: ArchivePlace, image: ReplicaImage
) -> dict[str, Any]:
    pods = spec.pods
    return {
        "serviceAccountName": place.service_account or names.store_object(ref.name),
        "automountServiceAccountToken": bool(place.service_account),
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": STOP_SECONDS,
        **pull_secrets_and_priority(pods),
        "securityContext": given(pods.security_context, POD_SECURITY),
        "containers": [_container(spec, place, image)],
        "volumes": [
            {"name": "config", "configMap": {"name": names.restorer_object(ref.name)}},
            {"name": "tls", "secret": {"secretName": names.restorer_tls_secret(ref.name), "defaultMode": 0o440}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}},
            {"name": "scratch", "emptyDir": {"sizeLimit": f"{(SCRATCH_BYTES >> 30) + 1}Gi"}},
            *archive_volume(place),
        ],
        **anywhere_in(_primary_first(spec, primary_region)),
    }


def _container(spec: StoreSpec, place: ArchivePlace, image: ReplicaImage) -> dict[str, Any]:
    secret = place.credentials_secret
    return {
        "name": "restorer",
        "image": image.image,
        "imagePullPolicy": image.pull_policy,
        "command": ["python", "-m", "rstore_backup", "restore"],
        "args": [
            f"--config={CONFIG_DIRECTORY}/{FILE_NAME}",
            f"--tls-dir={TLS_DIRECTORY}",
            f"--scratch-folder={SCRATCH_DIRECTORY}",
            f"--scratch-bytes={SCRATCH_BYTES}",
            *([f"--folder={ARCHIVE_DIRECTORY}"] if place.is_folder else []),
        ],
        "env": [{"name": "TMPDIR", "value": "/tmp"}, {"name": "MALLOC_ARENA_MAX", "value": "1"}],
        **({"envFrom": [{"secretRef": {"name": secret}}]} if secret else {}),
        "ports": [{"name": "http", "containerPort": names.HTTP_PORT, "protocol": "TCP"}],
        "resources": resources(DEFAULT_REQUESTS, None),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": given(spec.pods.container_security_context, CONTAINER_SECURITY),
        "livenessProbe": probe("/healthz", period=10, timeout=10, failures=6),
        "readinessProbe": probe("/readyz", period=5, timeout=5, failures=3),
        "volumeMounts": [
            {"name": "config", "mountPath": CONFIG_DIRECTORY, "readOnly": True},
            {"name": "tls", "mountPath": TLS_DIRECTORY, "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},
            {"name": "scratch", "mountPath": SCRATCH_DIRECTORY},
            *archive_mount(place),
        ],
    }


def restorer_config(ref: StoreRef, spec: StoreSpec, primary_region: str, restore: Restore) -> dict[str, Any]:
    """The configuration of the restorer."""
    place = restore.place
    config: dict[str, Any] = {
        "namespace": ref.namespace,
        "name": ref.name,
        "storeId": restore.store_id,
        "replicas": [
            f"{names.pod_host(ref.name, region.name, ref.namespace, pod)}:{names.CLIENT_PORT}"
            for region in _primary_first(spec, primary_region)
            for pod in names.pod_names(ref.name, region.name, region.replicas)
        ],
        "destination": "file:///" if place.is_folder else place.destination,
        "endpoint": place.endpoint,
        "sourceId": restore.source_id,
        "sourceName": restore.source_name,
        "revision": restore.at.revision,
        "timeMs": restore.at.time_ms,
        "epoch": restore.at.epoch,
        "pinned": msgspec.to_builtins(restore.pinned),
    }
    return {name: value for name, value in config.items() if value}


def restorer_config_map(ref: StoreRef, spec: StoreSpec, primary_region: str, restore: Restore) -> dict[str, Any]:
    """The ConfigMap that carries the configuration. The restorer reads it again when it changes."""
    text = json.dumps(restorer_config(ref, spec, primary_region, restore), indent=2) + "\n"
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(ref, names.restorer_object(ref.name), component=RESTORER),
        "data": {FILE_NAME: text},
    }


def restorer_network_policy(ref: StoreRef, spec: StoreSpec, operator: OperatorPods) -> dict[str, Any]:
    """Lets the operator in, which shows what the restorer reports, and metrics as the spec allows."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(ref, names.restorer_object(ref.name), component=RESTORER),
        "spec": {
            "podSelector": {"matchLabels": component_labels(ref.name, RESTORER)},
            "policyTypes": ["Ingress"],
            "ingress": [
                rule(operator_peers(operator), names.HTTP_PORT),
                rule(spec.network_policy.metrics, names.HTTP_PORT),
            ],
        },
    }


def _primary_first(spec: StoreSpec, primary_region: str) -> Sequence[RegionSpec]:
    return sorted(spec.regions, key=lambda region: region.name != primary_region)
