"""CustomResourceDefinitions: defaults, validation, and the resources they define. Pure."""

from __future__ import annotations

import re

from rstore_devcluster.apiserver import jsonpath
from rstore_devcluster.apiserver.http.errors import Cause
from rstore_devcluster.apiserver.jsonobj import Json, JsonObject, copy_json, format_time, lookup, parse_time
from rstore_devcluster.apiserver.objects.resources import PrinterColumn, Resource
from rstore_devcluster.apiserver.schema.cel import rule_errors
from rstore_devcluster.apiserver.schema.node import Node
from rstore_devcluster.apiserver.schema.pruning import apply_defaults, prune
from rstore_devcluster.apiserver.schema.structural import shown, validate

CLEANUP_FINALIZER = "customresourcecleanup.apiextensions.k8s.io"
_COLUMN_TYPES = ("integer", "number", "string", "boolean", "date")
_TYPES = ("object", "array", "string", "integer", "number", "boolean")
_VERSION = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
_LIST_TYPES = ("atomic", "set", "map")
_KEYWORDS = frozenset(
    {"type", "format", "title", "description", "default", "enum", "example", "nullable", "pattern", "externalDocs"}
    | {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength"}
    | {"items", "minItems", "maxItems", "uniqueItems", "additionalItems", "$schema"}
    | {"properties", "additionalProperties", "required", "minProperties", "maxProperties"}
    | {"allOf", "anyOf", "oneOf", "not", "x-kubernetes-validations", "x-kubernetes-map-type"}
    | {"x-kubernetes-embedded-resource", "x-kubernetes-int-or-string", "x-kubernetes-preserve-unknown-fields"}
    | {"x-kubernetes-list-type", "x-kubernetes-list-map-keys"}
)
_UNSUPPORTED = ("$ref", "definitions", "dependencies", "patternProperties", "id", "deprecated")


def default_crd(obj: JsonObject, old: JsonObject | None) -> None:
    """Defaults and status: an accepted definition is established at once."""
    spec = obj.setdefault("spec", {})
    names = spec.setdefault("names", {})
    if names.get("kind"):
        names.setdefault("singular", names["kind"].lower())
        names.setdefault("listKind", f"{names['kind']}List")
    spec.setdefault("conversion", {"strategy": "None"})
    finalizers = obj["metadata"].setdefault("finalizers", [])
    if old is None and CLEANUP_FINALIZER not in finalizers:
        finalizers.append(CLEANUP_FINALIZER)
    if not finalizers:
        del obj["metadata"]["finalizers"]
    created = obj["metadata"].get("creationTimestamp") or ""
    status = obj.setdefault("status", {})
    status["acceptedNames"] = dict(names)
    stored = list(status.get("storedVersions") or [])
    for version in spec.get("versions") or []:
        if version.get("storage") and version.get("name") not in stored:
            stored.append(version.get("name"))
    status["storedVersions"] = stored
    since = format_time(parse_time(created)) if created else ""
    status["conditions"] = [
        {
            "type": "NamesAccepted",
            "status": "True",
            "lastTransitionTime": since,
            "reason": "NoConflicts",
            "message": "no conflicts found",
        },
        {
            "type": "Established",
            "status": "True",
            "lastTransitionTime": since,
            "reason": "InitialNamesAccepted",
            "message": "the initial names have been accepted",
        },
    ]


def validate_crd(obj: JsonObject, old: JsonObject | None) -> list[Cause]:
    """What is wrong with a definition; a rule that this server could not evaluate is wrong."""
    spec = obj["spec"]
    names = spec.get("names") or {}
    causes: list[Cause] = []
    for field in ("plural", "kind"):
        if not names.get(field):
            causes.append(Cause(f"spec.names.{field}", "Required value", "FieldValueRequired"))
    if not spec.get("group"):
        causes.append(Cause("spec.group", "Required value", "FieldValueRequired"))
    expected = f"{names.get('plural')}.{spec.get('group')}"
    if obj["metadata"]["name"] != expected:
        message = f'Invalid value: {shown(obj["metadata"]["name"])}: must be spec.names.plural+"."+spec.group'
        causes.append(Cause("metadata.name", message))
    if spec.get("scope") not in ("Namespaced", "Cluster"):
        message = f'Unsupported value: {shown(spec.get("scope"))}: supported values: "Cluster", "Namespaced"'
        causes.append(Cause("spec.scope", message, "FieldValueNotSupported"))
    if lookup(spec, "conversion", "strategy") != "None":
        message = "Forbidden: this server has no conversion webhooks; only the strategy None"
        causes.append(Cause("spec.conversion.strategy", message, "FieldValueForbidden"))
    versions = spec.get("versions") or []
    if sum(bool(version.get("storage")) for version in versions) != 1:
        message = f"Invalid value: {len(versions)}: must have exactly one version marked as storage version"
        causes.append(Cause("spec.versions", message))
    for index, version in enumerate(versions):
        causes += _version_causes(version, f"spec.versions[{index}]")
    if old is not None:
        for path in (("spec", "group"), ("spec", "scope"), ("spec", "names", "plural"), ("spec", "names", "kind")):
            if lookup(old, *path) != lookup(obj, *path):
                message = f"Invalid value: {shown(lookup(obj, *path))}: field is immutable"
                causes.append(Cause(".".join(path), message))
    return causes


def _version_causes(version: JsonObject, path: str) -> list[Cause]:
    causes = []
    if not _VERSION.match(str(version.get("name") or "")):
        causes.append(Cause(f"{path}.name", f"Invalid value: {shown(version.get('name'))}: must be a DNS label"))
    schema = lookup(version, "schema", "openAPIV3Schema")
    if not isinstance(schema, dict):
        causes.append(
            Cause(f"{path}.schema.openAPIV3Schema", "Required value: schemas are required", "FieldValueRequired")
        )
        return causes
    where = f"{path}.schema.openAPIV3Schema"
    if schema.get("type") != "object":
        causes.append(
            Cause(f"{where}.type", f'Invalid value: {shown(schema.get("type"))}: must be "object" at the root')
        )
    causes += [Cause(at, message) for at, message in structure_errors(schema, where)]
    causes += [_as_cause(text) for text in rule_errors(schema, where)]
    for index, column in enumerate(version.get("additionalPrinterColumns") or []):
        at = f"{path}.additionalPrinterColumns[{index}]"
        if column.get("type") not in _COLUMN_TYPES:
            message = f"Invalid value: {shown(column.get('type'))}: must be one of {','.join(_COLUMN_TYPES)}"
            causes.append(Cause(f"{at}.type", message))
        if not str(column.get("jsonPath") or "").startswith("."):
            message = f"Invalid value: {shown(column.get('jsonPath'))}: must be a simple json path starting with ."
            causes.append(Cause(f"{at}.jsonPath", message))
        elif problem := jsonpath.check(column["jsonPath"]):
            causes.append(Cause(f"{at}.jsonPath", f"Invalid value: {shown(column['jsonPath'])}: {problem}"))
    return causes


def _as_cause(text: str) -> Cause:
    path, _, message = text.partition(": ")
    return Cause(path, message)


def structure_errors(schema: Json, path: str) -> list[tuple[str, str]]:
    """Where a schema is not structural."""
    if not isinstance(schema, dict):
        return [(path, "Invalid value: a schema must be an object")]
    errors: list[tuple[str, str]] = []
    free = schema.get("x-kubernetes-int-or-string") or schema.get("x-kubernetes-preserve-unknown-fields")
    kind = schema.get("type")
    if not kind and not free:
        errors.append((f"{path}.type", "Required value: must not be empty for specified object fields"))
    elif kind and kind not in _TYPES:
        errors.append((f"{path}.type", f"Unsupported value: {shown(kind)}"))
    for name in schema:
        if name in _UNSUPPORTED:
            errors.append((f"{path}.{name}", "Forbidden: not supported"))
        elif name not in _KEYWORDS:
            errors.append((f"{path}.{name}", "Forbidden: unknown field of a schema"))
    if schema.get("uniqueItems"):
        errors.append(
            (f"{path}.uniqueItems", "Forbidden: uniqueItems cannot be set to true, use x-kubernetes-list-type")
        )
    if "default" in schema:
        errors += _default_errors(schema, f"{path}.default")
    if schema.get("properties") and schema.get("additionalProperties"):
        errors.append(
            (f"{path}.additionalProperties", "Forbidden: additionalProperties and properties are mutual exclusive")
        )
    if "pattern" in schema:
        try:
            re.compile(schema["pattern"])
        except re.error as error:
            errors.append((f"{path}.pattern", f"Invalid value: {shown(schema['pattern'])}: {error}"))
    errors += _list_errors(schema, path)
    for name, child in (schema.get("properties") or {}).items():
        if path.endswith("openAPIV3Schema") and name == "metadata":
            continue
        errors += structure_errors(child, f"{path}.properties[{name}]")
    for field in ("items", "additionalProperties"):
        if isinstance(schema.get(field), (dict, list)):
            errors += structure_errors(schema[field], f"{path}.{field}")
    return errors


def _default_errors(schema: JsonObject, path: str) -> list[tuple[str, str]]:
    node, value = Node(schema), copy_json(schema["default"])
    unknown = [(path, f'Invalid value: unknown field "{name}"') for name in prune(node, value, root=False)]
    apply_defaults(node, value)
    return unknown + [(path, str(cause)) for cause in validate(node, value, "default", root=False)]


def _list_errors(schema: JsonObject, path: str) -> list[tuple[str, str]]:
    if schema.get("type") == "array" and "items" not in schema:
        return [(f"{path}.items", "Required value: must be specified")]
    list_type = schema.get("x-kubernetes-list-type")
    if list_type is None:
        return []
    if list_type not in _LIST_TYPES:
        return [(f"{path}.x-kubernetes-list-type", f"Unsupported value: {shown(list_type)}")]
    if list_type != "map":
        return []
    keys = schema.get("x-kubernetes-list-map-keys") or []
    if not keys:
        return [
            (f"{path}.x-kubernetes-list-map-keys", "Required value: must not be empty if x-kubernetes-list-type is map")
        ]
    items = schema.get("items") or {}
    errors = []
    for key in keys:
        held = (items.get("properties") or {}).get(key)
        if held is None:
            errors.append(
                (f"{path}.items.properties[{key}]", "Required value: every key of the list must be a property")
            )
        elif "default" not in held and key not in (items.get("required") or []):
            message = "Required value: a property in x-kubernetes-list-map-keys must have a default or be required"
            errors.append((f"{path}.items.properties[{key}].default", message))
    return errors


def resources_of(crd: JsonObject) -> list[Resource]:
    """The resources a definition serves, one for each served version."""
    spec = crd["spec"]
    names = spec["names"]
    storage = next(version["name"] for version in spec["versions"] if version.get("storage"))
    return [_resource(spec, names, version, storage) for version in spec["versions"] if version.get("served")]


def _resource(spec: JsonObject, names: JsonObject, version: JsonObject, storage: str) -> Resource:
    subresources = version.get("subresources") or {}
    scale = subresources.get("scale") or {}
    columns = tuple(
        PrinterColumn(
            column["name"],
            column["type"],
            column["jsonPath"],
            int(column.get("priority") or 0),
            column.get("format") or "",
            column.get("description") or "",
        )
        for column in version.get("additionalPrinterColumns") or []
    )
    fields = frozenset(item["jsonPath"].lstrip(".") for item in version.get("selectableFields") or [])
    return Resource(
        group=spec["group"],
        version=version["name"],
        plural=names["plural"],
        kind=names["kind"],
        namespaced=spec["scope"] == "Namespaced",
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        subresources=frozenset(subresources),
        generation=True,
        field_labels=fields,
        singular=names["singular"],
        schema=version["schema"]["openAPIV3Schema"],
        columns=columns,
        scale_paths=(
            scale.get("specReplicasPath") or ".spec.replicas",
            scale.get("statusReplicasPath") or ".status.replicas",
            scale.get("labelSelectorPath") or "",
        ),
        storage_version=storage,
        unconditional_update=False,
    )
