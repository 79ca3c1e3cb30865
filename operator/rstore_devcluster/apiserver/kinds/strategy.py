"""The store's strategy: everything particular to built-in kinds and to custom resources, put together."""

from __future__ import annotations

from collections.abc import Callable

from rstore_devcluster.apiserver.http.errors import Cause
from rstore_devcluster.apiserver.jsonobj import Json, JsonObject, format_time
from rstore_devcluster.apiserver.kinds import misc, pods, services, workloads
from rstore_devcluster.apiserver.kinds.custom import validate_custom
from rstore_devcluster.apiserver.kinds.services import ClusterIps
from rstore_devcluster.apiserver.objects.resources import EVENTS_V1, Resource
from rstore_devcluster.apiserver.patch.managed import Writer, track_update
from rstore_devcluster.apiserver.schema import quantity
from rstore_devcluster.apiserver.schema.crd import default_crd
from rstore_devcluster.apiserver.schema.definition.life import begin_deletion
from rstore_devcluster.apiserver.schema.definition.validate import validate_definition
from rstore_devcluster.apiserver.schema.definition.warnings import definition_warnings
from rstore_devcluster.apiserver.schema.node import Node
from rstore_devcluster.apiserver.schema.provider import Schemas
from rstore_devcluster.apiserver.schema.pruning import apply_defaults, prune
from rstore_devcluster.apiserver.schema.structural import TYPE_INVALID, structure_causes
from rstore_devcluster.apiserver.storage.events import from_core
from rstore_devcluster.apiserver.storage.store import Store

Default = Callable[[JsonObject, JsonObject | None], None]
Validate = Callable[[JsonObject, JsonObject | None], list[Cause]]

_RBAC = "rbac.authorization.k8s.io"
_DEFINITIONS = "customresourcedefinitions.apiextensions.k8s.io"
_DEFAULTS: dict[str, Default] = {
    "namespaces": misc.default_namespace,
    "pods": pods.default_pod,
    "services": services.default_service,
    "secrets": misc.default_secret,
    "persistentvolumeclaims": misc.default_claim,
    "persistentvolumes": misc.default_volume,
    "events": misc.default_event,
    "statefulsets.apps": workloads.default_statefulset,
    "deployments.apps": workloads.default_deployment,
    "replicasets.apps": workloads.default_replicaset,
    "poddisruptionbudgets.policy": misc.default_budget,
    f"rolebindings.{_RBAC}": misc.default_binding,
    f"clusterrolebindings.{_RBAC}": misc.default_binding,
    "storageclasses.storage.k8s.io": misc.default_storage_class,
    _DEFINITIONS: default_crd,
}
_COMPLETE: dict[str, Default] = {
    "namespaces": misc.complete_namespace,
    "pods": pods.complete_pod,
    "services": services.complete_service,
}
"""What is filled in after the manager of an object's fields was recorded: it is nobody's."""
_VALIDATE: dict[str, Validate] = {
    "pods": pods.validate_pod,
    "services": services.validate_service,
    "secrets": misc.validate_secret,
    "configmaps": misc.validate_configmap,
    "persistentvolumeclaims": misc.validate_claim,
    "events": misc.validate_event,
    "statefulsets.apps": workloads.validate_statefulset,
    "deployments.apps": workloads.validate_selector_workload,
    "replicasets.apps": workloads.validate_selector_workload,
    "poddisruptionbudgets.policy": misc.validate_budget,
    f"roles.{_RBAC}": misc.validate_role,
    f"clusterroles.{_RBAC}": misc.validate_role,
    f"rolebindings.{_RBAC}": misc.validate_binding,
    f"clusterrolebindings.{_RBAC}": misc.validate_binding,
    "leases.coordination.k8s.io": misc.validate_lease,
    _DEFINITIONS: validate_definition,
}
_REQUIRED_HANDLED = frozenset({"pods", "statefulsets.apps", "deployments.apps", "replicasets.apps"})


