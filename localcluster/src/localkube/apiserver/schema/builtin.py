"""Schemas of the built-in kinds, made from the Python client's models, with merge keys from a table of ours.

The client's models know every field, its type and its description. What they do not know, how lists merge, is below.
"""

from __future__ import annotations

import functools
import re
import types
import typing
from typing import Any

import kubernetes.client as models

from localkube.apiserver.jsonobj import JsonObject

PREFIX = "#/components/schemas/"
MICRO_TIME = "x-kubernetes-micro-time"
"""Marks times with six digits of a second."""
DECODED = "x-kubernetes-decoded"
"""Marks texts whose format is checked when they are decoded."""
_MODEL_NAME = re.compile(r"^([A-Z][A-Za-z]*?)??V(\d+(?:(?:alpha|beta)\d+)?)([A-Z].*)$")

_QUANTITIES = frozenset(
    {"limits", "requests", "capacity", "allocatable", "hard", "used", "allocatedResources", "overhead"}
    | {"sizeLimit", "divisor"}
)
_SCHEMA = "V1JSONSchemaProps"
_SCHEMA_OR: dict[str, JsonObject] = {
    # What may stand in place of a schema: a model of ours, and what it adds to the fields of schemas.
    "V1JSONSchemaPropsOrBool": {"anyOf": [{"type": "object"}, {"type": "boolean"}]},
    "V1JSONSchemaPropsOrArray": {"anyOf": [{"type": "object"}, {"type": "array"}], "items": {"$ref": _SCHEMA}},
    "V1JSONSchemaPropsOrStringArray": {
        "anyOf": [{"type": "object"}, {"type": "array"}],
        "items": {"type": "string"},
    },
}
_SCHEMA_FIELDS = {
    "items": "V1JSONSchemaPropsOrArray",
    "additionalItems": "V1JSONSchemaPropsOrBool",
    "additionalProperties": "V1JSONSchemaPropsOrBool",
}
_MICRO_TIMES = frozenset({"acquireTime", "renewTime", "eventTime", "lastObservedTime"})
_LIST_MAPS: dict[tuple[str, str], tuple[tuple[str, ...], str]] = {
    # (model, property): (keys of server-side apply, key of strategic merge)
    ("V1PodSpec", "containers"): (("name",), "name"),
    ("V1PodSpec", "initContainers"): (("name",), "name"),
    ("V1PodSpec", "ephemeralContainers"): (("name",), "name"),
    ("V1PodSpec", "volumes"): (("name",), "name"),
    ("V1PodSpec", "imagePullSecrets"): (("name",), "name"),
    ("V1PodSpec", "hostAliases"): (("ip",), "ip"),
    ("V1PodSpec", "topologySpreadConstraints"): (("topologyKey", "whenUnsatisfiable"), "topologyKey"),
    ("V1PodSpec", "resourceClaims"): (("name",), "name"),
    ("V1PodSpec", "schedulingGates"): (("name",), "name"),
    **{
        (model, name): keys
        for model in ("V1Container", "V1EphemeralContainer")
        for name, keys in {
            "ports": (("containerPort", "protocol"), "containerPort"),
            "env": (("name",), "name"),
            "volumeMounts": (("mountPath",), "mountPath"),
            "volumeDevices": (("devicePath",), "devicePath"),
        }.items()
    },
    ("V1ResourceRequirements", "claims"): (("name",), ""),
    ("V1ContainerStatus", "volumeMounts"): (("mountPath",), "mountPath"),
    ("V1ContainerStatus", "allocatedResourcesStatus"): (("name",), "name"),
    ("V1PodStatus", "resourceClaimStatuses"): (("name",), "name"),
    ("V1ServiceSpec", "ports"): (("port", "protocol"), "port"),
    ("V1ServiceAccount", "secrets"): (("name",), "name"),
    ("V1ObjectMeta", "ownerReferences"): (("uid",), "uid"),
    ("V1PodStatus", "podIPs"): (("ip",), "ip"),
    ("V1NodeStatus", "addresses"): (("type",), "type"),
    ("V1CustomResourceDefinitionStatus", "conditions"): (("type",), ""),
}
_NULLABLE = frozenset({("V1CustomResourceDefinitionStatus", "conditions")})
_SETS = frozenset({("V1ObjectMeta", "finalizers"), ("V1NodeSpec", "podCIDRs"), ("V1Endpoint", "addresses")})
_ATOMIC_MODELS = frozenset(
    {"V1LabelSelector", "V1NodeSelector", "V1NodeSelectorTerm", "V1ObjectFieldSelector", "V1ResourceFieldSelector"}
    | {"V1ConfigMapKeySelector", "V1SecretKeySelector", "V1LocalObjectReference", "V1ObjectReference", "V1RoleRef"}
    | {"V1OwnerReference", "V1SecretReference", "V1TypedLocalObjectReference", "RbacV1Subject", "V1ScopeSelector"}
)
_ATOMIC_MAPS = frozenset(
    {("V1PodSpec", "nodeSelector"), ("V1ServiceSpec", "selector"), ("V1ControllerRevision", "data")}
)
_ALWAYS_WRITTEN: dict[str, tuple[str, ...]] = {
    # Fields of a model that are not required, and are written nevertheless when they are empty: structs inside others,
    # mostly. Beside these, ``metadata`` everywhere, and ``spec`` and ``status`` of whole objects.
    "CoreV1Event": ("involvedObject", "source", "reportingComponent", "reportingInstance"),
    "EventsV1Event": ("deprecatedSource", "regarding"),
    "V1Container": ("resources",),
    "V1ContainerStatus": ("lastState", "state"),
    "V1CustomResourceDefinitionSpec": ("names",),
    "V1CustomResourceDefinitionStatus": ("acceptedNames", "conditions", "storedVersions"),
    "V1DeploymentSpec": ("strategy", "template"),
    "V1Endpoint": ("conditions",),
    "V1EphemeralContainer": ("resources",),
    "V1NetworkPolicySpec": ("podSelector",),
    "V1NodeDaemonEndpoints": ("kubeletEndpoint",),
    "V1NodeStatus": ("daemonEndpoints", "nodeInfo"),
    "V1PersistentVolumeClaimSpec": ("resources",),
    "V1PersistentVolumeClaimTemplate": ("spec",),
    "V1PodTemplateSpec": ("spec",),
    "V1ReplicaSetSpec": ("template",),
    "V1RoleBinding": ("roleRef",),
    "V1ClusterRoleBinding": ("roleRef",),
    "V1ServiceStatus": ("loadBalancer",),
    "V1StatefulSetSpec": ("template", "updateStrategy", "serviceName"),
    "V1StatefulSetStatus": ("availableReplicas",),
}
_LIST_MAP_CONDITIONS = "conditions"


