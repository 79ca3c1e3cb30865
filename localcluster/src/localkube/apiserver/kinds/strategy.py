"""The store's strategy: everything particular to built-in kinds and to custom resources, put together."""

from __future__ import annotations

from localkube.apiserver.errors import Cause, bad_request
from localkube.apiserver.jsonobj import Json, JsonObject, format_time
from localkube.apiserver.kinds.admission import Admission
from localkube.apiserver.kinds.builtin import kind_of
from localkube.apiserver.kinds.custom import validate_custom
from localkube.apiserver.kinds.services import ClusterIps
from localkube.apiserver.kinds.warnings import warnings_of
from localkube.apiserver.objects.store import Store
from localkube.apiserver.patch.managed import Writer, track_update
from localkube.apiserver.resources import Resource
from localkube.apiserver.schema.crd import default_crd
from localkube.apiserver.schema.decoding import DecodingError, normalise, nulls_dropped
from localkube.apiserver.schema.definition.life import begin_deletion
from localkube.apiserver.schema.definition.validate import validate_definition
from localkube.apiserver.schema.definition.warnings import definition_warnings
from localkube.apiserver.schema.node import Node
from localkube.apiserver.schema.provider import Schemas
from localkube.apiserver.schema.pruning import apply_defaults, prune
from localkube.apiserver.schema.structural import TYPE_INVALID, structure_causes

_DEFINITIONS = "customresourcedefinitions.apiextensions.k8s.io"


class KindStrategy:
    """Defaults, prunes, validates and tracks ownership by what a resource is."""

    def __init__(self, schemas: Schemas) -> None:
        self._schemas = schemas
        self._store: Store | None = None
        self._addresses: ClusterIps | None = None
        self._admission: Admission | None = None

    def attach(self, store: Store, service_cidr: str) -> None:
        """Give the store that allocations and admission look at."""
        self._store = store
        self._addresses = ClusterIps(store, service_cidr)
        self._admission = Admission(store)

    def prepare(self, resource: Resource, obj: JsonObject, old: JsonObject | None, *, dry_run: bool) -> None:  # noqa: ARG002
        """Prune, decode and default."""
        node = self._schemas.node(resource)
        prune(node, obj)
        if resource.custom:
            apply_defaults(node, obj)
            metadata = node.field("metadata")
            if metadata is not None:
                obj["metadata"] = _decoded(metadata, obj["metadata"])
            return
        decoded = _decoded(node, obj, keep_scalars=resource.key == _DEFINITIONS)
        obj.clear()
        obj.update(decoded)
        (default_crd if resource.key == _DEFINITIONS else kind_of(resource.key).default)(obj, old)

    def complete(self, resource: Resource, obj: JsonObject, old: JsonObject | None, *, dry_run: bool) -> None:  # noqa: ARG002
        """What admission, allocation and the kind itself add."""
        kind_of(resource.key).complete(obj, old)
        if self._admission is not None:
            self._admission.admit(resource.key, obj, old)
        if resource.key == "services" and self._addresses is not None:
            self._addresses.ensure(obj, old)

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
        if resource.key == _DEFINITIONS:
            causes = structure_causes(node, obj)
            refused = [cause for cause in causes if cause.reason == TYPE_INVALID] or validate_definition(obj, old)
            if warnings is not None and not refused:
                warnings.extend(definition_warnings(obj, old))
            return refused
        causes = structure_causes(node, nulls_dropped(node, obj))
        structural = [cause for cause in causes if cause.reason == TYPE_INVALID]
        own = kind_of(resource.key).validate
        if structural or own is None:
            return structural or causes
        refused = own(obj, old, subresource)
        if warnings is not None and not refused:
            warnings.extend(warnings_of(resource.key, obj, old))
        return refused

    def track(
        self, resource: Resource, obj: JsonObject, old: JsonObject | None, *, manager: str, subresource: str
    ) -> None:
        """Record ownership of what an update changed."""
        now = format_time(self._store.now()) if self._store is not None else ""
        writer = Writer.through(resource, subresource, manager, now)
        track_update(self._schemas.node(resource), obj, old, writer)


def _decoded(node: Node, value: Json, *, keep_scalars: bool = False) -> Json:
    try:
        return normalise(node, value, keep_scalars=keep_scalars)
    except DecodingError as error:
        raise bad_request(str(error)) from None
