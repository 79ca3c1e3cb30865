"""Keywords of OpenAPI that a definition's schema must not use."""

from __future__ import annotations

from collections.abc import Iterator

from localkube.apiserver.errors import Cause
from localkube.apiserver.jsonobj import JsonObject
from localkube.apiserver.schema.definition.causes import forbidden, invalid, not_supported
from localkube.apiserver.schema.string_formats import UNSUPPORTED_FORMATS

_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_UNSUPPORTED = ("id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref")
# With the status subresource, ``status`` is validated on its own: rules at the root that could speak of it are refused.
ROOT_FIELDS_WITH_STATUS = {
    "description": "Description",
    "type": "Type",
    "format": "Format",
    "title": "Title",
    "maximum": "Maximum",
    "exclusiveMaximum": "ExclusiveMaximum",
    "minimum": "Minimum",
    "exclusiveMinimum": "ExclusiveMinimum",
    "maxLength": "MaxLength",
    "minLength": "MinLength",
    "pattern": "Pattern",
    "maxItems": "MaxItems",
    "minItems": "MinItems",
    "uniqueItems": "UniqueItems",
    "multipleOf": "MultipleOf",
    "required": "Required",
    "items": "Items",
    "properties": "Properties",
    "externalDocs": "ExternalDocs",
    "example": "Example",
    "x-kubernetes-preserve-unknown-fields": "XPreserveUnknownFields",
    "x-kubernetes-validations": "XValidations",
}


def unstructural_keyword(schema: JsonObject) -> bool:
    """Returns whether a keyword of this schema alone keeps it from being looked at as a structural one."""
    return (
        any(schema.get(name) for name in (*_UNSUPPORTED, "$schema"))
        or schema.get("x-kubernetes-preserve-unknown-fields") is False
        or isinstance(schema.get("items"), list)
    )


def keyword_causes(schema: JsonObject, path: str, *, no_default: str | None, inside_meta: bool) -> Iterator[Cause]:
    """Forbidden keywords of one schema. ``no_default``: why a default must not stand here, None where it may."""
    kind = schema.get("type")
    if kind and kind not in _TYPES:
        yield not_supported(f"{path}.type", kind, _TYPES)
    if kind == "null":
        yield forbidden(f"{path}.type", "type cannot be set to null, use nullable as an alternative")
    if schema.get("default") is not None and no_default is not None:
        yield forbidden(f"{path}.default", f"must not be set {no_default}")
    for name in _UNSUPPORTED:
        if schema.get(name) is not None:
            yield forbidden(f"{path}.{name}", f"{name} is not supported")
    if isinstance(schema.get("items"), list):
        yield forbidden(f"{path}.items", "items must be a schema object and not an array")
    if inside_meta and schema.get("x-kubernetes-embedded-resource"):
        yield forbidden(f"{path}.x-kubernetes-embedded-resource", "must not be used inside of resource meta")
    if (schema.get("format") or "").replace("-", "") in UNSUPPORTED_FORMATS:
        yield forbidden(f"{path}.format", f"{schema['format']} is not supported by this server")
    if schema.get("uniqueItems"):
        why = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        yield forbidden(f"{path}.uniqueItems", why)
    if schema.get("properties") and schema.get("additionalProperties") not in (None, True):
        why = "additionalProperties and properties are mutual exclusive"
        yield forbidden(f"{path}.additionalProperties", why)
    if schema.get("x-kubernetes-preserve-unknown-fields") is False:
        yield invalid(f"{path}.x-kubernetes-preserve-unknown-fields", False, "must be true or undefined")


def root_causes(schema: JsonObject, path: str, *, has_status: bool) -> Iterator[Cause]:
    """Yields what must not stand at the root of a schema."""
    if schema.get("nullable"):
        yield forbidden(f"{path}.nullable", "nullable cannot be true at the root")
    if not has_status:
        return
    if schema.get("type") not in (None, "object"):
        why = 'only "object" is allowed as the type at the root of the schema if the status subresource is enabled'
        yield invalid(f"{path}.type", schema["type"], why)
    elif schema.keys() - ROOT_FIELDS_WITH_STATUS.keys():
        listed = " ".join(ROOT_FIELDS_WITH_STATUS.values())
        yield invalid(
            path,
            schema,
            f"only [{listed}] fields are allowed at the root of the schema if the status subresource is enabled",
        )
