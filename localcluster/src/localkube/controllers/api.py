"""What controllers and the runner need of a Kubernetes API, whoever serves it.

Two implementations exist: `store_api` over the embedded server's storage, in process, and `http_api` over any API
server. Objects are plain dictionaries as they appear in JSON; what is handed out is the caller's to change.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Protocol

Obj = dict[str, Any]


@dataclass(frozen=True)
class Resource:
    """One served resource: where it lives and what its objects are called."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """The `apiVersion` of its objects."""
        return f"{self.group}/{self.version}" if self.group else self.version


NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
NODES = Resource("", "v1", "nodes", "Node", namespaced=False)
PODS = Resource("", "v1", "pods", "Pod")
SERVICES = Resource("", "v1", "services", "Service")
ENDPOINTS = Resource("", "v1", "endpoints", "Endpoints")
CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap")
SECRETS = Resource("", "v1", "secrets", "Secret")
SERVICE_ACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount")
EVENTS = Resource("", "v1", "events", "Event")
PVCS = Resource("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim")
PVS = Resource("", "v1", "persistentvolumes", "PersistentVolume", namespaced=False)
STATEFUL_SETS = Resource("apps", "v1", "statefulsets", "StatefulSet")
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment")
REPLICA_SETS = Resource("apps", "v1", "replicasets", "ReplicaSet")
CONTROLLER_REVISIONS = Resource("apps", "v1", "controllerrevisions", "ControllerRevision")
PDBS = Resource("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget")
ENDPOINT_SLICES = Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice")
STORAGE_CLASSES = Resource("storage.k8s.io", "v1", "storageclasses", "StorageClass", namespaced=False)
ROLES = Resource("rbac.authorization.k8s.io", "v1", "roles", "Role")
ROLE_BINDINGS = Resource("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding")
CLUSTER_ROLES = Resource("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", namespaced=False)
CLUSTER_ROLE_BINDINGS = Resource(
    "rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", namespaced=False
)
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")
CRDS = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False)

BUILTIN: tuple[Resource, ...] = (
    NAMESPACES,
    NODES,
    PODS,
    SERVICES,
    ENDPOINTS,
    CONFIG_MAPS,
    SECRETS,
    SERVICE_ACCOUNTS,
    EVENTS,
    PVCS,
    PVS,
    STATEFUL_SETS,
    DEPLOYMENTS,
    REPLICA_SETS,
    CONTROLLER_REVISIONS,
    PDBS,
    ENDPOINT_SLICES,
    STORAGE_CLASSES,
    ROLES,
    ROLE_BINDINGS,
    CLUSTER_ROLES,
    CLUSTER_ROLE_BINDINGS,
    LEASES,
    CRDS,
)


class ApiError(Exception):
    """The API server refused a request.

    `code` is the HTTP status, `reason` the Status reason (for example `Conflict`).
    """

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(f"{reason} ({code}): {message}")
        self.code = code
        self.reason = reason
        self.message = message

    @property
    def not_found(self) -> bool:
        """The object (or its kind) does not exist."""
        return self.code == 404

    @property
    def conflict(self) -> bool:
        """The object changed since it was read, or a precondition failed."""
        return self.code == 409 and self.reason != "AlreadyExists"

    @property
    def already_exists(self) -> bool:
        """An object of that name exists."""
        return self.code == 409 and self.reason == "AlreadyExists"

    @property
    def gone(self) -> bool:
        """The resourceVersion asked for is too old; list again."""
        return self.code == 410


@dataclass(frozen=True)
class WatchEvent:
    """A change: `type` is ADDED, MODIFIED, DELETED or BOOKMARK."""

    type: str
    object: Obj


class Api(Protocol):
    """The requests controllers make. Every method raises `ApiError` when the server refuses."""

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Obj:
        """The object as it is now."""
        ...

    async def list(self, resource: Resource, namespace: str | None = None) -> tuple[list[Obj], str]:
        """All objects (of one namespace, or of all), and the resourceVersion they were read at."""
        ...

    async def create(self, resource: Resource, namespace: str | None, obj: Obj) -> Obj:
        """Create and return the object as stored."""
        ...

    async def update(self, resource: Resource, namespace: str | None, obj: Obj) -> Obj:
        """Replace all but the status; conditional when `obj` carries a resourceVersion."""
        ...

    async def update_status(self, resource: Resource, namespace: str | None, obj: Obj) -> Obj:
        """Replace the status; conditional when `obj` carries a resourceVersion."""
        ...

    async def delete(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        *,
        uid: str | None = None,
        resource_version: str | None = None,
        grace_seconds: int | None = None,
        propagation: str | None = None,
    ) -> None:
        """Ask for deletion, under the given preconditions."""
        ...

    async def bind(self, namespace: str, name: str, uid: str, node: str) -> None:
        """Bind a pod to a node (the `pods/binding` subresource)."""
        ...

    async def finalize_namespace(self, obj: Obj) -> None:
        """Replace a namespace's `spec.finalizers` (the `namespaces/finalize` subresource)."""
        ...

    async def mint_token(self, namespace: str, service_account: str) -> str:
        """A bearer token of a service account."""
        ...

    def watch(self, resource: Resource, resource_version: str) -> AsyncIterator[WatchEvent]:
        """Changes in all namespaces after `resource_version`; ends or raises at any time, then the caller goes on."""
        ...
