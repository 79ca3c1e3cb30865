"""Everything that is wrong with a definition, in one answer."""

from __future__ import annotations

from localkube.apiserver.errors import Cause
from localkube.apiserver.jsonobj import JsonObject, lookup
from localkube.apiserver.schema.definition.canonical import children
from localkube.apiserver.schema.definition.causes import forbidden, invalid, not_supported, required
from localkube.apiserver.schema.definition.columns import column_causes, subresource_causes
from localkube.apiserver.schema.definition.names import (
    approval_causes,
    group_causes,
    metadata_causes,
    names_causes,
)
from localkube.apiserver.schema.definition.schema import schema_causes
from localkube.apiserver.schema.definition.sections import Section, sections_of
from localkube.apiserver.schema.definition.versions import stored_versions_causes, versions_causes
from localkube.apiserver.schema.formats import IMMUTABLE

_SCOPES = ("Cluster", "Namespaced")


def validate_definition(obj: JsonObject, old: JsonObject | None) -> list[Cause]:
    """Returns what is wrong with a definition in canonical form; ``old`` is the one before an update, None at creation.

    A spec that an update leaves as it was is not looked at again: the update is of metadata or of the status.
    """
    causes = [*(metadata_causes(obj) if old is None else _immutable_causes(obj, old)), *approval_causes(obj, old)]
    spec = obj["spec"]
    if old is None or spec != old["spec"]:
        causes += _spec_causes(spec)
        causes += stored_versions_causes((obj.get("status") or {}).get("storedVersions"), spec)
    return causes


def _spec_causes(spec: JsonObject) -> list[Cause]:
    causes = [*group_causes(spec["group"]), *versions_causes(spec), *names_causes(spec["names"])]
    if not spec["scope"]:
        causes.append(required("spec.scope"))
    elif spec["scope"] not in _SCOPES:
        causes.append(not_supported("spec.scope", spec["scope"], _SCOPES))
    for section in sections_of(spec):
        causes += _section_causes(section)
    causes += _conversion_causes(spec)
    if spec.get("preserveUnknownFields"):
        why = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"
        causes.append(invalid("spec.preserveUnknownFields", True, why))
        if any(_has_default((section.schema or {}).get("openAPIV3Schema")) for section in sections_of(spec)):
            causes.append(
                invalid("spec.preserveUnknownFields", True, "must be false in order to use defaults in the schema")
            )
    return causes


def _section_causes(section: Section) -> list[Cause]:
    causes = []
    schema = (section.schema or {}).get("openAPIV3Schema")
    if schema is not None:
        causes += schema_causes(schema, f"{section.schema_path}.openAPIV3Schema", has_status=section.has_status)
    causes += subresource_causes(section.subresources, f"{section.path}.subresources")
    for index, column in enumerate(section.columns):
        causes += column_causes(column, f"{section.path}.additionalPrinterColumns[{index}]")
    if section.selectable_fields:
        causes.append(forbidden(f"{section.path}.selectableFields", "not supported by this server"))
    return causes


def _conversion_causes(spec: JsonObject) -> list[Cause]:
    conversion = spec.get("conversion") or {}
    strategy, webhook = conversion.get("strategy") or "", conversion.get("webhook") or {}
    if not strategy:
        return [required("spec.conversion.strategy")]
    if strategy == "Webhook":
        return [forbidden("spec.conversion.strategy", "this server calls no webhooks")]
    if strategy != "None":
        return [not_supported("spec.conversion.strategy", strategy, ("None", "Webhook"))]
    unwanted = "should not be set when strategy is not set to Webhook"
    parts = {
        "webhookClientConfig": webhook.get("clientConfig") is not None,
        "conversionReviewVersions": bool(webhook.get("conversionReviewVersions")),
    }
    return [forbidden(f"spec.conversion.{name}", unwanted) for name, present in parts.items() if present]


def _has_default(schema: JsonObject | None) -> bool:
    if schema is None:
        return False
    return schema.get("default") is not None or any(_has_default(child) for child in children(schema))


def _immutable_causes(obj: JsonObject, old: JsonObject) -> list[Cause]:
    paths = [("spec", "group"), ("spec", "names", "plural")]
    conditions = lookup(old, "status", "conditions") or []
    if any(item.get("type") == "Established" and item.get("status") == "True" for item in conditions):
        paths += [("spec", "scope"), ("spec", "names", "kind")]
    return [
        invalid(".".join(path), lookup(obj, *path), IMMUTABLE)
        for path in paths
        if lookup(obj, *path) != lookup(old, *path)
    ]
