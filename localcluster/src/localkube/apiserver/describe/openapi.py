"""OpenAPI documents (v3 for each group and version, one v2), made from the schemas the server checks with."""

from __future__ import annotations

import hashlib
import json

from localkube.apiserver.jsonobj import Json, JsonObject, copy_json
from localkube.apiserver.resources import Registry, Resource
from localkube.apiserver.schema import builtin
from localkube.apiserver.schema.builtin import DECODED, MICRO_TIME

_CONVENTIONS = "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md"
_API_VERSION_HELP = (
    "APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized "
    f"schemas to the latest internal value, and may reject unrecognized values. More info: {_CONVENTIONS}#resources"
)
_KIND_HELP = (
    "Kind is a string value representing the REST resource this object represents. Servers may infer this from the "
    "endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: "
    f"{_CONVENTIONS}#types-kinds"
)
_ITEMS_HELP = f"List of {{plural}}. More info: {_CONVENTIONS}"
_LIST_METADATA_HELP = f"Standard list metadata. More info: {_CONVENTIONS}#types-kinds"
_METADATA_HELP = f"Standard object's metadata. More info: {_CONVENTIONS}#metadata"
_INTERNAL = ("x-kubernetes-quantity", MICRO_TIME, DECODED)
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
    paths["version"] = {"serverRelativeURL": f"/openapi/v3/version?hash={_digest(json.dumps(version_document()))}"}
    return {"paths": paths}


def version_document() -> JsonObject:
    """Returns the document of ``/version``."""
    operation = {"operationId": "getCodeVersion", "responses": {"200": {"description": "OK"}}}
    return _document({"/version/": {"get": operation}}, {})


def _document(paths: JsonObject, schemas: JsonObject) -> JsonObject:
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "unversioned"},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32].upper()


def _hash(registry: Registry, group: str, version: str) -> str:
    parts = [
        f"{resource.plural}{json.dumps(resource.schema, sort_keys=True)}"
        for resource in _resources(registry, group, version)
    ]
    return _digest("".join(parts))


def _resources(registry: Registry, group: str, version: str) -> list[Resource]:
    return [resource for resource in registry.all() if (resource.group, resource.version) == (group, version)]


def document(registry: Registry, group: str, version: str) -> JsonObject | None:
    """Returns the OpenAPI v3 document of a group and version; None for one that is not served."""
    if version not in registry.group_versions().get(group, ()):
        return None
    resources = _resources(registry, group, version)
    paths: JsonObject = {}
    for resource in resources:
        paths.update(_paths(resource))
    return _document(paths, _definitions(resources))


def component(resource: Resource) -> str:
    """Returns the name of a resource's schema."""
    if not resource.custom:
        return builtin.component_name(resource.model)
    reversed_group = ".".join(reversed(resource.group.split(".")))
    return f"{reversed_group}.{resource.version}.{resource.kind}"


def _gvk(resource: Resource) -> JsonObject:
    return {"group": resource.group, "version": resource.version, "kind": resource.kind}


def _definitions(resources: list[Resource]) -> JsonObject:
    models = {resource.model for resource in resources if not resource.custom} | {
        "V1ObjectMeta",
        "V1ListMeta",
        "V1Status",
        "V1DeleteOptions",
    }
    schemas: JsonObject = {name: _clean(schema) for name, schema in builtin.closure(models).items()}
    for resource in resources:
        name = component(resource)
        schema = _custom(resource) if resource.custom else _clean(builtin.schema_of(resource.model))
        schemas[name] = {**schema, "x-kubernetes-group-version-kind": [_gvk(resource)]}
        schemas[f"{name.rpartition('.')[0]}.{resource.kind_of_lists}"] = {
            "type": "object",
            "description": f"{resource.kind_of_lists} is a list of {resource.kind}",
            "required": ["items"],
            "properties": {
                **_of_every("V1ListMeta", _LIST_METADATA_HELP),
                "items": {
                    "description": _ITEMS_HELP.format(plural=resource.plural),
                    "type": "array",
                    "items": {"$ref": builtin.PREFIX + name},
                },
            },
            "x-kubernetes-group-version-kind": [{**_gvk(resource), "kind": resource.kind_of_lists}],
        }
    return schemas


def _custom(resource: Resource) -> JsonObject:
    """Returns a custom resource's schema as it is published: with the fields that every object has."""
    schema: JsonObject = copy_json(resource.schema or {})
    _spell_out(schema)
    return {**schema, "properties": {**(schema.get("properties") or {}), **_of_every("V1ObjectMeta", _METADATA_HELP)}}


def _of_every(metadata: str, metadata_help: str) -> JsonObject:
    """Returns the fields that every object and every list has."""
    reference = {"$ref": builtin.PREFIX + builtin.component_name(metadata)}
    return {
        "apiVersion": {"description": _API_VERSION_HELP, "type": "string"},
        "kind": {"description": _KIND_HELP, "type": "string"},
        "metadata": {"description": metadata_help, "allOf": [reference]},
    }


def _spell_out(schema: Json) -> None:
    """Say in plain OpenAPI what extensions mean: integers or strings, and objects within objects."""
    if isinstance(schema, dict):
        if schema.get("x-kubernetes-int-or-string") is True and "anyOf" not in schema and "type" not in schema:
            schema["anyOf"] = [{"type": "integer"}, {"type": "string"}]
        for child in list(schema.values()):
            _spell_out(child)
        if schema.get("x-kubernetes-embedded-resource") is True:
            schema["properties"] = {**(schema.get("properties") or {}), **_of_every("V1ObjectMeta", _METADATA_HELP)}
            required = schema.get("required") or []
            schema["required"] = [*required, *(name for name in ("kind", "apiVersion") if name not in required)]
    elif isinstance(schema, list):
        for child in schema:
            _spell_out(child)


def _clean(schema: Json) -> JsonObject:
    cleaned: JsonObject = copy_json(schema)
    _strip(cleaned)
    return cleaned


def _strip(schema: Json) -> None:
    if isinstance(schema, dict):
        if schema.get("default", "") is None:
            del schema["default"]
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
