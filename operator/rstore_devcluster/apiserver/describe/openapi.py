"""OpenAPI documents (v3 for each group and version, one v2), made from the schemas the server checks with."""

from __future__ import annotations

import hashlib
import json

from rstore_devcluster.apiserver.jsonobj import Json, JsonObject, copy_json
from rstore_devcluster.apiserver.objects.resources import EVENTS_V1, Registry, Resource
from rstore_devcluster.apiserver.schema import builtin
from rstore_devcluster.apiserver.schema.provider import Schemas

_INTERNAL = ("x-kubernetes-quantity",)
_BODY_TYPES = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
)


def index(registry: Registry) -> JsonObject:
    """``/openapi/v3``: where the document of each group and version is."""
    paths = {}
    for group, versions in registry.group_versions().items():
        for version in versions:
            path = f"apis/{group}/{version}" if group else f"api/{version}"
            paths[path] = {"serverRelativeURL": f"/openapi/v3/{path}?hash={_hash(registry, group, version)}"}
    return {"paths": paths}


def _hash(registry: Registry, group: str, version: str) -> str:
    parts = [
        f"{resource.plural}{json.dumps(resource.schema, sort_keys=True)}"
        for resource in _resources(registry, group, version)
    ]
    return hashlib.sha256("".join(parts).encode()).hexdigest()[:32].upper()


def _resources(registry: Registry, group: str, version: str) -> list[Resource]:
    served = (*registry.all(), EVENTS_V1)
    return [resource for resource in served if (resource.group, resource.version) == (group, version)]


def document(registry: Registry, schemas: Schemas, group: str, version: str) -> JsonObject | None:
    """The OpenAPI v3 document of a group and version; None for one that is not served."""
    if version not in registry.group_versions().get(group, ()):
        return None
    resources = _resources(registry, group, version)
    paths: JsonObject = {}
    for resource in resources:
        paths.update(_paths(resource))
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "unversioned"},
        "paths": paths,
        "components": {"schemas": _definitions(resources, schemas, delete_options=True)},
    }


def swagger(registry: Registry, schemas: Schemas) -> JsonObject:
    """``/openapi/v2``, in JSON."""
    resources = [*registry.all(), EVENTS_V1]
    paths: JsonObject = {}
    for resource in resources:
        paths.update(_paths(resource))
    definitions = _definitions(resources, schemas, delete_options=True)
    text = json.dumps({"paths": paths, "definitions": definitions}).replace(builtin.PREFIX, "#/definitions/")
    return {"swagger": "2.0", "info": {"title": "Kubernetes", "version": "unversioned"}, **json.loads(text)}


def component(resource: Resource) -> str:
    """The name of a resource's schema."""
    if not resource.custom:
        return builtin.component_name(resource.model)
    reversed_group = ".".join(reversed(resource.group.split(".")))
    return f"{reversed_group}.{resource.version}.{resource.kind}"


def _gvk(resource: Resource) -> JsonObject:
    return {"group": resource.group, "version": resource.version, "kind": resource.kind}


def _definitions(resources: list[Resource], schemas: Schemas, *, delete_options: bool) -> JsonObject:
    models = {resource.model for resource in resources if not resource.custom} | {
        "V1ObjectMeta",
        "V1ListMeta",
        "V1Status",
    }
    if delete_options:
        models.add("V1DeleteOptions")
    found: JsonObject = {name: _clean(schema) for name, schema in builtin.closure(models).items()}
    for resource in resources:
        name = component(resource)
        raw = schemas.node(resource).raw if resource.custom else builtin.schema_of(resource.model)
        found[name] = {**_clean(raw), "x-kubernetes-group-version-kind": [_gvk(resource)]}
        found[f"{name}List"] = {
            "type": "object",
            "description": f"{resource.kind}List is a list of {resource.kind}",
            "required": ["items"],
            "properties": {
                "apiVersion": {"type": "string"},
                "kind": {"type": "string"},
                "metadata": {"$ref": builtin.PREFIX + builtin.component_name("V1ListMeta")},
                "items": {"type": "array", "items": {"$ref": builtin.PREFIX + name}},
            },
            "x-kubernetes-group-version-kind": [{**_gvk(resource), "kind": f"{resource.kind}List"}],
        }
    return found


def _clean(schema: Json) -> JsonObject:
    cleaned: JsonObject = copy_json(schema)
    _strip(cleaned)
    return cleaned


def _strip(schema: Json) -> None:
    if isinstance(schema, dict):
        for name in _INTERNAL:
            if schema.pop(name, None):
                schema.pop("x-kubernetes-int-or-string", None)
                schema["type"] = "string"
                schema["format"] = "quantity"
        if schema.get("x-kubernetes-int-or-string") is True and "type" not in schema:
            schema["format"] = "int-or-string"
            schema["type"] = "string"
        for child in schema.values():
            _strip(child)
    elif isinstance(schema, list):
        for child in schema:
            _strip(child)


def _parameter(name: str, description: str) -> JsonObject:
    return {
        "name": name,
        "in": "query",
        "description": description,
        "schema": {"type": "string", "uniqueItems": True},
    }


def _paths(resource: Resource) -> JsonObject:
    base = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
    space = "/namespaces/{namespace}" if resource.namespaced else ""
    collection = f"{base}{space}/{resource.plural}"
    ok = {"200": {"description": "OK"}}
    parameters = [
        _parameter("dryRun", "When present, indicates that modifications should not be persisted."),
        _parameter("fieldManager", "A name associated with the actor that is making these changes."),
        _parameter("fieldValidation", "How the server treats unknown or duplicate fields: Ignore, Warn or Strict."),
    ]

    def operation(action: str, *, writes: bool = False) -> JsonObject:
        made: JsonObject = {
            "responses": ok,
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": _gvk(resource),
        }
        if writes:
            made["parameters"] = parameters
        return made

    patch = operation("patch", writes=True)
    bodies = [item for item in _BODY_TYPES if not (resource.custom and "strategic" in item)]
    patch["requestBody"] = {"content": {media_type: {"schema": {"type": "object"}} for media_type in bodies}}
    return {
        collection: {"get": operation("list"), "post": operation("post", writes=True)},
        f"{collection}/{{name}}": {
            "get": operation("get"),
            "put": operation("put", writes=True),
            "patch": patch,
            "delete": operation("delete"),
        },
    }
