"""How Kubernetes knows a store and what is made for it: groups and kinds, labels, annotations, field managers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """A kind of namespaced object: where the API server serves it."""

    group: str
    version: str
    plural: str

    @property
    def api_version(self) -> str:
        """The ``apiVersion`` of its objects."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str, name: str = "") -> str:
        """The URL path of an object, or of all in the namespace; of all in the cluster without a namespace."""
        prefix = f"/{'apis' if self.group else 'api'}/{self.api_version}"
        return (
            prefix
            + (f"/namespaces/{namespace}" if namespace else "")
            + f"/{self.plural}"
            + (f"/{name}" if name else "")
        )


GROUP = "replicatedstore.io"
KIND = "ReplicatedStore"
STORE = Kind(GROUP, "v1alpha1", "replicatedstores")
BACKUP_KIND = "ReplicatedStoreBackup"
BACKUP = Kind(GROUP, "v1alpha1", "replicatedstorebackups")

CHILD_KINDS: Mapping[str, Kind] = {
    "ConfigMap": Kind("", "v1", "configmaps"),
    "Deployment": Kind("apps", "v1", "deployments"),
    "NetworkPolicy": Kind("networking.k8s.io", "v1", "networkpolicies"),
    "PodDisruptionBudget": Kind("policy", "v1", "poddisruptionbudgets"),
    "Secret": Kind("", "v1", "secrets"),
    "Service": Kind("", "v1", "services"),
    "ServiceAccount": Kind("", "v1", "serviceaccounts"),
    "StatefulSet": Kind("apps", "v1", "statefulsets"),
}
"""The kinds of objects that the operator makes for a store."""
CLAIM = Kind("", "v1", "persistentvolumeclaims")
EVENT = Kind("", "v1", "events")
LEASE = Kind("coordination.k8s.io", "v1", "leases")
NODE = Kind("", "v1", "nodes")
POD = Kind("", "v1", "pods")
SECRET = CHILD_KINDS["Secret"]
SEEN_KINDS: Mapping[str, Kind] = {
    **CHILD_KINDS,
    "Pod": POD,
    "PersistentVolumeClaim": CLAIM,
}
"""The kinds that the operator watches by the store's label: children, and what other controllers make for them."""

OPERATOR_FIELD_MANAGER = "rstore-operator"
CLI_FIELD_MANAGER = "rstore-cli"
FINALIZER = f"{GROUP}/operator"

# ---- labels
STORE_LABEL = f"{GROUP}/store"
REGION_LABEL = f"{GROUP}/region"
CLIENT_LABEL = f"{GROUP}/client"
"""Of the Secret of a client with a certificate of its own."""
COMPONENT_LABEL = "app.kubernetes.io/component"
"""Of what is neither a region's nor a client's: what it is a part of."""
ARCHIVER = "archiver"
"""The component that writes the archive."""
RESTORER = "restorer"
"""The component that fills a new store from an archive."""
MANAGED_BY = "app.kubernetes.io/managed-by"
REVISION_LABEL = "controller-revision-hash"
"""Of a pod: the revision of its StatefulSet's template that it was made from."""

# ---- annotations of children
SPEC_HASH = f"{GROUP}/spec-hash"
CONFIG_HASH = f"{GROUP}/config-hash"
TEMPLATE_HASH = f"{GROUP}/template-hash"
"""Of a StatefulSet: that of the pod template that it was given last."""
AUTHORITY = f"{GROUP}/authority"
"""SHA-256 of the certificate authority that the annotations of its Secret are about."""
AUTHORITY_SINCE = f"{GROUP}/authority-since"
PREVIOUS_AUTHORITIES_UNTIL = f"{GROUP}/previous-authorities-until"
"""How long clients have to take new certificates; a person may change it."""
RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"
"""What `kubectl rollout restart` sets in a pod template; on a store, it restarts all of its pods in turn."""

# ---- annotations of a store, by which a person asks for something
FAILOVER_TO = f"{GROUP}/failover-to"
FAILOVER_MODE = f"{GROUP}/failover-mode"
FAILOVER_DRY_RUN = f"{GROUP}/failover-dry-run"
ACCEPT_DATA_LOSS = f"{GROUP}/accept-data-loss"
ABORT_FAILOVER = f"{GROUP}/abort-failover"
PAUSED = f"{GROUP}/paused"
DRILL_REQUESTED_AT = f"{GROUP}/drill-requested-at"
"""Each new value asks for one drill of the archive; it stays, and the status names the last one that was answered."""
REQUESTS = (FAILOVER_TO, FAILOVER_MODE, FAILOVER_DRY_RUN, ACCEPT_DATA_LOSS, ABORT_FAILOVER, PAUSED)
"""Those about the primary region and the operator."""


def store_selector(store: str) -> str:
    """The label selector of everything that is made for a store."""
    return f"{STORE_LABEL}={store}"


def pod_selector(store: str, region: str | None = None) -> str:
    """The label selector of a store's replicas, or of those of one region."""
    return f"{store_selector(store)},{REGION_LABEL}" + (f"={region}" if region else "")
