"""The restorer of a store: its Deployment, its configuration, and its NetworkPolicy, which are there while it works."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from rstore_api.domain import names
from rstore_api.domain.kubernetes import RESTORER
from rstore_api.domain.limits import QUOTA_BYTES
from rstore_backup.restore_report import Pinned

from rstore_operator.resource.backup import ArchivePlace
from rstore_operator.resource.bootstrap import LATEST, Moment
from rstore_operator.resource.model import OperatorPods, RegionSpec, ReplicaImage, StoreRef, StoreSpec
from rstore_operator.specs.archive_pods import ArchiveProgram, config_map, deployment, network_policy

PROGRAM = ArchiveProgram(
    component=RESTORER,
    object_name=names.restorer_object,
    tls_secret=names.restorer_tls_secret,
    command="restore",
    config_file="restore.json",
    scratch="scratch",
    scratch_directory="/var/lib/rstore-restore",
    scratch_bytes=QUOTA_BYTES,
)


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
    """One pod that fills the store. ``credentials`` is a digest of what it has in its environment."""
    return deployment(PROGRAM, ref, spec, place, _primary_first(spec, primary_region), image, credentials)


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
    """The ConfigMap that carries the configuration."""
    return config_map(PROGRAM, ref, restorer_config(ref, spec, primary_region, restore))


def restorer_network_policy(ref: StoreRef, spec: StoreSpec, operator: OperatorPods) -> dict[str, Any]:
    """Who may connect to the restorer."""
    return network_policy(PROGRAM, ref, spec, operator)


def _primary_first(spec: StoreSpec, primary_region: str) -> Sequence[RegionSpec]:
    return sorted(spec.regions, key=lambda region: region.name != primary_region)
