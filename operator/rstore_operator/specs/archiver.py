"""The archiver of a store: its Deployment, its configuration, and its NetworkPolicy."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rstore_api.domain import names
from rstore_api.domain.kubernetes import ARCHIVER
from rstore_api.domain.limits import QUOTA_BYTES

from rstore_operator.resource.backup import BackupSpec
from rstore_operator.resource.model import OperatorPods, RegionSpec, ReplicaImage, StoreRef, StoreSpec
from rstore_operator.specs.archive_pods import ArchiveProgram, config_map, deployment, network_policy

PROGRAM = ArchiveProgram(
    component=ARCHIVER,
    object_name=names.archiver_object,
    tls_secret=names.archiver_tls_secret,
    command="archive",
    config_file="archive.json",
    scratch="drill",
    scratch_directory="/var/lib/rstore-drill",
    # The keys of a store, without those that compaction has yet to remove, take less than its quota.
    scratch_bytes=QUOTA_BYTES,
)
"""Drills have their temporary files in a volume of their own, which may not fill up that of others."""


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
    """One pod that copies the store's log and makes bases; none while backup is suspended. ``credentials`` is a digest
    of what the pod has in its environment."""
    regions = preferred_regions(spec, backup)
    return deployment(
        PROGRAM,
        ref,
        spec,
        backup,
        regions,
        image,
        credentials,
        suspended=backup.suspend,
        requests=backup.requests,
        limits=backup.limits,
    )


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
    """The ConfigMap that carries the configuration."""
    return config_map(PROGRAM, ref, archiver_config(ref, spec, backup, source, requests, drills))


def configured_region(live: Mapping[str, Any] | None) -> str:
    """Returns the region in a live ConfigMap of the archiver; "" where there is none."""
    try:
        config = json.loads(((live or {}).get("data") or {}).get(PROGRAM.config_file, ""))
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
    """Who may connect to the archiver."""
    return network_policy(PROGRAM, ref, spec, operator)
