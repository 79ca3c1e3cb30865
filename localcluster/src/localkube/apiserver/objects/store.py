"""The object store with the semantics of the Kubernetes API; HTTP handlers and in-process controllers both use it.

Everything but watching is synchronous and runs on the event loop's thread, so that read-modify-write needs no
locks. Objects are plain dicts: what goes in is copied, what comes out is the caller's to change. Failures are
``errors.ApiError``. Resources are named by key: ``pods``, ``statefulsets.apps``, ``events``.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime

from localkube.apiserver.errors import (
    ApiError,
    Cause,
    already_exists,
    bad_request,
    conflict,
    forbidden,
    invalid,
    not_found,
)
from localkube.apiserver.jsonobj import JsonObject, copy_json, format_time, metadata_of, same
from localkube.apiserver.objects import lifecycle
from localkube.apiserver.objects.binding import assign
from localkube.apiserver.objects.lifecycle import DeleteOptions
from localkube.apiserver.objects.metadata import metadata_causes
from localkube.apiserver.objects.objects import Objects, utc_now
from localkube.apiserver.objects.strategy import Strategy
from localkube.apiserver.patch.managed import keep_times
from localkube.apiserver.patch.merge import merge_patch
from localkube.apiserver.resources import Registry, Resource
from localkube.apiserver.storage.persistence import Persistence

_LASTING_NAMESPACES = frozenset({"default", "kube-system", "kube-public"})


class Store(Objects):
    """All objects of the cluster, written by the rules of the Kubernetes API."""

    def __init__(
        self,
        registry: Registry | None = None,
        *,
        strategy: Strategy,
        persistence: Persistence | None = None,
        clock: Callable[[], datetime] = utc_now,
        history_capacity: int = 10_000,
    ) -> None:
        super().__init__(registry, persistence=persistence, clock=clock, history_capacity=history_capacity)
        self.strategy = strategy

    def create(
        self,
        key: str,
        obj: JsonObject,
        *,
        namespace: str | None = None,
        dry_run: bool = False,
        manager: str = "kube-controller-manager",
        through: Resource | None = None,
        tracked: bool = False,
        warnings: list[str] | None = None,
    ) -> JsonObject:
        """Create an object; raises 409 when it exists, 404 when its namespace does not, 422 when it is invalid.

        ``through`` is the version of the resource that was written, which managedFields name. ``tracked``:
        ``metadata.managedFields`` already says who owns what (server-side apply). ``warnings``: where to put what is
        accepted, but worth a word.
        """
        resource = self.registry.by_key(key)
        obj = copy_json(obj)
        lifecycle.check_type(resource, obj)
        metadata = metadata_of(obj)
        space = self._namespace_for_create(resource, metadata, namespace)
        name = metadata["name"] = lifecycle.make_name(obj)
        version = str(metadata.pop("resourceVersion", None) or "0")
        for field in ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"):
            metadata.pop(field, None)
        if not tracked:
            metadata.pop("managedFields", None)
        metadata["uid"] = str(uuid.uuid4())
        metadata["creationTimestamp"] = format_time(self._clock())
        if resource.generation:
            metadata["generation"] = 1
        if resource.has_status:
            obj.pop("status", None)
        if resource.terminating:
            why = "create not allowed while custom resource definition is terminating"
            raise forbidden(resource.group, resource.plural, name, why)
        written = through if through is not None and through.custom else resource
        self.strategy.prepare(written, obj, None, dry_run=dry_run)
        if not tracked:
            self.strategy.track(through or resource, obj, None, manager=manager, subresource="")
        self.strategy.complete(resource, obj, None, dry_run=dry_run)
        self._validate(through or resource, obj, None, warnings=warnings)
        if written is not resource:
            self.strategy.prepare(resource, obj, None, dry_run=dry_run)
        if version.isdecimal() and int(version) > 0:
            raise ApiError(500, "", "resourceVersion should not be set on objects to be created")
        present = self.peek(key, space, name)
        if present is not None:
            deleting = bool(present.obj["metadata"].get("deletionTimestamp"))
            raise already_exists(resource.group, resource.plural, name, deleting=deleting)
        return self._commit(resource, None, obj, dry_run=dry_run)

    def update(
        self,
        key: str,
        obj: JsonObject,
        *,
        namespace: str | None = None,
        subresource: str = "",
        dry_run: bool = False,
        manager: str = "kube-controller-manager",
        through: Resource | None = None,
        tracked: bool = False,
        warnings: list[str] | None = None,
    ) -> JsonObject:
        """Replace an object, or with ``subresource="status"`` only its status.

        Raises 409 when ``metadata.resourceVersion`` is given and stale, 404, 422. An update that changes nothing
        writes nothing. An object being deleted goes away when its last finalizer does.
        """
        resource = self.registry.by_key(key)
        obj = copy_json(obj)
        lifecycle.check_type(resource, obj)
        metadata = metadata_of(obj)
        stored = self._find(resource, namespace or metadata.get("namespace") or "", metadata.get("name") or "")
        old = stored.obj
        if resource.namespaced:
            metadata["namespace"] = stored.namespace
        lifecycle.check_version(
            resource, stored.name, metadata.get("resourceVersion"), old["metadata"]["resourceVersion"]
        )
        lifecycle.carry_metadata(obj, old)
        obj = self._confine(resource, obj, old, subresource, tracked)
        written = through if through is not None and through.custom else resource
        self.strategy.prepare(written, obj, old, dry_run=dry_run)
        if not tracked:
            self.strategy.track(through or resource, obj, old, manager=manager, subresource=subresource)
        self.strategy.complete(resource, obj, old, dry_run=dry_run)
        self._validate(through or resource, obj, old, subresource=subresource, warnings=warnings)
        if written is not resource:
            self.strategy.prepare(resource, obj, old, dry_run=dry_run)
        self._bump_generation(resource, obj, old)
        keep_times(obj, old)
        if lifecycle.deletion_ready(obj):
            return self._remove(resource, stored, obj, dry_run=dry_run)
        return self._commit(resource, stored, obj, dry_run=dry_run)

    def bind(self, namespace: str | None, name: str, node: str, *, uid: str = "", dry_run: bool = False) -> JsonObject:
        """Assign a pod to a node; raises 404, and 409 when it has one or has not the uid that is given."""
        resource = self.registry.by_key("pods")
        stored = self._find(resource, namespace or "", name)
        if uid and uid != stored.obj["metadata"]["uid"]:
            raise conflict("", "pods/binding", name, "the pod is another one")
        pod: JsonObject = copy_json(stored.obj)
        assign(pod, node, self._clock())
        return self._commit(resource, stored, pod, dry_run=dry_run)

    def patch(
        self,
        key: str,
        namespace: str | None,
        name: str,
        patch: JsonObject,
        *,
        subresource: str = "",
        manager: str = "kube-controller-manager",
    ) -> JsonObject:
        """Merge-patch (RFC 7386) an object."""
        current = self.get(key, namespace, name)
        given = (patch.get("metadata") or {}).get("resourceVersion")
        if given and given != current["metadata"]["resourceVersion"]:
            resource = self.registry.by_key(key)
            raise conflict(resource.group, resource.plural, name)
        merged = merge_patch(current, patch)
        return self.update(key, merged, namespace=namespace, subresource=subresource, manager=manager)

    def patch_status(
        self,
        key: str,
        namespace: str | None,
        name: str,
        status: JsonObject,
        *,
        resource_version: str | None = None,
        manager: str = "kube-controller-manager",
    ) -> JsonObject:
        """Merge-patch the status: ``status`` is the (partial) content of ``.status``."""
        patch: JsonObject = {"status": status}
        if resource_version:
            patch["metadata"] = {"resourceVersion": resource_version}
        return self.patch(key, namespace, name, patch, subresource="status", manager=manager)

    def delete(
        self,
        key: str,
        namespace: str | None,
        name: str,
        *,
        grace_period_seconds: int | None = None,
        propagation_policy: str = "",
        preconditions: JsonObject | None = None,
        dry_run: bool = False,
    ) -> tuple[JsonObject, bool]:
        """Delete an object; returns it and whether it is gone (else it is marked and waits for finalizers or grace)."""
        resource = self.registry.by_key(key)
        if key == "namespaces" and name in _LASTING_NAMESPACES:
            raise forbidden("", "namespaces", name, "this namespace may not be deleted")
        stored = self._find(resource, namespace or "", name)
        obj = copy_json(stored.obj)
        options = DeleteOptions(grace_period_seconds, propagation_policy, preconditions, dry_run)
        lifecycle.check_preconditions(resource, obj, preconditions)
        self.strategy.deleting(resource, obj)
        if lifecycle.mark_deleted(resource, obj, options, self._clock()):
            return self._remove(resource, stored, obj, dry_run=dry_run), True
        return self._commit(resource, stored, obj, dry_run=dry_run), False

    # ---- inside

    def _namespace_for_create(self, resource: Resource, metadata: JsonObject, namespace: str | None) -> str:
        given = metadata.get("namespace") or ""
        if not resource.namespaced:
            metadata.pop("namespace", None)
            return ""
        if namespace and given and namespace != given:
            raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
        space = namespace or given or "default"
        metadata["namespace"] = space
        holder = self.peek("namespaces", "", space)
        if holder is None:
            raise not_found("", "namespaces", space)
        if holder.obj["metadata"].get("deletionTimestamp"):
            why = f"unable to create new content in namespace {space} because it is being terminated"
            terminating = Cause("metadata.namespace", f"namespace {space} is being terminated", "NamespaceTerminating")
            raise forbidden(resource.group, resource.plural, metadata.get("name") or "", why, [terminating])
        return space

    def _confine(
        self, resource: Resource, obj: JsonObject, old: JsonObject, subresource: str, tracked: bool
    ) -> JsonObject:
        """Leave only what this endpoint may change."""
        if subresource == "finalize":
            finalized: JsonObject = copy_json(old)
            finalized.setdefault("spec", {})["finalizers"] = (obj.get("spec") or {}).get("finalizers") or []
            return finalized
        if resource.key == "namespaces":
            obj["spec"] = copy_json(old.get("spec") or {})
        if subresource == "status":
            kept: JsonObject = copy_json(old)
            if not resource.custom:
                kept["metadata"] = obj["metadata"]
            if tracked:
                kept["metadata"]["managedFields"] = obj["metadata"].get("managedFields") or []
            if "status" in obj:
                kept["status"] = obj["status"]
            else:
                kept.pop("status", None)
            return kept
        if resource.has_status:
            if "status" in old:
                obj["status"] = copy_json(old["status"])
            else:
                obj.pop("status", None)
        return obj

    def _bump_generation(self, resource: Resource, obj: JsonObject, old: JsonObject) -> None:
        if not resource.generation:
            return
        without_status = resource.has_status
        contents = (lifecycle.content(version, without_status=without_status) for version in (obj, old))
        if not same(*contents):
            obj["metadata"]["generation"] = int(old["metadata"].get("generation") or 0) + 1

    def _validate(
        self,
        resource: Resource,
        obj: JsonObject,
        old: JsonObject | None,
        *,
        subresource: str = "",
        warnings: list[str] | None,
    ) -> None:
        """Raise 422; ``resource`` is the version that was written."""
        stored = self.registry.by_key(resource.key)
        checked = resource if resource.custom else stored
        causes = metadata_causes(stored, obj, old)
        causes += self.strategy.validate(checked, obj, old, subresource=subresource, warnings=warnings)
        if causes:
            raise invalid(stored.group, stored.kind, obj["metadata"].get("name") or "", causes)
