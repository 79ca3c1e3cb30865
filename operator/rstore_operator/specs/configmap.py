"""The configuration file of a region's replicas."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from rstore_api.domain import access, limits, names
from rstore_api.domain.access import AccessRules, RulesError

from rstore_operator.resource.model import FailoverSpec, RegionSpec, StoreRef, StoreSpec
from rstore_operator.specs.labels import metadata

FILE_NAME = "replica.json"


def replica_config(ref: StoreRef, spec: StoreSpec, region: RegionSpec) -> dict[str, Any]:
    """The configuration of every replica of the region, without where other regions are and which is primary."""
    return {
        "store": ref.name,
        "namespace": ref.namespace,
        "region": region.name,
        "members": [
            {
                "name": pod,
                "peerAddress": f"{names.pod_host(ref.name, region.name, ref.namespace, pod)}:{names.PEER_PORT}",
            }
            for pod in names.pod_names(ref.name, region.name, region.replicas)
        ],
        "clientPort": names.CLIENT_PORT,
        "peerPort": names.PEER_PORT,
        "httpPort": names.HTTP_PORT,
        "clientAuth": spec.client_auth,
        "raft": {
            "electionTimeoutMinMs": limits.ELECTION_TIMEOUT_MIN_MS,
            "electionTimeoutMaxMs": limits.ELECTION_TIMEOUT_MAX_MS,
            "heartbeatMs": limits.HEARTBEAT_MS,
        },
        "replication": {
            "batchIntervalMs": spec.replication.batch_interval_ms,
            "maxBatchBytes": spec.replication.max_batch_bytes,
            "windowBytes": spec.replication.window_bytes,
            "retentionRevisions": spec.replication.retention_revisions,
        },
        "limits": {
            "maxRequestBytes": spec.limits.max_request_bytes,
            "maxTxnOps": spec.limits.max_txn_ops,
            "quotaBytes": limits.QUOTA_BYTES,
        },
        "routing": {"forward": True},
        "failover": _failover(spec.failover),
    }


def _failover(failover: FailoverSpec) -> dict[str, Any]:
    """Return the settings that are not at their default: replicas need not be restarted for one that is."""
    settings = {"leaseDurationMs": failover.lease_duration_ms}
    if failover.drain_timeout_ms != limits.DRAIN_TIMEOUT_MS.default:
        settings["drainTimeoutMs"] = failover.drain_timeout_ms
    return settings


def _access(rules: AccessRules) -> dict[str, str]:
    """The access rules, once anybody has written some."""
    return {access.FILE_NAME: rules.encode().decode()} if rules.version else {}


def access_rules(live: Mapping[str, Any] | None) -> AccessRules | None:
    """Returns the rules in a live ConfigMap; None where there are none, or none that can be read."""
    try:
        return AccessRules.decode(((live or {}).get("data") or {}).get(access.FILE_NAME, "").encode())
    except RulesError:
        return None


def config_map(ref: StoreRef, spec: StoreSpec, region: RegionSpec) -> dict[str, Any]:
    """The ConfigMap that carries the file."""
    text = msgspec.json.format(msgspec.json.encode(replica_config(ref, spec, region)), indent=2).decode() + "\n"
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(ref, names.region_object(ref.name, region.name), region.name),
        "data": {FILE_NAME: text, **_access(spec.access)},
    }