_META_MODELS = frozenset(
    {"V1ObjectMeta", "V1ListMeta", "V1OwnerReference", "V1ManagedFieldsEntry", "V1LabelSelector"}
    | {"V1LabelSelectorRequirement", "V1Status", "V1StatusDetails", "V1StatusCause", "V1DeleteOptions"}
    | {"V1Preconditions", "V1Condition"}
)
"""Models that every group shares; custom resources refer to them, too."""

_models: dict[str, str] = {}


@functools.cache
def component_name(model: str) -> str:
    """Returns the name of a model in OpenAPI documents: ``io.k8s.api.v1.Pod`` for ``V1Pod``."""
    match = _MODEL_NAME.match(model)
    if model in _META_MODELS:
        name = f"io.k8s.apimachinery.pkg.apis.meta.v1.{model.removeprefix('V1')}"
    elif match is None:
        name = f"io.k8s.api.{model}"
    else:
        group = f"{match[1].lower()}." if match[1] else ""
        name = f"io.k8s.api.{group}v{match[2]}.{match[3]}"
    _models[name] = model
    return name


def _model_of(reference: str) -> str:
    return _models[reference.removeprefix(PREFIX)]


def resolve(reference: str) -> JsonObject:
    """Returns the schema a ``$ref`` names."""
    return schema_of(_model_of(reference))


@functools.cache
def schema_of(model_name: str) -> JsonObject:
    """Returns the schema of one model; raises KeyError for a model the client does not have."""
    if model_name in _SCHEMA_OR:
        also = {name: _reference(item) if name == "items" else item for name, item in _SCHEMA_OR[model_name].items()}
        return {"description": "A schema, or else.", "properties": schema_of(_SCHEMA)["properties"], **also}
    model = getattr(models, model_name, None)
    if model is None:
        raise KeyError(model_name)
    properties: JsonObject = {}
    required: list[str] = []
    for attribute, field in model.model_fields.items():
        name = field.serialization_alias or attribute
        schema = _property(model_name, name, field.annotation)
        if field.description:
            schema["description"] = field.description
        properties[name] = schema
        if field.is_required():
            required.append(name)
        if "default" not in schema and (field.is_required() or _always_written(model, name)):
            schema.update(_zero(schema))
    doc = (model.__doc__ or "").split("Attributes:")[0].strip()
    schema = {"type": "object", "description": doc, "properties": properties}
    if required:
        schema["required"] = required
    if model_name in _ATOMIC_MODELS:
        schema["x-kubernetes-map-type"] = "atomic"
    return schema


def _reference(schema: JsonObject) -> JsonObject:
    return {"$ref": PREFIX + component_name(schema["$ref"])} if "$ref" in schema else schema


def _always_written(model: Any, name: str) -> bool:
    whole = "kind" in model.model_fields and "metadata" in model.model_fields
    of_object = name in ("spec", "status") and whole
    return name == "metadata" or of_object or name in _ALWAYS_WRITTEN.get(model.__name__, ())


def _zero(schema: JsonObject) -> JsonObject:
    """Returns the default of a field that is always written; null where nothing else is."""
    if "$ref" in schema:
        return {"default": {}}
    if schema.get("format") == "date-time":
        return {"default": None}
    zeros: JsonObject = {"integer": 0, "number": 0, "boolean": False, "string": ""}
    return {"default": zeros.get(str(schema.get("type")))}


