"""What the server serves: a table of built-in resources, and a registry that CRDs add to at run time."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from localkube.apiserver.errors import PageNotFoundError, no_such_resource, qualified
from localkube.apiserver.jsonobj import JsonObject

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True)
class PrinterColumn:
    """A column of ``kubectl get`` as a CRD declares it."""

    name: str
    type: str
    json_path: str
    priority: int = 0
    format: str = ""
    description: str = ""


@dataclass(frozen=True)
class Resource:
    """One served (group, version, plural)."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: frozenset[str] = frozenset()
    generation: bool = False
    """Whether ``metadata.generation`` counts changes outside metadata and status."""
    verbs: tuple[str, ...] = ALL_VERBS
    singular: str = ""
    list_kind: str = ""
    """The kind of its lists, where it is not that of its objects with List behind it."""
    model: str = ""
    """Name of the Python client's model that describes a built-in kind."""
    schema: JsonObject | None = None
    """Structural schema (``openAPIV3Schema``) of a custom resource; None for built-in kinds."""
    columns: tuple[PrinterColumn, ...] = ()
    scale_paths: tuple[str, str, str] = (".spec.replicas", ".status.replicas", "")
    storage_version: str = ""
    versions: tuple[str, ...] = ()
    """All versions that the definition of a custom resource declares."""
    terminating: bool = False
    """Whether the definition of a custom resource is being deleted: no more objects are made then."""
    deprecation: str = ""
    """What requests through this version are warned of."""
    unconditional_update: bool = True
    """Whether an update without a resourceVersion is allowed."""
    create_by_update: bool = False
    """Whether an update of an object that does not exist creates it."""

    @property
    def key(self) -> str:
        """``plural.group``, or the plural alone in the core group: what the store calls this resource."""
        return qualified(self.group, self.plural)

    @property
    def api_version(self) -> str:
        """``apps/v1`` or ``v1``."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def stored_api_version(self) -> str:
        """Returns the apiVersion objects are stored with."""
        version = self.storage_version or self.version
        return f"{self.group}/{version}" if self.group else version

    @property
    def custom(self) -> bool:
        """Returns whether a CRD defines it."""
        return self.schema is not None

    @property
    def has_status(self) -> bool:
        """Returns whether status is written only through the status subresource."""
        return "status" in self.subresources

    @property
    def singular_name(self) -> str:
        """Singular name for discovery."""
        return self.singular or self.kind.lower()

    @property
    def kind_of_lists(self) -> str:
        """Returns the kind of its lists."""
        return self.list_kind or f"{self.kind}List"

    def names(self) -> frozenset[str]:
        """Returns every name a person may use for it."""
        return frozenset({self.plural, self.singular_name, *self.short_names})


def _table() -> Iterable[Resource]:
    status = frozenset({"status"})
    status_scale = frozenset({"status", "scale"})
    workload = ("all",)

    def core(plural: str, kind: str, **more: object) -> Resource:
        return Resource("", "v1", plural, kind, **more)  # type: ignore[arg-type]

    yield core(
        "namespaces",
        "Namespace",
        namespaced=False,
        short_names=("ns",),
        verbs=tuple(verb for verb in ALL_VERBS if verb != "deletecollection"),
        subresources=frozenset({"status", "finalize"}),
    )
    yield core(
        "nodes",
        "Node",
        namespaced=False,
        short_names=("no",),
        subresources=status,
    )
    yield core(
        "pods",
        "Pod",
        short_names=("po",),
        categories=workload,
        generation=True,
        subresources=frozenset(
            {"status", "log", "portforward", "exec", "attach", "binding", "eviction", "proxy", "ephemeralcontainers"}
        ),
    )
    yield core(
        "services",
        "Service",
        short_names=("svc",),
        categories=workload,
        subresources=status,
        create_by_update=True,
    )
    yield core(
        "endpoints",
        "Endpoints",
        short_names=("ep",),
        singular="endpoints",
        create_by_update=True,
        deprecation="v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
    )
    yield core("configmaps", "ConfigMap", short_names=("cm",))
    yield core("secrets", "Secret")
    yield core(
        "serviceaccounts",
        "ServiceAccount",
        short_names=("sa",),
        subresources=frozenset({"token"}),
        unconditional_update=False,
    )
    yield core(
        "events",
        "Event",
        short_names=("ev",),
        model="CoreV1Event",
        create_by_update=True,
    )
    yield core("persistentvolumeclaims", "PersistentVolumeClaim", short_names=("pvc",), subresources=status)
    yield core("persistentvolumes", "PersistentVolume", namespaced=False, short_names=("pv",), subresources=status)

    def apps(plural: str, kind: str, **more: object) -> Resource:
        return Resource("apps", "v1", plural, kind, categories=workload, generation=True, **more)  # type: ignore[arg-type]

    yield apps("statefulsets", "StatefulSet", short_names=("sts",), subresources=status_scale)
    yield apps("deployments", "Deployment", short_names=("deploy",), subresources=status_scale)
    yield apps("replicasets", "ReplicaSet", short_names=("rs",), subresources=status_scale)
    yield Resource("apps", "v1", "controllerrevisions", "ControllerRevision")
    yield Resource(
        "policy",
        "v1",
        "poddisruptionbudgets",
        "PodDisruptionBudget",
        short_names=("pdb",),
        subresources=status,
        generation=True,
        unconditional_update=False,
    )
    rbac = "rbac.authorization.k8s.io"
    yield Resource(rbac, "v1", "roles", "Role", create_by_update=True)
    yield Resource(rbac, "v1", "rolebindings", "RoleBinding", create_by_update=True)
    yield Resource(rbac, "v1", "clusterroles", "ClusterRole", namespaced=False, create_by_update=True)
    yield Resource(rbac, "v1", "clusterrolebindings", "ClusterRoleBinding", namespaced=False, create_by_update=True)
    yield Resource("coordination.k8s.io", "v1", "leases", "Lease", unconditional_update=False, create_by_update=True)
    yield Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", generation=True)
    yield Resource("storage.k8s.io", "v1", "storageclasses", "StorageClass", namespaced=False, short_names=("sc",))
    yield Resource("scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", namespaced=False, short_names=("pc",))
    yield Resource(
        "networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", short_names=("netpol",), generation=True
    )
    yield Resource(
        "apiextensions.k8s.io",
        "v1",
        "customresourcedefinitions",
        "CustomResourceDefinition",
        namespaced=False,
        short_names=("crd", "crds"),
        subresources=status,
        generation=True,
        categories=("api-extensions",),
        unconditional_update=False,
    )


@dataclass(frozen=True)
class VirtualResource:
    """A resource that is only ever created, and answered without being stored (reviews)."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = False

    @property
    def api_version(self) -> str:
        """``authorization.k8s.io/v1``."""
        return f"{self.group}/{self.version}"

    @property
    def type(self) -> Resource:
        """Returns what its objects are."""
        return Resource(self.group, self.version, self.plural, self.kind, model=f"V1{self.kind}")


