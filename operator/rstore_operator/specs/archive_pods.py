"""The pod that writes a store's archive and the one that reads it: Deployment, ConfigMap, NetworkPolicy of either."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rstore_api.domain import names
from rstore_api.domain.kubernetes import CONFIG_HASH

from rstore_operator.resource.backup import DEFAULT_REQUESTS, ArchivePlace
from rstore_operator.resource.model import OperatorPods, RegionSpec, ReplicaImage, StoreRef, StoreSpec
from rstore_operator.specs.labels import common_labels, component_labels, metadata
from rstore_operator.specs.network_policy import operator_peers, rule
from rstore_operator.specs.pod_parts import (
    CONFIG_DIRECTORY,
    CONTAINER_SECURITY,
    POD_SECURITY,
    TLS_DIRECTORY,
    given,
    node_terms,
    placement_of,
    probe,
    pull_secrets_and_priority,
    resources,
)

ARCHIVE_DIRECTORY = "/var/lib/rstore-archive"
"""Where the folder of a ``file`` destination is mounted."""
STOP_SECONDS = 30


@dataclass(frozen=True)
class ArchiveProgram:
    """A program of the image that works with an archive, as a component of the store."""

    component: str
    object_name: Callable[[str], str]
    """Gives its Deployment, ConfigMap and NetworkPolicy of a store their name."""
    tls_secret: Callable[[str], str]
    """Gives the Secret of its certificate its name."""
    command: str
    """Of ``rstore_backup``."""
    config_file: str
    scratch: str
    """What its temporary files are for: the name of their volume, and the beginning of the options that say where they
    are and how much they may take."""
    scratch_directory: str
    scratch_bytes: int


def deployment(
    program: ArchiveProgram,
    ref: StoreRef,
    spec: StoreSpec,
    place: ArchivePlace,
    regions: Sequence[RegionSpec],
    image: ReplicaImage,
    credentials: str,
    *,
    suspended: bool = False,
    requests: Mapping[str, str] | None = DEFAULT_REQUESTS,
    limits: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """One pod, on nodes of the first of the ``regions`` if it can.

    ``credentials`` is a digest of what the pod has in its environment: when it changes, the pod is replaced. A second
    pod would do no harm, but only one is of use, so the old one ends before the next begins.
    """
    pods = spec.pods
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(ref, program.object_name(ref.name), component=program.component),
        "spec": {
            "replicas": 0 if suspended else 1,
            "revisionHistoryLimit": 2,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": component_labels(ref.name, program.component)},
            "template": {
                "metadata": {
                    "labels": {**pods.labels, **common_labels(ref.name, component=program.component)},
                    "annotations": {**pods.annotations, CONFIG_HASH: credentials},
                },
                "spec": {
                    "serviceAccountName": place.service_account or names.store_object(ref.name),
                    "automountServiceAccountToken": bool(place.service_account),
                    "enableServiceLinks": False,
                    "terminationGracePeriodSeconds": STOP_SECONDS,
                    **pull_secrets_and_priority(pods),
                    "securityContext": given(pods.security_context, POD_SECURITY),
                    "containers": [_container(program, spec, place, image.of(pods), resources(requests, limits))],
                    "volumes": _volumes(program, ref, place),
                    **anywhere_in(regions),
                },
            },
        },
    }


def _volumes(program: ArchiveProgram, ref: StoreRef, place: ArchivePlace) -> list[dict[str, Any]]:
    return [
        {"name": "config", "configMap": {"name": program.object_name(ref.name)}},
        {"name": "tls", "secret": {"secretName": program.tls_secret(ref.name), "defaultMode": 0o440}},
        {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}},
        {"name": program.scratch, "emptyDir": {"sizeLimit": f"{(program.scratch_bytes >> 30) + 1}Gi"}},
        *archive_volume(place),
    ]


def _container(
    program: ArchiveProgram, spec: StoreSpec, place: ArchivePlace, image: ReplicaImage, room: Mapping[str, Any]
) -> dict[str, Any]:
    secret = place.credentials_secret
    return {
        "name": program.component,
        "image": image.image,
        "imagePullPolicy": image.pull_policy,
        "command": ["python", "-m", "rstore_backup", program.command],
        "args": [
            f"--config={CONFIG_DIRECTORY}/{program.config_file}",
            f"--tls-dir={TLS_DIRECTORY}",
            f"--{program.scratch}-folder={program.scratch_directory}",
            f"--{program.scratch}-bytes={program.scratch_bytes}",
            *([f"--folder={ARCHIVE_DIRECTORY}"] if place.is_folder else []),
        ],
        # With a heap for each thread, those that a restore leaves behind add up.
        "env": [{"name": "TMPDIR", "value": "/tmp"}, {"name": "MALLOC_ARENA_MAX", "value": "1"}],
        **({"envFrom": [{"secretRef": {"name": secret}}]} if secret else {}),
        "ports": [{"name": "http", "containerPort": names.HTTP_PORT, "protocol": "TCP"}],
        "resources": room,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": given(spec.pods.container_security_context, CONTAINER_SECURITY),
        "livenessProbe": probe("/healthz", period=10, timeout=10, failures=6),
        "readinessProbe": probe("/readyz", period=5, timeout=5, failures=3),
        "volumeMounts": [
            {"name": "config", "mountPath": CONFIG_DIRECTORY, "readOnly": True},
            {"name": "tls", "mountPath": TLS_DIRECTORY, "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},
            {"name": program.scratch, "mountPath": program.scratch_directory},
            *archive_mount(place),
        ],
    }


def config_map(program: ArchiveProgram, ref: StoreRef, config: Mapping[str, Any]) -> dict[str, Any]:
    """The ConfigMap that carries the configuration. The program reads it again when it changes."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(ref, program.object_name(ref.name), component=program.component),
        "data": {program.config_file: json.dumps(config, indent=2) + "\n"},
    }