class KindStrategy:
    """Defaults, prunes, validates and tracks ownership by what a resource is."""

    def __init__(self, schemas: Schemas) -> None:
        self._schemas = schemas
        self._store: Store | None = None
        self._addresses: ClusterIps | None = None

    def attach(self, store: Store, service_cidr: str) -> None:
        """Tell the store that allocations look at."""
        self._store = store
        self._addresses = ClusterIps(store, service_cidr)

    def prepare(self, resource: Resource, obj: JsonObject, old: JsonObject | None, *, dry_run: bool) -> None:  # noqa: ARG002
        """Prune and default."""
        node = self._schemas.node(resource)
        if resource.custom:
            prune(node, obj)
            apply_defaults(node, obj)
            metadata = node.field("metadata")
            if metadata is not None:
                _drop_absent(metadata, obj["metadata"])
            return
        prune(node, obj)
        _drop_absent(node, obj)
        default = _DEFAULTS.get(resource.key)
        if default is not None:
            default(obj, old)
        _canonical_quantities(node, obj)

    def complete(self, resource: Resource, obj: JsonObject, old: JsonObject | None, *, dry_run: bool) -> None:  # noqa: ARG002
        """What admission, allocation and the kind itself add."""
        complete = _COMPLETE.get(resource.key)
        if complete is not None:
            complete(obj, old)
        if resource.key == "services" and old is None and self._addresses is not None:
            self._addresses.ensure(obj)

    def deleting(self, resource: Resource, obj: JsonObject) -> None:
        """A definition waits for its objects."""
        if resource.key == _DEFINITIONS and self._store is not None:
            begin_deletion(obj, format_time(self._store.now()))

    def validate(
        self,
        resource: Resource,
        obj: JsonObject,
        old: JsonObject | None,
        *,
        subresource: str = "",
        warnings: list[str] | None = None,
    ) -> list[Cause]:
        """Schema first; rules and kind-specific checks only when it holds, as in Kubernetes."""
        node = self._schemas.node(resource)
        if resource.custom:
            findings = validate_custom(resource, node, obj, old, subresource)
            if warnings is not None and not findings.refused:
                warnings.extend(map(str, findings.warned))
            return findings.refused
        causes = structure_causes(node, obj)
        structural = [cause for cause in causes if cause.reason == TYPE_INVALID]
        if structural:
            return structural
        check = _VALIDATE.get(resource.key)
        own = check(obj, old) if check is not None else []
        if resource.key == _DEFINITIONS:
            if warnings is not None and not own:
                warnings.extend(definition_warnings(obj, old))
            return own
        named = {cause.field for cause in own}
        if resource.key in _REQUIRED_HANDLED:
            causes = [cause for cause in causes if not cause.field.endswith((".containers", ".name", ".selector"))]
        missing = [cause for cause in causes if cause.field not in named and not cause.field.startswith("status")]
        return own + missing

    def track(
        self, resource: Resource, obj: JsonObject, old: JsonObject | None, *, manager: str, subresource: str
    ) -> None:
        """Record ownership of what an update changed."""
        now = format_time(self._store.now()) if self._store is not None else ""
        writer = Writer.through(resource, subresource, manager, now)
        node = self._schemas.node(resource)
        if resource is not EVENTS_V1:
            track_update(node, obj, old, writer)
            return
        shown = from_core(obj)
        track_update(node, shown, from_core(old) if old is not None else None, writer)
        obj["metadata"] = shown["metadata"]


_ZEROS: JsonObject = {"string": "", "integer": 0, "number": 0, "boolean": False}


def _drop_absent(node: Node, value: Json) -> None:
    """Remove what means nothing in a built-in kind: null, and empty lists and maps where none have to be.

    Inside a value that may be anything all of it means something.
    """
    if node.raw.get("x-kubernetes-preserve-unknown-fields"):
        return
    if isinstance(value, dict):
        required = node.raw.get("required") or ()
        for name, item in list(value.items()):
            child = node.child(name)
            if child is not None:
                _drop_absent(child, item)
            if item is None and node.field(name) is None and child is not None:
                # The value of a map is the zero of its type; a map of bytes has no other.
                value[name] = _ZEROS.get(child.type)
            empty = item in ([], {}) and child is not None and (child.type == "array" or child.additional is not None)
            if value[name] is None or (empty and name not in required):
                del value[name]
    elif isinstance(value, list) and node.items is not None:
        for item in value:
            _drop_absent(node.items, item)


def _canonical_quantities(node: Node, value: Json) -> None:
    if isinstance(value, dict):
        for name, item in value.items():
            child = node.child(name)
            if child is None:
                continue
            if child.raw.get("x-kubernetes-quantity") and isinstance(item, (str, int, float)):
                try:
                    value[name] = quantity.canonical(item)
                except ValueError:
                    continue
            else:
                _canonical_quantities(child, item)
    elif isinstance(value, list) and node.items is not None:
        for item in value:
            _canonical_quantities(node.items, item)