VIRTUAL = (
    VirtualResource("authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview"),
    VirtualResource("authorization.k8s.io", "v1", "selfsubjectrulesreviews", "SelfSubjectRulesReview"),
    VirtualResource("authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview"),
)


BINDING = Resource("", "v1", "bindings", "Binding", model="V1Binding")
EVICTION = Resource("policy", "v1", "evictions", "Eviction", model="V1Eviction")
SCALE = Resource("autoscaling", "v1", "scales", "Scale", model="V1Scale")
TOKEN_REQUEST = Resource(
    "authentication.k8s.io", "v1", "tokenrequests", "TokenRequest", model="AuthenticationV1TokenRequest"
)
"""Types of objects that subresources take; they are never stored."""


def _with_model(resource: Resource) -> Resource:
    return resource if resource.model else replace(resource, model=f"V1{resource.kind}")


BUILTIN: tuple[Resource, ...] = tuple(_with_model(resource) for resource in _table())


_VERSION = re.compile(r"v(?P<major>[1-9][0-9]*)(?:(?P<stage>alpha|beta)(?P<minor>[1-9][0-9]*))?")


def version_order(version: str) -> tuple[int, int, int, str]:
    """Returns the order in which versions are preferred: v2, v1, v1beta2, v1beta1, v1alpha1, then all others by
    name."""
    match = _VERSION.fullmatch(version)
    if match is None:
        return 3, 0, 0, version
    stage = {None: 0, "beta": 1, "alpha": 2}[match["stage"]]
    return stage, -int(match["major"]), -int(match["minor"] or 0), version


@dataclass
class Registry:
    """All served resources; changes when CRDs come and go."""

    version: int = 0
    """Grows at every change, so that discovery documents can be cached."""
    _served: dict[tuple[str, str, str], Resource] = field(default_factory=dict)
    _by_key: dict[str, Resource] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for resource in BUILTIN:
            self.add(resource)

    def add(self, resource: Resource) -> None:
        """Serve a resource, or replace how it is served."""
        self._served[(resource.group, resource.version, resource.plural)] = resource
        self.keep(resource)

    def keep(self, resource: Resource) -> None:
        """Let the store keep objects in this version, whether or not it is served."""
        if not resource.storage_version or resource.storage_version == resource.version:
            self._by_key[resource.key] = resource
        else:
            self._by_key.setdefault(resource.key, resource)
        self.version += 1

    def keeps(self, key: str) -> bool:
        """Returns whether the store keeps objects of the resource called ``plural.group``."""
        return key in self._by_key

    def remove(self, group: str, plural: str) -> None:
        """Stop serving a custom resource in every version."""
        for key in [key for key in self._served if key[0] == group and key[2] == plural]:
            del self._served[key]
        self._by_key.pop(qualified(group, plural), None)
        self.version += 1

    def by_key(self, key: str) -> Resource:
        """Returns the resource called ``plural.group``; raises a 404."""
        try:
            return self._by_key[key]
        except KeyError:
            raise no_such_resource() from None

    def served(self, group: str, version: str, plural: str) -> Resource:
        """Returns the resource at a path; raises a 404, in plain text outside the groups of the server's own."""
        try:
            return self._served[(group, version, plural)]
        except KeyError:
            raise (no_such_resource() if self.built_in(group) else PageNotFoundError()) from None

    def built_in(self, group: str) -> bool:
        """Returns whether a group is one of the server's own."""
        own = {item.group for item in BUILTIN} | {item.group for item in VIRTUAL}
        return group in own

    def all(self) -> tuple[Resource, ...]:
        """Returns every served resource, built-in ones first."""
        return tuple(self._served.values())

    def group_versions(self) -> dict[str, list[str]]:
        """Versions by group, the preferred one first; those of the reviews too, the core group as ``""``."""
        groups: dict[str, list[str]] = {}
        served = [(resource.group, resource.version) for resource in self._served.values()]
        virtual = [(resource.group, resource.version) for resource in VIRTUAL]
        for group, version in (*served, *virtual):
            versions = groups.setdefault(group, [])
            if version not in versions:
                versions.append(version)
        return {group: sorted(versions, key=version_order) for group, versions in groups.items()}