def network_policy(program: ArchiveProgram, ref: StoreRef, spec: StoreSpec, operator: OperatorPods) -> dict[str, Any]:
    """Lets the operator in, which shows what the program reports, and metrics as the spec allows.

    The policy of the replicas lets every pod of the store in, so this one as well.
    """
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(ref, program.object_name(ref.name), component=program.component),
        "spec": {
            "podSelector": {"matchLabels": component_labels(ref.name, program.component)},
            "policyTypes": ["Ingress"],
            "ingress": [
                rule(operator_peers(operator), names.HTTP_PORT),
                rule(spec.network_policy.metrics, names.HTTP_PORT),
            ],
        },
    }


def anywhere_in(regions: Sequence[RegionSpec]) -> dict[str, Any]:
    """Nodes of the first region, and where there are none, of any other: the pod is needed while that region is lost.
    Of the regions' affinities only what they require of nodes counts.
    """
    placements = [placement_of(region) for region in regions]
    terms = [node_terms(placement) for placement in placements]
    affinity: dict[str, Any] = {}
    if all(terms):
        any_of = [term for of_region in terms for term in of_region]
        affinity["requiredDuringSchedulingIgnoredDuringExecution"] = {"nodeSelectorTerms": any_of}
    if terms[0]:
        preferred = [{"weight": 100, "preference": term} for term in terms[0]]
        affinity["preferredDuringSchedulingIgnoredDuringExecution"] = preferred
    tolerations: list[dict[str, Any]] = []
    for toleration in (dict(each) for placement in placements for each in placement.tolerations or ()):
        if toleration not in tolerations:
            tolerations.append(toleration)
    return {
        **({"affinity": {"nodeAffinity": affinity}} if affinity else {}),
        **({"tolerations": tolerations} if tolerations else {}),
    }


def archive_volume(place: ArchivePlace) -> list[dict[str, Any]]:
    """The volume of a ``file`` destination; none of others."""
    if not place.is_folder:
        return []
    return [{"name": "archive", "persistentVolumeClaim": {"claimName": place.volume_claim}}]


def archive_mount(place: ArchivePlace) -> list[dict[str, Any]]:
    """The mount of the archive's folder in the volume; the kubelet makes a folder that is not there yet."""
    if not place.is_folder:
        return []
    mount = {"name": "archive", "mountPath": ARCHIVE_DIRECTORY}
    return [{**mount, "subPath": place.folder} if place.folder else mount]
