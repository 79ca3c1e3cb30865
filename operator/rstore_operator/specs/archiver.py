"""The archiver of a store: its Deployment, its configuration, and its NetworkPolicy."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rstore_api.domain import names
from rstore_api.domain.kubernetes import ARCHIVER, CONFIG_HASH
from rstore_api.domain.limits import QUOTA_BYTES

from rstore_operator.resource.backup import BackupSpec
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

FILE_NAME = "archive.json"
DRILL_DIRECTORY = "/var/lib/rstore-drill"
"""Where drills have their temporary files, in a volume of their own, which may not fill up that of others."""
DRILL_BYTES = QUOTA_BYTES
"""The keys of a store, without those that compaction has yet to remove, take less than its quota."""
STOP_SECONDS = 30


@dataclass(frozen=True)
class Drills:
    """The drills that the archiver is asked for: the request that waits, "" for none, and when the last drill began, in
    milliseconds since 1970, 0 for never."""

    request: str = ""
    last_ms: int = 0


NO_DRILLS = Drills()


def archiver_deployment(
    ref: StoreRef, spec: StoreSpec, backup: BackupSpec, image: ReplicaImage, credentials: str
) -> dict[str, Any]:
    """One pod that copies the store's log and makes bases; none while backup is suspended.

    ``credentials`` is a digest of what the pod has in its environment: when it changes, the pod is replaced. A second
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
                    "annotations": {**pods.annotations, CONFIG_HASH: credentials},
                },
                "spec": _pod(ref, spec, backup, image.of(pods)),
            },
        },
    }


def _pod(ref: StoreRef, spec: StoreSpec, backup: BackupSpec, image: ReplicaImage) -> dict[str, Any]:
    pods = spec.pods
    return {
        "serviceAccountName": backup.service_account or names.store_object(ref.name),
        "automountServiceAccountToken": bool(backup.service_account),
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": STOP_SECONDS,
        **pull_secrets_and_priority(pods),
        "securityContext": given(pods.security_context, POD_SECURITY),
        "containers": [_container(spec, backup, image)],
        "volumes": [
            {"name": "config", "configMap": {"name": names.archiver_object(ref.name)}},
            {"name": "tls", "secret": {"secretName": names.archiver_tls_secret(ref.name), "defaultMode": 0o440}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}},
            {"name": "drill", "emptyDir": {"sizeLimit": f"{(DRILL_BYTES >> 30) + 1}Gi"}},
            *archive_volume(backup),
        ],
        **anywhere_in(preferred_regions(spec, backup)),
    }


def _container(spec: StoreSpec, backup: BackupSpec, image: ReplicaImage) -> dict[str, Any]:
    secret = backup.credentials_secret
    return {
        "name": "archiver",
        "image": image.image,
        "imagePullPolicy": image.pull_policy,
        "command": ["python", "-m", "rstore_backup", "archive"],
        "args": [
            f"--config={CONFIG_DIRECTORY}/{FILE_NAME}",
            f"--tls-dir={TLS_DIRECTORY}",
            f"--drill-folder={DRILL_DIRECTORY}",
            f"--drill-bytes={DRILL_BYTES}",
            *([f"--folder={ARCHIVE_DIRECTORY}"] if backup.is_folder else []),
        ],
        # With a heap for each thread, those that a restore leaves behind add up.
        "env": [{"name": "TMPDIR", "value": "/tmp"}, {"name": "MALLOC_ARENA_MAX", "value": "1"}],
        **({"envFrom": [{"secretRef": {"name": secret}}]} if secret else {}),
        "ports": [{"name": "http", "containerPort": names.HTTP_PORT, "protocol": "TCP"}],
        "resources": resources(backup.requests, backup.limits),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": given(spec.pods.container_security_context, CONTAINER_SECURITY),
        "livenessProbe": probe("/healthz", period=10, timeout=10, failures=6),
        "readinessProbe": probe("/readyz", period=5, timeout=5, failures=3),
        "volumeMounts": [
            {"name": "config", "mountPath": CONFIG_DIRECTORY, "readOnly": True},
            {"name": "tls", "mountPath": TLS_DIRECTORY, "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},
            {"name": "drill", "mountPath": DRILL_DIRECTORY},
            *archive_mount(backup),
        ],
    }


def archiver_config(
    ref: StoreRef,
    spec: StoreSpec,
    backup: BackupSpec,
    source: RegionSpec,
    requests: Sequence[str] = (),
    drills: Drills = NO_DRILLS,
) -> dict[str, Any]:
    """The configuration of the archiver, which reads the rows of the region ``source``, and makes a base for each of
    the ``requests``."""
    others = [region for region in spec.regions if region.name != source.name]
    config: dict[str, Any] = {
        "namespace": ref.namespace,
        "name": ref.name,
        "region": source.name,
        "replicas": _peer_addresses(ref, source),
        "others": [address for region in others for address in _peer_addresses(ref, region)],
        "destination": "file:///" if backup.is_folder else backup.destination,
        "logIntervalMs": backup.log_interval_ms,
        "schedule": backup.schedule.text,
        "keepBases": backup.retention.keep_bases,
        "keepSeconds": backup.retention.keep_for_seconds,
    }
    if backup.endpoint:
        config["endpoint"] = backup.endpoint
    if requests:
        config["requests"] = list(requests)
    if drills.request:
        config["drillRequest"] = drills.request
    if backup.drill_schedule is not None:
        config |= {"drillSchedule": backup.drill_schedule.text, "drillLastMs": drills.last_ms}
    return config


def _peer_addresses(ref: StoreRef, region: RegionSpec) -> list[str]:
    pods = names.pod_names(ref.name, region.name, region.replicas)
    return [f"{names.pod_host(ref.name, region.name, ref.namespace, pod)}:{names.PEER_PORT}" for pod in pods]


def archiver_config_map(
    ref: StoreRef,
    spec: StoreSpec,
    backup: BackupSpec,
    source: RegionSpec,
    requests: Sequence[str] = (),
    drills: Drills = NO_DRILLS,
) -> dict[str, Any]:
    """The ConfigMap that carries the configuration. The archiver reads it again when it changes."""
    text = json.dumps(archiver_config(ref, spec, backup, source, requests, drills), indent=2) + "\n"
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(ref, names.archiver_object(ref.name), component=ARCHIVER),
        "data": {FILE_NAME: text},
    }


def configured_region(live: Mapping[str, Any] | None) -> str:
    """Returns the region in a live ConfigMap of the archiver; "" where there is none."""
    try:
        config = json.loads(((live or {}).get("data") or {}).get(FILE_NAME, ""))
    except ValueError:
        return ""
    region = config.get("region") if isinstance(config, dict) else None
    return region if isinstance(region, str) else ""


def preferred_regions(spec: StoreSpec, backup: BackupSpec) -> tuple[RegionSpec, ...]:
    """The regions in the order in which they are read from, as far as the spec decides: the preferred primary is the
    first or the last."""
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
