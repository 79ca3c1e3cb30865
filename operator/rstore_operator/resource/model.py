"""What a user asks for: the spec of a ReplicatedStore, parsed and with every default filled in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rstore_api.domain import limits
from rstore_api.domain.access import OPEN, AccessRules

from rstore_operator.resource.backup import BackupSpec
from rstore_operator.resource.bootstrap import BootstrapSpec
from rstore_operator.resource.client_endpoint import ClientEndpoint


@dataclass(frozen=True)
class StoreRef:
    """Which object is meant."""

    namespace: str
    name: str
    uid: str


@dataclass(frozen=True)
class Placement:
    """Where pods may run, in the words of a pod's spec. None means: nothing said."""

    node_selector: Mapping[str, str] | None = None
    affinity: Mapping[str, Any] | None = None
    tolerations: tuple[Mapping[str, Any], ...] | None = None
    topology_spread_constraints: tuple[Mapping[str, Any], ...] | None = None


@dataclass(frozen=True)
class RegionSpec:
    """One region. ``placement`` None means the default: nodes labelled with the region's name."""

    name: str
    replicas: int = limits.REPLICAS.default
    priority: int = limits.PRIORITY.default
    placement: Placement | None = None
    storage_size: str = "10Gi"
    storage_class: str | None = None
    requests: Mapping[str, str] | None = None
    limits: Mapping[str, str] | None = None
    client_endpoints: tuple[ClientEndpoint, ...] = ()
    """Where clients outside of the cluster reach it."""


@dataclass(frozen=True)
class ReplicationSpec:
    """How changes travel between regions."""

    mode: str = "Async"
    min_in_sync_regions: int = limits.MIN_IN_SYNC_REGIONS.default
    semi_sync_timeout_ms: int = limits.SEMI_SYNC_TIMEOUT_MS.default
    on_timeout: str = "Fail"
    batch_interval_ms: int = limits.BATCH_INTERVAL_MS.default
    max_batch_bytes: int = limits.MAX_BATCH_BYTES.default
    window_bytes: int = limits.WINDOW_BYTES.default
    retention_revisions: int = limits.RETENTION_REVISIONS.default


@dataclass(frozen=True)
class FailoverSpec:
    """When and how the primary changes."""

    policy: str = "Automatic"
    lease_duration_ms: int = limits.LEASE_DURATION_MS.default
    failover_delay_ms: int = limits.FAILOVER_DELAY_MS.default
    switchover_timeout_ms: int = limits.SWITCHOVER_TIMEOUT_MS.default
    drain_timeout_ms: int = limits.DRAIN_TIMEOUT_MS.default
    """How long the last replicas of a primary region wait for another region when they are stopped."""
    request_timeout_ms: int = limits.REQUEST_TIMEOUT_MS.default
    """How long ``failover-to`` may wait before it is refused."""
    failback: str = "Manual"
    max_data_loss_bytes: int | None = None
    """Of last known lag, in an unplanned failover; None: whatever it is."""


@dataclass(frozen=True)
class LimitsSpec:
    """What one request may take."""

    max_request_bytes: int = limits.MAX_REQUEST_BYTES.default
    max_txn_ops: int = limits.MAX_TXN_OPS.default


@dataclass(frozen=True)
class PodsSpec:
    """What the pods of all replicas have. None means: nothing said, the default applies."""

    image: str = ""
    """Empty: the operator's default."""
    image_pull_policy: str = ""
    """Empty: the operator's default."""
    image_pull_secrets: tuple[str, ...] = ()
    priority_class: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    security_context: Mapping[str, Any] | None = None
    container_security_context: Mapping[str, Any] | None = None
    host_spread: str = "Preferred"


@dataclass(frozen=True)
class NetworkPolicySpec:
    """Who may connect, as peers of a NetworkPolicy; none means everybody."""

    enabled: bool = True
    clients: tuple[Mapping[str, Any], ...] = ()
    metrics: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class StoreSpec:
    """The whole spec."""

    primary_region: str
    regions: tuple[RegionSpec, ...]
    replication: ReplicationSpec = ReplicationSpec()
    failover: FailoverSpec = FailoverSpec()
    limits: LimitsSpec = LimitsSpec()
    tls_mode: str = "Managed"
    subject_alt_names: tuple[str, ...] = ()
    """Further host names and IP addresses that the replicas' certificates are valid for."""
    client_auth: str = "mTLS"
    access: AccessRules = OPEN
    """What clients may do; version 0 as long as the planner has not given it one."""
    pvc_policy: str = "Retain"
    network_policy: NetworkPolicySpec = NetworkPolicySpec()
    pods: PodsSpec = PodsSpec()
    backup: BackupSpec | None = None
    bootstrap: BootstrapSpec | None = None
    """What the store begins with, if it is new."""

    def region(self, name: str) -> RegionSpec | None:
        """The region of that name, if there is one."""
        return next((region for region in self.regions if region.name == name), None)

    @property
    def region_names(self) -> tuple[str, ...]:
        """Names, in the order of the spec."""
        return tuple(region.name for region in self.regions)


@dataclass(frozen=True)
class ReplicaImage:
    """What replicas run."""

    image: str = "replicated-store-replica:latest"
    pull_policy: str = "IfNotPresent"

    def of(self, pods: PodsSpec) -> ReplicaImage:
        """Returns what the pods of a store run."""
        return ReplicaImage(pods.image or self.image, pods.image_pull_policy or self.pull_policy)


@dataclass(frozen=True)
class OperatorPods:
    """The operator's own pods, for the network policies that let them in; without a namespace it runs in none."""

    namespace: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class CertificateSettings:
    """What the operator was started with that certificates depend on."""

    cluster_domain: str = "cluster.local"
    """The domain under which the cluster's DNS answers for Services."""
    authority_transition_seconds: float = 7 * 24 * 3600.0
    """How long clients have to take new certificates after the store's authority was replaced."""


DEFAULT_CERTIFICATE_SETTINGS = CertificateSettings()
UNKNOWN_PODS = OperatorPods()
