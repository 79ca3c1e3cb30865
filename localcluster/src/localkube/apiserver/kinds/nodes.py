"""Namespaces and Nodes: their defaults, taints."""

from __future__ import annotations

from collections.abc import Iterator

from localkube.apiserver.errors import Cause
from localkube.apiserver.jsonobj import Json, JsonObject
from localkube.apiserver.kinds.common import child, set_defaults
from localkube.apiserver.kinds.pod_specs import taint_effect
from localkube.apiserver.kinds.rules import (
    always_named,
    invalid,
    required,
)
from localkube.apiserver.objects.metadata import content_causes
from localkube.apiserver.schema import formats


def default_namespace(obj: JsonObject, old: JsonObject | None) -> None:
    """Defaults of a Namespace."""
    child(obj, "spec")
    if old is None:
        obj["status"] = {"phase": "Active"}
    child(obj["metadata"], "labels")["kubernetes.io/metadata.name"] = obj["metadata"]["name"]


def complete_namespace(obj: JsonObject, old: JsonObject | None) -> None:
    """The finalizer of a new Namespace."""
    if old is None:
        set_defaults(obj["spec"], finalizers=["kubernetes"])


def default_node(obj: JsonObject, old: JsonObject | None) -> None:  # noqa: ARG001
    """Defaults of a Node."""
    child(obj, "spec")


def _taints(value: Json, path: str) -> Iterator[Cause]:
    seen: set[tuple[str, str]] = set()
    for index, taint in enumerate(value or []):
        at = f"{path}[{index}]"
        yield from always_named(formats.qualified_name)(taint.get("key"), f"{at}.key")
        for why in formats.label_value(taint.get("value") or ""):
            yield invalid(f"{at}.value", taint["value"], why)
        if not taint.get("effect"):
            yield required(f"{at}.effect")
        yield from taint_effect(taint.get("effect"), f"{at}.effect")
        key = (taint.get("key") or "", taint.get("effect") or "")
        if key in seen:
            yield Cause(at, "Duplicate value: taints must be unique by key and effect pair", "FieldValueDuplicate")
        seen.add(key)


def validate_node(obj: JsonObject, old: JsonObject | None, subresource: str = "") -> list[Cause]:
    """Returns what is wrong with a Node; an update is checked twice, as the real server does it."""
    if subresource == "status":
        return []
    causes = list(_taints((obj.get("spec") or {}).get("taints"), "metadata.taints"))
    return causes if old is None else causes * 2 + content_causes(obj["metadata"])
