"""Types of lists and maps (``x-kubernetes-list-type`` and so on): keys, items of sets, atomic maps."""

from __future__ import annotations

from collections.abc import Iterator

from localkube.apiserver.errors import Cause
from localkube.apiserver.jsonobj import Json, JsonObject
from localkube.apiserver.schema.definition.causes import forbidden, invalid, not_supported, required

_LIST_TYPE, _MAP_TYPE, _KEYS = "x-kubernetes-list-type", "x-kubernetes-map-type", "x-kubernetes-list-map-keys"


def list_and_map_causes(schema: JsonObject, path: str) -> Iterator[Cause]:
    """Yields what is wrong with the list or map type of one schema."""
    list_type, map_type, items = schema.get(_LIST_TYPE), schema.get(_MAP_TYPE), schema.get("items")
    if map_type is not None:
        yield from _wanted_type(schema, path, "object", _MAP_TYPE)
        if map_type not in ("atomic", "granular"):
            yield not_supported(f"{path}.{_MAP_TYPE}", map_type, ("atomic", "granular"))
    if list_type is not None:
        yield from _wanted_type(schema, path, "array", _LIST_TYPE)
        if list_type not in ("atomic", "set", "map"):
            yield not_supported(f"{path}.{_LIST_TYPE}", list_type, ("atomic", "set", "map"))
    if schema.get(_KEYS) and list_type != "map":
        why = f"must be map if {_KEYS} is non-empty"
        at = f"{path}.{_LIST_TYPE}"
        yield required(at, why) if list_type is None else invalid(at, list_type, why)
    if list_type == "map":
        yield from _map_list(schema, items, path)
    if list_type in ("set", "map") and isinstance(items, dict) and items.get("nullable"):
        yield forbidden(f"{path}.items.nullable", f"cannot be nullable when {_LIST_TYPE} is {list_type}")
    if list_type == "set" and schema.get("type") == "array" and isinstance(items, dict):
        yield from _set_items(items, path)


def _wanted_type(schema: JsonObject, path: str, wanted: str, extension: str) -> Iterator[Cause]:
    kind, why = schema.get("type"), f"must be {wanted} if {extension} is specified"
    if not kind:
        yield required(f"{path}.type", why)
    elif kind != wanted:
        yield invalid(f"{path}.type", kind, why)


def _set_items(items: JsonObject, path: str) -> Iterator[Cause]:
    why = f"must be atomic as item of a list with {_LIST_TYPE}=set"
    list_type = items.get(_LIST_TYPE)
    if items.get("type") == "array" and list_type not in (None, "atomic"):
        yield invalid(f"{path}.items.{_LIST_TYPE}", list_type, why)
    if items.get("type") == "object" and items.get(_MAP_TYPE) != "atomic":
        yield invalid(f"{path}.items.{_MAP_TYPE}", list_type, why)


def _map_list(schema: JsonObject, items: Json, path: str) -> Iterator[Cause]:
    keys = schema.get(_KEYS) or []
    if not keys:
        yield required(f"{path}.{_KEYS}", f"must not be empty if {_LIST_TYPE} is map")
    if items is None:
        yield required(f"{path}.items", f"must have a schema if {_LIST_TYPE} is map")
    elif not isinstance(items, dict):
        yield invalid(f"{path}.items", items, f"must only have a single schema if {_LIST_TYPE} is map")
    elif items.get("type") != "object":
        why = f"must be object if parent array's {_LIST_TYPE} is map"
        yield invalid(f"{path}.items.type", items.get("type") or "", why)
    else:
        yield from _keys(keys, items, path)


def _keys(keys: list[str], items: JsonObject, path: str) -> Iterator[Cause]:
    properties = items.get("properties") or {}
    for index, key in enumerate(keys):
        at, described = f"{path}.items.properties[{key}]", properties.get(key)
        if key in keys[:index]:
            yield invalid(f"{path}.{_KEYS}", keys, "must not contain duplicate entries")
        if described is None:
            yield invalid(f"{path}.{_KEYS}", keys, "entries must all be names of item properties")
            continue
        if described.get("type") in ("array", "object"):
            why = f"must be a scalar type if parent array's {_LIST_TYPE} is map"
            yield invalid(f"{at}.type", "object", why)
        because = f"this property is in {_KEYS}, so it"
        if key not in (items.get("required") or []) and described.get("default") is None:
            yield required(f"{at}.default", f"{because} must have a default or be a required property")
        if described.get("nullable"):
            yield forbidden(f"{at}.nullable", f"{because} cannot be nullable")
