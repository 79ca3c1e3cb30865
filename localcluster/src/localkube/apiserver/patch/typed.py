"""What server-side apply demands of an object: declared fields, fitting types, items with distinct keys."""

from __future__ import annotations

from collections.abc import Iterator

from localkube.apiserver.errors import ApiError
from localkube.apiserver.jsonobj import Json, JsonObject
from localkube.apiserver.patch.fields import atomic, display, element_of, shape_of
from localkube.apiserver.schema.node import Node
from localkube.apiserver.schema.rendering import plain, shown


def check_typed(node: Node, obj: JsonObject) -> None:
    """Raise what Kubernetes answers (a 500 without a reason) when an applied object does not fit its schema."""
    problems = list(_problems(node, obj, ""))
    if not problems:
        return
    metadata = obj.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    what = f"{metadata.get('namespace', '')}/{metadata.get('name', '')}; {group_version_kind(obj)}"
    text = problems[0] if len(problems) == 1 else "errors:\n" + "\n".join(f"  {problem}" for problem in problems)
    raise ApiError(500, "", f"failed to create typed patch object ({what}): {text}")


def group_version_kind(obj: JsonObject) -> str:
    """Returns an object's type as messages about it show it: ``apps/v1, Kind=Deployment``."""
    api_version, kind = obj.get("apiVersion"), obj.get("kind")
    api_version = api_version if isinstance(api_version, str) and api_version.count("/") < 2 else ""
    version = api_version if "/" in api_version else f"/{api_version}"
    return f"{version}, Kind={kind if isinstance(kind, str) else ''}"


def _problems(node: Node | None, value: Json, path: str) -> Iterator[str]:
    if node is None or value is None:
        return
    shape = shape_of(node, value)
    if shape == "map" and not isinstance(value, dict):
        yield f"{path}: expected map, got {_shown(value)}"
    elif shape == "map":
        for name, item in value.items():
            child = node.child(name)
            if child is not None:
                yield from _problems(child, item, f"{path}.{name}")
            elif not node.open:
                yield f"{path}.{name}: field not declared in schema"
                return
    elif shape == "list" and not isinstance(value, list):
        yield f"{path}: expected list, got {_shown(value)}"
    elif shape == "list":
        yield from _list_problems(node, value, path)
    elif shape == "scalar":
        yield from (f"{path}: {problem}" for problem in _scalar_problems(node, value))


def _list_problems(node: Node, items: list[Json], path: str) -> Iterator[str]:
    seen: set[str] = set()
    for index, item in enumerate(items):
        element = f"i:{index}"
        if not atomic(node, "list"):
            problem = _item_problem(node, item)
            if problem:
                yield f"{path}: element {index}: {problem}"
                return
            element = element_of(node, item)
            if element in seen:
                yield f"{path}: duplicate entries for key {display((element,))}"
            seen.add(element)
        yield from _problems(node.items, item, path + display((element,)))


def _item_problem(node: Node, item: Json) -> str:
    if node.list_type == "map":
        if item is None:
            return "associative list with keys may not have a null element"
        if not isinstance(item, dict):
            return "associative list with keys may not have non-map elements"
        if element_of(node, item) == "k:{}":
            keys = " ".join(f'"{key}"' for key in node.map_keys)
            return (
                f"associative list with keys has an element that omits all key fields [{keys}] "
                "(and doesn't have default values for any key fields)"
            )
        return ""
    if item is None:
        return "associative list without keys has an element that's an explicit null"
    if isinstance(item, (dict, list)):
        kind = "map" if isinstance(item, dict) else "list"
        return f"associative list without keys has an element that's a {kind} type"
    return ""


def _scalar_problems(node: Node, value: Json) -> Iterator[str]:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    any_scalar = node.int_or_string or node.raw.get("format") == "date-time"
    if any_scalar:
        if isinstance(value, (dict, list)):
            yield f"expected any scalar, got {_shown(value)}"
    elif node.type in ("integer", "number"):
        if not is_number:
            yield f"expected numeric (int or float), got {_go_type(value)}"
    elif node.type == "string" and not isinstance(value, str):
        yield f"expected string, got &value.valueUnstructured{{Value:{shown(value)}}}"
    elif node.type == "boolean" and not isinstance(value, bool):
        yield f"expected boolean, got {_shown(value)}"


def _go_type(value: Json) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, str):
        return "string"
    return "[]interface {}" if isinstance(value, list) else "map[string]interface {}"


def _shown(value: Json) -> str:
    return f"&{{{plain(value)}}}"
