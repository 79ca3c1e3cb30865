"""From the raw spec to :class:`StoreSpec`: defaults filled in, every error collected.

The API server has validated most of it already by the schema; an object that was stored under an older schema, or a
server that does not evaluate rules, is the reason to trust nothing here. It is read by hand since msgspec stops at the
first error, and has no bounds for quantities and durations.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil

from rstore_api.domain import limits
from rstore_api.domain.access import Access, AccessRules, ClientRule, SharedClient

from rstore_operator.resource.backup import parse_backup
from rstore_operator.resource.bootstrap import parse_bootstrap
from rstore_operator.resource.client_endpoint import ClientEndpoint, parse_client_endpoint
from rstore_operator.resource.model import (
    FailoverSpec,
    LimitsSpec,
    NetworkPolicySpec,
    Placement,
    PodsSpec,
    RegionSpec,
    ReplicationSpec,
    StoreSpec,
)
from rstore_operator.resource.reader import Problem, Reader
from rstore_operator.resource.units import is_domain_name, is_ip_address, parse_quantity, parse_time

DEFAULT_REQUESTS: Mapping[str, str] = {"cpu": "500m", "memory": "512Mi"}
"""What a replica requests when the spec gives neither requests nor limits. It is no default of the schema: the API
server fills those in field by field, so they would stand beside limits that are lower."""

RESERVED_LABELS = ("replicatedstore.io/", "app.kubernetes.io/")
"""Prefixes of the labels that the operator sets on pods."""


def parse_spec(raw: object) -> tuple[StoreSpec | None, tuple[Problem, ...]]:
    """The parsed spec, and all that is wrong with the values themselves; None when there is no region to speak of."""
    problems: list[Problem] = []
    reader = Reader(raw, "spec", problems)
    regions = _regions(reader)
    if not regions:
        return None, tuple(problems)
    spec = StoreSpec(
        primary_region=reader.text("primaryRegion", regions[0].name),
        regions=regions,
        replication=_replication(reader.child("replication")),
        failover=_failover(reader.child("failover")),
        limits=_limits(reader.child("limits")),
        tls_mode=reader.child("security").child("tls").text("mode", StoreSpec.tls_mode, choices=("Managed", "Secret")),
        subject_alt_names=_alternative_names(reader.child("security").child("tls")),
        client_auth=reader.child("security").text("clientAuth", StoreSpec.client_auth, choices=("mTLS", "None")),
        access=_access(reader.child("security")),
        network_policy=_network_policy(reader.child("security").child("networkPolicy")),
        pods=_pods(reader.child("pods")),
        pvc_policy=reader.child("persistence").text("pvcPolicy", StoreSpec.pvc_policy, choices=("Retain", "Delete")),
        backup=parse_backup(reader),
        bootstrap=parse_bootstrap(reader),
    )
    return spec, tuple(problems)


def _regions(reader: Reader) -> tuple[RegionSpec, ...]:
    raw = reader.raw.get("regions")
    if not isinstance(raw, list) or not raw:
        reader.problem("regions", "must list at least one region")
        return ()
    regions = []
    for index, item in enumerate(raw):
        region = _region(Reader(item, f"spec.regions[{index}]", reader.problems))
        if region is not None:
            regions.append(region)
    return tuple(regions)


def _region(reader: Reader) -> RegionSpec | None:
    name = reader.raw.get("name")
    if not isinstance(name, str) or not name:
        reader.problem("name", "must be a non-empty string")
        return None
    if "cluster" in reader.raw:
        reader.problem("cluster", "regions in other Kubernetes clusters are not supported by this version")
    storage = reader.child("storage")
    size = storage.raw.get("size", RegionSpec.storage_size)
    try:
        if parse_quantity(size) <= 0:
            storage.problem("size", "must be more than nothing")
    except ValueError as error:
        storage.problem("size", str(error))
    requests, most = reader.child("resources").resources(DEFAULT_REQUESTS)
    return RegionSpec(
        name=name,
        replicas=reader.integer("replicas", limits.REPLICAS),
        priority=reader.integer("priority", limits.PRIORITY),
        placement=_placement(reader),
        storage_size=str(size),
        storage_class=_storage_class(storage),
        requests=requests,
        limits=most,
        client_endpoints=_client_endpoints(reader),
    )


def _client_endpoints(reader: Reader) -> tuple[ClientEndpoint, ...]:
    raw = reader.raw.get("clientEndpoints")
    if raw is None:
        return ()
    if not isinstance(raw, list) or len(raw) > limits.MAX_CLIENT_ENDPOINTS:
        reader.problem("clientEndpoints", f"must be a list of at most {limits.MAX_CLIENT_ENDPOINTS} addresses")
        return ()
    endpoints = []
    for index, text in enumerate(raw):
        try:
            endpoints.append(parse_client_endpoint(text))
        except ValueError as error:
            reader.problem(f"clientEndpoints[{index}]", str(error))
    return tuple(endpoints)


def _storage_class(storage: Reader) -> str | None:
    """The class's name; "" (bind to an existing volume) is a value, None is the cluster's default class."""
    value = storage.raw.get("storageClassName")
    if value is not None and not isinstance(value, str):
        storage.problem("storageClassName", f"must be a string, not {value!r}")
        return None
    return value


def _placement(reader: Reader) -> Placement | None:
    if reader.raw.get("placement") is None:
        return None
    placement = reader.child("placement")
    return Placement(
        placement.mapping("nodeSelector"),
        placement.mapping("affinity"),
        placement.objects("tolerations"),
        placement.objects("topologySpreadConstraints"),
    )


def _network_policy(reader: Reader) -> NetworkPolicySpec:
    return NetworkPolicySpec(
        enabled=reader.truth("enabled", NetworkPolicySpec.enabled),
        clients=reader.objects("clients") or (),
        metrics=reader.objects("metrics") or (),
    )


def _pods(reader: Reader) -> PodsSpec:
    secrets = []
    for index, secret in enumerate(reader.objects("imagePullSecrets") or ()):
        name = secret.get("name")
        if isinstance(name, str) and name:
            secrets.append(name)
        else:
            reader.problem(f"imagePullSecrets[{index}].name", "must be the name of a Secret")
    labels = reader.texts("labels")
    for key in labels:
        if key.startswith(RESERVED_LABELS):
            reader.problem(f"labels.{key}", f"labels of {' and '.join(RESERVED_LABELS)} are the operator's")
    return PodsSpec(
        image=reader.optional_text("image"),
        image_pull_policy=reader.optional_text("imagePullPolicy", choices=("Always", "IfNotPresent", "Never")),
        image_pull_secrets=tuple(secrets),
        priority_class=reader.optional_text("priorityClassName"),
        labels=labels,
        annotations=reader.texts("annotations"),
        security_context=reader.mapping("securityContext"),
        container_security_context=reader.mapping("containerSecurityContext"),
        host_spread=reader.text("hostSpread", PodsSpec.host_spread, choices=("Preferred", "Required")),
    )


def _access(security: Reader) -> AccessRules:
    shared = security.child("sharedClient")
    mode = shared.text("mode", "Enabled", choices=("Enabled", "Disabled"))
    shared_rule = SharedClient(enabled=mode == "Enabled", revoked_before=_revoked_before(shared))
    raw = security.raw.get("clients")
    if raw is None:
        raw = []
    if not isinstance(raw, list) or len(raw) > limits.MAX_CLIENTS:
        security.problem("clients", f"must be a list of at most {limits.MAX_CLIENTS} clients")
        raw = []
    readers = [Reader(item, f"{security.path}.clients[{index}]", security.problems) for index, item in enumerate(raw)]
    return AccessRules(shared_client=shared_rule, clients=tuple(_client(reader) for reader in readers))


def _client(reader: Reader) -> ClientRule:
    prefixes = reader.raw.get("prefixes")
    if prefixes is None:
        prefixes = []
    if not isinstance(prefixes, list) or len(prefixes) > limits.MAX_PREFIXES:
        reader.problem("prefixes", f"must be a list of at most {limits.MAX_PREFIXES} strings")
        prefixes = []
    for index, prefix in enumerate(prefixes):
        if not isinstance(prefix, str) or not 0 < len(prefix) <= limits.MAX_PREFIX_LENGTH:
            text = f"must be a string of 1 to {limits.MAX_PREFIX_LENGTH} characters, not {prefix!r}"
            reader.problem(f"prefixes[{index}]", text)
    return ClientRule(
        name=str(reader.raw.get("name") or ""),
        prefixes=tuple(str(prefix) for prefix in prefixes),
        access=Access(reader.text("access", "ReadWrite", choices=tuple(access.value for access in Access))),
        revoked_before=_revoked_before(reader),
        max_requests=reader.integer("maxRequests", limits.CLIENT_REQUESTS) if "maxRequests" in reader.raw else 0,
    )


def _revoked_before(reader: Reader) -> int:
    """The time in whole seconds since 1970, rounded up as certificates have no fractions; 0 where there is none."""
    raw = reader.raw.get("revokedBefore")
    if raw is None:
        return 0
    try:
        return max(0, ceil(parse_time(raw).timestamp()))
    except (ValueError, OverflowError):
        reader.problem("revokedBefore", f"must be a time such as 2026-01-31T12:00:00Z, not {raw!r}")
        return 0


def _alternative_names(tls: Reader) -> tuple[str, ...]:
    """Host names, with a leading ``*.`` perhaps, and IP addresses; each once."""
    raw = tls.raw.get("subjectAltNames")
    if raw is None:
        return ()
    if not isinstance(raw, list):
        tls.problem("subjectAltNames", "must be a list of host names and IP addresses")
        return ()
    if len(raw) > limits.MAX_ALTERNATIVE_NAMES:
        tls.problem("subjectAltNames", f"must list at most {limits.MAX_ALTERNATIVE_NAMES} names")
        return ()
    for index, name in enumerate(raw):
        if not isinstance(name, str) or not (is_ip_address(name) or is_domain_name(name.removeprefix("*."))):
            text = "is neither a lower-case DNS name (*.example.com for all names of one domain) nor an IP address"
            tls.problem(f"subjectAltNames[{index}]", f"{name!r} {text}")
    return tuple(dict.fromkeys(str(name) for name in raw))


def _replication(reader: Reader) -> ReplicationSpec:
    return ReplicationSpec(
        mode=reader.text("mode", ReplicationSpec.mode, choices=("Async", "SemiSync")),
        min_in_sync_regions=reader.integer("minInSyncRegions", limits.MIN_IN_SYNC_REGIONS),
        semi_sync_timeout_ms=reader.duration_ms("semiSyncTimeout", limits.SEMI_SYNC_TIMEOUT_MS),
        on_timeout=reader.text("onTimeout", ReplicationSpec.on_timeout, choices=("Fail", "Degrade")),
        batch_interval_ms=reader.duration_ms("batchInterval", limits.BATCH_INTERVAL_MS),
        max_batch_bytes=reader.quantity("maxBatchBytes", limits.MAX_BATCH_BYTES),
        window_bytes=reader.quantity("window", limits.WINDOW_BYTES),
        retention_revisions=reader.child("retention").integer("revisions", limits.RETENTION_REVISIONS),
    )


def _limits(reader: Reader) -> LimitsSpec:
    return LimitsSpec(
        max_request_bytes=reader.quantity("maxRequestBytes", limits.MAX_REQUEST_BYTES),
        max_txn_ops=reader.integer("maxTxnOps", limits.MAX_TXN_OPS),
    )


def _failover(reader: Reader) -> FailoverSpec:
    return FailoverSpec(
        policy=reader.text("policy", FailoverSpec.policy, choices=("Automatic", "Manual")),
        lease_duration_ms=reader.duration_ms("leaseDuration", limits.LEASE_DURATION_MS),
        failover_delay_ms=reader.duration_ms("failoverDelay", limits.FAILOVER_DELAY_MS),
        drain_timeout_ms=reader.duration_ms("drainTimeout", limits.DRAIN_TIMEOUT_MS),
        switchover_timeout_ms=reader.duration_ms("switchoverTimeout", limits.SWITCHOVER_TIMEOUT_MS),
        request_timeout_ms=reader.duration_ms("requestTimeout", limits.REQUEST_TIMEOUT_MS),
        failback=reader.text("failback", FailoverSpec.failback, choices=("Manual", "Automatic")),
        max_data_loss_bytes=(
            reader.quantity("maxDataLoss", limits.MAX_DATA_LOSS_BYTES)
            if reader.raw.get("maxDataLoss") is not None
            else None
        ),
    )