def _property(model: str, name: str, annotation: Any) -> JsonObject:
    if model == _SCHEMA and name in _SCHEMA_FIELDS:
        return _reference({"$ref": _SCHEMA_FIELDS[name]})
    if model == _SCHEMA and name == "dependencies":
        return {"type": "object", "additionalProperties": _reference({"$ref": "V1JSONSchemaPropsOrStringArray"})}
    if name in _QUANTITIES:
        return _quantity(annotation)
    schema = _of_annotation(annotation)
    if (model, name) in _NULLABLE:
        schema["nullable"] = True
    if name in _MICRO_TIMES:
        schema[MICRO_TIME] = True
    if schema.get("type") == "array":
        _merge_hints(model, name, schema)
    if (model, name) in _ATOMIC_MAPS:
        schema["x-kubernetes-map-type"] = "atomic"
    if (model, name) == ("V1ContainerPort", "protocol") or (model, name) == ("V1ServicePort", "protocol"):
        schema["default"] = "TCP"
    return schema


def _merge_hints(model: str, name: str, schema: JsonObject) -> None:
    keys = _LIST_MAPS.get((model, name))
    if keys is None and name == _LIST_MAP_CONDITIONS:
        keys = (("type",), "type")
    if keys is not None:
        schema["x-kubernetes-list-type"] = "map"
        schema["x-kubernetes-list-map-keys"] = list(keys[0])
        if keys[1]:
            schema["x-kubernetes-patch-merge-key"] = keys[1]
            schema["x-kubernetes-patch-strategy"] = "merge,retainKeys" if name == "volumes" else "merge"
    elif (model, name) in _SETS:
        schema["x-kubernetes-list-type"] = "set"
        schema["x-kubernetes-patch-strategy"] = "merge"
    else:
        schema["x-kubernetes-list-type"] = "atomic"


def _quantity(annotation: Any) -> JsonObject:
    scalar: JsonObject = {"x-kubernetes-int-or-string": True, "x-kubernetes-quantity": True}
    inner = _strip(annotation)
    if typing.get_origin(inner) is dict:
        return {"type": "object", "additionalProperties": scalar}
    return scalar


def _strip(annotation: Any) -> Any:
    """Returns the type without Optional and Annotated."""
    while True:
        origin = typing.get_origin(annotation)
        if origin is typing.Annotated:
            annotation = typing.get_args(annotation)[0]
        elif origin in (typing.Union, types.UnionType):
            rest = [item for item in typing.get_args(annotation) if item is not type(None)]
            if len(rest) != 1:
                return tuple(rest)
            annotation = rest[0]
        else:
            return annotation


def _of_annotation(annotation: Any) -> JsonObject:
    inner = _strip(annotation)
    if isinstance(inner, tuple):
        kinds = {_strip(item) for item in inner}
        if kinds == {int, str}:
            return {"x-kubernetes-int-or-string": True}
        if kinds <= {int, float}:
            return {"type": "number"}
        if kinds <= {str, bytes}:
            return {"type": "string", "format": "byte", DECODED: True}
        return {"x-kubernetes-preserve-unknown-fields": True}
    origin = typing.get_origin(inner)
    if origin is list:
        return {"type": "array", "items": _of_annotation(typing.get_args(inner)[0])}
    if origin is dict:
        value = typing.get_args(inner)[1]
        if value is Any:
            return {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        return {"type": "object", "additionalProperties": _of_annotation(value)}
    return _scalar(inner)


def _scalar(kind: Any) -> JsonObject:
    simple: dict[str, JsonObject] = {
        "str": {"type": "string"},
        "int": {"type": "integer"},
        "bool": {"type": "boolean"},
        "float": {"type": "number"},
        "bytes": {"type": "string", "format": "byte", DECODED: True},
        "datetime": {"type": "string", "format": "date-time", DECODED: True},
    }
    name = getattr(kind, "__name__", "")
    if name in simple:
        return dict(simple[name])
    if hasattr(kind, "attribute_map"):
        return {"$ref": PREFIX + component_name(name)}
    return {"x-kubernetes-preserve-unknown-fields": True}


def closure(names: set[str]) -> dict[str, JsonObject]:
    """Returns the schemas of models and of everything they refer to, by component name."""
    schemas: dict[str, JsonObject] = {}
    pending = list(names)
    while pending:
        name = pending.pop()
        key = component_name(name)
        if key in schemas:
            continue
        schemas[key] = schema_of(name)
        pending.extend(_references(schemas[key]))
    return schemas


def _references(schema: Any) -> list[str]:
    if isinstance(schema, dict):
        reference = schema.get("$ref")  # a property may be called $ref, too; its value is a schema
        own = [_model_of(reference)] if isinstance(reference, str) else []
        return own + [name for value in schema.values() for name in _references(value)]
    if isinstance(schema, list):
        return [name for value in schema for name in _references(value)]
    return []
