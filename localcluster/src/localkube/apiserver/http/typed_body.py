"""Whether the object in a body is one of the resource that it was sent to."""

from __future__ import annotations

import json

from localkube.apiserver.errors import ApiError, Cause, bad_request, invalid
from localkube.apiserver.http.body import Body, decode, unrecognized
from localkube.apiserver.http.responses import go_name
from localkube.apiserver.jsonobj import Json, JsonObject
from localkube.apiserver.resources import (
    BINDING,
    BUILTIN,
    EVICTION,
    SCALE,
    TOKEN_REQUEST,
    VIRTUAL,
    Resource,
)
from localkube.apiserver.schema.provider import Schemas

_TEXT, _NUMBER, _TEXTS, _MAP, _OBJECTS = "string", "int64", "[]string", "map[string]string", "[]object"
_METADATA = {
    **dict.fromkeys(("name", "generateName", "namespace", "selfLink", "uid", "resourceVersion"), _TEXT),
    **dict.fromkeys(("creationTimestamp", "deletionTimestamp"), _TEXT),
    **dict.fromkeys(("generation", "deletionGracePeriodSeconds"), _NUMBER),
    **dict.fromkeys(("labels", "annotations"), _MAP),
    **dict.fromkeys(("ownerReferences", "managedFields"), _OBJECTS),
    "finalizers": _TEXTS,
}
# Versions of types that are read like the one that is served.
_READ_ALIKE = {("Eviction", "policy/v1beta1")}
# Kinds of versions that a real server can read, but does not serve.
_KNOWN_UNSERVED = {("CustomResourceDefinition", "apiextensions.k8s.io/v1beta1")}


def read_object(
    schemas: Schemas, resource: Resource, data: bytes, content_type: str, mode: str
) -> tuple[JsonObject, list[str]]:
    """Returns the object in a body, checked by its schema, and warnings; ``mode`` is the query's
    ``fieldValidation``."""
    body = decode(data, content_type, resource.kind)
    obj = typed_object(resource, body)
    return obj, schemas.check_body(resource, obj, body.duplicates, mode)


def typed_object(resource: Resource, body: Body) -> JsonObject:
    """Returns the object in a body, with its apiVersion and kind; raises a 400, or a 422 for another custom kind.

    Built-in kinds need not say what they are, custom resources must.
    """
    obj = body.as_object(resource.kind, none_is_empty=not resource.custom)
    for name in ("apiVersion", "kind"):
        if not isinstance(obj.get(name) or "", str):
            why = f"json: cannot unmarshal {_type(obj[name])} into Go struct field .{name} of type string"
            raise unrecognized(resource.kind, f"couldn't get version/kind; json parse error: {why}", body.data)
    if resource.custom:
        _check_custom(resource, obj, body)
    else:
        _check_builtin(resource, obj)
    why = metadata_problem(obj.get("metadata"))
    if why:
        kind = resource.kind
        raise bad_request(f'{kind} in version "{resource.version}" cannot be handled as a {kind}: {why}')
    return obj


def _check_builtin(resource: Resource, obj: JsonObject) -> None:
    kind = obj.get("kind") or resource.kind
    api_version = obj.get("apiVersion") or resource.api_version
    obj["kind"], obj["apiVersion"] = kind, api_version
    alike = api_version == resource.api_version or (kind, api_version) in _READ_ALIKE
    if kind == resource.kind and alike:
        return
    if kind == resource.kind and _known(kind, api_version):
        raise _other_version(resource, api_version)
    version = api_version.rpartition("/")[2]
    why = conversion_problem(resource, kind, api_version)
    raise bad_request(f'{kind} in version "{version}" cannot be handled as a {resource.kind}: {why}')


def _known(kind: str, api_version: str) -> bool:
    reviews = [virtual.type for virtual in VIRTUAL]
    types = [*BUILTIN, *reviews, BINDING, EVICTION, SCALE, TOKEN_REQUEST]
    served = any((item.kind, item.api_version) == (kind, api_version) for item in types)
    return served or (kind, api_version) in _KNOWN_UNSERVED


def conversion_problem(resource: Resource, kind: str, api_version: str) -> str:
    """Returns why an object of another type cannot become one of a built-in resource."""
    if _known(kind, api_version):
        version = api_version.rpartition("/")[2]
        return f"converting ({version}.{kind}) to ({go_name(resource)}): unknown conversion"
    return f'no kind "{kind}" is registered for version "{api_version}" in scheme "built-in kinds"'


def _check_custom(resource: Resource, obj: JsonObject, body: Body) -> None:
    kind, api_version = obj.get("kind") or "", obj.get("apiVersion") or ""
    if not kind:
        text = body.data.decode(errors="replace")
        raise unrecognized(resource.kind, f"Object 'Kind' is missing in '{text}'", body.data)
    if api_version != resource.api_version:
        error = _other_version(resource, api_version)
        group, _, version = api_version.rpartition("/")
        if kind == resource.kind and group == resource.group and version not in resource.versions:
            error.warnings = tuple(
                f'unknown field "{name}"' for name in sorted(obj) if name not in ("apiVersion", "kind", "metadata")
            )
        raise error
    if kind != resource.kind:
        metadata = obj.get("metadata")
        name = metadata.get("name", "") if isinstance(metadata, dict) else ""
        cause = Cause("kind", f'Invalid value: "{kind}": must be {resource.kind}')
        raise invalid(resource.group, kind, str(name), [cause])


def _other_version(resource: Resource, given: str) -> ApiError:
    expected = resource.api_version
    return bad_request(f"the API version in the data ({given}) does not match the expected API version ({expected})")


def metadata_problem(metadata: Json) -> str:
    """Returns why a value cannot be read as the metadata of an object, "" where it can be."""
    if metadata is None:
        return ""
    if not isinstance(metadata, dict):
        return f"json: cannot unmarshal {_type(metadata)} into Go value of type v1.ObjectMeta"
    for name, value in metadata.items():
        wanted = _METADATA.get(name)
        if wanted is None or value is None:
            continue
        wrong = _wrong_part(wanted, value)
        if wrong is not _NOTHING:
            return f"json: cannot unmarshal {_type(wrong)} into Go struct field ObjectMeta.{name} of type {wanted}"
    return ""


_NOTHING = object()


def _wrong_part(wanted: str, value: Json) -> Json:
    """Returns the part of a value that is not of the type that is wanted."""
    if wanted == _TEXT:
        return _NOTHING if isinstance(value, str) else value
    if wanted == _NUMBER:
        return _NOTHING if isinstance(value, int) and not isinstance(value, bool) else value
    if wanted == _MAP:
        if not isinstance(value, dict):
            return value
        return next((item for item in value.values() if not isinstance(item, str | None)), _NOTHING)
    if not isinstance(value, list):
        return value
    part = str if wanted == _TEXTS else dict
    return next((item for item in value if not isinstance(item, part)), _NOTHING)


def _type(value: Json) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return f"number {json.dumps(value)}" if isinstance(value, float) else "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"
